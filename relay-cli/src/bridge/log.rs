//! What a bridge's client does, as log lines.

use relay_proto::mail::client::Event;
use relay_tokio::mail::Missed;

/// Logs an event. What became of a message, the desk says.
pub(super) fn event(event: &Result<Event, Missed>) {
    let event = match event {
        Ok(event) => event,
        Err(missed) => return tracing::warn!("the log is too slow: {missed}"),
    };
    match event {
        Event::Authenticated { .. } => tracing::debug!("connected to the relay"),
        Event::Disconnected { error: Some(error) } => tracing::warn!("disconnected: {error}"),
        Event::Reconnecting { attempt, .. } => tracing::info!(attempt, "connecting again"),
        Event::RetryScheduled { id, error, .. } => {
            tracing::info!(message = %id, "to be tried again: {error}");
        }
        Event::InDoubt {
            id,
            sending_again: true,
            error,
        } => tracing::warn!(message = %id, "in doubt, to be sent again: {error}"),
        other => tracing::debug!(?other),
    }
}
