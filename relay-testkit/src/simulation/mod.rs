//! Client, relay and a scripted mail server on a virtual network, on virtual time, from one seed: cuts, half-open links,
//! zombies, stalls, deaths with and without disks, failing disks, clocks that jump. An oracle judges after every step.
//!
//! `cargo run --release -p relay-testkit -- --seeds 1000000` runs a million of them; a seed that fails is made smaller and told
//! as a trace, and `--seed N` runs it alone.

mod disk;
mod exhaustive;
mod host;
mod mailbox;
mod network;
mod oracle;
mod plan;
mod run;
mod trace;
mod world;

pub use disk::Disk;
pub use exhaustive::{Exhaustive, every_cut};
pub use host::Node;
pub use mailbox::Moods;
pub use network::{Break, Faults, Network};
pub use oracle::{Fate, Oracle, Verdict};
pub use plan::{Moments, Plan};
pub use run::{Failure, Tally, run, run_many, survey};
pub use trace::Trace;
pub use world::{World, mail};
