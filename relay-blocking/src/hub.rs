//! The loop around the pump: one thread that owns machine, application and all sockets.

use crate::{
    dial::Preparation,
    network::{Network, OnRequest, Owner},
    report::{Report, Reporter},
    socket::Security,
    workers::Workers,
};
use relay_proto::{
    Action, Application, Deadline, Endpoint, Input, LinkId, Machine, Pump, Step, Time,
    storage::{BatchId, Storage, StorageError, Write},
};
use relay_transport::{FAR, fault};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError},
    },
    task::Poll,
    time::Instant,
};

/// Steps of the machine between two looks at the network.
const STEPS_PER_TURN: usize = 256;

/// Facts of one link between two looks at the others.
const FACTS_PER_TURN: usize = 16;

/// Calls between two looks at the network.
const COMMANDS_PER_TURN: usize = 64;

/// What callers want done between two steps.
pub(crate) type Command<M, A> = Box<dyn FnOnce(&mut M, &mut A, Time) + Send>;

pub(crate) struct Hub<M, A> {
    pump: Pump<M>,
    application: A,
    /// The machine's time zero.
    epoch: Instant,
    commands: Receiver<Command<M, A>>,
    abandoned: bool,
    reports: Receiver<Report>,
    /// What workers report to.
    reporter: Reporter,
    preparation: Arc<Preparation>,
    workers: Workers,
    storage: Option<Box<dyn Storage>>,
    network: Network,
    /// The links the machine did not read from when asked last.
    paused: BTreeSet<LinkId>,
}

/// Where a run of steps has come to.
enum Turn {
    Waiting(Option<Deadline>),
    Unfinished,
    Finished,
}

impl<M: Machine, A: Application<M>> Hub<M, A> {
    pub(crate) fn new(
        machine: M,
        application: A,
        commands: Receiver<Command<M, A>>,
        (reporter, reports): (Reporter, Receiver<Report>),
        preparation: Preparation,
        storage: Option<Box<dyn Storage>>,
        network: Network,
    ) -> Self {
        Self {
            pump: Pump::new(machine),
            application,
            epoch: Instant::now(),
            commands,
            abandoned: false,
            reports,
            reporter,
            preparation: Arc::new(preparation),
            workers: Workers::default(),
            storage,
            network,
            paused: BTreeSet::new(),
        }
    }

    pub(crate) fn run(mut self) {
        while self.round(None) {}
        let Self {
            mut network,
            commands,
            reports,
            application,
            storage,
            ..
        } = self;
        // Refuses calls, and then waits until everything is closed.
        drop((commands, reports, application));
        network.run_out();
        drop(storage);
    }

    /// Waits until everything is closed, after the machine has ended.
    pub(crate) fn run_out(&mut self) {
        self.network.run_out();
        self.storage = None;
    }

    /// Lets the machine work, waits for something to happen, at the longest until then, and tells the machine.
    /// False once the machine has ended.
    pub(crate) fn round(&mut self, until: Option<Instant>) -> bool {
        let deadline = match self.turn() {
            Turn::Waiting(deadline) => deadline.map(|deadline| self.instant(deadline.at)),
            Turn::Unfinished => Some(self.epoch),
            Turn::Finished => return false,
        };
        self.settle();
        let deadline = [deadline, until].into_iter().flatten().min();
        let (ready, woken) = self.network.wait(deadline);
        if woken {
            self.take_reports();
            self.take_commands();
        }
        while let Some(owner) = self.network.overdue() {
            match owner {
                Owner::Link(link) => {
                    let expired = self.network.expire(link);
                    self.tell(expired);
                }
                Owner::Door(door) => self.network.admit(door),
            }
        }
        for owner in ready {
            match owner {
                Owner::Link(link) => self.serve(link),
                Owner::Door(door) => self.network.admit(door),
            }
        }
        true
    }

