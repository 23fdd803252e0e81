use super::*;
use alloc::string::ToString;

fn proxies(variables: &[(&str, &str)]) -> Result<Proxies, VariableError> {
    Proxies::from_variables(|name| {
        let (_, value) = variables.iter().find(|(set, _)| *set == name)?;
        Some((*value).to_owned())
    })
}

fn leads(variables: &[(&str, &str)], url: &str) -> Option<String> {
    let proxies = proxies(variables).unwrap();
    let host = proxies.to(&url.parse().unwrap())?.host().to_owned();
    Some(host)
}

#[test]
fn the_first_variable_that_is_set_names_the_proxy() {
    let (ws, wss) = ("ws://relay.example/", "wss://relay.example/");
    for (variables, plain, secure) in [
        (&[][..], None, None),
        (&[("HTTPS_PROXY", "a")], None, Some("a")),
        (&[("https_proxy", "a")], None, Some("a")),
        (
            &[("https_proxy", "a"), ("HTTPS_PROXY", "b")],
            None,
            Some("a"),
        ),
        (&[("https_proxy", ""), ("HTTPS_PROXY", "b")], None, None),
        (&[("http_proxy", "a")], Some("a"), None),
        // It may come from a request that a web server passes on to a CGI program.
        (&[("HTTP_PROXY", "a")], None, None),
        (&[("ALL_PROXY", "a")], Some("a"), Some("a")),
        (
            &[("all_proxy", "a"), ("ALL_PROXY", "b")],
            Some("a"),
            Some("a"),
        ),
        (
            &[("ALL_PROXY", "a"), ("HTTPS_PROXY", "b")],
            Some("a"),
            Some("b"),
        ),
        (&[("ALL_PROXY", "a"), ("https_proxy", " ")], Some("a"), None),
        (&[("ALL_PROXY", "a"), ("NO_PROXY", "*")], None, None),
    ] {
        assert_eq!(leads(variables, ws).as_deref(), plain, "{variables:?}");
        assert_eq!(leads(variables, wss).as_deref(), secure, "{variables:?}");
    }
}

#[test]
fn exempt_servers_are_reached_directly() {
    for (list, url, exempt) in [
        ("", "wss://relay.example/", false),
        ("*", "wss://relay.example/", true),
        ("relay.example", "wss://relay.example/", true),
        ("relay.example", "wss://RELAY.example./", true),
        ("Relay.Example.", "wss://relay.example/", true),
        ("example", "wss://relay.example/", true),
        (".example", "wss://relay.example/", true),
        ("*.example", "wss://relay.example/", true),
        (".relay.example", "wss://relay.example/", true),
        ("elay.example", "wss://relay.example/", false),
        ("relay.example.org", "wss://relay.example/", false),
        ("a.example, relay.example", "wss://relay.example/", true),
        ("a.example\t relay.example", "wss://relay.example/", true),
        ("relay.example:443", "wss://relay.example/", true),
        ("relay.example:8443", "wss://relay.example/", false),
        ("192.0.2.7", "wss://192.0.2.7/", true),
        ("192.0.2.7", "wss://192.0.2.70/", false),
        ("192.0.2.7:443", "wss://192.0.2.7/", true),
        ("192.0.2.7:80", "wss://192.0.2.7/", false),
        ("192.0.2.0/24", "wss://192.0.2.7/", true),
        ("192.0.2.0/24", "wss://192.0.3.7/", false),
        ("192.0.2.0/24", "wss://[::ffff:192.0.2.7]/", true),
        // The name is not looked up: that is the proxy's business.
        ("192.0.2.0/24", "wss://relay.example/", false),
        ("2001:db8::7", "wss://[2001:db8::7]/", true),
        ("[2001:db8::7]", "wss://[2001:db8:0::7]/", true),
        ("[2001:db8::7]:443", "wss://[2001:db8::7]/", true),
        ("[2001:db8::7]:80", "wss://[2001:db8::7]/", false),
        ("2001:db8::/32", "wss://[2001:db8::7]/", true),
        ("2001:db8::/32", "wss://[2001:db9::7]/", false),
    ] {
        for name in ["no_proxy", "NO_PROXY"] {
            let variables = [("ALL_PROXY", "proxy"), (name, list)];
            assert_eq!(leads(&variables, url).is_none(), exempt, "{list:?} {url}");
        }
    }
}

#[test]
fn this_machine_is_exempt_unless_a_proxy_was_named_for_it() {
    for url in [
        "ws://localhost/",
        "ws://LOCALHOST:8025/",
        "ws://relay.localhost/",
        "ws://127.0.0.1/",
        "ws://127.1.2.3:8025/",
        "wss://[::1]:1/",
        "wss://[::ffff:127.0.0.1]/",
    ] {
        assert_eq!(leads(&[("ALL_PROXY", "proxy")], url), None, "{url}");
        let all = Proxies::all("proxy".parse().unwrap());
        assert!(all.to(&url.parse().unwrap()).is_some(), "{url}");
    }
    assert!(leads(&[("ALL_PROXY", "proxy")], "ws://localhost.example/").is_some());
}

#[test]
fn what_is_wrong_names_its_variable_and_no_password() {
    for (variables, part) in [
        (
            [("HTTPS_PROXY", "socks5://u:secret@h")],
            "HTTPS_PROXY: socks5://",
        ),
        (
            [("all_proxy", "http://u:secret@h:x")],
            "all_proxy: the proxy's URL",
        ),
        (
            [("NO_PROXY", "a, 10.0.0.0/33")],
            "NO_PROXY: \"10.0.0.0/33\"",
        ),
        ([("no_proxy", "a:port")], "no_proxy: \"a:port\""),
        ([("no_proxy", "a..")], ""),
    ] {
        match proxies(&variables) {
            Err(error) => {
                let error = error.to_string();
                assert!(!part.is_empty() && error.contains(part), "{error}");
                assert!(!error.contains("secret"), "{error}");
            }
            Ok(_) => assert!(part.is_empty(), "{variables:?}"),
        }
    }
}
