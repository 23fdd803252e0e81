//! One end of a session.

use super::{
    Body, ResumeError, RetentionLimits, SendError, SessionError,
    arrivals::{Arrivals, Order},
    frame::Header,
    retention::Retention,
};
use crate::{Deadline, LinkId, Time};
use bytes::Bytes;
use core::time::Duration;

/// One end of a session: numbers, keeps and repeats what it sends, and sorts out what it receives. Both ends are alike.
///
/// A session outlives its links. It is born without one, [attached](Self::attach) to one at a time, and gone when it was
/// without one for too long. The module's page shows how an owner uses it.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, Hash))]
pub struct Session {
    state: State,
    expires_in: Duration,
    sent: Retention,
    arrived: Arrivals,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone, Hash))]
enum State {
    Attached(Attached),
    Detached { since: Time },
    Gone,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone, Hash))]
struct Attached {
    link: LinkId,
    /// The number of the next frame to hand to this link.
    next: u64,
    /// The highest acknowledgement that was handed to this link.
    told: u64,
    /// An acknowledgement goes out even if it says nothing new.
    beat: bool,
}

/// A frame that has arrived for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a number and what it numbers")]
pub struct Delivery {
    /// The frame's number, for [`Session::take_over`].
    pub seq: u64,
    /// What it carries.
    pub body: Body<Bytes>,
}

impl Session {
    /// A session in which nothing was sent yet; without a link since `now`, it is gone after `expires_in`.
    pub fn new(now: Time, expires_in: Duration, limits: RetentionLimits) -> Self {
        Self {
            state: State::Detached { since: now },
            expires_in,
            sent: Retention::new(limits),
            arrived: Arrivals::default(),
        }
    }

    // ---- links ----

    /// Goes on on this link, from the frame the peer wants next; a new session begins with 1.
    ///
    /// Returns the older link, if there is one: it is fenced, so that nothing that still comes from it counts, and has to
    /// be closed. Everything unacknowledged from `peer_receive_next` on is handed out again.
    ///
    /// A client that does not wait for the peer's word begins with its [`resend_from`](Self::resend_from), and calls this once
    /// more for the same link when the word is there: what the peer has is then left out. It should do so only in a new
    /// session or where that is above 1: else, if the session turns out to be gone, what it sent would fit into another.
    ///
    /// # Errors
    ///
    /// If the session is gone or the peer's number cannot be true. The session then stays where it is, since a link that
    /// cannot go on must not cut one that can.
    pub fn attach(
        &mut self,
        link: LinkId,
        peer_receive_next: u64,
    ) -> Result<Option<LinkId>, ResumeError> {
        if self.is_gone() {
            return Err(ResumeError::Unknown);
        }
        let (first, sent) = (self.sent.first(), self.sent.handed());
        if peer_receive_next < first {
            return Err(ResumeError::Behind {
                receive_next: peer_receive_next,
                first,
            });
        }
        if peer_receive_next > sent + 1 {
            return Err(ResumeError::Ahead {
                receive_next: peer_receive_next,
                sent,
            });
        }
        let older = self.link();
        if let State::Attached(attached) = &mut self.state
            && attached.link == link
        {
            attached.next = attached.next.max(peer_receive_next);
            return Ok(None);
        }
        self.state = State::Attached(Attached {
            link,
            next: peer_receive_next,
            told: 0,
            beat: false,
        });
        Ok(older)
    }

    /// The link has ended; whether it was this session's. An older one ends without a word here.
    pub fn detach(&mut self, now: Time, link: LinkId) -> bool {
        let ours = self.link() == Some(link);
        if ours {
            self.state = State::Detached { since: now };
        }
        ours
    }

    /// The link the session goes on on.
    pub const fn link(&self) -> Option<LinkId> {
        match &self.state {
            State::Attached(attached) => Some(attached.link),
            State::Detached { .. } | State::Gone => None,
        }
    }

    // ---- sending ----

    /// Whether [`send`](Self::send) would take this now.
    pub fn has_room(&self, body: Body<&[u8]>) -> bool {
        !self.is_gone() && self.sent.has_room(self.arrived.taken(), body)
    }

