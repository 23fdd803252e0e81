use super::*;
use crate::smtp::reply;
use alloc::{format, string::String, vec::Vec};

fn introduction(start_tls: bool, user: Option<&str>) -> Introduction {
    let access = Access {
        start_tls,
        credentials: user.map(|user| Credentials::new(user, "sesame")),
    };
    Introduction::new("c.example".parse().unwrap(), access)
}

/// What is said to these replies, in turn; TLS is started where that is asked for.
fn converse(mut introduction: Introduction, replies: &[(u16, &str)]) -> Vec<String> {
    let mut said = Vec::new();
    for (code, text) in replies {
        said.push(match introduction.handle_reply(reply(*code, "", *text)) {
            IntroductionStep::Send(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            IntroductionStep::StartTls => {
                assert!(introduction.is_securing());
                let ehlo = introduction.secured().unwrap();
                assert_eq!(introduction.secured(), None);
                assert!(!introduction.is_securing());
                format!("(TLS) {}", String::from_utf8(ehlo.to_vec()).unwrap())
            }
            IntroductionStep::Ready(offered) => format!("ready, SIZE {:?}", offered.size.is_some()),
            IntroductionStep::Refused(reply) => format!("refused: {reply}"),
            IntroductionStep::Denied(reply) => format!("denied: {reply}"),
            IntroductionStep::Lacks(what) => format!("lacks {what}"),
        });
    }
    said.iter().map(|line| line.trim_end().into()).collect()
}

#[test]
fn without_needs_it_greets() {
    let said = converse(
        introduction(false, None),
        &[(220, "mx"), (250, "mx\nSTARTTLS\nAUTH PLAIN")],
    );
    assert_eq!(said, ["EHLO c.example", "ready, SIZE false"]);
}

#[test]
fn tls_comes_before_everything_and_what_was_offered_before_is_forgotten() {
    let said = converse(
        introduction(true, Some("alice")),
        &[
            (220, "mx"),
            (250, "mx\nSTARTTLS\nAUTH PLAIN\nSIZE"),
            (220, "go"),
            (250, "mx\nAUTH LOGIN PLAIN"),
            (235, "welcome"),
        ],
    );
    let expected = [
        "EHLO c.example",
        "STARTTLS",
        "(TLS) EHLO c.example",
        "AUTH PLAIN AGFsaWNlAHNlc2FtZQ==",
        "ready, SIZE false",
    ];
    assert_eq!(said, expected);
}

#[test]
fn no_way_leads_on_in_clear() {
    let cases: [(&[(u16, &str)], &str); 4] = [
        (&[(250, "mx\nAUTH PLAIN")], "lacks STARTTLS"),
        (&[(500, "what?"), (250, "old")], "lacks STARTTLS"),
        (
            &[(250, "mx\nSTARTTLS"), (454, "not now")],
            "refused: 454 not now",
        ),
        (&[(250, "mx\nSTARTTLS"), (250, "ok")], "refused: 250 ok"),
    ];
    for (replies, expected) in cases {
        let replies = [&[(220, "mx")], replies].concat();
        let said = converse(introduction(true, Some("alice")), &replies);
        assert_eq!(said.last().unwrap(), expected);
        assert!(!said.iter().any(|line| line.contains("AUTH ")), "{said:?}");
    }
}

#[test]
fn login_is_spoken_where_there_is_no_plain() {
    let hello = [(220, "mx"), (250, "mx\nAUTH LOGIN XOAUTH2")];
    let replies = [
        (334, "VXNlcm5hbWU6"),
        (334, "UGFzc3dvcmQ6"),
        (235, "welcome"),
    ];
    let said = converse(
        introduction(false, Some("alice")),
        &[&hello[..], &replies].concat(),
    );
    let expected = [
        "EHLO c.example",
        "AUTH LOGIN",
        "YWxpY2U=",
        "c2VzYW1l",
        "ready, SIZE false",
    ];
    assert_eq!(said, expected);
    for refused in 0..3 {
        let mut replies = replies[..refused].to_vec();
        replies.push((535, "no"));
        let said = converse(
            introduction(false, Some("alice")),
            &[&hello[..], &replies].concat(),
        );
        assert_eq!(said.last().unwrap(), "denied: 535 no");
    }
}

#[test]
fn a_server_that_cannot_know_the_client_lacks_something() {
    for offered in ["mx", "mx\nAUTH CRAM-MD5"] {
        let said = converse(
            introduction(false, Some("alice")),
            &[(220, "mx"), (250, offered)],
        );
        assert_eq!(said[1], "lacks AUTH PLAIN or LOGIN");
    }
    let hello = [(220, "mx"), (250, "mx\nAUTH PLAIN")];
    for (code, expected) in [
        (421, "refused: 421 x"),
        (535, "denied: 535 x"),
        (454, "denied: 454 x"),
        (334, "refused: 334 x"),
        (250, "ready, SIZE false"),
    ] {
        let said = converse(
            introduction(false, Some("alice")),
            &[&hello[..], &[(code, "x")]].concat(),
        );
        assert_eq!(said[2], expected);
    }
}

#[test]
fn debug_shows_no_password() {
    let shown = format!("{:?}", introduction(true, Some("alice")));
    assert!(!shown.contains("sesame"), "{shown}");
}
