//! The durable dialect: a session with a relay, and a channel of it for each submission under way.

use super::{
    ClientConfig, Timeouts,
    ahead::{Allowance, Terms},
    settlement::Delivery,
    submission::Work,
};
use crate::{
    CloseCode, Deadline, Frame, LinkId, Time,
    channels::{Channels, ChannelsConfig},
    link::Uplink,
    mail::{
        DeliveryId,
        wire::{DurableGrant, DurableRequest, Violation, Word, encode_word},
    },
    outbox::Entry,
    pacing::Window,
    session::{Body, Haste, Progress, RetentionLimits, Session, SessionId},
    smtp::{Capabilities, Conversation, Flight, ScriptRun},
};
use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    string::{String, ToString},
};
use bytes::Bytes;
use core::time::Duration;

/// How many bytes of content are encoded at a time: a frame of a channel, so that channels take turns and what is urgent
/// waits for no more.
const CHUNK: usize = 16 << 10;

/// What a chunk has more in its frame: its command, the envelope of most messages, and the line ends that were bare.
const OVERHEAD: usize = 1 << 10;

/// How many bytes may wait for the transport before more is handed out: enough to keep a fast link busy between two
/// wake-ups. What is not handed out can still be overtaken.
const WINDOW: usize = 128 << 10;

/// The shortest time between two signs of life, whatever the relay asks for.
const SHORTEST_HEARTBEAT: Duration = Duration::from_secs(1);

/// A session and what is under way in it.
#[derive(Debug)]
pub(super) struct Durable {
    /// None: it is not granted yet.
    id: Option<SessionId>,
    pub(super) session: Session,
    /// How much may be said on the present link before it is granted to go on there; none: it is granted.
    pub(super) ahead: Option<Allowance>,
    channels: Channels,
    /// By channel, in the order of sending.
    sendings: BTreeMap<u64, Sending>,
    /// Those that may have more to say and nothing waiting.
    talkative: BTreeSet<u64>,
    /// When the patience with each channel ends.
    alarms: BTreeSet<(Time, u64)>,
    window: Window,
    haste: Haste,
    capabilities: Capabilities,
    ledger_mark: String,
    heartbeat: Duration,
    /// When to show life on the link there is.
    beat_at: Time,
    /// The relay takes nothing new; its clients are to come back over so long.
    draining: Option<Duration>,
    progress: Progress,
}

/// A submission on a channel of its own.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) entry: Entry<Delivery>,
    pub(super) started: Time,
    pub(super) conversation: Box<dyn Conversation>,
    /// Where the relay's ledger stood when the channel was opened, which is no later than the end of data.
    mark: String,
    /// The relay has begun to work on it.
    pub(super) is_ready: bool,
    /// Counts only while there is a link.
    until: Time,
}

impl Sending {
    /// What it is about. Where the end of data was handed out and nobody knows what became of it, it says so.
    pub(super) fn into_entry(self) -> Entry<Delivery> {
        let Self {
            mut entry,
            conversation,
            mark,
            ..
        } = self;
        if conversation.is_past_end_of_data() {
            entry.item.sent_under.get_or_insert(mark);
        }
        entry
    }

    fn patience(&self, timeouts: &Timeouts) -> Duration {
        if self.conversation.is_past_end_of_data() {
            timeouts.outcome
        } else {
            timeouts.message
        }
    }
}

fn violation(reason: impl ToString) -> Violation {
    Violation {
        code: CloseCode::PROTOCOL_ERROR,
        reason: reason.to_string(),
    }
}

/// There is patience with the channel until then.
fn set_alarm(alarms: &mut BTreeSet<(Time, u64)>, channel: u64, sending: &mut Sending, at: Time) {
    alarms.remove(&(sending.until, channel));
    sending.until = at;
    alarms.insert((at, channel));
}

