//! What the peer of a machine knows of their session, so that what it says has a chance to be right.

use super::driver::Choices;
use crate::{
    Frame,
    session::{Body, SessionFrame},
};
use alloc::vec::Vec;
use bytes::Bytes;

/// How far a peer has counted in one session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    /// The number of its next frame.
    pub(super) next: u64,
    /// The highest it has received.
    pub(super) received: u64,
}

impl Numbers {
    /// Where nothing was said.
    pub(super) const NEW: Self = Self {
        next: 1,
        received: 0,
    };

    /// The next frame, or one that was sent before, or one that cannot be.
    pub(super) fn frame(self, choices: &mut Choices<'_>, body: Option<Body<Bytes>>) -> Frame {
        let odd = choices.byte();
        let ack = match odd {
            240.. => u64::from(choices.byte()),
            220..240 => 0,
            _ => self.received,
        };
        let seq = match odd {
            200..220 => u64::from(choices.byte()),
            180..200 => self.next.saturating_sub(1),
            _ => self.next,
        };
        let frame = match body {
            Some(body) => SessionFrame::Numbered { seq, ack, body },
            None => SessionFrame::Acknowledgement { ack },
        };
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        Frame::Binary(bytes.into())
    }

    /// The machine has said this.
    pub(super) fn hears(&mut self, frame: &Frame) {
        if let Some(seq) = number(frame) {
            self.received = self.received.max(seq);
        }
    }

    /// The machine was told this.
    pub(super) fn says(&mut self, frame: &Frame) {
        if number(frame) == Some(self.next) {
            self.next += 1;
        }
    }
}

fn number(frame: &Frame) -> Option<u64> {
    let Frame::Binary(bytes) = frame else {
        return None;
    };
    match SessionFrame::decode(bytes) {
        Ok(SessionFrame::Numbered { seq, .. }) => Some(seq),
        _ => None,
    }
}
