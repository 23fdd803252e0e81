//! Why it takes longer: said while it happens, so that nobody takes a patient client for a hanging one.

use futures_util::{Stream, StreamExt};
use indicatif::ProgressBar;
use relay_proto::{
    Time,
    mail::client::{Error, Event},
};
use relay_tokio::mail::Missed;
use std::time::Instant;

/// Tells on standard error of every wait for another attempt, until the client ends.
///
/// `started` is when the client was started: the zero of its time.
pub(crate) async fn tell(
    mut events: impl Stream<Item = Result<Event, Missed>> + Unpin,
    started: Instant,
    bar: ProgressBar,
) {
    let mut trouble = None;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Disconnected { error }) => trouble = error,
            Ok(Event::Reconnecting { attempt, of, at }) => {
                if let Some(error) = trouble.take() {
                    say(&bar, started, &error, attempt, of, at);
                }
            }
            Ok(Event::RetryScheduled {
                attempt,
                of,
                at,
                error,
                ..
            }) => say(&bar, started, &error, attempt, of, at),
            Ok(Event::Throttled {
                rate, until, error, ..
            }) => {
                let wait = seconds_until(until, started);
                bar.suspend(|| eprintln!("slower: {error}; going on in {wait:.1} s with {rate}"));
            }
            _ => {}
        }
    }
}

fn say(
    bar: &ProgressBar,
    started: Instant,
    error: &Error,
    attempt: u32,
    of: Option<u32>,
    at: Time,
) {
    let wait = seconds_until(at, started);
    let of = of.map_or_else(String::new, |of| format!(" of {of}"));
    bar.suspend(|| {
        eprintln!("not yet: {error}; trying again in {wait:.1} s ({attempt}{of})",);
    });
}

fn seconds_until(at: Time, started: Instant) -> f32 {
    let wait = at.since(Time::ZERO).saturating_sub(started.elapsed());
    wait.as_secs_f32()
}
