//! The way to the relay: proxies, certificates, headers; and what is said where it leads nowhere.

use crate::harness::{Ended, LETTER, Serving, letter, messages, relay, run, run_with_input, send};
use relay_testkit::{
    Authority, Identity, deserted,
    proxy::{Manners, ProxyPeer},
};
use std::{fs, net::SocketAddr, process::Command};

/// A name that only the proxy knows.
const URL: &str = "wss://relay.example/";

/// What `alice:p@ss` is in a header.
const ALICE: &str = "Basic YWxpY2U6cEBzcw==";

/// A relay at `relay.example` with a mailbox, which lets in only clients with a certificate.
struct House {
    directory: tempfile::TempDir,
    authority: Authority,
    address: SocketAddr,
    _serving: Serving,
}

impl House {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new("ours");
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let Identity { certificate, key } = authority.identity("relay.example");
        let mail = directory.path().join("mail");
        let serving = Serving::start(&[
            "--mailbox",
            mail.to_str().unwrap(),
            "--tls-cert",
            &file("server.pem", &certificate),
            "--tls-key",
            &file("server.key", &key),
            "--tls-client-ca",
            &file("ca.pem", authority.root()),
        ]);
        let Identity { certificate, key } = authority.identity("alice");
        file("client.pem", &certificate);
        file("client.key", &key);
        let Identity { certificate, key } = Authority::new("other").identity("alice");
        file("other.pem", &certificate);
        file("other.key", &key);
        let address = serving.url.strip_prefix("wss://").unwrap();
        let address = address.trim_end_matches('/').parse().unwrap();
        Self {
            directory,
            authority,
            address,
            _serving: serving,
        }
    }

    fn file(&self, name: &str) -> String {
        self.directory
            .path()
            .join(name)
            .to_str()
            .unwrap()
            .to_owned()
    }

    fn proxy(&self, authorization: Option<&'static str>) -> ProxyPeer {
        ProxyPeer::start(Manners {
            hosts: vec![("relay.example:443".to_owned(), self.address)],
            authorization,
            dribbles: true,
            ..Manners::default()
        })
    }

    /// `relay send` of a letter to Bob, showing this certificate, where one is named.
    fn send(&self, certificate: Option<&str>) -> Command {
        let letter = letter(self.directory.path(), "letter.eml");
        let mut command = send(
            URL,
            &[
                "--to",
                "bob@example.net",
                "--ca",
                &self.file("ca.pem"),
                &letter,
            ],
        );
        if let Some(name) = certificate {
            command.args(["--client-certificate", &self.file(&format!("{name}.pem"))]);
            command.args(["--client-key", &self.file(&format!("{name}.key"))]);
        }
        command
    }

    fn delivered(&self) -> usize {
        messages(&self.directory.path().join("mail/example.net/bob")).len()
    }
}

#[track_caller]
fn ends(ended: &Ended, code: i32, parts: &[&str]) {
    assert_eq!(ended.code, code, "{}", ended.stderr);
    for part in parts {
        assert!(
            ended.stderr.contains(part),
            "{part:?} not in {}",
            ended.stderr
        );
    }
    assert!(!ended.stderr.contains("p%40ss") && !ended.stderr.contains("hunter2"));
}

#[test]
fn a_message_goes_through_a_proxy_to_a_relay_that_wants_a_certificate() {
    let house = House::new();
    let proxy = house.proxy(Some(ALICE));
    let mut command = house.send(Some("client"));
    command.args([
        "--proxy",
        &format!("http://alice:p%40ss@{}", proxy.address()),
    ]);
    command.args(["--header", "X-Tenant: hunter2"]);
    let ended = run(command);
    ends(&ended, 0, &[]);
    assert!(
        ended.stdout.ends_with("accepted: 250 2.0.0 Delivered\n"),
        "{}",
        ended.stdout
    );
    assert_eq!(ended.stderr, "");
    assert_eq!(house.delivered(), 1);
    assert_eq!(proxy.asked().len(), 1);
}

