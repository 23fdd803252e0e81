//! What a ledger says.

#[cfg(doc)]
use super::Ledger;
use crate::{
    mail::{DeliveryId, Outcome},
    storage::StorageError,
};
use alloc::sync::Arc;

/// What a ledger knows of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third")]
pub enum Known<'a> {
    /// Its end of data is forwarded or about to be. It must not be sent again; [`LedgerEvent::Settled`] or
    /// [`LedgerEvent::NotBegun`] follows.
    UnderWay,
    /// This became of it.
    Settled(&'a Outcome),
}

/// Why a delivery cannot begin. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotBegun {
    /// It is known: see [`Ledger::look_up`].
    #[error("the delivery has begun before")]
    Known,
    /// As many as the ledger holds are under way.
    #[error("as many deliveries as the ledger holds are under way")]
    Full,
    /// The storage does not work.
    #[error("the delivery cannot be written down: {0}")]
    Storage(StorageError),
}

/// News from a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LedgerEvent {
    /// The intent is stored: the end of data may be forwarded.
    Begun {
        /// Whose delivery.
        account: Arc<str>,
        /// Which.
        delivery: DeliveryId,
    },
    /// The intent could not be stored: the end of data must not be forwarded, and the delivery is forgotten.
    NotBegun {
        /// Whose delivery.
        account: Arc<str>,
        /// Which.
        delivery: DeliveryId,
        /// Why.
        error: StorageError,
    },
    /// The outcome is stored: whoever asks may be told.
    Settled {
        /// Whose delivery.
        account: Arc<str>,
        /// Which.
        delivery: DeliveryId,
    },
    /// An outcome was forgotten before its time to make room for newer ones.
    Forgotten {
        /// Whose delivery.
        account: Arc<str>,
        /// Which.
        delivery: DeliveryId,
    },
    /// The storage has begun to fail. Nothing begins, and outcomes are held back, until it works again.
    StorageFailed {
        /// Why.
        error: StorageError,
    },
    /// The storage works again.
    StorageRecovered,
}
