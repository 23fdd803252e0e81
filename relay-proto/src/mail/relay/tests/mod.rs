//! The relay on virtual time, with scripted clients and upstreams.

mod access;
mod channels;
mod every_input;
mod flights;
mod links;
mod pipelining;
mod pool;
mod rig;
mod streaming;
mod upstreams;
