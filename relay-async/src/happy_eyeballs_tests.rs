use super::*;
use crate::test_clock::TestClock;
use std::{cell::RefCell, time::Duration};
use tokio::time::{Instant, sleep};

/// What becomes of an attempt, and after how long.
type Fate = (u64, Result<(), io::ErrorKind>);

const NEVER: Fate = (u64::MAX, Ok(()));

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Connects by a script. Returns the result, when it was there, and every attempt with the time it began; in milliseconds.
async fn play(
    script: &[(&str, Fate)],
) -> (
    Result<SocketAddr, Vec<(SocketAddr, io::ErrorKind)>>,
    u128,
    Vec<(SocketAddr, u128)>,
) {
    let began = Instant::now();
    let attempts = RefCell::new(Vec::new());
    let addresses = script.iter().map(|(text, _)| address(text)).collect();
    let result = connect::<TestClock, _, _>(addresses, |to| {
        attempts
            .borrow_mut()
            .push((to, began.elapsed().as_millis()));
        let (_, (after, fate)) = script
            .iter()
            .find(|(text, _)| address(text) == to)
            .copied()
            .unwrap();
        async move {
            match after {
                u64::MAX => std::future::pending().await,
                after => sleep(Duration::from_millis(after)).await,
            }
            fate.map(|()| to).map_err(io::Error::from)
        }
    })
    .await
    .map_err(|failed| {
        failed
            .into_iter()
            .map(|(address, error)| (address, error.kind()))
            .collect()
    });
    (result, began.elapsed().as_millis(), attempts.into_inner())
}

#[tokio::test(start_paused = true)]
async fn a_family_that_leads_nowhere_costs_a_quarter_of_a_second() {
    let script = [
        ("[2001:db8::1]:1", NEVER),
        ("[2001:db8::2]:1", NEVER),
        ("192.0.2.1:1", (30, Ok(()))),
    ];
    let (result, after, attempts) = play(&script).await;
    assert_eq!(result, Ok(address("192.0.2.1:1")));
    assert_eq!(after, 280);
    let expected = [
        (address("[2001:db8::1]:1"), 0),
        (address("192.0.2.1:1"), 250),
    ];
    assert_eq!(attempts, expected);
}

#[tokio::test(start_paused = true)]
async fn a_slow_address_may_still_be_the_first_to_connect() {
    let script = [
        ("192.0.2.1:1", (300, Ok(()))),
        ("192.0.2.2:1", (100, Ok(()))),
    ];
    let (result, after, _) = play(&script).await;
    assert_eq!((result, after), (Ok(address("192.0.2.1:1")), 300));
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_the_next_address_is_tried_at_once() {
    let refused = (5, Err(io::ErrorKind::ConnectionRefused));
    let script = [("192.0.2.1:1", refused), ("192.0.2.2:1", (1, Ok(())))];
    let (result, after, _) = play(&script).await;
    assert_eq!((result, after), (Ok(address("192.0.2.2:1")), 6));
}

#[tokio::test(start_paused = true)]
async fn who_cannot_connect_is_told_all_that_was_tried() {
    let script = [
        ("192.0.2.1:1", (1000, Err(io::ErrorKind::TimedOut))),
        ("192.0.2.2:1", (10, Err(io::ErrorKind::ConnectionRefused))),
    ];
    let (result, after, _) = play(&script).await;
    let failed = vec![
        (address("192.0.2.2:1"), io::ErrorKind::ConnectionRefused),
        (address("192.0.2.1:1"), io::ErrorKind::TimedOut),
    ];
    assert_eq!((result, after), (Err(failed), 1000));
    assert_eq!(play(&[]).await.0, Err(Vec::new()));
}
