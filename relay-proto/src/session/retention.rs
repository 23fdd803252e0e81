//! What was sent and is not acknowledged.

use super::{
    Body, HEADER_LIMIT,
    buffer::FrameBuffer,
    frame::{encode_acknowledgement, encode_numbered, numbered_length},
    varint,
};
use alloc::collections::VecDeque;
use bytes::Bytes;

/// How much a session keeps for its peer to acknowledge, before it refuses to send more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct RetentionLimits {
    /// The most frames.
    pub frames: usize,
    /// The most bytes in all frames together, headers included.
    pub bytes: usize,
}

impl RetentionLimits {
    /// At most `frames` frames and `bytes` bytes.
    pub const fn new(frames: usize, bytes: usize) -> Self {
        Self { frames, bytes }
    }
}

impl Default for RetentionLimits {
    /// 4096 frames and 1 MiB: ten megabytes a second over a path of 100 ms, or ten thousand small messages.
    fn default() -> Self {
        Self::new(4096, 1024 * 1024)
    }
}

/// The frames from the first that is not acknowledged to the last that was numbered.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, Hash))]
pub(super) struct Retention {
    limits: RetentionLimits,
    frames: VecDeque<Retained>,
    /// The number of the first frame kept, or of the next one where none is.
    first: u64,
    bytes: usize,
    /// The highest number that was ever handed to a link.
    handed: u64,
    buffer: FrameBuffer,
}

/// A frame as it is sent, and sent again: byte for byte the same. The acknowledgement in it may be out of date by then,
/// which says nothing new and nothing wrong.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, Hash))]
pub(super) struct Retained {
    pub(super) frame: Bytes,
    pub(super) ack: u64,
}

impl Retention {
    pub(super) fn new(limits: RetentionLimits) -> Self {
        Self {
            limits,
            frames: VecDeque::new(),
            first: 1,
            bytes: 0,
            handed: 0,
            buffer: FrameBuffer::default(),
        }
    }

    /// The number of the first frame that is not acknowledged, sent or not.
    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    /// The number the next frame gets.
    pub(super) fn next(&self) -> u64 {
        self.first + self.frames.len() as u64
    }

    pub(super) const fn handed(&self) -> u64 {
        self.handed
    }

    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a frame with this acknowledgement and body finds room. One always does where nothing else is kept.
    pub(super) fn has_room(&self, ack: u64, body: Body<&[u8]>) -> bool {
        self.takes(numbered_length(self.next(), ack, body))
    }

    /// Whether a frame of this length, header included, finds room.
    fn takes(&self, length: usize) -> bool {
        self.frames.is_empty()
            || self.frames.len() < self.limits.frames
                && length <= self.limits.bytes.saturating_sub(self.bytes)
    }

    /// How long a payload may be that certainly finds room.
    pub(super) fn room(&self) -> usize {
        if self.frames.is_empty() {
            usize::MAX
        } else if self.frames.len() >= self.limits.frames {
            0
        } else {
            let bytes = self.limits.bytes.saturating_sub(self.bytes);
            bytes.saturating_sub(HEADER_LIMIT)
        }
    }

    /// Numbers, writes and keeps a frame, if it [has room](Self::has_room).
    pub(super) fn push(&mut self, ack: u64, body: Body<&[u8]>) -> Option<u64> {
        let seq = self.next();
        let length = numbered_length(seq, ack, body);
        if !self.takes(length) {
            return None;
        }
        let frame = self.buffer.frame(length, |output| {
            encode_numbered(seq, ack, body, output);
        });
        debug_assert_eq!(frame.len(), length);
        self.bytes += length;
        self.frames.push_back(Retained { frame, ack });
        Some(seq)
    }

    /// The frame of this number, which goes to a link now.
    pub(super) fn hand_out(&mut self, seq: u64) -> Option<&Retained> {
        let index = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        let retained = self.frames.get(index)?;
        self.handed = self.handed.max(seq);
        Some(retained)
    }

    /// Forgets the frames up to this number, which the caller has checked against [`handed`](Self::handed).
    pub(super) fn acknowledge(&mut self, ack: u64) {
        while self.first <= ack
            && let Some(retained) = self.frames.pop_front()
        {
            self.bytes -= retained.frame.len();
            self.first += 1;
        }
    }

    /// An acknowledgement alone, written but not kept.
    pub(super) fn acknowledgement(&mut self, ack: u64) -> Bytes {
        self.buffer.frame(1 + varint::length(ack), |output| {
            encode_acknowledgement(ack, output);
        })
    }

    /// Lets go of memory that holds nothing.
    pub(super) fn release(&mut self) {
        self.buffer.release();
        self.frames.shrink_to_fit();
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.frames = VecDeque::new();
        self.bytes = 0;
        self.buffer.release();
    }
}
