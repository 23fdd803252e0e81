//! One channel: what waits to be sent, and the credit of both directions.

use super::MAX_NUMBER;
use crate::Priority;
use alloc::collections::VecDeque;
use bytes::Bytes;

#[derive(Debug)]
pub(super) struct Channel {
    pub(super) priority: Priority,
    /// Whether it stands in line to send.
    pub(super) in_line: bool,
    /// Whether credit for the peer is to be told.
    pub(super) owes_credit: bool,
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    /// The word that closes the channel once nothing waits any more.
    last_word: Option<Bytes>,
    /// What we may send.
    credit: u64,
    /// What the peer may send.
    peer_credit: u64,
    /// What the owner has worked off and the peer does not know yet.
    owed: u64,
}

/// What a channel sends next.
pub(super) enum Next {
    Data(Bytes),
    LastWord(Bytes),
}

impl Channel {
    pub(super) const fn new(priority: Priority, credit: u64, peer_credit: u64) -> Self {
        Self {
            priority,
            in_line: false,
            owes_credit: false,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            last_word: None,
            credit,
            peer_credit,
            owed: 0,
        }
    }

    pub(super) const fn is_closing(&self) -> bool {
        self.last_word.is_some()
    }

    pub(super) const fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    pub(super) fn last_word_bytes(&self) -> usize {
        self.last_word.as_ref().map_or(0, Bytes::len)
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        self.waiting_bytes += bytes.len();
        self.waiting.push_back(bytes);
    }

    pub(super) fn finish(&mut self, word: Bytes) {
        self.last_word = Some(word);
    }

    /// Whether something could be sent now. The last word needs no credit.
    pub(super) fn has_next(&self) -> bool {
        if self.waiting.is_empty() {
            self.last_word.is_some()
        } else {
            self.credit > 0
        }
    }

    /// The next piece of up to `frame` bytes, if it has no more than `room`: pieces are not cut smaller for lack of room,
    /// since there will be more soon.
    pub(super) fn next(&mut self, frame: usize, room: usize) -> Option<Next> {
        let Some(front) = self.waiting.front_mut() else {
            return match &self.last_word {
                Some(word) if word.len() <= room => self.last_word.take().map(Next::LastWord),
                _ => None,
            };
        };
        let credit = usize::try_from(self.credit).unwrap_or(usize::MAX);
        let length = front.len().min(frame).min(credit);
        if length == 0 || length > room {
            return None;
        }
        let piece = front.split_to(length);
        if front.is_empty() {
            self.waiting.pop_front();
        }
        self.waiting_bytes -= length;
        self.credit -= length as u64;
        Some(Next::Data(piece))
    }

    /// Whether the number fits.
    pub(super) fn granted(&mut self, bytes: u64) -> bool {
        let sum = self.credit.checked_add(bytes);
        let sum = sum.filter(|sum| *sum <= MAX_NUMBER);
        self.credit = sum.unwrap_or(self.credit);
        sum.is_some()
    }

    /// The peer has used so much of its credit, or, where it has less, the credit it has.
    pub(super) fn received(&mut self, bytes: u64) -> Result<(), u64> {
        self.peer_credit = self
            .peer_credit
            .checked_sub(bytes)
            .ok_or(self.peer_credit)?;
        Ok(())
    }

    /// The owner has worked off so much; whether the peer should be told now.
    pub(super) fn consumed(&mut self, bytes: u64, window: u64) -> bool {
        let outstanding = window - self.peer_credit - self.owed;
        self.owed += bytes.min(outstanding);
        self.owed > 0 && self.owed >= window / 2
    }

    /// The credit to tell the peer, which counts from now on.
    pub(super) fn grant(&mut self) -> u64 {
        let bytes = core::mem::take(&mut self.owed);
        self.peer_credit += bytes;
        bytes
    }
}