impl Durable {
    /// A new session, on this link.
    pub(super) fn granted(
        now: Time,
        link: LinkId,
        terms: &Terms,
        grant: DurableGrant,
        config: &ClientConfig,
    ) -> Result<Self, Violation> {
        let mut durable = Self::new(now, link, terms, config)?;
        durable.id = Some(grant.session);
        durable.take_terms(now, grant)?;
        Ok(durable)
    }

    /// A session in which nothing is sent yet, on this link and under these terms.
    pub(super) fn new(
        now: Time,
        link: LinkId,
        terms: &Terms,
        config: &ClientConfig,
    ) -> Result<Self, Violation> {
        let mut session = Session::new(now, Duration::MAX, RetentionLimits::default());
        session.attach(link, 1).map_err(violation)?;
        let granted = usize::try_from(terms.max_channels).unwrap_or(usize::MAX);
        let most = config.max_channels.max(1).min(granted);
        let channels = Channels::new(ChannelsConfig {
            max_channels: most,
            window: terms.window,
            peer_window: terms.window,
            frame: CHUNK + OVERHEAD,
            ..ChannelsConfig::default()
        });
        Ok(Self {
            id: None,
            session,
            ahead: None,
            channels,
            sendings: BTreeMap::new(),
            talkative: BTreeSet::new(),
            alarms: BTreeSet::new(),
            window: Window::new(most, terms.window),
            haste: Haste::default(),
            capabilities: terms.capabilities.clone(),
            ledger_mark: terms.ledger_mark.clone(),
            heartbeat: SHORTEST_HEARTBEAT,
            beat_at: now,
            draining: None,
            progress: Progress::new(),
        })
    }

    /// The relay grants what went ahead. All patience begins now. What was sent has come to this relay and to no other, so its
    /// ledger is the one to ask.
    pub(super) fn granted_now(
        &mut self,
        now: Time,
        grant: DurableGrant,
        timeouts: &Timeouts,
    ) -> Result<(), Violation> {
        self.id = Some(grant.session);
        self.go_on(now, grant, timeouts)?;
        for sending in self.sendings.values_mut() {
            sending.mark.clone_from(&self.ledger_mark);
        }
        Ok(())
    }

    /// What holds on this link.
    fn take_terms(&mut self, now: Time, grant: DurableGrant) -> Result<(), Violation> {
        if !grant.capabilities.pipelining || !grant.capabilities.chunking {
            return Err(violation(
                "the durable dialect is granted without PIPELINING and CHUNKING",
            ));
        }
        if let Some(link) = self.session.link() {
            let attached = self.session.attach(link, grant.receive_next);
            attached.map_err(violation)?;
        }
        self.session.set_expiry(grant.expires_in);
        self.capabilities = grant.capabilities;
        self.ledger_mark = grant.ledger_mark;
        self.heartbeat = grant.heartbeat.max(SHORTEST_HEARTBEAT);
        self.beat_at = now.after(self.heartbeat);
        self.draining = None;
        self.haste.hurry();
        Ok(())
    }

    /// Goes on on another link. All patience begins anew: the time without a link was nobody's fault on the channels.
    pub(super) fn resumed(
        &mut self,
        now: Time,
        link: LinkId,
        grant: DurableGrant,
        timeouts: &Timeouts,
    ) -> Result<(), Violation> {
        let receive_next = grant.receive_next;
        self.session.attach(link, receive_next).map_err(violation)?;
        self.go_on(now, grant, timeouts)
    }

    fn go_on(
        &mut self,
        now: Time,
        grant: DurableGrant,
        timeouts: &Timeouts,
    ) -> Result<(), Violation> {
        self.take_terms(now, grant)?;
        self.ahead = None;
        self.window.start_over();
        for (channel, sending) in &mut self.sendings {
            let at = now.after(sending.patience(timeouts));
            set_alarm(&mut self.alarms, *channel, sending, at);
        }
        Ok(())
    }

