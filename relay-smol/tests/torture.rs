//! This binding's processes, killed and cut off: `cargo test --release -p relay-smol --test torture -- --messages 10000 --kills 300 --cuts 300`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod binding;

fn main() -> std::process::ExitCode {
    relay_testkit::torture::<binding::Smol>()
}
