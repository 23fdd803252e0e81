//! The relay on virtual time, with scripted clients and upstreams.

mod access;
mod channels;
mod deliveries;
mod draining;
mod early;
mod every_input;
mod fairness;
mod flights;
mod floods;
mod links;
mod messages;
mod peer;
mod pipelining;
mod pool;
mod rates;
mod revocation;
mod rig;
mod sessions;
mod sleep;
mod smuggling;
mod streaming;
mod upstreams;
mod violations;
