//! Events for any number of readers, none of which can hold up the machine.

use futures_util::{Stream, stream};
use relay_proto::Missed;
use tokio::sync::broadcast::{Receiver, Sender, error::RecvError};

/// Events kept for a reader that is behind; beyond that it is told how many it has missed.
const KEPT: usize = 1024;

pub(crate) fn sender<E: Clone>() -> Sender<E> {
    Sender::new(KEPT)
}

pub(crate) fn stream<E: Clone + Send + 'static>(
    news: Receiver<E>,
) -> impl Stream<Item = Result<E, Missed>> + Send + Unpin {
    Box::pin(stream::unfold(news, |mut news| async {
        let item = match news.recv().await {
            Ok(event) => Ok(event),
            Err(RecvError::Lagged(count)) => Err(Missed(count)),
            Err(RecvError::Closed) => return None,
        };
        Some((item, news))
    }))
}

/// Hears all news there are until the machine ends, and returns the last that was looked for.
pub(crate) async fn last<E: Clone, T>(
    mut news: Receiver<E>,
    find: impl Fn(E) -> Option<T>,
) -> Option<T> {
    let mut found = None;
    loop {
        match news.recv().await {
            Ok(event) => found = find(event).or(found),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return found,
        }
    }
}
