//! The front by hand, in virtual time: what clients say, what they are answered, and what the site hears of it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod chaos;
mod desk;
mod links;
mod requests;
