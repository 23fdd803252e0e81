//! Mail through a relay: the client and the relay, the frames between them, and the record of what became of deliveries.
pub mod client;
mod delivery_id;
pub mod ledger;
#[cfg(feature = "lettre")]
pub mod lettre;
mod outcome;
pub mod relay;
pub mod wire;

pub use delivery_id::{DeliveryId, DeliveryIdError};
pub use outcome::Outcome;
