//! Content that comes by BDAT (RFC 3030): its length is told before it, so that nothing in it ends it.

use super::{Request, Session, Stage, Transaction, need_mail, too_large};
use crate::smtp::{Reply, reply};
use alloc::format;
use bytes::Buf;

/// A chunk that comes in.
pub(super) struct Chunk {
    /// Its length in bytes.
    size: u64,
    /// How much of it is still to come.
    left: u64,
    /// How many bytes the message has with it.
    total: u64,
    is_last: bool,
}

/// A chunk that comes and goes nowhere. The client sends it whatever is said to its command, so it is never commands.
pub(super) struct UnwantedChunk {
    left: u64,
    reply: Reply,
    /// The transaction that goes on behind it.
    transaction: Option<Transaction>,
}

/// Whether a line is meant to be BDAT.
pub(super) fn is_bdat(line: &[u8]) -> bool {
    let verb = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    verb.eq_ignore_ascii_case(b"BDAT")
}

impl Session {
    /// A chunk begins.
    pub(super) fn handle_bdat(&mut self, size: u64, is_last: bool) -> Option<Request> {
        let before = match core::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Transaction(transaction) if transaction.recipients > 0 => 0,
            Stage::BetweenChunks { total } => total,
            Stage::Transaction(transaction) => {
                let refusal = reply(554, "5.5.1", "No valid recipients");
                self.refuse_chunk(size, refusal, Some(transaction));
                return None;
            }
            _ => {
                self.refuse_chunk(size, need_mail(), None);
                return None;
            }
        };
        let total = before.saturating_add(size);
        let limit = self.config.max_message_bytes;
        if limit.is_some_and(|limit| total > limit) {
            self.refuse_chunk(size, too_large(), None);
            return Some(Request::Reset);
        }
        self.stage = Stage::Chunk(Chunk {
            size,
            left: size,
            total,
            is_last,
        });
        None
    }

    fn refuse_chunk(&mut self, left: u64, reply: Reply, transaction: Option<Transaction>) {
        self.stage = Stage::UnwantedChunk(UnwantedChunk {
            left,
            reply,
            transaction,
        });
    }

    /// The next piece of a chunk, or what its end asks for. `None` also where the chunk is done and commands follow.
    pub(super) fn poll_chunk(&mut self) -> Option<Request> {
        let Stage::Chunk(chunk) = &mut self.stage else {
            return None;
        };
        if chunk.left > 0 {
            let length = available(chunk.left, self.input.len());
            if length == 0 {
                return None;
            }
            chunk.left -= length as u64;
            return Some(Request::Content(self.input.split_to(length).freeze()));
        }
        if chunk.is_last {
            self.stage = Stage::AskedMessage;
            return Some(Request::EndOfContent);
        }
        let text = format!("{} bytes received", chunk.size);
        self.stage = Stage::BetweenChunks { total: chunk.total };
        self.say(&reply(250, "2.0.0", text));
        None
    }

    /// Passes over a chunk, and says why at its end.
    pub(super) fn skip_chunk(&mut self) {
        let Stage::UnwantedChunk(chunk) = &mut self.stage else {
            return;
        };
        let length = available(chunk.left, self.input.len());
        self.input.advance(length);
        chunk.left -= length as u64;
        if chunk.left == 0 {
            let refusal = chunk.reply.clone();
            let transaction = chunk.transaction.take();
            self.stage = transaction.map_or(Stage::Idle, Stage::Transaction);
            self.say(&refusal);
        }
    }
}

/// How much of what is to come is there.
fn available(left: u64, there: usize) -> usize {
    usize::try_from(left).map_or(there, |left| left.min(there))
}

#[cfg(test)]
#[path = "chunk_tests.rs"]
mod tests;
