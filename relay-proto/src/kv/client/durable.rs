//! The durable dialect: the session with a service.

use crate::{
    Deadline, Frame, LinkId, Time,
    kv::wire::{Grant, Resume},
    link::Uplink,
    session::{Body, Haste, Progress, RetentionLimits, Session, SessionId},
};
use alloc::string::{String, ToString};
use bytes::Bytes;
use core::time::Duration;

/// How many bytes may wait for the transport before more is handed out: enough to keep a fast link busy between two
/// wake-ups. What is not handed out can still be overtaken.
pub(super) const WINDOW: usize = 128 << 10;

/// The shortest time between two signs of life, whatever the service asks for.
const SHORTEST_HEARTBEAT: Duration = Duration::from_secs(1);

/// What the service does that a session does not allow, for people.
pub(super) type Violation = String;

#[derive(Debug)]
pub(super) struct Durable {
    id: SessionId,
    session: Session,
    haste: Haste,
    heartbeat: Duration,
    /// When to show life on the link there is.
    beat_at: Time,
    max_calls: u64,
    progress: Progress,
}

impl Durable {
    /// A new session, on this link.
    pub(super) fn granted(now: Time, link: LinkId, grant: &Grant) -> Result<Self, Violation> {
        let mut durable = Self {
            id: grant.session,
            session: Session::new(now, grant.expires_in, RetentionLimits::default()),
            haste: Haste::default(),
            heartbeat: SHORTEST_HEARTBEAT,
            beat_at: now,
            max_calls: 1,
            progress: Progress::new(),
        };
        durable.go_on(now, link, grant)?;
        Ok(durable)
    }

    /// Goes on on another link.
    pub(super) fn go_on(
        &mut self,
        now: Time,
        link: LinkId,
        grant: &Grant,
    ) -> Result<(), Violation> {
        let attached = self.session.attach(link, grant.receive_next);
        attached.map_err(|error| error.to_string())?;
        self.session.set_expiry(grant.expires_in);
        self.heartbeat = grant.heartbeat.max(SHORTEST_HEARTBEAT);
        self.beat_at = now.after(self.heartbeat);
        self.max_calls = grant.max_calls;
        self.haste.hurry();
        Ok(())
    }

    pub(super) const fn id(&self) -> SessionId {
        self.id
    }

    pub(super) const fn max_calls(&self) -> u64 {
        self.max_calls
    }

    /// How to ask for it. However late it is: the service's word decides.
    pub(super) fn resume(&self) -> Resume {
        Resume {
            session: self.id,
            receive_next: self.session.receive_next(),
        }
    }

    /// The link is lost; whether the session should be given up, since it gets nowhere.
    pub(super) fn link_lost(&mut self, now: Time) -> bool {
        self.leave(now);
        self.progress.link_lost(&self.session)
    }

    /// The link is none of the session's any longer.
    pub(super) fn leave(&mut self, now: Time) {
        if let Some(link) = self.session.link() {
            self.session.detach(now, link);
        }
    }

    /// What is new in a message from the link.
    pub(super) fn receive(&mut self, message: &Bytes) -> Result<Option<Bytes>, Violation> {
        let Some(link) = self.session.link() else {
            return Ok(None);
        };
        let delivery = self.session.handle_frame(link, message);
        let Some(delivery) = delivery.map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        // It is worked off before anything else happens, and this client lives as long as its sessions.
        self.session.take_over(delivery.seq);
        match delivery.body {
            Body::Control(word) => Ok(Some(word)),
            Body::Data { .. } => Err("bytes of a channel where there are none".into()),
        }
    }

    /// Whether something of this length is taken, as far as that can be told before it is written.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let (waiting, _) = self.session.unacknowledged();
        waiting == 0 || self.session.room() >= bytes
    }

    /// Says something for which the service waits; whether there was room for it.
    pub(super) fn say(&mut self, word: &[u8]) -> bool {
        self.haste.hurry();
        self.session.send(Body::Control(word)).is_ok()
    }

    /// What can wait goes out as well with the next [`flush`](Self::flush).
    pub(super) const fn hurry(&mut self) {
        self.haste.hurry();
    }

    /// Hands out what there is to say, as far as the link takes it.
    pub(super) fn flush(&mut self, now: Time, uplink: &mut Uplink) {
        if self.session.link().is_none() {
            return;
        }
        while uplink.unwritten_bytes() < WINDOW {
            let is_now = self.haste.is_now(now, self.session.untold());
            let next = if is_now {
                self.session.poll_frame()
            } else {
                self.session.poll_numbered()
            };
            let Some(frame) = next else {
                if is_now {
                    self.haste.went_out(false);
                } else {
                    self.haste.held_back(now, self.session.untold() > 0);
                }
                return;
            };
            uplink.send(Frame::Binary(frame));
            self.beat_at = now.after(self.heartbeat);
        }
        self.haste.went_out(true);
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.session.link()?;
        let beat = Deadline {
            at: self.beat_at,
            timer: "beat",
        };
        Deadline::earliest([Some(beat), self.haste.deadline()])
    }

    /// Shows life where it is time to.
    pub(super) fn beat(&mut self, now: Time) {
        if self.session.link().is_some() && self.beat_at <= now {
            self.session.beat();
            self.haste.hurry();
            self.beat_at = now.after(self.heartbeat);
        }
    }
}
