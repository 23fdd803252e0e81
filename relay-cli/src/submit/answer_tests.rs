use super::*;
use relay_proto::{
    mail::{
        client::Timeout,
        wire::{ChannelError, Denied},
    },
    smtp::Stage,
};

fn path(address: &str) -> ForwardPath {
    ForwardPath::Mailbox(address.parse().unwrap())
}

fn line(error: Error) -> String {
    failed(&SendError::Failed(error)).to_string()
}

fn refused_with(reply: Reply) -> Error {
    Error::Message(DialogueError::Refused {
        stage: Stage::EndOfData,
        reply,
        rejected: Vec::new(),
    })
}

#[test]
fn what_the_server_says_is_passed_on() {
    let refusal = reply(552, "5.2.2", "Mailbox full");
    assert_eq!(
        failed(&SendError::Failed(refused_with(refusal.clone()))),
        refusal
    );
    let one = DialogueError::NoRecipient {
        rejected: vec![(path("b@example.net"), reply(550, "5.1.1", "Unknown"))],
    };
    assert_eq!(line(Error::Message(one)), "550 5.1.1 Unknown");
}

#[test]
fn a_server_that_hangs_up_ends_no_session_here() {
    let goodbye = refused_with(reply(421, "4.3.2", "Going down"));
    assert_eq!(line(goodbye), "451 4.3.2 Going down");
}

#[test]
fn of_several_refused_recipients_each_is_named_and_a_transient_one_decides() {
    let rejected = vec![
        (path("b@example.net"), reply(550, "5.1.1", "Unknown")),
        (path("c@example.net"), reply(450, "4.7.1", "Greylisted")),
    ];
    let error = DialogueError::NoRecipient { rejected };
    assert_eq!(
        line(Error::Message(error)),
        "450 4.7.1 Refused for <b@example.net>: 550 5.1.1 Unknown \
         Refused for <c@example.net>: 450 4.7.1 Greylisted"
    );
}

#[test]
fn a_message_for_some_is_accepted_and_the_others_are_named() {
    let rejected: Vec<_> = (0..12)
        .map(|number| {
            let recipient = path(&format!("b{number}@example.net"));
            (recipient, reply(550, "5.1.1", "Unknown"))
        })
        .collect();
    let accepted = reply(250, "2.0.0", "Queued as 17");
    let told = partly(&accepted, &rejected, &Told::Nobody);
    assert_eq!(told.code(), Code::OK);
    let lines = told.lines();
    assert_eq!(lines[0], "Queued as 17");
    assert_eq!(lines[1], "Refused for <b0@example.net>: 550 5.1.1 Unknown");
    assert_eq!(lines[11], "Refused for 2 more");
    assert!(lines[12].contains("no sender"), "{lines:?}");
}

#[test]
fn what_may_work_later_is_transient_and_doubt_is_not() {
    let channel = ChannelError {
        error: "busy".to_owned(),
        code: None,
        retry_after: None,
    };
    let late = Error::Timeout(Timeout::Message);
    let cases = [
        (
            Error::Authentication(Denied::for_good("unknown")),
            "451 4.3.5 ",
        ),
        (Error::Channel(channel), "451 4.4.2 "),
        (late.clone(), "451 4.4.7 "),
        (
            Error::InDoubt(Box::new(late)),
            "554 5.4.2 sent, but the reply got lost",
        ),
        (
            Error::Message(DialogueError::Unsupported {
                extension: "SMTPUTF8",
                needed_for: "an address",
            }),
            "554 5.6.7 ",
        ),
        (
            Error::Message(DialogueError::TooLarge {
                length: 2,
                limit: 1,
            }),
            "552 5.3.4 ",
        ),
        (
            Error::Limits(Refusal::Full {
                waiting: 1,
                bytes: 1,
            }),
            "452 4.3.1 ",
        ),
    ];
    for (error, start) in cases {
        let line = line(error);
        assert!(line.starts_with(start), "{line}");
    }
    let unsettled = |in_doubt| failed(&SendError::Unsettled { in_doubt });
    assert!(unsettled(false).is_transient());
    assert!(unsettled(true).is_permanent());
}
