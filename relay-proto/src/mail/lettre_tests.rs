use super::*;
use crate::{
    Stopped,
    mail::{
        client::Refused,
        wire::{ChannelError, Denied},
    },
    smtp::{Stage, reply},
};
use ::lettre::Address as Theirs;
use alloc::{boxed::Box, format, string::ToString, vec};
use core::time::Duration;

fn theirs(text: &str) -> Theirs {
    text.parse().unwrap()
}

fn paths(from: Option<Theirs>, to: &[Theirs]) -> Paths {
    Paths::new(from, to.to_vec()).unwrap()
}

#[test]
fn paths_and_content_are_carried_over_as_they_are() {
    let to = [theirs("bob@example.net"), theirs("\"b o b\"@[192.0.2.1]")];
    let made = submission(&paths(Some(theirs("alice@exämple.org")), &to), "x".into()).unwrap();
    let envelope = made.envelope().unwrap();
    assert_eq!(envelope.reverse_path().to_string(), "<alice@exämple.org>");
    let forward_paths = envelope.forward_paths().iter().map(ToString::to_string);
    assert_eq!(
        forward_paths.collect::<Vec<_>>(),
        ["<bob@example.net>", "<\"b o b\"@[192.0.2.1]>"]
    );
    assert_eq!(made.len(), 1);
    let report = submission(&paths(None, &to), Bytes::new()).unwrap();
    assert_eq!(
        report.envelope().unwrap().reverse_path(),
        &ReversePath::Null
    );
}

#[test]
fn what_lettre_lets_pass_unread_is_read_here_and_named() {
    for (user, domain) in [
        ("bob>\r\nRSET\r\nMAIL FROM:<x", "example.net"),
        ("bob", "example.net>\r\nDATA"),
        ("bob", "example.net\0"),
        ("<bob", "example.net"),
        ("b o b", "example.net"),
        ("", "example.net"),
        ("bob", ""),
        ("bob@example.org", "example.net"),
    ] {
        let dangerous = Theirs::new_dangerous(user, domain);
        let text = dangerous.to_string();
        let good = theirs("good@example.org");
        for paths in [
            paths(Some(dangerous.clone()), core::slice::from_ref(&good)),
            paths(None, &[good.clone(), dangerous.clone()]),
        ] {
            let error = submission(&paths, Bytes::new()).unwrap_err();
            assert!(matches!(&error, Error::Address { address, .. } if *address == text));
            assert!(
                error
                    .to_string()
                    .starts_with(&format!("{text:?} is not an address: "))
            );
            assert!(error.is_permanent() && error.is_client() && error.status().is_none());
        }
    }
}

fn failed(error: client::Error) -> Error {
    Error::Send(SendError::Failed(error))
}

fn refused(why: Refusal) -> Error {
    let paths = paths(None, &[theirs("bob@example.net")]);
    let submission = Box::new(submission(&paths, Bytes::new()).unwrap());
    Error::Send(SendError::Refused(Refused { submission, why }))
}

fn answered(reply: Reply) -> Error {
    failed(client::Error::Message(DialogueError::Refused {
        stage: Stage::Mail,
        reply,
        rejected: vec![],
    }))
}

/// Every question that is answered with yes, and the status.
fn answers(error: &Error) -> (Vec<&'static str>, Option<u16>) {
    let questions = [
        ("transient", error.is_transient()),
        ("permanent", error.is_permanent()),
        ("in doubt", error.is_in_doubt()),
        ("timeout", error.is_timeout()),
        ("tls", error.is_tls()),
        ("response", error.is_response()),
        ("client", error.is_client()),
        ("shutdown", error.is_transport_shutdown()),
    ];
    let yes = questions.into_iter().filter(|(_, yes)| *yes);
    (
        yes.map(|(name, _)| name).collect(),
        error.status().map(Code::as_u16),
    )
}

#[test]
fn every_failure_answers_the_questions_of_lettre() {
    use client::Error as Failure;
    let tls = OpenError::Tls {
        endpoint: "wss://relay.example/".into(),
        detail: "the certificate has expired".into(),
    };
    let channel = ChannelError {
        error: "no upstream".into(),
        code: Some(421),
        retry_after: None,
    };
    let waited = Duration::from_secs(1);
    let timeout = || Failure::Timeout(Timeout::Message);
    let full = Refusal::Full {
        waiting: 1,
        bytes: 1,
    };
    let large = Refusal::TooLarge { bytes: 2, limit: 1 };
    for (error, yes, status) in [
        (
            answered(reply(451, "4.7.1", "later")),
            &["transient"][..],
            Some(451),
        ),
        (
            answered(reply(550, "5.7.1", "no")),
            &["permanent"],
            Some(550),
        ),
        (failed(Failure::Channel(channel)), &["transient"], Some(421)),
        (
            failed(Failure::Authentication(Denied::for_good("no"))),
            &["permanent"],
            None,
        ),
        (failed(timeout()), &["transient", "timeout"], None),
        (
            failed(Failure::InDoubt(Box::new(timeout()))),
            &["in doubt", "timeout"],
            None,
        ),
        (
            failed(Failure::Connection(LinkError::Silent)),
            &["transient", "timeout"],
            None,
        ),
        (
            failed(Failure::Connection(LinkError::Open(tls))),
            &["transient", "tls"],
            None,
        ),
        (failed(Failure::Expired { waited }), &["client"], None),
        (
            failed(Failure::Limits(large.clone())),
            &["permanent", "client"],
            None,
        ),
        (refused(large), &["permanent", "client"], None),
        (refused(full), &["transient", "client"], None),
        (refused(Refusal::ShuttingDown), &["shutdown"], None),
        (SendError::from(Stopped).into(), &["shutdown"], None),
        (
            SendError::Unsettled { in_doubt: true }.into(),
            &["in doubt", "shutdown"],
            None,
        ),
        (SendError::Cancelled.into(), &["client"], None),
    ] {
        assert_eq!(answers(&error), (yes.to_vec(), status), "{error}");
    }
}

#[test]
fn the_refused_recipients_are_named() {
    let bob = ForwardPath::Mailbox("bob@example.net".parse().unwrap());
    let rejected = vec![(bob, reply(550, "5.1.1", "No such user"))];
    let error = failed(client::Error::Message(DialogueError::NoRecipient {
        rejected: rejected.clone(),
    }));
    assert_eq!(error.rejected(), rejected);
    assert_eq!(error.reply(), Some(&rejected[0].1));
    assert_eq!(answers(&error), (vec!["permanent"], Some(550)));
}