    /// How long a payload [`send`](Self::send) would take now for certain; zero where it is full.
    pub fn room(&self) -> usize {
        if self.is_gone() { 0 } else { self.sent.room() }
    }

    /// Numbers a frame and keeps it until the peer acknowledges it; returns its number, which it has for good.
    ///
    /// What is urgent has to be chosen before: nothing overtakes within a session. Without a link the frame waits for one.
    ///
    /// # Errors
    ///
    /// If there is no room or no data, or the session is gone. A frame larger than all the session keeps is taken when
    /// nothing else is kept.
    pub fn send(&mut self, body: Body<&[u8]>) -> Result<u64, SendError> {
        if self.is_gone() {
            return Err(SendError::Gone);
        }
        if matches!(body, Body::Data { payload: [], .. }) {
            return Err(SendError::NoData);
        }
        let ack = self.arrived.taken();
        self.sent.push(ack, body).ok_or(SendError::Full)
    }

    /// The next binary message for the link, if there is a link and something to say.
    ///
    /// Numbered frames come first, the ones to be repeated among them in their order; then, if what is taken over was
    /// not told by any of them, one acknowledgement. A link that takes no more need not be given more: the rest waits.
    #[must_use]
    pub fn poll_frame(&mut self) -> Option<Bytes> {
        if let Some(frame) = self.poll_numbered() {
            return Some(frame);
        }
        let State::Attached(attached) = &mut self.state else {
            return None;
        };
        let taken = self.arrived.taken();
        if attached.told < taken || attached.beat {
            attached.told = taken;
            attached.beat = false;
            return Some(self.sent.acknowledgement(taken));
        }
        None
    }

    /// The same without an acknowledgement alone: it waits for a numbered frame to ride on, or for a call of
    /// [`poll_frame`](Self::poll_frame), which should not be long in coming where something is [`untold`](Self::untold).
    #[must_use]
    pub fn poll_numbered(&mut self) -> Option<Bytes> {
        let State::Attached(attached) = &mut self.state else {
            return None;
        };
        // The peer may have acknowledged on an older link, later than its last word was sent.
        attached.next = attached.next.max(self.sent.first());
        if let Some(retained) = self.sent.hand_out(attached.next) {
            attached.next += 1;
            attached.told = attached.told.max(retained.ack);
            attached.beat = false;
            return Some(retained.frame.clone());
        }
        None
    }

    /// How many frames are taken over that this link has not been told of; none without a link.
    pub fn untold(&self) -> u64 {
        match &self.state {
            State::Attached(attached) => self.arrived.taken().saturating_sub(attached.told),
            State::Detached { .. } | State::Gone => 0,
        }
    }

    /// Has something go out by the next [`poll_frame`](Self::poll_frame), so that the peer sees life.
    pub const fn beat(&mut self) {
        if let State::Attached(attached) = &mut self.state {
            attached.beat = true;
        }
    }

    // ---- receiving ----

    /// Takes a binary message from a link. Returns what is new in it; its bytes are a slice of `message`.
    ///
    /// There is nothing new in an acknowledgement, in a frame seen before, and in anything from a link that is not the
    /// session's.
    ///
    /// # Errors
    ///
    /// If the message is no frame, skips a number, or acknowledges what was never sent. Nothing has changed then.
    pub fn handle_frame(
        &mut self,
        link: LinkId,
        message: &Bytes,
    ) -> Result<Option<Delivery>, SessionError> {
        if self.link() != Some(link) {
            return Ok(None);
        }
        let (ack, numbered) = match Header::decode(message)? {
            Header::Acknowledgement { ack } => (ack, None),
            Header::Numbered { seq, ack, content } => (ack, Some((seq, content))),
        };
        let sent = self.sent.handed();
        if ack > sent {
            return Err(SessionError::NeverSent { ack, sent });
        }
        let order = match &numbered {
            Some((seq, _)) => self.arrived.order(*seq),
            None => Order::Seen,
        };
        if let (Order::Gap(expected), Some((seq, _))) = (order, &numbered) {
            let seq = *seq;
            return Err(SessionError::Gap { seq, expected });
        }
        self.sent.acknowledge(ack);
        if order != Order::Next {
            return Ok(None);
        }
        self.arrived.deliver();
        Ok(numbered.map(|(seq, content)| Delivery {
            seq,
            body: content.of(message),
        }))
    }

