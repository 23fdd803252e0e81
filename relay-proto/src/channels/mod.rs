//! Many conversations in one session: credit, turns and ends, for any protocol.
//!
//! A channel is a stream of bytes each way between two owners. Each direction of each channel has a *credit* in bytes: who
//! has used it up waits, so that a channel whose receiver is slow holds back no other. Between the channels that could
//! send, priority decides, and among equals they take turns, a frame each. What has been handed to a
//! [session](crate::session) is in order for good; so hand over no more than the link takes, and what is urgent stays
//! ahead.
//!
//! [`Channels`] counts and schedules. It does not write words: opening, closing and credit are words of the owner's
//! protocol, which travel as control frames.
//!
//! ```
//! use relay_proto::{Priority, channels::{Channels, ChannelsConfig}, session::Body};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (mut client, mut relay) = (
//!     Channels::new(ChannelsConfig::default()),
//!     Channels::new(ChannelsConfig::default()),
//! );
//! let bulk = client.open(Priority::Low)?;
//! client.announce(format!("OPEN {bulk}").into());
//! let urgent = client.open(Priority::Critical)?;
//! client.announce(format!("OPEN {urgent}").into());
//! client.write(bulk, "a newsletter".into())?;
//! client.write(urgent, "an alarm".into())?;
//!
//! // Whatever `poll` yields goes into the session, which says how much room it has.
//! let room = usize::MAX;
//! let order: Vec<_> = std::iter::from_fn(|| client.poll(room)).collect();
//! assert_eq!(order[2], Body::Data { channel: urgent, payload: "an alarm".into() });
//!
//! // At the other end the owner reads the words, and the channels count.
//! relay.opened(bulk, Priority::Normal)?;
//! relay.opened(urgent, Priority::Normal)?;
//! assert!(relay.received(urgent, 8)?, "it is for the owner");
//! relay.consumed(urgent, 8);
//! assert_eq!(relay.poll_grant(), None, "a few bytes are not worth a word");
//! # Ok(())
//! # }
//! ```

mod channel;
mod error;
#[cfg(test)]
mod tests;

pub use error::{ChannelsError, TooManyChannels, WriteError};

use crate::{Priority, session::Body};
use alloc::collections::{BTreeMap, VecDeque};
use bytes::Bytes;
use channel::{Channel, Next};

/// The highest channel id and the most credit: what every JSON reader reads exactly (RFC 8259, section 6).
pub const MAX_NUMBER: u64 = (1 << 53) - 1;

/// The bounds of channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelsConfig {
    /// The most channels open at once. Default: 64.
    pub max_channels: usize,
    /// What the peer may send on a new channel before it is granted more, in bytes; also the most its receiver has to
    /// hold. Default: 256 KiB, which makes 2.5 MB/s on a path of 100 ms, per channel.
    pub window: u64,
    /// What we may send on a new channel before the peer grants more: its window. Default: the same.
    pub peer_window: u64,
    /// The most bytes that wait to be sent on one channel. Default: 64 KiB.
    pub buffer: usize,
    /// The most bytes in one frame: how long a channel's turn is. Default: 16 KiB.
    pub frame: usize,
}

impl Default for ChannelsConfig {
    fn default() -> Self {
        Self {
            max_channels: 64,
            window: 256 * 1024,
            peer_window: 256 * 1024,
            buffer: 64 * 1024,
            frame: 16 * 1024,
        }
    }
}

/// The channels of one end of a session.
#[derive(Debug)]
pub struct Channels {
    config: ChannelsConfig,
    channels: BTreeMap<u64, Channel>,
    /// The highest id that was ever opened.
    last: u64,
    announcements: VecDeque<Bytes>,
    /// The length of all that waits to be sent.
    waiting_bytes: usize,
    /// Who could send, by priority, in turns.
    lines: [VecDeque<u64>; 4],
    /// Who owes credit.
    grants: VecDeque<u64>,
}

impl Channels {
    /// No channels yet.
    pub const fn new(config: ChannelsConfig) -> Self {
        Self {
            config,
            channels: BTreeMap::new(),
            last: 0,
            announcements: VecDeque::new(),
            waiting_bytes: 0,
            lines: [const { VecDeque::new() }; 4],
            grants: VecDeque::new(),
        }
    }

