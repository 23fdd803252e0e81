//! News of the machines, in lines that are the same from run to run.

use relay_proto::{
    mail::{
        client::{self, Error, Receipt},
        relay::{self, Refused},
    },
    smtp::ServerEvent,
};
use std::fmt::Display;

/// News of a mail client.
#[expect(
    clippy::unnecessary_wraps,
    reason = "all of them belong into the transcript"
)]
pub(crate) fn client_event(event: &client::Event) -> Option<String> {
    use client::Event;
    Some(match event {
        Event::Connecting => "connecting".to_owned(),
        Event::Connected => "connected".to_owned(),
        Event::Authenticated { .. } => "authenticated".to_owned(),
        Event::Disconnected { error: None } => "disconnected".to_owned(),
        Event::Disconnected { error: Some(error) } => format!("disconnected: {error}"),
        Event::Reconnecting { attempt, of, .. } => {
            format!("reconnecting, attempt {attempt} of {}", limit(*of))
        }
        Event::StateChanged { from, to } => format!("{from} -> {to}"),
        Event::Queued { id, .. } => format!("message {id} queued"),
        Event::Refused { id, refused } => format!("message {id} refused: {refused}"),
        Event::Restored { id, .. } => format!("message {id} restored"),
        Event::StorageFailed { error } => format!("storage failed: {error}"),
        Event::StorageRecovered => "storage recovered".to_owned(),
        Event::QueueOverflow { queue_size } => format!("the queue is full with {queue_size}"),
        Event::Processed { id, receipt } => format!("message {id} processed: {}", shown(receipt)),
        Event::Failed { id, error } => format!("message {id} failed: {}", verdict(error)),
        Event::RetryScheduled {
            id,
            attempt,
            of,
            error,
            ..
        } => {
            let of = limit(*of);
            format!("message {id} again, attempt {attempt} of {of}: {error}")
        }
        Event::InDoubt {
            id,
            sending_again,
            error,
        } => {
            let next = if *sending_again {
                "sending again"
            } else {
                "giving up"
            };
            format!("message {id} in doubt, {next}: {error}")
        }
        Event::Terminated { left } => {
            let left: Vec<_> = left
                .iter()
                .map(|left| {
                    let doubt = if left.in_doubt { " in doubt" } else { "" };
                    let kept = if left.kept { " kept" } else { "" };
                    format!("message {}{doubt}{kept}", left.id)
                })
                .collect();
            format!("terminated, left: [{}]", left.join(", "))
        }
        other => format!("{other:?}"),
    })
}

fn limit(of: Option<u32>) -> String {
    of.map_or_else(|| "any number".to_owned(), |of| of.to_string())
}

fn verdict(error: &Error) -> String {
    let verdict = match (error.is_transient(), error.is_permanent()) {
        (true, _) => "transient",
        (_, true) => "permanent",
        _ => "neither transient nor permanent",
    };
    format!("{error} ({verdict})")
}

fn shown(receipt: &Receipt) -> String {
    let mut shown = receipt.reply.to_string();
    for accepted in &receipt.accepted {
        shown.push_str(&format!(", {accepted} accepted"));
    }
    for (rejected, reply) in &receipt.rejected {
        shown.push_str(&format!(", {rejected} rejected with {reply}"));
    }
    if receipt.sent_again {
        shown.push_str(", sent again");
    }
    shown
}

/// News of a mail relay.
#[expect(
    clippy::unnecessary_wraps,
    reason = "all of them belong into the transcript"
)]
pub(crate) fn relay_event(event: &relay::Event) -> Option<String> {
    use relay::Event;
    Some(match event {
        Event::Connected { .. } => "connected".to_owned(),
        Event::TurnedAway { why, .. } => format!("turned away: {why}"),
        Event::KeyPresented { agent, .. } => {
            format!("key presented by {}", agent.as_deref().unwrap_or("nobody"))
        }
        Event::Authenticated { .. } => "authenticated".to_owned(),
        Event::AuthenticationRefused { error, .. } => format!("key refused: {error}"),
        Event::ChannelOpened { .. } => "channel opened".to_owned(),
        Event::ChannelFailed { why, .. } => format!("channel failed: {why}"),
        Event::MessageRelayed {
            reverse_path,
            recipients,
            bytes,
            reply,
            ..
        } => {
            format!("message of {bytes} bytes from {reverse_path} relayed to {recipients}: {reply}")
        }
        Event::MessageRefused {
            refused: what,
            reply,
            ..
        } => {
            format!("{} refused: {reply}", refused(what))
        }
        Event::MessageAbandoned {
            reverse_path, why, ..
        } => {
            format!("message from {reverse_path} abandoned: {why}")
        }
        Event::MessageInDoubt {
            reverse_path,
            recipients,
            why,
            ..
        } => {
            format!("message from {reverse_path} to {recipients} in doubt: {why}")
        }
        Event::Violation { violation, .. } => format!("violation: {violation}"),
        Event::Disconnected {
            why,
            ignored_frames,
            ..
        } => {
            format!("disconnected: {why}; {ignored_frames} frames ignored")
        }
        Event::Finished => "finished".to_owned(),
        other => format!("{other:?}"),
    })
}

fn refused(refused: &Refused) -> String {
    let (what, who): (_, &dyn Display) = match refused {
        Refused::Sender(sender) => ("sender", sender),
        Refused::Recipient(recipient) => ("recipient", recipient),
        Refused::Data(sender) => ("data of", sender),
        Refused::Content(sender) => ("content of", sender),
        other => return format!("{other:?}"),
    };
    format!("{what} {who}")
}

/// News of a mail server. Content comes in pieces of any size, so they are left out.
pub(crate) fn server_event(event: &ServerEvent) -> Option<String> {
    Some(match event {
        ServerEvent::Content { .. } => return None,
        ServerEvent::Opened { .. } => "connected".to_owned(),
        ServerEvent::Mail { reverse_path, .. } => format!("from {reverse_path}"),
        ServerEvent::Recipient { forward_path, .. } => format!("to {forward_path}"),
        ServerEvent::EndOfContent { .. } => "end of content".to_owned(),
        ServerEvent::Reset { .. } => "reset".to_owned(),
        ServerEvent::Closed { .. } => "disconnected".to_owned(),
        other => format!("{other:?}"),
    })
}
