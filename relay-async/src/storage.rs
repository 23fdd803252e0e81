//! The hub's side of a storage: what it answers comes as facts, and nothing waits for a disk on a task.

use relay_proto::{
    Input,
    storage::{BatchId, Storage, StorageError, Write},
};
use std::{io, thread};
use tokio::sync::{mpsc, oneshot};

/// The storage of one hub, if it has one.
pub(crate) struct Store {
    storage: Option<Box<dyn Storage>>,
    tell: mpsc::UnboundedSender<Input>,
}

impl Store {
    /// And where its answers come: as many as the machine has batches under way, which it bounds.
    pub(crate) fn new(storage: Option<Box<dyn Storage>>) -> (Self, mpsc::UnboundedReceiver<Input>) {
        let (tell, told) = mpsc::unbounded_channel();
        (Self { storage, tell }, told)
    }

    pub(crate) fn store(&mut self, batch: BatchId, writes: Vec<Write>) {
        let tell = self.tell.clone();
        let on_stored = move |result| {
            // A hub that has ended has no use for it.
            let _ = tell.send(Input::Stored { batch, result });
        };
        match &mut self.storage {
            Some(storage) => storage.store(writes, Box::new(on_stored)),
            None => on_stored(Err(StorageError::Absent)),
        }
    }

    /// Waits until the storage is closed.
    pub(crate) async fn close(self) {
        if let Some(storage) = self.storage
            && let Err(error) = elsewhere(move || drop(storage)).await
        {
            tracing::warn!(%error, "cannot say whether the storage is closed");
        }
    }
}

/// Does what waits for a disk on a thread of its own.
pub(crate) async fn elsewhere<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (tell, told) = oneshot::channel();
    thread::Builder::new()
        .name("relay-storage".to_owned())
        .spawn(move || {
            // Who no longer waits has gone.
            let _ = tell.send(work());
        })?;
    told.await.map_err(io::Error::other)
}