    // ---- opening and closing ----

    /// Opens a channel under the next id. The owner [announces](Self::announce) it at once, so that ids arrive in order.
    ///
    /// # Errors
    ///
    /// If as many are open as may be.
    pub fn open(&mut self, priority: Priority) -> Result<u64, TooManyChannels> {
        let id = self.last + 1;
        self.opened(id, priority).map_err(|_| TooManyChannels)?;
        Ok(id)
    }

    /// The peer has opened a channel.
    ///
    /// # Errors
    ///
    /// If its id is not above all before, or too many are open.
    pub fn opened(&mut self, id: u64, priority: Priority) -> Result<(), ChannelsError> {
        if id <= self.last {
            let last = self.last;
            return Err(ChannelsError::Reused { id, last });
        }
        if id > MAX_NUMBER {
            return Err(ChannelsError::IdTooLarge(id));
        }
        if self.channels.len() >= self.config.max_channels {
            return Err(ChannelsError::TooMany(self.channels.len()));
        }
        self.last = id;
        let channel = Channel::new(priority, self.config.peer_window, self.config.window);
        self.channels.insert(id, channel);
        Ok(())
    }

    /// Closes a channel now, at the peer's word or one's own; whether it was open. What waits to be sent on it is dropped,
    /// what still comes is ignored. One's own word has to be [announced](Self::announce).
    pub fn close(&mut self, id: u64) -> bool {
        let Some(channel) = self.channels.remove(&id) else {
            return false;
        };
        self.waiting_bytes -= channel.waiting_bytes() + channel.last_word_bytes();
        if channel.in_line {
            self.lines[channel.priority as usize].retain(|other| *other != id);
        }
        if channel.owes_credit {
            self.grants.retain(|other| *other != id);
        }
        true
    }

    /// Closes a channel with this word, once all that waits has left; until then it counts as open, but takes nothing
    /// more and ignores what comes. Whether it was open.
    pub fn finish(&mut self, id: u64, word: Bytes) -> bool {
        let Some(channel) = self.open_channel(id) else {
            return false;
        };
        let bytes = word.len();
        channel.finish(word);
        self.waiting_bytes += bytes;
        self.line_up(id);
        true
    }

    /// Whether a channel is open and not closing.
    pub fn is_open(&self, id: u64) -> bool {
        let channel = self.channels.get(&id);
        channel.is_some_and(|channel| !channel.is_closing())
    }

    /// How many channels count as open.
    pub fn len(&self) -> usize {
        self.channels.len()
    }

    /// Whether no channel counts as open.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    // ---- sending ----

    /// Sends a word before all data, after all words before it. It needs no credit.
    ///
    /// Words are bounded by their owner alone: one that answers a peer stops reading from it while
    /// [`announcements`](Self::announcements) are many.
    pub fn announce(&mut self, word: Bytes) {
        self.waiting_bytes += word.len();
        self.announcements.push_back(word);
    }

    /// How many words wait.
    pub fn announcements(&self) -> usize {
        self.announcements.len()
    }

    /// How many bytes wait to be sent in all: words, and data on every channel.
    pub const fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// How many bytes [`write`](Self::write) takes on this channel now; none where it is not open.
    pub fn room(&self, id: u64) -> usize {
        match self.channels.get(&id) {
            Some(channel) if !channel.is_closing() => {
                self.config.buffer.saturating_sub(channel.waiting_bytes())
            }
            _ => 0,
        }
    }

    /// Sends bytes on a channel when its turn and its credit come.
    ///
    /// # Errors
    ///
    /// If there is no [room](Self::room) or the channel is not open; the bytes come back. Where nothing waits, any number
    /// of bytes is taken.
    pub fn write(&mut self, id: u64, bytes: Bytes) -> Result<(), WriteError> {
        let buffer = self.config.buffer;
        let Some(channel) = self.open_channel(id) else {
            return Err(WriteError::NotOpen(bytes));
        };
        let waiting = channel.waiting_bytes();
        if waiting > 0 && bytes.len() > buffer.saturating_sub(waiting) {
            return Err(WriteError::Full(bytes));
        }
        if !bytes.is_empty() {
            let length = bytes.len();
            channel.push(bytes);
            self.waiting_bytes += length;
            self.line_up(id);
        }
        Ok(())
    }

