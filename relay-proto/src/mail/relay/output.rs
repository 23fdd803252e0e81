//! What a relay hands out, and how much of it is still waiting in the driver.

use super::Event;
use crate::{
    Action, Frame, LinkId,
    mail::wire::{Message, data_chunk, encode},
    session::SessionId,
};
use alloc::collections::{BTreeSet, VecDeque};
use bytes::Bytes;

/// The most bytes of SMTP in one frame to a client.
const CHUNK: usize = 16 * 1024;

/// Actions and events not yet taken.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) actions: VecDeque<Action>,
    pub(super) events: VecDeque<Event>,
    /// Sessions in which something was said, or for which more can be.
    pub(super) stirred: BTreeSet<SessionId>,
}

/// The frames of one link that the driver has not reported as written.
#[derive(Debug)]
pub(super) struct Outgoing {
    link: LinkId,
    lengths: VecDeque<usize>,
    bytes: usize,
}

impl Outgoing {
    pub(super) const fn new(link: LinkId) -> Self {
        Self {
            link,
            lengths: VecDeque::new(),
            bytes: 0,
        }
    }

    pub(super) fn send(&mut self, frame: Frame, output: &mut Output) {
        self.lengths.push_back(frame.len());
        self.bytes += frame.len();
        output.actions.push_back(Action::Send {
            link: self.link,
            frame,
        });
    }

    pub(super) fn send_message(&mut self, message: &Message, output: &mut Output) {
        self.send(encode(message), output);
    }

    /// Sends what the server's side of SMTP says.
    pub(super) fn send_smtp(&mut self, bytes: &Bytes, output: &mut Output) {
        let mut at = 0;
        while at < bytes.len() {
            let chunk = data_chunk(bytes, at, CHUNK);
            at += chunk.len();
            self.send_message(&Message::FromServer(chunk), output);
        }
    }

    /// The oldest frame has been written; says how long it was.
    pub(super) fn written(&mut self) -> usize {
        let length = self.lengths.pop_front().unwrap_or(0);
        self.bytes -= length;
        length
    }

    /// How many bytes wait.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}
