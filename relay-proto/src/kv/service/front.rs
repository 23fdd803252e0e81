//! One client as far as its calls are concerned: what it has asked, what it is to be told.

use super::link::Rights;
use crate::{
    LinkId,
    kv::{
        ClientId,
        wire::{Answer, Failure, Hello, Operation, ServiceMessage, Success, encode_service},
    },
    session::SessionId,
};
use alloc::{collections::VecDeque, sync::Arc};
use bytes::Bytes;

/// What waits to be told, in bytes, above which the client's calls are not worked on.
const ANSWERS_HIGH_WATER: usize = 256 * 1024;

/// What waits to be told, in bytes, above which no notification is added: it stays in the log.
const NOTIFICATIONS_HIGH_WATER: usize = 64 * 1024;

/// The calls that wait, in bytes, above which a link is not read, and calls in a session are refused. More than four of the largest.
const QUEUE_HIGH_WATER: usize = 4 * 1024 * 1024;

/// The messages that wait to be told besides the answers to its calls, above which a client in a session is taken to acknowledge nothing.
const MOST_SAID: usize = 4096;

/// What a queued call takes up besides its key and its value, in bytes.
const CALL: usize = 128;

/// Who a client is, for as long as it is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FrontId {
    /// A link in the plain dialect, or one that has not chosen yet.
    Link(LinkId),
    /// A session of the durable dialect.
    Session(SessionId),
}

#[derive(Debug)]
pub(super) struct Front {
    pub(super) rights: Arc<Rights>,
    /// The store of whose changes it is told.
    pub(super) space: Arc<str>,
    /// In the durable dialect, who it is.
    pub(super) client: Option<ClientId>,
    queue: VecDeque<Call>,
    queued_bytes: usize,
    said: VecDeque<Bytes>,
    said_bytes: usize,
    /// How many of its calls are in the turn that is not stored yet, and the bytes of their answers.
    pub(super) in_turn: (usize, usize),
    /// Whether it is in its account's line.
    pub(super) is_in_line: bool,
    /// The number of the last change it was told of, or passed over for it; none: it has no subscriptions.
    pub(super) told: Option<u64>,
    /// The bytes its account is charged for it.
    pub(super) charged: usize,
}

/// What a client asks.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) message_id: u64,
    pub(super) settled: Option<u64>,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Operation(Operation),
    Hello(Hello),
}

impl Call {
    /// A call whose value is its own, and keeps no message alive that may be much longer.
    pub(super) fn new(message_id: u64, settled: Option<u64>, mut operation: Operation) -> Self {
        if let Operation::Set { value, .. } | Operation::Patch { value, .. } = &mut operation {
            *value = Bytes::copy_from_slice(value);
        }
        Self {
            message_id,
            settled,
            what: What::Operation(operation),
        }
    }

    pub(super) const fn hello(message_id: u64, hello: Hello) -> Self {
        Self {
            message_id,
            settled: None,
            what: What::Hello(hello),
        }
    }

    fn bytes(&self) -> usize {
        match &self.what {
            What::Operation(operation) => CALL + operation.len(),
            What::Hello(_) => CALL,
        }
    }
}

impl Front {
    /// `sequence`: the number of the last change it knows of.
    pub(super) fn new(
        rights: Arc<Rights>,
        space: Arc<str>,
        client: Option<ClientId>,
        sequence: u64,
    ) -> Self {
        let told = rights.patterns.subscribes().then_some(sequence);
        Self {
            rights,
            space,
            client,
            queue: VecDeque::new(),
            queued_bytes: 0,
            said: VecDeque::new(),
            said_bytes: 0,
            in_turn: (0, 0),
            is_in_line: false,
            told,
            charged: 0,
        }
    }

    // ---- what it asks ----

    pub(super) fn ask(&mut self, call: Call) {
        self.queued_bytes += call.bytes();
        self.queue.push_back(call);
    }

    pub(super) fn next_call(&mut self) -> Option<Call> {
        let call = self.queue.pop_front()?;
        self.queued_bytes -= call.bytes();
        Some(call)
    }

    /// Whether so many calls wait that there should not be more.
    pub(super) fn has_enough(&self, max_calls: usize) -> bool {
        self.queue.len() >= max_calls || self.queued_bytes >= QUEUE_HIGH_WATER
    }

    /// Whether a call of it can be worked on.
    pub(super) fn is_ready(&self) -> bool {
        !self.queue.is_empty() && self.said_bytes + self.in_turn.1 < ANSWERS_HIGH_WATER
    }

    /// Whether it waits for nothing.
    pub(super) fn is_answered(&self) -> bool {
        self.queue.is_empty() && self.in_turn.0 == 0
    }

    // ---- what it is told ----

    pub(super) fn answer(&mut self, message_id: Option<u64>, result: Result<Success, Failure>) {
        self.say(&ServiceMessage::Answer(Answer { message_id, result }));
    }

    pub(super) fn say(&mut self, message: &ServiceMessage) {
        let message = encode_service(message);
        self.said_bytes += message.len();
        self.said.push_back(message);
    }

    pub(super) fn next_said(&self) -> Option<&Bytes> {
        self.said.front()
    }

    /// What [`next_said`](Self::next_said) has shown is on its way.
    pub(super) fn take_said(&mut self) -> Option<Bytes> {
        let message = self.said.pop_front()?;
        self.said_bytes -= message.len();
        Some(message)
    }

    /// Whether everything was told.
    pub(super) fn is_told(&self) -> bool {
        self.said.is_empty()
    }

    pub(super) const fn has_room_for_notifications(&self) -> bool {
        self.said_bytes < NOTIFICATIONS_HIGH_WATER
    }

    pub(super) const fn has_room_for_answers(&self) -> bool {
        self.said_bytes < ANSWERS_HIGH_WATER
    }

    /// Whether it takes nothing of what it is told.
    pub(super) fn is_deaf(&self, max_calls: usize) -> bool {
        self.said.len() > MOST_SAID.saturating_add(max_calls)
    }

    /// What it holds, in bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.queued_bytes + self.said_bytes + self.in_turn.1
    }
}