    /// How to ask for this session; none where it has expired and nobody misses it. One with something under way is asked for
    /// however late it is, since the relay's word decides.
    pub(super) fn request(&mut self, now: Time) -> Option<DurableRequest> {
        if self.sendings.is_empty() {
            self.session.handle_timeout(now);
        }
        let session = self.id.filter(|_| !self.session.is_gone())?;
        Some(DurableRequest::Resume {
            session,
            receive_next: self.session.receive_next(),
        })
    }

    /// The link is lost; whether the session should be given up, since it gets nowhere.
    pub(super) fn link_lost(&mut self, now: Time) -> bool {
        let Some(link) = self.session.link() else {
            return false;
        };
        self.session.detach(now, link);
        self.progress.link_lost(&self.session)
    }

    /// The client leaves the link.
    pub(super) fn leave(&mut self, now: Time) {
        if let Some(link) = self.session.link() {
            self.session.detach(now, link);
        }
        self.ahead = None;
    }

    pub(super) fn unacknowledged_bytes(&self) -> usize {
        self.session.unacknowledged().1
    }

    pub(super) const fn id(&self) -> Option<SessionId> {
        self.id
    }

    pub(super) const fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    pub(super) const fn ledger_mark(&self) -> &String {
        &self.ledger_mark
    }

    // ---- what is under way ----

    pub(super) fn has_sendings(&self) -> bool {
        !self.sendings.is_empty()
    }

    pub(super) fn count(&self) -> usize {
        self.sendings.len()
    }

    pub(super) fn any_ready(&self) -> bool {
        self.sendings.values().any(|sending| sending.is_ready)
    }

    pub(super) fn has_vacancy(&self, abreast: usize) -> bool {
        let under_way = self.sendings.len();
        self.draining.is_none() && under_way < abreast && self.window.has_room(under_way)
    }

    /// Over which time to come back, where the relay wants to be left and nothing keeps us.
    pub(super) fn dismissed(&self) -> Option<Duration> {
        self.draining.filter(|_| self.sendings.is_empty())
    }

    /// The same where the link there is ends before that.
    pub(super) fn draining(&self) -> Option<Duration> {
        self.draining.filter(|_| self.session.link().is_some())
    }

    pub(super) fn drain(&mut self, spread: Option<Duration>) {
        self.draining = Some(spread.unwrap_or_default());
    }

    pub(super) fn sending(&mut self, channel: u64) -> Option<&mut Sending> {
        self.sendings.get_mut(&channel)
    }

    /// The channel a delivery is on.
    pub(super) fn channel_of(&self, delivery: DeliveryId) -> Option<u64> {
        let mut sendings = self.sendings.iter();
        sendings
            .find(|(_, sending)| sending.entry.item.id == delivery)
            .map(|(channel, _)| *channel)
    }

    /// Opens a channel for a submission. There has to be a [vacancy](Self::has_vacancy); otherwise it comes back.
    pub(super) fn open(
        &mut self,
        now: Time,
        entry: Entry<Delivery>,
        conversation: Box<dyn Conversation>,
        timeouts: &Timeouts,
    ) -> Option<Entry<Delivery>> {
        let Ok(channel) = self.channels.open(entry.priority) else {
            return Some(entry);
        };
        self.say(&Word::Open {
            channel,
            delivery: entry.item.name(),
            sent_under: entry.item.sent_under.clone(),
        });
        self.haste.hurry();
        self.window.begun(entry.item.submission.len());
        let sending = Sending {
            entry,
            started: now,
            conversation,
            mark: self.ledger_mark.clone(),
            is_ready: false,
            until: now.after(timeouts.message),
        };
        self.alarms.insert((sending.until, channel));
        self.sendings.insert(channel, sending);
        self.talkative.insert(channel);
        None
    }

    /// Ends a channel with our word; what of it has not left is not sent any more.
    pub(super) fn close(&mut self, channel: u64, reason: Option<&str>) -> Option<Sending> {
        let sending = self.remove(channel)?;
        self.channels.close(channel);
        self.say(&Word::Closed {
            channel,
            reason: reason.map(String::from),
            outcome: None,
        });
        Some(sending)
    }

