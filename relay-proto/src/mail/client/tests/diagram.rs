//! Draws the table of states. The places are chosen by hand; the arrows come from the table.

use super::*;
use ConnectionState::*;
use core::fmt::Write;

/// How far a box reaches from its middle.
const HALF: (f64, f64) = (62.0, 15.0);

/// What every state of a live link may become; drawn once, from the frame around these states.
const ENDS: [ConnectionState; 3] = [Reconnecting, Failed, Disconnected];

const fn place(state: ConnectionState) -> (f64, f64) {
    match state {
        Disconnected => (330.0, 25.0),
        Connecting => (330.0, 125.0),
        Connected => (80.0, 160.0),
        Authenticating => (330.0, 195.0),
        Authenticated => (330.0, 265.0),
        ChannelOpening => (330.0, 335.0),
        ChannelReady => (330.0, 405.0),
        ChannelError => (490.0, 370.0),
        Reconnecting => (690.0, 160.0),
        Failed => (690.0, 300.0),
    }
}

/// Where an arrow that would run through a box passes instead.
const fn detour(from: ConnectionState, to: ConnectionState) -> Option<(f64, f64)> {
    match (from, to) {
        (ChannelReady, Authenticated) => Some((205.0, 335.0)),
        (ChannelError, Authenticated) => Some((490.0, 280.0)),
        (Failed, Disconnected) => Some((960.0, 20.0)),
        _ => None,
    }
}

fn live_states() -> impl Iterator<Item = ConnectionState> {
    let may_end = |state: &ConnectionState| ENDS.iter().all(|end| state.may_become(*end));
    ConnectionState::ALL.into_iter().filter(may_end)
}

/// The frame around the live states: left, top, right, bottom.
fn frame() -> (f64, f64, f64, f64) {
    let none = (f64::MAX, f64::MAX, f64::MIN, f64::MIN);
    let around = live_states().map(place).fold(none, |frame, (x, y)| {
        let (left, top, right, bottom) = frame;
        (left.min(x), top.min(y), right.max(x), bottom.max(y))
    });
    let (left, top, right, bottom) = around;
    let (x, y) = (HALF.0 + 18.0, HALF.1 + 18.0);
    (left - x, top - y, right + x, bottom + y)
}

/// Where a line from `towards` to the middle of a box meets its edge.
fn edge(middle: (f64, f64), towards: (f64, f64)) -> (f64, f64) {
    let (x, y) = (towards.0 - middle.0, towards.1 - middle.1);
    let scale = (HALF.0 / x.abs()).min(HALF.1 / y.abs());
    (middle.0 + x * scale, middle.1 + y * scale)
}

fn arrow(svg: &mut String, from: (f64, f64), via: (f64, f64), to: (f64, f64)) {
    let ((a, b), (c, d), (e, f)) = (from, via, to);
    writeln!(
        svg,
        "<path d='M{a:.0} {b:.0}Q{c:.0} {d:.0} {e:.0} {f:.0}' marker-end='url(#tip)'/>"
    )
    .unwrap();
}

fn middle(from: (f64, f64), to: (f64, f64)) -> (f64, f64) {
    (f64::midpoint(from.0, to.0), f64::midpoint(from.1, to.1))
}

fn diagram() -> String {
    let mut svg = String::from(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 830 450' width='830' fill='none' stroke='currentColor' \
         font-family='sans-serif' font-size='13'>\n\
         <defs><marker id='tip' viewBox='0 0 8 8' refX='8' refY='4' markerWidth='8' markerHeight='8' orient='auto'>\
         <path d='M0 0L8 4L0 8Z' fill='currentColor' stroke='none'/></marker></defs>\n",
    );
    let (left, top, right, bottom) = frame();
    let (width, height) = (right - left, bottom - top);
    writeln!(
        svg,
        "<rect x='{left:.0}' y='{top:.0}' width='{width:.0}' height='{height:.0}' rx='10' stroke-dasharray='4 4'/>"
    )
    .unwrap();
    for to in ENDS {
        let (x, y) = place(to);
        // To the right those beside the frame, upwards those above it.
        let (from, to) = if x > right {
            ((right, y), (x - HALF.0, y))
        } else {
            ((x - 30.0, top), (x - 30.0, y + HALF.1))
        };
        arrow(&mut svg, from, middle(from, to), to);
    }
    for from in ConnectionState::ALL {
        for &to in from.successors() {
            if live_states().any(|state| state == from) && ENDS.contains(&to) {
                continue;
            }
            let via = detour(from, to).unwrap_or_else(|| middle(place(from), place(to)));
            let (start, end) = (edge(place(from), via), edge(place(to), via));
            arrow(&mut svg, start, via, end);
        }
    }
    for state in ConnectionState::ALL {
        let ((x, y), (half_width, half_height)) = (place(state), HALF);
        let (left, top) = (x - half_width, y - half_height);
        let (width, height, baseline) = (2.0 * half_width, 2.0 * half_height, y + 5.0);
        writeln!(
            svg,
            "<rect x='{left:.0}' y='{top:.0}' width='{width:.0}' height='{height:.0}' rx='5'/>\
             <text x='{x:.0}' y='{baseline:.0}' text-anchor='middle' fill='currentColor' stroke='none'>{state:?}</text>"
        )
        .unwrap();
    }
    svg + "</svg>\n"
}

/// Where it fails: `RELAY_DRAW=1 cargo test -p relay-proto diagram`, and look at the picture.
#[test]
fn the_diagram_shows_the_transition_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/mail/client/states.svg");
    if std::env::var_os("RELAY_DRAW").is_some() {
        std::fs::write(path, diagram()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), diagram());
}