    /// The owner answers for this frame from now on, so the peer may forget it.
    ///
    /// It is acknowledged once all before it are taken over, too; the owner may do so in any order. It must not depend on
    /// anything the peer has yet to send. Numbers that were not delivered are ignored.
    pub fn take_over(&mut self, seq: u64) {
        self.arrived.take_over(seq);
    }

    /// Takes a message like [`handle_frame`](Self::handle_frame), where all of it is answered at once, or kept for as long as the
    /// session. Says besides whether there was anything new in it, an acknowledgement included.
    pub(crate) fn take_in(
        &mut self,
        link: LinkId,
        message: &Bytes,
    ) -> Result<(Option<Delivery>, bool), SessionError> {
        let acknowledged = self.acknowledged();
        let delivery = self.handle_frame(link, message)?;
        if let Some(delivery) = &delivery {
            self.take_over(delivery.seq);
        }
        let is_new = delivery.is_some() || self.acknowledged() > acknowledged;
        Ok((delivery, is_new))
    }

    // ---- the end ----

    /// How long the session lives without a link; also where it has none already, counted from the loss of the last.
    pub const fn set_expiry(&mut self, expires_in: Duration) {
        self.expires_in = expires_in;
    }

    /// How long the session lives without a link.
    pub const fn expires_in(&self) -> Duration {
        self.expires_in
    }

    /// When the session is gone if no link comes; never while it has one.
    pub const fn deadline(&self) -> Option<Deadline> {
        match self.state {
            State::Detached { since } => Some(Deadline {
                at: since.after(self.expires_in),
                timer: "session expiry",
            }),
            State::Attached(_) | State::Gone => None,
        }
    }

    /// Ends the session if its time without a link is over; true the one time it does.
    pub fn handle_timeout(&mut self, now: Time) -> bool {
        let over = self.deadline().is_some_and(|deadline| deadline.at <= now);
        if over {
            self.end();
        }
        over
    }

    /// Ends the session: by agreement, by a broken protocol, or because the peer says it is gone.
    ///
    /// What is not acknowledged by now may have arrived or not; [`acknowledged`](Self::acknowledged) and
    /// [`sent`](Self::sent) tell which frames that is.
    pub fn end(&mut self) {
        self.state = State::Gone;
        self.sent.clear();
    }

    /// Whether the session has ended. Everything is refused or ignored from then on.
    pub const fn is_gone(&self) -> bool {
        matches!(self.state, State::Gone)
    }

    // ---- numbers ----

    /// The number of the next frame to arrive: the `receiveNext` for the peer.
    pub fn receive_next(&self) -> u64 {
        self.arrived.next()
    }

    /// The first frame the peer has not acknowledged, or the next one: where it is safe to begin again without its word.
    pub const fn resend_from(&self) -> u64 {
        self.sent.first()
    }

    /// All frames up to this number are taken over by the peer.
    pub const fn acknowledged(&self) -> u64 {
        self.sent.first() - 1
    }

    /// The highest number that was ever handed out; frames after it have certainly not arrived.
    pub const fn sent(&self) -> u64 {
        self.sent.handed()
    }

    /// All frames up to this number are taken over by the owner.
    pub const fn taken_over(&self) -> u64 {
        self.arrived.taken()
    }

    /// How many frames are kept until the peer acknowledges them, and their bytes.
    pub fn unacknowledged(&self) -> (usize, usize) {
        (self.sent.len(), self.sent.bytes())
    }

    /// How many delivered frames are not acknowledged to the peer: the owner's backlog, to be bounded by not reading.
    pub fn not_taken_over(&self) -> usize {
        self.arrived.waiting()
    }

    /// Lets go of memory that is kept for speed; for a session that has fallen silent.
    pub fn release_memory(&mut self) {
        self.sent.release();
        self.arrived.release();
    }
}