    /// Lets the machine work until it waits, within bounds.
    fn turn(&mut self) -> Turn {
        for _ in 0..STEPS_PER_TURN {
            match self.pump.step(self.now()) {
                Step::Perform(action) => self.perform(action),
                Step::Deliver(event) => self.command(|machine, application, now| {
                    application.handle_event(machine, now, event);
                }),
                Step::Wait { until } => return Turn::Waiting(until),
                Step::Finished => return Turn::Finished,
            }
        }
        Turn::Unfinished
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Open { link, endpoint } => self.open(link, endpoint),
            Action::Send { link, frame } => self.network.send(link, frame),
            Action::StartTls { link } => self.start_tls(link),
            Action::Close { link, code, reason } => {
                let abandoned = self.network.close(link, code, reason);
                self.tell(abandoned);
            }
            Action::Store { batch, writes } => self.store(batch, writes),
        }
    }

    fn store(&mut self, batch: BatchId, writes: Vec<Write>) {
        match &mut self.storage {
            Some(storage) => {
                let reporter = self.reporter.clone();
                let on_stored = move |result| {
                    // A hub that has ended has no use for it.
                    let _ = reporter.report(Report::Stored { batch, result });
                };
                storage.store(writes, Box::new(on_stored));
            }
            None => {
                let result = Err(StorageError::Absent);
                self.tell(Some(Input::Stored { batch, result }));
            }
        }
    }

    fn open(&mut self, link: LinkId, endpoint: Endpoint) {
        self.network.open(link, &endpoint);
        let (preparation, reporter) = (Arc::clone(&self.preparation), self.reporter.clone());
        let name = endpoint.to_string();
        let looking_up = self.workers.run(move || {
            let found = Box::new(preparation.prepare(endpoint));
            // A hub that has ended has no use for it.
            let _ = reporter.report(Report::Found { link, found });
        });
        if let Err(error) = looking_up {
            let failed = Err(fault::unreachable(name, &error));
            let failed = self.network.connect(link, failed);
            self.tell(failed);
        }
    }

    fn start_tls(&mut self, link: LinkId) {
        let security = match self.network.tls_on_request(link) {
            Some(OnRequest::Server(tls)) => Ok(Security::Server(tls)),
            Some(OnRequest::Client(host)) => {
                let (preparation, reporter) =
                    (Arc::clone(&self.preparation), self.reporter.clone());
                let preparing = self.workers.run(move || {
                    let security = Box::new(preparation.secure(&host));
                    // A hub that has ended has no use for it.
                    let _ = reporter.report(Report::Prepared { link, security });
                });
                match preparing {
                    Ok(()) => return,
                    Err(error) => Err(fault::not_secured(error)),
                }
            }
            Some(OnRequest::Never | OnRequest::Due(_)) => Err(fault::tls_not_prepared()),
            None => return,
        };
        let ended = self.network.start_tls(link, security);
        self.tell(ended);
    }

    /// Lets a link write and read, within bounds, and the machine react.
    fn serve(&mut self, link: LinkId) {
        for _ in 0..FACTS_PER_TURN {
            let limit = self.pump.machine().read_limit(link);
            match self.network.progress(link, limit) {
                Poll::Ready(fact) => self.tell(fact),
                Poll::Pending => {
                    if limit == 0 {
                        self.paused.insert(link);
                    }
                    let _ = self.turn();
                    return;
                }
            }
        }
        self.network.touch(link);
        // So that a machine whose answers pile up can say so before it is told more.
        let _ = self.turn();
    }

    /// Looks after the links the machine reads from again.
    fn settle(&mut self) {
        let (machine, network) = (self.pump.machine(), &mut self.network);
        self.paused.retain(|link| {
            let still = network.knows(*link) && machine.read_limit(*link) == 0;
            if !still {
                network.touch(*link);
            }
            still
        });
    }

    fn take_reports(&mut self) {
        while let Ok(report) = self.reports.try_recv() {
            match report {
                Report::Found { link, found } => {
                    let failed = self.network.connect(link, *found);
                    self.tell(failed);
                }
                Report::Prepared { link, security } => {
                    let ended = self.network.start_tls(link, *security);
                    self.tell(ended);
                }
                Report::Stored { batch, result } => {
                    self.tell(Some(Input::Stored { batch, result }));
                }
                Report::Listen(door) => door(&mut self.network),
            }
        }
    }

    fn take_commands(&mut self) {
        for _ in 0..COMMANDS_PER_TURN {
            if self.abandoned {
                return;
            }
            match self.commands.try_recv() {
                Ok(command) => {
                    self.command(command);
                    let _ = self.turn();
                }
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    self.abandoned = true;
                    self.command(|machine, application, now| {
                        application.handle_abandoned(machine, now);
                    });
                }
            }
        }
        self.reporter.ring();
    }

    fn tell(&mut self, input: Option<Input>) {
        if let Some(input) = input {
            self.pump.handle_input(self.now(), input);
        }
    }

    /// Runs a command between two steps of the machine.
    pub(crate) fn command<R>(&mut self, command: impl FnOnce(&mut M, &mut A, Time) -> R) -> R {
        let (now, application) = (self.now(), &mut self.application);
        self.pump
            .command(now, |machine, now| command(machine, application, now))
    }

    pub(crate) const fn network(&mut self) -> &mut Network {
        &mut self.network
    }

    fn now(&self) -> Time {
        Time::ZERO.after(self.epoch.elapsed())
    }

    fn instant(&self, time: Time) -> Instant {
        self.epoch + time.since(Time::ZERO).min(FAR)
    }
}
