//! Some thousand runs of the simulation, and every place at which the wire can break.

use relay_testkit::simulation::{self, Plan, Trace};

#[test]
fn nothing_is_lost_and_nothing_comes_twice_whatever_goes_wrong() {
    let seeds = std::env::var("SEEDS").map_or(300, |seeds| seeds.parse().expect("a number"));
    let tally = simulation::run_many(0..seeds).unwrap_or_else(|failure| panic!("{failure}"));
    println!("{tally}");
    assert!(
        tally.messages.iter().all(|count| *count > 0),
        "the faults hit where it matters: {tally}"
    );
    assert!(
        tally.sent_again > 0 && tally.restored > 0 && tally.reconnects > 0,
        "{tally}"
    );
}

#[test]
fn a_seed_gives_the_same_run_each_time() {
    for seed in 0..20 {
        let [one, other] = [(); 2].map(|()| {
            let trace = Trace::kept();
            simulation::run(&Plan::of(seed), trace.clone());
            trace.lines()
        });
        assert!(!one.is_empty());
        assert_eq!(one, other, "seed {seed}");
    }
}
