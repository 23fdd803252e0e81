//! A clock that a test can stop: tokio's.

use crate::Clock;
use std::time::Instant;
use tokio::time;

#[derive(Clone, Debug)]
pub(crate) enum TestClock {}

impl Clock for TestClock {
    fn now() -> Instant {
        time::Instant::now().into_std()
    }

    async fn sleep_until(at: Instant) {
        time::sleep_until(at.into()).await;
    }
}
