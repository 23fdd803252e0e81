//! What is done with a piece of news, whoever does it: the machine in its pump, its application, its links.

use crate::{
    Runtime,
    context::Context,
    dial::dial,
    driver::Command,
    inbox::Whose,
    link::{self, Fact, Handle, Reports},
    storage::Store,
};
use futures_util::future::{AbortHandle, abortable};
use relay_proto::{
    Action, Application, Deadline, Input, LinkId, Machine, OpenError, Pump, Step, Time,
};
use relay_transport::FAR;
use std::{
    collections::{BTreeMap, BTreeSet},
    marker::PhantomData,
    sync::Arc,
    time::Instant,
};

/// Steps of the machine for what it has heard together, after which the other tasks of the runtime have a chance.
const STEPS_PER_TURN: usize = 256;

/// Frames of one link that the machine hears before it is another's turn.
const FRAMES_PER_SHARE: usize = 8;

/// What the machine is to hear of.
pub(crate) enum News<M, A> {
    Fact(Fact),
    Command(Command<M, A>),
    /// Time has passed, or there is still something to do.
    Nothing,
}

impl<M, A> News<M, A> {
    /// Whose news it is.
    pub(crate) fn whose(&self) -> Whose {
        match self {
            Self::Fact(Fact::Accepted { input, .. } | Fact::Other(input)) => input.link(),
            Self::Fact(Fact::Frames { link, .. } | Fact::Written { link, .. }) => Some(*link),
            Self::Command(_) | Self::Nothing => None,
        }
    }

    /// Whether it is what open links are there for. All else the machine hears alone, when it has answered what came before: a link
    /// that ends, above all.
    pub(crate) const fn is_traffic(&self) -> bool {
        matches!(self, Self::Fact(Fact::Frames { .. } | Fact::Written { .. }))
    }
}

/// Where a turn has come to.
pub(crate) enum Turn {
    Waiting(Option<Instant>),
    Unfinished,
    Finished,
}

pub(crate) struct Engine<R, M, A> {
    pump: Pump<M>,
    application: A,
    /// The machine's time zero.
    epoch: Instant,
    /// Where new links report to.
    reports: Reports,
    links: BTreeMap<LinkId, Entry>,
    /// The links whose read limit is to be asked for again: those something has happened on, and those
    /// the machine does not read from now. A limit that changes otherwise is seen with the next frame.
    unsettled: BTreeSet<LinkId>,
    storage: Store,
    context: Arc<Context>,
    runtime: PhantomData<R>,
}

struct Entry {
    handle: Handle,
    /// Stops the opening; none once the link is open.
    opening: Option<AbortHandle>,
    /// TLS is being started: what was read in clear does not count.
    securing: bool,
}

