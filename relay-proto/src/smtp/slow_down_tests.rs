use super::*;
use crate::smtp::{ForwardPath, reply};
use alloc::vec::Vec;

const STAGES: [Stage; 6] = [
    Stage::Hello,
    Stage::Mail,
    Stage::Recipient,
    Stage::Data,
    Stage::Content,
    Stage::EndOfData,
];

fn refused(stage: Stage, code: u16, enhanced: &str) -> DialogueError {
    let reply = reply(code, enhanced, "Too many messages, slow down");
    if stage == Stage::Recipient {
        let rejected = [(ForwardPath::Postmaster, reply)].into();
        return DialogueError::NoRecipient { rejected };
    }
    DialogueError::Refused {
        stage,
        reply,
        rejected: Vec::new(),
    }
}

/// The stages at which a reply asks for less.
fn stages(code: u16, enhanced: &str) -> Vec<Stage> {
    let asks = |stage: &Stage| refused(*stage, code, enhanced).asks_to_slow_down();
    STAGES.into_iter().filter(asks).collect()
}

#[test]
fn load_and_floods_are_about_everything_wherever_they_are_told() {
    for enhanced in ["4.3.1", "4.3.2", "4.4.5", "4.7.28"] {
        for code in [421, 450, 451, 452] {
            assert_eq!(stages(code, enhanced), STAGES, "{code} {enhanced}");
        }
    }
}

#[test]
fn a_service_that_is_not_available_is_left_alone_unless_it_says_that_it_is_not_its_load() {
    for enhanced in ["", "4.3.0", "4.7.0", "4.7.1"] {
        assert_eq!(stages(421, enhanced), STAGES, "{enhanced}");
    }
    for enhanced in ["4.4.2", "4.5.3", "4.2.0"] {
        assert_eq!(stages(421, enhanced), [], "{enhanced}");
    }
}

#[test]
fn a_policy_is_about_the_client_at_mail_and_greylisting_behind_it() {
    for code in [450, 451] {
        assert_eq!(stages(code, "4.7.0"), [Stage::Mail]);
        assert_eq!(stages(code, "4.7.1"), [Stage::Mail]);
    }
}

#[test]
fn full_is_full_except_where_it_is_said_of_recipients() {
    let others: Vec<_> = STAGES
        .into_iter()
        .filter(|stage| *stage != Stage::Recipient)
        .collect();
    assert_eq!(stages(452, ""), others);
    assert_eq!(stages(452, "4.5.3"), []);
}

#[test]
fn what_is_wrong_with_one_message_or_mailbox_is_about_no_other() {
    for (code, enhanced) in [
        (450, ""),
        (450, "4.2.0"),
        (450, "4.2.1"),
        (451, ""),
        (451, "4.3.0"),
        (451, "4.4.2"),
        (452, "4.2.2"),
    ] {
        assert_eq!(stages(code, enhanced), [], "{code} {enhanced}");
    }
}

#[test]
fn what_fails_for_good_is_no_question_of_time() {
    for enhanced in ["", "5.3.2", "5.4.5", "5.7.28"] {
        assert_eq!(stages(550, enhanced), []);
    }
    let delivered = |delivered| DialogueError::Script {
        reply: reply(421, "4.7.0", "Slow down"),
        transcript: Vec::new(),
        delivered,
    };
    assert!(delivered(false).asks_to_slow_down());
    assert!(!delivered(true).asks_to_slow_down(), "it is not run again");
}
