use super::*;
use alloc::string::ToString;

fn proxy(text: &str) -> Proxy {
    text.parse().unwrap()
}

/// User name and password as they will arrive.
fn credentials(proxy: &Proxy) -> Option<Vec<u8>> {
    let encoded = proxy.authorization()?.strip_prefix("Basic ").unwrap();
    Some(BASE64_STANDARD.decode(encoded).unwrap())
}

#[test]
fn a_url_says_where_and_how() {
    for (text, shown, tls) in [
        (
            "http://proxy.example:3128",
            "http://proxy.example:3128",
            false,
        ),
        ("HTTP://proxy.example/", "http://proxy.example:80", false),
        ("https://proxy.example", "https://proxy.example:443", true),
        ("proxy.example:3128", "http://proxy.example:3128", false),
        ("proxy.example", "http://proxy.example:80", false),
        (
            " http://[2001:db8::1]:8080 ",
            "http://[2001:db8::1]:8080",
            false,
        ),
        (
            "alice:secret@proxy.example:1",
            "http://proxy.example:1",
            false,
        ),
    ] {
        let proxy = proxy(text);
        assert_eq!(
            (&*proxy.to_string(), proxy.is_tls()),
            (shown, tls),
            "{text}"
        );
    }
    assert_eq!(proxy("http://[2001:db8::1]").host(), "2001:db8::1");
}

#[test]
fn credentials_are_decoded_and_do_not_show() {
    for (text, expected) in [
        ("http://alice:secret@h", &b"alice:secret"[..]),
        ("http://alice:p%40ss%3aword%2F@h", b"alice:p@ss:word/"),
        ("http://al%20ice:a:b@h", b"al ice:a:b"),
        ("http://alice@h", b"alice:"),
        ("http://:secret@h", b":secret"),
        ("http://al%FFice:s%C3%A9cret@h", b"al\xFFice:s\xC3\xA9cret"),
    ] {
        let proxy = proxy(text);
        assert_eq!(credentials(&proxy).as_deref(), Some(expected), "{text}");
        for shown in [alloc::format!("{proxy:?}"), proxy.to_string()] {
            assert!(!shown.contains("cret") && !shown.contains("ice"), "{shown}");
            assert!(!shown.contains(proxy.authorization().unwrap()), "{shown}");
        }
    }
    assert_eq!(credentials(&proxy("http://h")), None);
    let named = proxy("http://h")
        .with_credentials("alice", "p@ss:word/")
        .unwrap();
    assert_eq!(named, proxy("http://alice:p%40ss:word%2F@h"));
}

#[test]
fn what_is_no_proxy_says_why_and_repeats_no_secret() {
    for (text, part) in [
        ("", "host is missing"),
        ("http://", "host is missing"),
        ("http://u:secret@", "host is missing"),
        ("http://u:secret@h:port", "no URL"),
        ("http://u:secret@h:99999", "port is not a number"),
        ("http://u:secret@h:0", "port is not a number"),
        ("http://u:sec ret@h", "no URL"),
        ("http://u:secret@h@h", "%40 for an @"),
        ("http://u:secret@h/path", "nothing may follow"),
        ("http://u:secret@h?q", "nothing may follow"),
        (
            "socks5://u:secret@h:1080",
            "socks5:// proxies are not supported",
        ),
        ("http://u%3Asecret:x@h", "colon"),
        ("http://u:secret%0d%0aX-Evil:%201@h", "control character"),
        ("http://u%00:secret@h", "control character"),
        ("http://h%0d%0a", "percent-encoded"),
        ("http://h\r\nX-Evil: 1", "no URL"),
    ] {
        let error = text.parse::<Proxy>().unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }
    assert_eq!(
        proxy("http://h").with_credentials("a\nb", ""),
        Err(ProxyUrlError::Control)
    );
}