#[test]
fn a_proxy_may_want_tls_and_sendmail_has_settings_for_all_that() {
    let house = House::new();
    let Identity { certificate, key } = house.authority.identity("localhost");
    let tls = relay_transport::tls::server_config(certificate.as_bytes(), key.as_bytes());
    let proxy = ProxyPeer::start(Manners {
        hosts: vec![("relay.example:443".to_owned(), house.address)],
        tls: Some(tls.unwrap()),
        ..Manners::default()
    });
    let file = |name| house.file(name);
    let settings = format!(
        "url = '{URL}'\napi-key = 'key'\nca = '{}'\nproxy = 'https://localhost:{}'\n\
         client-certificate = '{}'\nclient-key = '{}'\nheader = ['X-Tenant: hunter2']\n",
        file("ca.pem"),
        proxy.address().port(),
        file("client.pem"),
        file("client.key"),
    );
    let config = house.directory.path().join("sendmail.toml");
    fs::write(&config, settings).unwrap();
    let sendmail = || {
        let mut command = relay(["sendmail", "--config", config.to_str().unwrap()]);
        command.args(["-f", "alice@example.org", "bob@example.net"]);
        command
    };
    ends(&run_with_input(sendmail(), LETTER), 0, &[]);
    assert_eq!((house.delivered(), proxy.asked().len()), (1, 1));

    // The environment wins, and names a proxy that is not there.
    let nowhere = format!("http://{}", deserted());
    let mut command = sendmail();
    command.env("RELAY_PROXY", &nowhere);
    ends(
        &run_with_input(command, LETTER),
        75,
        &[&nowhere, "cannot connect to the proxy"],
    );
}

#[test]
fn the_environment_names_a_proxy_unless_the_command_line_does() {
    let house = House::new();
    let proxy = house.proxy(None);
    let url = format!("http://{}", proxy.address());
    let nowhere = format!("http://{}", deserted());
    for (variables, option, works) in [
        (&[("HTTPS_PROXY", &*url)][..], None, true),
        (
            &[("https_proxy", &url), ("HTTPS_PROXY", &nowhere)],
            None,
            true,
        ),
        (&[("ALL_PROXY", &url)], None, true),
        (
            &[("HTTPS_PROXY", &nowhere), ("RELAY_PROXY", &url)],
            None,
            true,
        ),
        (
            &[("HTTPS_PROXY", &nowhere), ("RELAY_PROXY", &nowhere)],
            Some(&*url),
            true,
        ),
        (&[("HTTPS_PROXY", &nowhere)], None, false),
        // Nobody but the proxy knows the relay.
        (&[("http_proxy", &url)], None, false),
        (
            &[("HTTPS_PROXY", &url), ("NO_PROXY", ".example")],
            None,
            false,
        ),
        (&[("HTTPS_PROXY", &url)], Some("none"), false),
    ] {
        let mut command = house.send(Some("client"));
        command
            .args(["--attempts", "1"])
            .envs(variables.iter().copied());
        if let Some(option) = option {
            command.args(["--proxy", option]);
        }
        let ended = run(command);
        let expected = if works { 0 } else { 4 };
        assert_eq!(
            ended.code, expected,
            "{variables:?} {option:?}: {}",
            ended.stderr
        );
        assert_eq!(
            proxy.asked().len(),
            usize::from(works),
            "{variables:?} {option:?}"
        );
    }
}

