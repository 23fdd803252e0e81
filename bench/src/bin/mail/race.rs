//! Callers that send as fast as they are answered.

use crate::Outcome;
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// How long so many callers take for so many messages, on the current runtime.
pub(crate) async fn race<F, S>(callers: usize, messages: usize, send: S) -> Outcome<Duration>
where
    F: Future<Output = Outcome<()>> + Send,
    S: Fn(usize, usize) -> F + Clone + Send + 'static,
{
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    let began = Instant::now();
    for caller in 0..callers {
        let (next, send) = (Arc::clone(&next), send.clone());
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= messages {
                    return Outcome::Ok(());
                }
                send(caller, number).await?;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(began.elapsed())
}

/// The same with a thread for each caller.
pub(crate) fn race_threads(
    callers: usize,
    messages: usize,
    send: impl Fn(usize, usize) -> Outcome<()> + Sync,
) -> Outcome<Duration> {
    let next = AtomicUsize::new(0);
    let (next, send) = (&next, &send);
    let began = Instant::now();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..callers)
            .map(|caller| {
                scope.spawn(move || {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= messages {
                            return Outcome::Ok(());
                        }
                        send(caller, number)?;
                    }
                })
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a caller panicked")?)
    })?;
    Ok(began.elapsed())
}
