//! `relay kv watch`.

use super::{arguments::WatchArgs, ask_for_token, show, verdict};
use crate::{failure::Failure, signals::Signals};
use futures_util::StreamExt;
use relay_proto::kv::{
    client::{ConnectionState, Event},
    token::Scope,
};
use relay_tokio::kv::Client;
use std::time::Duration;
use tokio::select;

/// Prints changes as they happen.
///
/// # Errors
///
/// Where the service refuses it, or cannot be reached any more.
pub(super) async fn watch(arguments: WatchArgs) -> Result<(), Failure> {
    let place = &arguments.place;
    let credential = if arguments.patterns.is_empty() {
        place.credential()?
    } else {
        let mut scope = Scope::default();
        scope.subscribe = arguments.patterns;
        ask_for_token(place, scope).await?
    };
    let (config, transport) = place.configure(credential)?;
    let mut signals = Signals::new().map_err(Failure::running)?;
    let client = Client::start(config, transport);
    let mut events = client.events().await.map_err(Failure::running)?;
    client.connect().await.map_err(Failure::running)?;

    let mut left = arguments.count.map(std::num::NonZeroU64::get);
    let mut trouble = None;
    while left != Some(0) {
        let event = select! {
            event = events.next() => event,
            _ = signals.next() => break,
        };
        match event {
            Some(Ok(Event::Notified(change))) => {
                show::change(&change, arguments.json);
                left = left.map(|left| left - 1);
            }
            Some(Ok(Event::Missed { .. }) | Err(_)) => {
                eprintln!("warning: some changes were missed; read anew what matters");
            }
            Some(Ok(Event::Connected { .. })) => eprintln!("watching"),
            Some(Ok(Event::Reconnecting { .. })) => {
                if let Some(error) = &trouble {
                    eprintln!("{}; trying again", verdict::of_link(error));
                }
            }
            Some(Ok(Event::Disconnected { error })) => trouble = error,
            Some(Ok(Event::StateChanged {
                to: ConnectionState::Failed,
                ..
            })) => {
                client.shutdown(Duration::ZERO).await;
                return Err(match &trouble {
                    Some(error) => verdict::of_link(error),
                    None => Failure::running("the connection is gone"),
                });
            }
            Some(Ok(_)) => {}
            None => break,
        }
    }
    client.shutdown(Duration::ZERO).await;
    Ok(())
}