    /// What goes into the session next, if it has no more than `room` bytes: what
    /// [`Session::room`](crate::session::Session::room) says.
    #[must_use]
    pub fn poll(&mut self, room: usize) -> Option<Body<Bytes>> {
        if let Some(word) = self.announcements.front() {
            if word.len() > room {
                return None;
            }
            self.waiting_bytes -= word.len();
            return self.announcements.pop_front().map(Body::Control);
        }
        let line = self.lines.iter_mut().find(|line| !line.is_empty())?;
        let id = *line.front()?;
        let channel = self.channels.get_mut(&id)?;
        let next = channel.next(self.config.frame.max(1), room)?;
        line.pop_front();
        channel.in_line = false;
        match next {
            Next::Data(payload) => {
                self.waiting_bytes -= payload.len();
                self.line_up(id);
                Some(Body::Data {
                    channel: id,
                    payload,
                })
            }
            Next::LastWord(word) => {
                self.waiting_bytes -= word.len();
                self.close(id);
                Some(Body::Control(word))
            }
        }
    }

    /// Whether [`poll`](Self::poll) has nothing to give, however much room there is.
    pub fn is_quiet(&self) -> bool {
        self.announcements.is_empty() && self.lines.iter().all(VecDeque::is_empty)
    }

    /// The peer has granted a channel more credit. For a channel that is closed that means nothing.
    ///
    /// # Errors
    ///
    /// If the channel was never opened, or the credit is beyond counting.
    pub fn granted(&mut self, id: u64, bytes: u64) -> Result<(), ChannelsError> {
        self.check_opened(id)?;
        if let Some(channel) = self.channels.get_mut(&id) {
            if !channel.granted(bytes) {
                return Err(ChannelsError::TooMuchCredit(id));
            }
            self.line_up(id);
        }
        Ok(())
    }

    // ---- receiving ----

    /// Counts bytes that have arrived on a channel; whether they are for the owner. They are not where the channel is closed
    /// or closing, which the peer may not know yet.
    ///
    /// # Errors
    ///
    /// If the channel was never opened, or has not so much credit.
    pub fn received(&mut self, id: u64, bytes: usize) -> Result<bool, ChannelsError> {
        self.check_opened(id)?;
        let Some(channel) = self.open_channel(id) else {
            return Ok(false);
        };
        let bytes = bytes as u64;
        match channel.received(bytes) {
            Ok(()) => Ok(true),
            Err(credit) => Err(ChannelsError::BeyondCredit { id, bytes, credit }),
        }
    }

    /// The owner has worked off bytes it received, so that the peer may send as many again.
    pub fn consumed(&mut self, id: u64, bytes: usize) {
        let window = self.config.window;
        if let Some(channel) = self.open_channel(id)
            && channel.consumed(bytes as u64, window)
            && !channel.owes_credit
        {
            channel.owes_credit = true;
            self.grants.push_back(id);
        }
    }

    /// A channel and the credit to tell the peer of, which counts from now on: half a window at least.
    #[must_use]
    pub fn poll_grant(&mut self) -> Option<(u64, u64)> {
        let id = self.grants.pop_front()?;
        let channel = self.channels.get_mut(&id)?;
        channel.owes_credit = false;
        Some((id, channel.grant()))
    }

    fn check_opened(&self, id: u64) -> Result<(), ChannelsError> {
        if id == 0 || id > self.last {
            return Err(ChannelsError::NeverOpened(id));
        }
        Ok(())
    }

    fn open_channel(&mut self, id: u64) -> Option<&mut Channel> {
        let channel = self.channels.get_mut(&id)?;
        (!channel.is_closing()).then_some(channel)
    }

    /// Puts a channel that could send at the end of its line, if it is not in it.
    fn line_up(&mut self, id: u64) {
        if let Some(channel) = self.channels.get_mut(&id)
            && !channel.in_line
            && channel.has_next()
        {
            channel.in_line = true;
            self.lines[channel.priority as usize].push_back(id);
        }
    }
}
