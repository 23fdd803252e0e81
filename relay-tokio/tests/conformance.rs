//! This binding before the judge of all bindings.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod binding;

fn main() {
    relay_testkit::judge::<binding::Tokio>();
}
