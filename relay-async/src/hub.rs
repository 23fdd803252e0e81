//! The loop around the pump: one task that owns machine and application.

use crate::{
    Runtime,
    context::Context,
    dial::dial,
    driver::Command,
    link::{self, Fact, Handle},
    storage::Store,
};
use futures_util::future::{AbortHandle, abortable};
use relay_proto::{
    Action, Application, Deadline, Input, LinkId, Machine, OpenError, Pump, Step, Time,
    storage::Storage,
};
use relay_transport::FAR;
use std::{
    collections::{BTreeMap, BTreeSet},
    future::poll_fn,
    marker::PhantomData,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Instant,
};
use tokio::{
    select,
    sync::{mpsc, watch},
};

/// Steps of the machine between two chances for the other tasks of the runtime.
const STEPS_PER_TURN: usize = 256;

pub(crate) struct Hub<R, M, A> {
    pump: Pump<M>,
    application: A,
    /// The machine's time zero.
    epoch: Instant,
    commands: mpsc::Receiver<Command<M, A>>,
    facts: mpsc::Receiver<Fact>,
    /// What new links report to.
    reports: mpsc::Sender<Fact>,
    links: BTreeMap<LinkId, Entry>,
    /// The links whose read limit is to be asked for again: those something has happened on, and those
    /// the machine does not read from now. A limit that changes otherwise is seen with the next frame.
    unsettled: BTreeSet<LinkId>,
    /// False while the machine runs, then true; gone when the last link is.
    stage: watch::Sender<bool>,
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

/// Where a run of steps has come to.
enum Turn {
    Waiting(Option<Deadline>),
    Unfinished,
    Finished,
}

impl<R, M, A> Hub<R, M, A>
where
    R: Runtime,
    M: Machine + Send + 'static,
    A: Application<M>,
{
    pub(crate) fn new(
        machine: M,
        application: A,
        commands: mpsc::Receiver<Command<M, A>>,
        (reports, facts): (mpsc::Sender<Fact>, mpsc::Receiver<Fact>),
        stage: watch::Sender<bool>,
        storage: Option<Box<dyn Storage>>,
        context: Arc<Context>,
    ) -> Self {
        Self {
            pump: Pump::new(machine),
            application,
            epoch: R::now(),
            commands,
            facts,
            reports,
            links: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            stage,
            storage: Store::new(storage),
            context,
            runtime: PhantomData,
        }
    }

    pub(crate) async fn run(mut self) {
        let mut alarm = pin!(R::sleep_until(self.epoch));
        // When it rings; none once it has.
        let mut alarm_at = None;
        let mut abandoned = false;
        loop {
            let deadline = match self.turn() {
                Turn::Waiting(deadline) => deadline,
                Turn::Unfinished => {
                    yield_now().await;
                    continue;
                }
                Turn::Finished => break,
            };
            self.settle();
            if let Some(deadline) = deadline {
                let at = self.instant(deadline.at);
                // Most deadlines move with every frame, to a later time. An alarm that rings too early is set again then.
                if alarm_at.is_none_or(|rings| at < rings) {
                    alarm.set(R::sleep_until(at));
                    alarm_at = Some(at);
                }
            }
            select! {
                command = self.commands.recv(), if !abandoned => match command {
                    Some(command) => self.command(command),
                    None => {
                        abandoned = true;
                        self.command(|machine, application, now| {
                            application.handle_abandoned(machine, now);
                        });
                    }
                },
                Some(fact) = self.facts.recv() => self.learn(fact),
                stored = self.storage.stored() => self.tell(stored),
                () = alarm.as_mut(), if deadline.is_some() => alarm_at = None,
            }
        }
        self.end().await;
    }

    /// Lets the machine work until it waits, within bounds.
    fn turn(&mut self) -> Turn {
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
                Step::Wait { until } => return Turn::Waiting(until),
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
                    // The hub that aborts it has no need to be told.
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
                    self.tell(Input::OpenFailed { link, why });
                }
                Some(entry) => entry.handle.close(code, reason),
                None => {}
            },
            Action::Store { batch, writes } => self.storage.store(batch, writes),
        }
    }

    /// Passes a fact on to the machine, unless it is about a link that is no more.
    fn learn(&mut self, fact: Fact) {
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
            Fact::Frames { link, frames } => {
                let Some(entry) = self.links.get_mut(&link) else {
                    return;
                };
                entry.handle.count_received();
                if entry.securing {
                    return;
                }
                self.unsettled.insert(link);
                let now = self.now();
                for frame in frames {
                    self.pump.handle_input(now, Input::Frame { link, frame });
                }
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
            Fact::Other(input) => {
                if let Some(link) = input.link() {
                    self.learn_input(link, input);
                }
            }
        }
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
        self.tell(input);
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

    fn tell(&mut self, input: Input) {
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

    fn instant(&self, time: Time) -> Instant {
        self.epoch + time.since(Time::ZERO).min(FAR)
    }

    /// Refuses calls, closes what is open, and waits for that.
    async fn end(self) {
        let Self {
            mut facts,
            reports,
            commands,
            application,
            links,
            stage,
            storage,
            ..
        } = self;
        drop((commands, application));
        stage.send_replace(true);
        for entry in links.values() {
            if let Some(opening) = &entry.opening {
                opening.abort();
            }
        }
        drop((links, reports));
        // Every task of this hub holds a sender for as long as it lives; each ends within its timeout.
        while facts.recv().await.is_some() {}
        storage.close().await;
        drop(stage);
    }
}

/// Lets the runtime's other tasks have a turn.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
