//! All scenarios, by what they are about.

mod accept;
mod calls;
mod dial;
mod http;
mod mail;
mod mail_client;
mod mail_relay;
mod route;
mod secure;
mod storage;
mod stream;
mod tls;
mod websocket;

use super::Scenario;
use crate::Binding;

/// Names scenarios after their functions.
macro_rules! named {
    ($($scenario:ident),+ $(,)?) => {
        vec![$((stringify!($scenario), $scenario::<B> as super::Scenario)),+]
    };
}
use named;

/// Every scenario, as `group::scenario`. One that is missing here is unused code, which the compiler tells.
pub(super) fn all<B: Binding>() -> Vec<(String, Scenario)> {
    let groups = [
        ("accept", accept::all::<B>()),
        ("calls", calls::all::<B>()),
        ("dial", dial::all::<B>()),
        ("http", http::all::<B>()),
        ("mail", mail::all::<B>()),
        ("mail_client", mail_client::all::<B>()),
        ("mail_relay", mail_relay::all::<B>()),
        ("route", route::all::<B>()),
        ("secure", secure::all::<B>()),
        ("storage", storage::all::<B>()),
        ("stream", stream::all::<B>()),
        ("tls", tls::all::<B>()),
        ("websocket", websocket::all::<B>()),
    ];
    let named = groups.into_iter().flat_map(|(group, scenarios)| {
        scenarios
            .into_iter()
            .map(move |(name, scenario)| (format!("{group}::{name}"), scenario))
    });
    named.collect()
}

type Group = Vec<(&'static str, Scenario)>;
