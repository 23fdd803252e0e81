//! This binding's processes, killed and cut off: `cargo test --release -p relay-async-std --test torture -- --messages 10000 --kills 300 --cuts 300`.

mod binding;

fn main() -> std::process::ExitCode {
    relay_testkit::torture::<binding::AsyncStd>()
}
