//! The program itself as the relay that is killed: `relay serve --ledger`, with clients on tokio.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../relay-tokio/tests/binding/mod.rs"]
mod binding;

fn main() -> std::process::ExitCode {
    let relay = env!("CARGO_BIN_EXE_relay");
    relay_testkit::torture_with::<binding::Tokio>(Some(relay.into()))
}
