//! Every place at which the wire between client and relay can break, one after the other, in a fixed script: authenticate, then
//! three channels, one of them with a message of three chunks.
//!
//! A frame is a WebSocket message: one that is broken in its middle never arrives, so the places are the frames. Each is struck
//! when it is sent, which loses it and all that was under way before it.

use super::{
    network::Break,
    plan::Plan,
    run::{Tally, attempt, finish},
    trace::Trace,
    world::{World, mail},
};
use std::time::Duration;

/// How many frames behind a break are struck as well: the next link's introduction, its resumption and what is sent again.
const HANDSHAKE: u64 = 10;

/// What was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exhaustive {
    /// How many frames the script takes undisturbed.
    pub frames: u64,
    /// All runs together.
    pub tally: Tally,
}

fn script(plan: &Plan, breaks: &[(u64, Break)], trace: Trace) -> Tally {
    let mut world = World::new(plan, trace, |_| {});
    world.network.planned.extend(breaks.iter().copied());
    // The first takes three chunks of 16 KiB.
    for (number, length) in [(0, 40_000), (1, 10), (2, 10)] {
        let line = b"0123456789abcdef\r\n";
        let body = line.repeat(length / line.len() + 1);
        let (submission, content) = mail(number, &["bob@example.net"], &body);
        world.submit(number, submission, content);
    }
    world.run_for(Duration::from_secs(300));
    world.heal();
    // A planned break can leave the server's reply unread for as long as a relay waits for it.
    finish(&mut world, Duration::from_secs(900))
}

/// Breaks every frame of the script in every way, and every pair of a frame and one of those that follow it.
///
/// # Errors
///
/// What broke a promise, with the breaks and a trace.
pub fn every_cut(plan: &Plan) -> Result<Exhaustive, String> {
    const KINDS: [Break; 4] = [Break::Cut, Break::Dead, Break::Zombie, Break::Reset];
    let undisturbed = attempt(|| script(plan, &[], Trace::default()))?;
    let frames = undisturbed.frames;
    let mut tally = undisturbed;
    let mut try_out =
        |breaks: &[(u64, Break)]| match attempt(|| script(plan, breaks, Trace::default())) {
            Ok(more) => {
                tally.add(&more);
                Ok(())
            }
            Err(what) => {
                let trace = Trace::kept();
                let _ = attempt(|| script(plan, breaks, trace.clone()));
                Err(format!(
                    "{}\n\nbreaks at {breaks:?}: {what}",
                    trace.lines().join("\n")
                ))
            }
        };
    for frame in 1..=frames {
        for kind in KINDS {
            try_out(&[(frame, kind)])?;
            for next in frame + 1..=frame + HANDSHAKE {
                for second in KINDS {
                    try_out(&[(frame, kind), (next, second)])?;
                }
            }
        }
    }
    Ok(Exhaustive { frames, tally })
}