    /// The relay has ended a channel.
    pub(super) fn closed(&mut self, channel: u64) -> Option<Sending> {
        self.channels.close(channel);
        self.remove(channel)
    }

    fn remove(&mut self, channel: u64) -> Option<Sending> {
        self.talkative.remove(&channel);
        let sending = self.sendings.remove(&channel)?;
        self.alarms.remove(&(sending.until, channel));
        self.window.ended(sending.entry.item.submission.len());
        Some(sending)
    }

    /// A message was accepted, so long after it was begun.
    pub(super) fn accepted(&mut self, after: Duration) {
        self.window.accepted(after);
    }

    /// Everything under way, in the order of its sending.
    pub(super) fn into_sendings(self) -> impl DoubleEndedIterator<Item = Sending> {
        self.sendings.into_values()
    }

    /// The submissions under way.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry<Delivery>> {
        self.sendings.values().map(|sending| &sending.entry)
    }

    fn say(&mut self, word: &Word) {
        self.channels.announce(encode_word(word));
    }

    // ---- receiving ----

    /// What is new in a message from the link.
    pub(super) fn receive(&mut self, frame: &Frame) -> Result<Option<Body<Bytes>>, Violation> {
        let Frame::Binary(message) = frame else {
            return Err(violation("a text message within a session"));
        };
        let Some(link) = self.session.link() else {
            return Ok(None);
        };
        let delivery = self
            .session
            .handle_frame(link, message)
            .map_err(violation)?;
        // It is worked off before anything else happens, and this client lives as long as its sessions.
        Ok(delivery.map(|delivery| {
            self.session.take_over(delivery.seq);
            delivery.body
        }))
    }

    /// Takes what the server says on a channel; whether that settles it.
    pub(super) fn handle_bytes(
        &mut self,
        now: Time,
        channel: u64,
        bytes: &[u8],
        timeouts: &Timeouts,
    ) -> Result<bool, Violation> {
        let is_ours = self.channels.received(channel, bytes.len());
        if !is_ours.map_err(violation)? {
            return Ok(false);
        }
        self.goes_on(now, channel, timeouts);
        let Some(sending) = self.sendings.get_mut(&channel) else {
            return Ok(false);
        };
        sending.is_ready = true;
        sending.conversation.handle_bytes(bytes);
        self.talkative.insert(channel);
        let is_settled = sending.conversation.outcome().is_some();
        self.channels.consumed(channel, bytes.len());
        Ok(is_settled)
    }

    pub(super) fn handle_credit(
        &mut self,
        now: Time,
        channel: u64,
        bytes: u64,
        timeouts: &Timeouts,
    ) -> Result<(), Violation> {
        self.goes_on(now, channel, timeouts);
        self.haste.hurry();
        self.channels.granted(channel, bytes).map_err(violation)
    }

    /// The relay works on a channel, so there is patience anew until the end of data is sent.
    fn goes_on(&mut self, now: Time, channel: u64, timeouts: &Timeouts) {
        if let Some(sending) = self.sendings.get_mut(&channel)
            && !sending.conversation.is_past_end_of_data()
        {
            let at = now.after(timeouts.message);
            set_alarm(&mut self.alarms, channel, sending, at);
        }
    }

    // ---- sending ----

    /// Nothing is left to wait for: what there is to say goes out with the next flush.
    pub(super) const fn hurry(&mut self) {
        self.haste.hurry();
    }

    /// Hands out what there is to say, as far as the link takes it; of a submission nothing before `may_speak`, which says
    /// whether it is written down that it may have been sent.
    pub(super) fn flush(
        &mut self,
        now: Time,
        uplink: &mut Uplink,
        may_speak: impl Fn(&Entry<Delivery>) -> bool,
        timeouts: &Timeouts,
    ) {
        if self.session.link().is_none() {
            return;
        }
        while let Some((channel, bytes)) = self.channels.poll_grant() {
            self.say(&Word::Credit { channel, bytes });
            self.haste.hurry();
        }
        let takes_a_frame = |ahead: Option<Allowance>| ahead.is_none_or(Allowance::takes_a_frame);
        while uplink.unwritten_bytes() < WINDOW && takes_a_frame(self.ahead) {
            self.fill(now, &may_speak, timeouts);
            let is_now = self.haste.is_now(now, self.session.untold());
            if is_now && let Some(body) = self.channels.poll(self.session.room()) {
                if let Body::Data { channel, .. } = &body {
                    self.talkative.insert(*channel);
                }
                self.session
                    .send(body.borrowed())
                    .expect("there is room for it");
            }
            let next = if is_now {
                self.session.poll_frame()
            } else {
                self.session.poll_numbered()
            };
            let Some(frame) = next else {
                let is_quiet = self.channels.is_quiet();
                if is_now {
                    self.haste.went_out(!is_quiet);
                } else {
                    let waits = !is_quiet || self.session.untold() > 0;
                    self.haste.held_back(now, waits);
                }
                return;
            };
            if let Some(ahead) = &mut self.ahead {
                ahead.spend(frame.len());
            }
            uplink.send(Frame::Binary(frame));
            self.beat_at = now.after(self.heartbeat);
        }
        self.haste.went_out(true);
    }

    /// Gives each channel on which nothing waits the next piece of its conversation.
    fn fill(
        &mut self,
        now: Time,
        may_speak: impl Fn(&Entry<Delivery>) -> bool,
        timeouts: &Timeouts,
    ) {
        let all = ChannelsConfig::default().buffer;
        let Self {
            sendings,
            channels,
            alarms,
            haste,
            ..
        } = self;
        self.talkative.retain(|&channel| {
            let Some(sending) = sendings.get_mut(&channel) else {
                return false;
            };
            if !may_speak(&sending.entry) {
                return true;
            }
            // What waits there calls it back when it leaves.
            if channels.room(channel) < all {
                return false;
            }
            let Some(bytes) = sending.conversation.poll_output(CHUNK) else {
                return false;
            };
            // Others share the link, so what counts is that it goes on.
            let at = now.after(sending.patience(timeouts));
            set_alarm(alarms, channel, sending, at);
            channels
                .write(channel, bytes)
                .expect("nothing waits there, so any number of bytes is taken");
            haste.hurry();
            false
        });
    }

    // ---- time ----

    /// Whether there is a link on which the relay is known to go on; before that it is the link's clock that counts.
    fn is_on_a_link(&self) -> bool {
        self.session.link().is_some() && self.ahead.is_none()
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        if !self.is_on_a_link() {
            return None;
        }
        let next = self.alarms.first().and_then(|&(at, channel)| {
            let past = self
                .sendings
                .get(&channel)?
                .conversation
                .is_past_end_of_data();
            let timer = if past { "outcome" } else { "message" };
            Some(Deadline { at, timer })
        });
        let beat = Deadline {
            at: self.beat_at,
            timer: "beat",
        };
        Deadline::earliest([next, Some(beat), self.haste.deadline()])
    }

    /// Shows life where it is time to.
    pub(super) fn beat(&mut self, now: Time) {
        if self.is_on_a_link() && self.beat_at <= now {
            self.session.beat();
            self.haste.hurry();
            self.beat_at = now.after(self.heartbeat);
        }
    }

    /// A channel whose time is over.
    pub(super) fn overdue(&self, now: Time) -> Option<u64> {
        if !self.is_on_a_link() {
            return None;
        }
        let first = self.alarms.first().filter(|(at, _)| *at <= now);
        first.map(|(_, channel)| *channel)
    }
}

/// What is to be said on the channel of a submission.
pub(super) fn conversation(work: &Work, offered: &Capabilities) -> Box<dyn Conversation> {
    match work {
        Work::Message { envelope, content } => {
            Box::new(Flight::new(offered, envelope.clone(), content.clone()))
        }
        Work::Script(script) => Box::new(ScriptRun::behind_hello(script.clone())),
    }
}
