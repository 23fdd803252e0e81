//! The frames between client and relay.
