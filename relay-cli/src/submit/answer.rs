//! What became of a message, as the reply to its end of data.

use super::{Outcome, Told};
use relay_proto::{
    mail::client::{Error, Refusal},
    smtp::{Code, DialogueError, ForwardPath, Reply, reply},
};
use relay_tokio::mail::SendError;

/// The most refused recipients that are named in a reply; all of them are in the report.
const NAMED: usize = 10;

impl Outcome {
    /// What the client is told. Never 421: that the relay or a server behind it hangs up is no reason to hang up here.
    pub(crate) fn reply(&self) -> Reply {
        match self {
            Self::Accepted(receipt) => receipt.reply.clone(),
            Self::Partly { receipt, told } => partly(&receipt.reply, &receipt.rejected, told),
            Self::Failed(error) => failed(error),
            Self::TakenBack => reply(451, "4.4.2", "Not sent: the client left before"),
        }
    }
}

/// The message is accepted and must not come again, so this is positive whatever was refused.
fn partly(accepted: &Reply, rejected: &[(ForwardPath, Reply)], told: &Told) -> Reply {
    let told = match told {
        Told::Report(_) => "The sender gets a report of that",
        Told::Nobody => "There is no sender who could get a report of that",
        Told::Failed(_) => "A report of that to the sender failed",
    };
    let text = format!("{}\n{}\n{told}", accepted.text(), list(rejected));
    Reply::new(accepted.code(), accepted.enhanced(), text)
}

fn failed(error: &SendError) -> Reply {
    match error {
        SendError::Failed(Error::Message(error)) => refused(error),
        SendError::Failed(error) => {
            let (code, enhanced) = match error {
                // A second time, after the client has sent it again already. Told to try again, a mailer would, for
                // days, and each time deliver perhaps another copy; so it is a person who has to decide.
                Error::InDoubt(_) => (554, "5.4.2"),
                // Whoever runs this program has to mend that, and then the mail can go.
                Error::Authentication(_) => (451, "4.3.5"),
                Error::Connection(_) => (451, "4.4.1"),
                Error::Channel(_) => (451, "4.4.2"),
                Error::Timeout(_) | Error::Expired { .. } => (451, "4.4.7"),
                Error::Limits(refusal) => return beyond(refusal),
                _ => (451, "4.5.0"),
            };
            reply(code, enhanced, error.to_string())
        }
        SendError::Refused(refused) => beyond(&refused.why),
        SendError::Unsettled { in_doubt: true } => reply(554, "5.4.2", error.to_string()),
        _ => reply(451, "4.3.2", error.to_string()),
    }
}

/// What the server behind the relay said, as far as it is an answer to a message.
fn refused(error: &DialogueError) -> Reply {
    let text = error.to_string();
    match error {
        DialogueError::Refused { reply, .. } => passed_on(reply, reply.text()),
        DialogueError::NoRecipient { rejected } => match (&**rejected, error.reply()) {
            ([(_, reply)], _) => passed_on(reply, reply.text()),
            (_, Some(reply)) => passed_on(reply, list(rejected)),
            (_, None) => reply(554, "5.5.1", text),
        },
        DialogueError::Unsupported {
            extension: "SMTPUTF8",
            ..
        } => reply(554, "5.6.7", text),
        DialogueError::Unsupported { .. } => reply(554, "5.6.3", text),
        DialogueError::TooLarge { .. } => reply(552, "5.3.4", text),
        _ => reply(451, "4.5.0", text),
    }
}

fn passed_on(reply: &Reply, text: String) -> Reply {
    let code = reply.code();
    if code == Code::NOT_AVAILABLE || code.is_positive() {
        let code = Code::new(451).expect("451 is a reply code");
        return Reply::new(code, reply.enhanced(), text);
    }
    Reply::new(code, reply.enhanced(), text)
}

fn beyond(refusal: &Refusal) -> Reply {
    let (code, enhanced) = match refusal {
        Refusal::TooLarge { .. } => (552, "5.3.4"),
        Refusal::TooManyRecipients { .. } => (554, "5.5.3"),
        Refusal::Full { .. } => (452, "4.3.1"),
        _ => (451, "4.3.2"),
    };
    reply(code, enhanced, refusal.to_string())
}

/// A line for each refused recipient.
fn list(rejected: &[(ForwardPath, Reply)]) -> String {
    let (named, others) = rejected.split_at(rejected.len().min(NAMED));
    let mut lines: Vec<_> = named
        .iter()
        .map(|(recipient, reply)| format!("Refused for {recipient}: {reply}"))
        .collect();
    if !others.is_empty() {
        lines.push(format!("Refused for {} more", others.len()));
    }
    lines.join("\n")
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