#[test]
fn what_is_in_the_way_is_named() {
    let house = House::new();
    let refusing = ProxyPeer::start(Manners {
        answer: Some("HTTP/1.1 403 Forbidden\r\n\r\n"),
        ..Manners::default()
    });
    let (demanding, open) = (house.proxy(Some(ALICE)), house.proxy(None));
    let nowhere = format!("http://{}", deserted());
    for (certificate, proxy, parts) in [
        (
            None,
            &*nowhere,
            &[&*nowhere, "cannot connect to the proxy: connection refused"][..],
        ),
        (
            None,
            &format!("http://{}", refusing.address()),
            &["does not allow connections to this server (HTTP status 403 Forbidden)"],
        ),
        (
            None,
            &format!("http://{}", demanding.address()),
            &["the proxy demands a user name and a password"],
        ),
        (
            None,
            &format!("https://{}", open.address()),
            &["no secure connection to the proxy"],
        ),
        (
            None,
            &format!("http://{}", open.address()),
            &[
                "no secure connection to wss://relay.example/",
                "demands a client certificate",
            ],
        ),
        (
            Some("other"),
            &format!("http://{}", open.address()),
            &["does not accept the client certificate"],
        ),
    ] {
        let mut command = house.send(certificate);
        command.args(["--attempts", "1", "--proxy", proxy]);
        let ended = run(command);
        ends(&ended, 4, &[URL]);
        ends(&ended, 4, parts);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
    drop(demanding.asked());

    // Wrong credentials are not tried again: that would lock the account.
    let mut command = house.send(None);
    command.args([
        "--attempts",
        "9",
        "--proxy",
        &format!("http://alice:hunter2@{}", demanding.address()),
    ]);
    ends(
        &run(command),
        4,
        &["does not accept the user name and password in its URL"],
    );
    assert_eq!(demanding.asked().len(), 1);
    assert_eq!(house.delivered(), 0);
}

#[test]
fn settings_that_cannot_be_meant_are_told_before_anything_is_tried() {
    let house = House::new();
    let file = |name| house.file(name);
    let encrypted = fs::read_to_string(file("client.key")).unwrap();
    let encrypted = encrypted.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    fs::write(file("encrypted.key"), encrypted).unwrap();
    for (arguments, parts) in [
        (
            &["--proxy", "socks5://alice:hunter2@h"][..],
            &["--proxy: socks5:// proxies are not supported"][..],
        ),
        (
            &["--proxy", "http://alice:hunter2@"],
            &["--proxy: the proxy's URL is of no use: the host is missing"],
        ),
        (&["--header", "hunter2"], &["--header:", "Name: value"]),
        (
            &["--header", "Host: hunter2"],
            &["--header: the header Host cannot be set"],
        ),
        (&["--client-certificate", "c"], &["without --client-key"]),
        (&["--client-key", "k"], &["without --client-certificate"]),
        (
            &["--client-certificate", "no/such", "--client-key", "k"],
            &["cannot read the client certificate no/such"],
        ),
        (
            &[
                "--client-certificate",
                &file("client.pem"),
                "--client-key",
                &file("other.key"),
            ],
            &["client.pem", "other.key", "cannot be used"],
        ),
        (
            &[
                "--client-certificate",
                &file("client.pem"),
                "--client-key",
                &file("encrypted.key"),
            ],
            &["encrypted.key", "openssl pkey"],
        ),
        (
            &[
                "--client-certificate",
                &file("client.pem"),
                "--client-key",
                &file("client.key"),
                "--url",
                "ws://relay.example/",
            ],
            &["ws://relay.example/ is not encrypted"],
        ),
    ] {
        let letter = letter(house.directory.path(), "letter.eml");
        let mut command = relay(["send", "--from", "a@example.org", "--to", "b@example.org"]);
        command.env("RELAY_API_KEY", "key").env("RELAY_URL", URL);
        command.args(arguments).arg(letter);
        ends(&run(command), 2, parts);
    }
    let mut command = house.send(None);
    command.env("HTTPS_PROXY", "http://alice:hunter2@h:port");
    ends(
        &run(command),
        2,
        &["HTTPS_PROXY: the proxy's URL is of no use"],
    );

    let serve = |arguments: &[&str]| {
        let mut command = relay(["serve", "--api-key", "k", "--mailbox", &file("mail")]);
        command.args(arguments);
        run(command)
    };
    let (certificate, key) = (file("server.pem"), file("server.key"));
    ends(
        &serve(&["--tls-client-ca", &file("ca.pem")]),
        2,
        &["--tls-client-ca without --tls-cert"],
    );
    let tls = [
        "--tls-cert",
        &certificate,
        "--tls-key",
        &key,
        "--tls-client-ca",
    ];
    ends(
        &serve(&[&tls[..], &["no/such"]].concat()),
        2,
        &["cannot read the root certificates no/such"],
    );
    ends(
        &serve(&[&tls[..], &[&key]].concat()),
        2,
        &[
            "--tls-client-ca",
            "server.key",
            "no certificate in PEM form",
        ],
    );
}
