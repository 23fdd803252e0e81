//! This binding before the judge of all bindings.

mod binding;

fn main() {
    relay_testkit::judge::<binding::AsyncStd>();
}
