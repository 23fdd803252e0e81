//! Whether a session gets anywhere.

use super::Session;

/// How many links in a row may be lost without anything having got through before what was being sent makes way: it may be
/// what the links break at, and a session holds it until it has arrived.
pub(crate) const FRUITLESS_LINKS: u32 = 3;

/// Watches what gets through on the links of a session.
#[derive(Debug)]
pub(crate) struct Progress {
    /// What had got through, in either direction, when the last link was lost.
    got_through: (u64, u64),
    fruitless_links: u32,
}

impl Progress {
    /// Nothing has got through yet.
    pub(crate) const fn new() -> Self {
        Self {
            got_through: (0, 1),
            fruitless_links: 0,
        }
    }

    /// The session's link is lost; whether the session should be given up, since it gets nowhere.
    pub(crate) fn link_lost(&mut self, session: &Session) -> bool {
        let got_through = (session.acknowledged(), session.receive_next());
        let (waiting, _) = session.unacknowledged();
        if waiting > 0 && got_through == self.got_through {
            self.fruitless_links += 1;
        } else {
            self.fruitless_links = 0;
        }
        self.got_through = got_through;
        self.fruitless_links >= FRUITLESS_LINKS
    }
}
