//! What other threads tell the hub, besides calls.

use crate::{dial::Found, network::Network, socket::Security};
use mio::Waker;
use relay_proto::{
    Closure, LinkId, Stopped,
    storage::{BatchId, StorageError},
};
use std::sync::{Arc, mpsc::Sender};

pub(crate) enum Report {
    /// A name lookup is over.
    Found { link: LinkId, found: Box<Found> },
    /// TLS with the host of a link can start, or cannot.
    Prepared {
        link: LinkId,
        security: Box<Result<Security, Closure>>,
    },
    /// A batch is stored, or is not.
    Stored {
        batch: BatchId,
        result: Result<(), StorageError>,
    },
    /// Doors are to be opened or closed.
    Listen(Box<dyn FnOnce(&mut Network) + Send>),
}

/// The way to tell the hub something.
#[derive(Clone)]
pub(crate) struct Reporter {
    reports: Sender<Report>,
    bell: Arc<Waker>,
}

impl Reporter {
    pub(crate) const fn new(reports: Sender<Report>, bell: Arc<Waker>) -> Self {
        Self { reports, bell }
    }

    /// An error once the hub has ended.
    pub(crate) fn report(&self, report: Report) -> Result<(), Stopped> {
        self.reports.send(report).map_err(|_| Stopped)?;
        self.ring();
        Ok(())
    }

    /// Wakes the hub.
    pub(crate) fn ring(&self) {
        if let Err(error) = self.bell.wake() {
            tracing::warn!(%error, "cannot wake the thread of the network");
        }
    }
}
