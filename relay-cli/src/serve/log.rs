//! What a relay does, as log lines.

use relay_proto::mail::relay::{Event, Refused};
use relay_tokio::mail::Missed;
use std::io::{self, IsTerminal};
use tracing_subscriber::EnvFilter;

/// Begins to log, to standard error.
pub(crate) fn start(filter: EnvFilter) {
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
}

/// Logs an event. Routine is `info` where it is about mail, `debug` where it is about connections.
pub(super) fn event(event: &Result<Event, Missed>) {
    let event = match event {
        Ok(event) => event,
        Err(missed) => return tracing::warn!("the log is too slow: {missed}"),
    };
    match event {
        Event::Connected { link, peer } => tracing::debug!(%link, ?peer, "client connected"),
        Event::TurnedAway { link, peer, why } => {
            tracing::warn!(%link, ?peer, "client turned away: {why}");
        }
        Event::Authenticated { link } => tracing::info!(%link, "client authenticated"),
        Event::AuthenticationRefused { link, error } => {
            tracing::warn!(%link, "client refused: {error}");
        }
        Event::ChannelOpened { link } => tracing::debug!(%link, "channel open"),
        Event::ChannelFailed { link, why } => tracing::warn!(%link, "channel failed: {why}"),
        Event::MessageRelayed {
            link,
            reverse_path,
            recipients,
            bytes,
            reply,
        } => {
            tracing::info!(%link, from = %reverse_path, recipients, bytes, "message relayed: {reply}");
        }
        Event::MessageRefused {
            link,
            refused,
            reply,
        } => match refused {
            Refused::Sender(path) => tracing::info!(%link, from = %path, "sender refused: {reply}"),
            Refused::Recipient(path) => {
                tracing::info!(%link, to = %path, "recipient refused: {reply}");
            }
            Refused::Data(path) | Refused::Content(path) => {
                tracing::info!(%link, from = %path, "message refused: {reply}");
            }
            other => tracing::info!(%link, ?other, "refused: {reply}"),
        },
        Event::MessageAbandoned {
            link,
            reverse_path,
            why,
        } => tracing::info!(%link, from = %reverse_path, "message abandoned: {why}"),
        Event::MessageInDoubt {
            link,
            reverse_path,
            recipients,
            why,
        } => {
            tracing::error!(%link, from = %reverse_path, recipients, "message in doubt: {why}");
        }
        Event::SessionResumed { link } => tracing::debug!(%link, "client back in its session"),
        Event::SessionExpired { link } => {
            tracing::info!(%link, "client did not come back to its session");
        }
        Event::StorageFailed { error } => {
            tracing::error!("the ledger cannot be written, messages are refused for now: {error}");
        }
        Event::StorageRecovered => tracing::info!("the ledger can be written again"),
        Event::Violation { link, violation } => {
            tracing::warn!(%link, "client broke the protocol: {violation}");
        }
        Event::Disconnected {
            link,
            why,
            ignored_frames,
        } => tracing::debug!(%link, ignored_frames, "client gone: {why}"),
        other => tracing::debug!(?other),
    }
}
