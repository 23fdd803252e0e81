use super::*;
use alloc::string::ToString;
use proptest::{collection::vec, prelude::*, sample::select};

fn connect(url: &str, proxy: &str) -> Connect {
    Connect::new(&url.parse().unwrap(), &proxy.parse().unwrap())
}

/// The end of the dialogue after these pieces, with all that came for the tunnel; none: it waits.
fn played<'a>(
    proxy: &str,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Option<Result<Vec<u8>, ConnectError>> {
    let mut waiting = Some(connect("wss://relay.example/", proxy));
    let mut tunnel = Vec::new();
    for piece in pieces {
        let Some(connect) = waiting.take() else {
            tunnel.extend_from_slice(piece);
            continue;
        };
        match connect.handle_bytes(piece) {
            Ok(Answer::Incomplete(connect)) => waiting = Some(connect),
            Ok(Answer::Established { early }) => tunnel.extend_from_slice(&early),
            Err(error) => return Some(Err(error)),
        }
    }
    waiting.is_none().then_some(Ok(tunnel))
}

fn answered(answer: &str) -> Option<Result<Vec<u8>, ConnectError>> {
    let whole = played("h", [answer.as_bytes()].into_iter());
    assert_eq!(
        played("h", answer.as_bytes().chunks(1)),
        whole,
        "{answer:?}"
    );
    whole
}

fn refused(answer: &str) -> ConnectError {
    answered(answer).expect("an answer").expect_err("a refusal")
}

#[test]
fn the_request_names_host_port_and_credentials() {
    let plain = connect("wss://relay.example/mail?x=1", "http://proxy.example");
    assert_eq!(
        plain.request(),
        "CONNECT relay.example:443 HTTP/1.1\r\nHost: relay.example:443\r\n\r\n"
    );
    let known = connect("ws://[2001:db8::1]:8025/", "http://Aladdin:open%20sesame@h");
    // The example of RFC 7617, section 2.
    assert_eq!(
        known.request(),
        "CONNECT [2001:db8::1]:8025 HTTP/1.1\r\nHost: [2001:db8::1]:8025\r\n\
         Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"
    );
    let shown = alloc::format!("{known:?}");
    assert!(
        !shown.contains("QWxh") && !shown.contains("CONNECT"),
        "{shown}"
    );
}

#[test]
fn any_success_is_a_tunnel_and_what_follows_is_its() {
    for (answer, tunnel) in [
        ("HTTP/1.1 200 Connection established\r\n\r\n", ""),
        ("HTTP/1.0 200\r\n\r\n", ""),
        ("HTTP/1.1 204 \r\nVia: x\r\n\r\n", ""),
        (
            "HTTP/1.1 200 OK\r\n\r\n220 mx.example\r\n",
            "220 mx.example\r\n",
        ),
        // A length has no meaning here.
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello"),
        ("HTTP/1.1 200 OK\n\nhello", "hello"),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\nx",
            "x",
        ),
    ] {
        assert_eq!(answered(answer), Some(Ok(tunnel.into())), "{answer}");
    }
}

#[test]
fn half_an_answer_is_waited_for() {
    for answer in [
        "",
        "HTTP/1.1",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 100 x\r\n\r\n",
        "HTTP/1.1 403 No\r\nVia:",
    ] {
        assert_eq!(answered(answer), None, "{answer}");
    }
    assert_eq!(connect("ws://h/", "h").handle_end(), ConnectError::Ended);
}

#[test]
fn a_refusal_says_what_the_proxy_says() {
    for (answer, text) in [
        (
            "HTTP/1.1 403 Forbidden\r\n\r\n<html>",
            "does not allow connections to this server (HTTP status 403 Forbidden)",
        ),
        (
            "HTTP/1.1 502 Bad Gateway\r\n\r\n",
            "cannot reach this server (HTTP status 502 Bad Gateway)",
        ),
        (
            "HTTP/1.1 405 \r\n\r\n",
            "is none that connects to servers, or to this one (HTTP status 405)",
        ),
        (
            "HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n",
            "refuses to connect to this server (HTTP status 301 Moved)",
        ),
        (
            "HTTP/1.1 101 Switching\r\n\r\n",
            "refuses to connect to this server (HTTP status 101 Switching)",
        ),
        (
            "HTTP/1.1 600 Odd\r\n\r\n",
            "refuses to connect to this server (HTTP status 600 Odd)",
        ),
    ] {
        assert_eq!(refused(answer).to_string(), text);
    }
    let long = alloc::format!("HTTP/1.1 500 {}\r\n\r\n", "x".repeat(1000));
    assert!(refused(&long).to_string().len() < 200);
}

#[test]
fn a_407_says_whether_credentials_are_missing_wrong_or_of_another_kind() {
    let answer = |challenges: &str| alloc::format!("HTTP/1.1 407 Auth\r\n{challenges}\r\n");
    let basic = answer("Proxy-Authenticate: Basic realm=\"x\"\r\n");
    for known in [
        basic,
        answer(""),
        answer("proxy-authenticate: NTLM, basic realm=x\r\n"),
    ] {
        let to = |proxy| {
            played(proxy, [known.as_bytes()].into_iter())
                .unwrap()
                .unwrap_err()
        };
        assert_eq!(to("h"), ConnectError::CredentialsMissing);
        assert_eq!(to("a:b@h"), ConnectError::CredentialsRefused);
    }
    let other = answer(
        "Proxy-Authenticate: Negotiate\r\nProxy-Authenticate: Digest realm=\"a\", nonce=\"b\"\r\n",
    );
    assert_eq!(
        refused(&other).to_string(),
        "demands authentication by Negotiate, Digest; only Basic is supported"
    );
}

#[test]
fn what_is_no_answer_is_an_error() {
    for nonsense in [
        "SSH-2.0-OpenSSH",
        "220 mx.example ESMTP\r\n",
        "HTTP/2 200\r\n\r\n",
        "HTTP/1.1 abc\r\n",
        "\u{15}\u{3}\u{1}",
        "HTTP/1.1 200 OK\r\na b\r\n\r\n",
    ] {
        assert_eq!(refused(nonsense), ConnectError::NotHttp, "{nonsense:?}");
    }
    let filler = "x".repeat(100);
    let endless = alloc::format!(
        "HTTP/1.1 200 OK\r\n{}",
        alloc::format!("A: {filler}\r\n").repeat(200)
    );
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
    let many = alloc::format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(65));
    for long in [endless, interim, many] {
        assert_eq!(refused(&long), ConnectError::TooLong);
    }
}

proptest! {
    #[test]
    fn however_the_answer_is_cut_it_means_the_same(
        fragments in vec(select(&["HTTP/1.1 ", "200 OK", "100 Continue", "407 x", "\r\n", "\r\n\r\n", "\n", "Via: x", "Proxy-Authenticate: Basic", " ", "\u{0}"]), 0..12),
        size in 1usize..20,
    ) {
        let answer = fragments.concat();
        let whole = played("a:b@h", [answer.as_bytes()].into_iter());
        prop_assert_eq!(played("a:b@h", answer.as_bytes().chunks(size)), whole);
    }
}
