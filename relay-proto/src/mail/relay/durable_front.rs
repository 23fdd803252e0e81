//! One session of the durable dialect: its channels, and what is said on them.

use super::{
    Policy,
    channel::ChannelId,
    front::{Ending, Front},
    output::Output,
};
use crate::{
    LinkId,
    channels::{Channels, ChannelsConfig},
    mail::{
        DeliveryId,
        wire::{Word, encode_word},
    },
    session::{Haste, SessionFrame, SessionId},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use bytes::Bytes;
use core::{mem, net::IpAddr};

/// Replies waiting on one channel, in bytes, above which its SMTP session is asked for no more.
const REPLIES_HIGH_WATER: usize = 64 * 1024;

/// A client's session, for as long as it lives, with a link or without.
pub(super) struct DurableFront {
    pub(super) session: SessionId,
    /// The link it has, or had last, for reports.
    pub(super) link: LinkId,
    pub(super) peer: Option<IpAddr>,
    pub(super) policy: Arc<Policy>,
    pub(super) channels: Channels,
    /// The bytes the account is charged for what waits to be said.
    pub(super) charged: usize,
    /// What each open channel does.
    places: BTreeMap<u64, Place>,
    numbers: BTreeMap<ChannelId, u64>,
    /// Those that may have more waiting for the client than they should.
    crowded: BTreeSet<ChannelId>,
    /// How many bytes of the client's are here, on all channels, for which no credit was given back.
    uncredited: usize,
    /// Whether what waits in the channels goes out now.
    pub(super) haste: Haste,
    /// Whether the client was told that the relay is about to end.
    pub(super) is_draining: bool,
    /// The client has asked for another session, which is gone, and may have sent the next frames of that one without waiting.
    /// They are passed over; it begins anew with the first.
    pub(super) awaits_first: bool,
}

enum Place {
    /// It carries a message. So many bytes have come for which no credit was given back.
    Message { channel: ChannelId, held: usize },
    /// It waits for what becomes of a delivery that is under way elsewhere.
    Awaits(DeliveryId),
}

impl DurableFront {
    pub(super) fn new(
        session: SessionId,
        link: LinkId,
        peer: Option<IpAddr>,
        policy: Arc<Policy>,
        config: ChannelsConfig,
    ) -> Self {
        Self {
            session,
            link,
            peer,
            policy,
            channels: Channels::new(config),
            charged: 0,
            places: BTreeMap::new(),
            numbers: BTreeMap::new(),
            crowded: BTreeSet::new(),
            uncredited: 0,
            haste: Haste::default(),
            is_draining: false,
            awaits_first: false,
        }
    }

    /// Whether the frame is the next one of a session that is gone.
    pub(super) fn passes_over(&mut self, message: &Bytes) -> bool {
        if self.awaits_first {
            match SessionFrame::decode(message) {
                Ok(SessionFrame::Numbered { seq: 1, .. }) => self.awaits_first = false,
                Ok(_) => return true,
                // The session says what is wrong with it.
                Err(_) => {}
            }
        }
        false
    }

    pub(super) fn say_word(&mut self, word: &Word, output: &mut Output) {
        self.channels.announce(encode_word(word));
        self.haste.hurry();
        output.stirred.insert(self.session);
    }

    /// The open channel `number` carries a message from now on.
    pub(super) fn carry(&mut self, number: u64, channel: ChannelId, output: &mut Output) {
        self.places
            .insert(number, Place::Message { channel, held: 0 });
        self.numbers.insert(channel, number);
        // A client sends along with the opening; the first reply is what it waits for.
        let ready = Word::Ready { channel: number };
        self.channels.announce(encode_word(&ready));
        output.stirred.insert(self.session);
    }

    /// The open channel `number` waits for what becomes of this delivery.
    pub(super) fn await_outcome(&mut self, number: u64, delivery: DeliveryId) {
        self.places.insert(number, Place::Awaits(delivery));
    }

    /// The channel's message is under way elsewhere: it waits for what becomes of it. Returns the number the client gave it.
    pub(super) fn await_instead(
        &mut self,
        channel: ChannelId,
        delivery: DeliveryId,
    ) -> Option<u64> {
        let number = self.numbers.remove(&channel)?;
        if let Some(Place::Message { held, .. }) = self.places.get(&number) {
            self.channels.consumed(number, *held);
            self.uncredited -= *held;
        }
        self.await_outcome(number, delivery);
        Some(number)
    }

    /// Bytes have come on an open channel. Returns the channel they are for; where there is none they go nowhere.
    pub(super) fn take(&mut self, number: u64, bytes: usize) -> Option<ChannelId> {
        match self.places.get_mut(&number) {
            Some(Place::Message { channel, held }) => {
                *held += bytes;
                self.uncredited += bytes;
                Some(*channel)
            }
            Some(Place::Awaits(_)) | None => {
                self.channels.consumed(number, bytes);
                None
            }
        }
    }

    /// So many bytes of the channel wait for its upstream; the others make room for as many new ones.
    pub(super) fn give_credit(&mut self, channel: ChannelId, waiting: usize, output: &mut Output) {
        if let Some(number) = self.numbers.get(&channel)
            && let Some(Place::Message { held, .. }) = self.places.get_mut(number)
            && *held > waiting
        {
            self.channels.consumed(*number, *held - waiting);
            self.uncredited -= *held - waiting;
            *held = waiting;
            output.stirred.insert(self.session);
        }
    }

    /// The client has closed a channel. Returns what was behind it.
    pub(super) fn closed(&mut self, number: u64) -> Option<ChannelId> {
        self.channels.close(number);
        match self.places.remove(&number)? {
            Place::Message { channel, held } => {
                self.numbers.remove(&channel);
                self.uncredited -= held;
                Some(channel)
            }
            Place::Awaits(_) => None,
        }
    }

    /// Ends the channel from this side.
    pub(super) fn end(&mut self, number: u64, ending: Ending, output: &mut Output) {
        let channel = number;
        if let Some(Place::Message { channel, held }) = self.places.remove(&number) {
            self.numbers.remove(&channel);
            self.uncredited -= held;
        }
        let word = match ending {
            Ending::Closed { reason } => Word::Closed {
                channel,
                reason,
                outcome: None,
            },
            Ending::Known(outcome) => Word::Closed {
                channel,
                reason: None,
                outcome: Some(outcome),
            },
            Ending::Failed(error) => Word::Error { channel, error },
        };
        self.channels.finish(number, encode_word(&word));
        self.haste.hurry();
        output.stirred.insert(self.session);
    }

    /// The delivery is settled, or was not begun after all: whoever waits for it is told.
    pub(super) fn tell_waiting(
        &mut self,
        delivery: DeliveryId,
        output: &mut Output,
        mut ending: impl FnMut() -> Ending,
    ) {
        let waits = |place: &Place| matches!(place, Place::Awaits(other) if *other == delivery);
        while let Some((number, _)) = self.places.iter().find(|(_, place)| waits(place)) {
            self.end(*number, ending(), output);
        }
    }

    /// How many bytes of the client's are here, on all channels.
    pub(super) const fn uncredited(&self) -> usize {
        self.uncredited
    }

    /// What its open channels carry.
    pub(super) fn messages(&self) -> impl Iterator<Item = ChannelId> {
        self.numbers.keys().copied()
    }

    /// Whether a channel waits for what becomes of a delivery.
    pub(super) fn is_waiting(&self) -> bool {
        let mut places = self.places.values();
        places.any(|place| matches!(place, Place::Awaits(_)))
    }

    /// Those of its messages that had to wait for the client before they may say more, and need not any longer.
    pub(super) fn relieved(&mut self) -> BTreeSet<ChannelId> {
        let crowded = mem::take(&mut self.crowded);
        let (relieved, crowded) = crowded
            .into_iter()
            .filter(|channel| self.numbers.contains_key(channel))
            .partition(|channel| self.has_room(*channel));
        self.crowded = crowded;
        relieved
    }
}

/// The durable dialect. What is said waits in the channels for a link and for credit.
impl Front for DurableFront {
    fn has_room(&self, channel: ChannelId) -> bool {
        self.numbers
            .get(&channel)
            .is_none_or(|number| usize::MAX - self.channels.room(*number) < REPLIES_HIGH_WATER)
    }

    /// The client was told when it asked.
    fn ready(&mut self, _: ChannelId, _: &mut Output) {}

    fn say(&mut self, channel: ChannelId, smtp: &Bytes, output: &mut Output) {
        if let Some(number) = self.numbers.get(&channel) {
            // It is open, and its buffer has no end.
            let _ = self.channels.write(*number, smtp.clone());
            output.stirred.insert(self.session);
            if !self.has_room(channel) {
                self.crowded.insert(channel);
            }
        }
    }

    fn awaits_client(&mut self, output: &mut Output) {
        self.haste.hurry();
        output.stirred.insert(self.session);
    }

    fn ended(&mut self, channel: ChannelId, ending: Ending, output: &mut Output) {
        if let Some(number) = self.numbers.get(&channel) {
            self.end(*number, ending, output);
        }
    }
}
