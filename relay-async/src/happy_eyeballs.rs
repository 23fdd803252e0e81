//! Connects to the address that answers first (RFC 8305).

use crate::{Clock, runtime::sleep};
use futures_util::{StreamExt, stream::FuturesUnordered};
use relay_transport::happy_eyeballs::{ATTEMPT_DELAY, interleave};
use std::{future::Future, io, net::SocketAddr};
use tokio::select;

/// The first connection there is. The next address is tried when an attempt has failed, or has taken a while; attempts
/// under way go on until one has connected.
///
/// # Errors
///
/// All attempts, in the order they failed, where none has connected.
pub(crate) async fn connect<C: Clock, S, F: Future<Output = io::Result<S>>>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<S, Vec<(SocketAddr, io::Error)>> {
    let mut waiting = interleave(addresses).into_iter();
    let mut under_way = FuturesUnordered::new();
    let mut failed = Vec::new();
    loop {
        if let Some(address) = waiting.next() {
            let attempt = connect(address);
            under_way.push(async move { (address, attempt.await) });
        }
        let more = waiting.len() > 0;
        select! {
            biased;
            attempt = under_way.next() => match attempt {
                Some((_, Ok(connected))) => return Ok(connected),
                Some((address, Err(error))) => failed.push((address, error)),
                None => return Err(failed),
            },
            () = sleep::<C>(ATTEMPT_DELAY), if more => {}
        }
    }
}

#[cfg(test)]
#[path = "happy_eyeballs_tests.rs"]
mod tests;
