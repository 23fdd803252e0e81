//! A message on its way in: its envelope, and its content as far as it has come.

use bytes::Bytes;
use relay_proto::smtp::{Envelope, ForwardPath, Reply, ReversePath, reply};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// How many bytes all messages together may have in memory.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    limit: u64,
    held: Arc<AtomicU64>,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Self {
        let held = Arc::default();
        Self { limit, held }
    }

    /// Whether so many more bytes would be too many now.
    pub(crate) fn refuses(&self, bytes: u64) -> bool {
        let held = self.held.load(Ordering::Relaxed);
        held.saturating_add(bytes) > self.limit
    }
}

/// A part of a [`Budget`], given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Budget,
    bytes: u64,
}

impl Share {
    fn grow(&mut self, bytes: u64) -> bool {
        if self.budget.refuses(bytes) {
            return false;
        }
        self.budget.held.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A message on its way in.
#[derive(Debug)]
pub(crate) struct Draft {
    reverse_path: ReversePath,
    forward_paths: Vec<ForwardPath>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Held {
        bytes: Vec<u8>,
        share: Share,
    },
    /// There was no room for all of it.
    Dropped,
}

impl Draft {
    pub(crate) const fn new(reverse_path: ReversePath, budget: Budget) -> Self {
        let bytes = Vec::new();
        let share = Share { budget, bytes: 0 };
        Self {
            reverse_path,
            forward_paths: Vec::new(),
            content: Content::Held { bytes, share },
        }
    }

    pub(crate) fn add_recipient(&mut self, forward_path: ForwardPath) {
        self.forward_paths.push(forward_path);
    }

    pub(crate) fn add_content(&mut self, piece: &[u8]) {
        if let Content::Held { bytes, share } = &mut self.content {
            if share.grow(piece.len() as u64) {
                bytes.extend_from_slice(piece);
            } else {
                self.content = Content::Dropped;
            }
        }
    }

    /// The message, complete. It counts against the budget as long as the share is kept.
    ///
    /// # Errors
    ///
    /// What to tell the client, where it is not complete.
    pub(crate) fn finish(self) -> Result<(Envelope, Bytes, Share), Reply> {
        let Content::Held { bytes, share } = self.content else {
            return Err(no_room());
        };
        let envelope = Envelope::new(self.reverse_path, self.forward_paths)
            .map_err(|error| reply(554, "5.5.1", error.to_string()))?;
        Ok((envelope, bytes.into(), share))
    }
}

/// What a client is told where there is no room for its message now.
pub(crate) fn no_room() -> Reply {
    reply(
        452,
        "4.3.1",
        "No room for this message now, try again later",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(budget: &Budget) -> Draft {
        let mut draft = Draft::new(ReversePath::Null, budget.clone());
        draft.add_recipient(ForwardPath::Postmaster);
        draft
    }

    #[test]
    fn messages_share_a_budget_and_give_it_back() {
        let budget = Budget::new(10);
        let (mut one, mut other) = (draft(&budget), draft(&budget));
        one.add_content(b"123456");
        other.add_content(b"1234");
        assert!(budget.refuses(1));
        // One byte too many, and what was held is free for the other.
        one.add_content(b"7");
        one.add_content(b"8");
        assert!(!budget.refuses(6));
        assert_eq!(one.finish().unwrap_err().code().as_u16(), 452);

        let (_, content, share) = other.finish().unwrap();
        assert_eq!(content, "1234");
        assert!(budget.refuses(7));
        drop(share);
        assert!(!budget.refuses(10));
        assert!(budget.refuses(u64::MAX));
    }

    #[test]
    fn a_message_goes_to_somebody() {
        let draft = Draft::new(ReversePath::Null, Budget::new(0));
        assert!(draft.finish().unwrap_err().is_permanent());
    }
}
