//! The mail client.