impl<R, M, A> Engine<R, M, A>
where
    R: Runtime,
    M: Machine + Send + 'static,
    A: Application<M>,
{
    pub(crate) fn new(
        machine: M,
        application: A,
        reports: Reports,
        storage: Store,
        context: Arc<Context>,
    ) -> Self {
        Self {
            pump: Pump::new(machine),
            application,
            epoch: R::now(),
            reports,
            links: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            storage,
            context,
            runtime: PhantomData,
        }
    }

    /// Tells the machine as much as one may have it told before it is another's turn; the rest.
    pub(crate) fn tell(&mut self, news: News<M, A>) -> Option<News<M, A>> {
        match news {
            News::Fact(fact) => return self.learn(fact).map(News::Fact),
            News::Command(command) => self.command(command),
            News::Nothing => {}
        }
        None
    }

    /// Lets the machine work until it waits, within bounds.
    pub(crate) fn work(&mut self) -> Turn {
        // Asked once, since to ask costs about as much as a step.
        let mut now = self.now();
        for _ in 0..STEPS_PER_TURN {
            match self.pump.step(now) {
                Step::Perform(action) => self.perform(action),
                Step::Deliver(event) => {
                    self.command(|machine, application, now| {
                        application.handle_event(machine, now, event);
                    });
                    now = self.now();
                }
                Step::Wait { until } => {
                    self.settle();
                    return Turn::Waiting(until.map(|deadline| self.instant(deadline)));
                }
                Step::Finished => return Turn::Finished,
            }
        }
        Turn::Unfinished
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Open { link, endpoint } => {
                let close_timeout = self.context.config.close_timeout;
                let (handle, task) = link::new(link, self.reports.clone(), close_timeout);
                let (dialling, opening) =
                    abortable(dial::<R>(task, endpoint, Arc::clone(&self.context)));
                R::spawn(async {
                    // Who aborts it has no need to be told.
                    let _ = dialling.await;
                });
                let entry = Entry {
                    handle,
                    opening: Some(opening),
                    securing: false,
                };
                self.links.insert(link, entry);
            }
            Action::Send { link, frame } => {
                if let Some(entry) = self.links.get_mut(&link) {
                    // Before the frame: what it says may be leave for the peer to send more at once.
                    entry.handle.allow(self.pump.machine().read_limit(link));
                    entry.handle.send(frame);
                    self.unsettled.insert(link);
                }
            }
            Action::StartTls { link } => {
                if let Some(entry) = self.links.get_mut(&link) {
                    entry.handle.allow(self.pump.machine().read_limit(link));
                    entry.handle.start_tls();
                    entry.securing = true;
                }
            }
            Action::Close { link, code, reason } => match self.links.get(&link) {
                Some(Entry {
                    opening: Some(opening),
                    ..
                }) => {
                    opening.abort();
                    self.links.remove(&link);
                    let why = OpenError::Abandoned;
                    self.input(Input::OpenFailed { link, why });
                }
                Some(entry) => entry.handle.close(code, reason),
                None => {}
            },
            Action::Store { batch, writes } => self.storage.store(batch, writes),
        }
    }

    /// Passes a fact on to the machine, unless it is about a link that is no more; what is left of it for another turn.
    fn learn(&mut self, fact: Fact) -> Option<Fact> {
        match fact {
            Fact::Accepted { input, handle } => {
                if let Some(link) = input.link() {
                    let entry = Entry {
                        handle,
                        opening: None,
                        securing: false,
                    };
                    self.links.insert(link, entry);
                    self.learn_input(link, input);
                }
            }
            Fact::Frames { link, mut frames } => {
                let now = self.now();
                let entry = self.links.get_mut(&link)?;
                if !entry.securing {
                    self.unsettled.insert(link);
                    for frame in frames.by_ref().take(FRAMES_PER_SHARE) {
                        self.pump.handle_input(now, Input::Frame { link, frame });
                    }
                    if frames.len() > 0 {
                        return Some(Fact::Frames { link, frames });
                    }
                }
                entry.handle.count_received();
            }
            Fact::Written { link, frames } => {
                if self.links.contains_key(&link) {
                    self.unsettled.insert(link);
                    let now = self.now();
                    for _ in 0..frames {
                        self.pump.handle_input(now, Input::Written { link });
                    }
                }
            }
            Fact::Other(input) => match input.link() {
                Some(link) => self.learn_input(link, input),
                None => self.input(input),
            },
        }
        None
    }

    fn learn_input(&mut self, link: LinkId, input: Input) {
        let Some(entry) = self.links.get_mut(&link) else {
            return;
        };
        match &input {
            Input::Opened { .. } => entry.opening = None,
            Input::Secured { .. } => entry.securing = false,
            Input::OpenFailed { .. } | Input::Closed { .. } => drop(self.links.remove(&link)),
            _ => {}
        }
        self.unsettled.insert(link);
        self.input(input);
    }

    /// Tells the links how much the machine reads from them now.
    fn settle(&mut self) {
        let (machine, links) = (self.pump.machine(), &mut self.links);
        self.unsettled.retain(|link| {
            let open = links.get_mut(link).filter(|entry| entry.opening.is_none());
            open.is_some_and(|entry| {
                let limit = machine.read_limit(*link);
                entry.handle.allow(limit);
                limit == 0
            })
        });
    }

    fn input(&mut self, input: Input) {
        self.pump.handle_input(self.now(), input);
    }

    fn command(&mut self, command: impl FnOnce(&mut M, &mut A, Time)) {
        let (now, application) = (self.now(), &mut self.application);
        self.pump
            .command(now, |machine, now| command(machine, application, now));
    }

    fn now(&self) -> Time {
        Time::ZERO.after(R::now().duration_since(self.epoch))
    }

    fn instant(&self, deadline: Deadline) -> Instant {
        self.epoch + deadline.at.since(Time::ZERO).min(FAR)
    }

    /// Closes what is open or is being opened. What is left is the storage.
    pub(crate) fn end(self) -> Store {
        for entry in self.links.values() {
            if let Some(opening) = &entry.opening {
                opening.abort();
            }
        }
        self.storage
    }
}
