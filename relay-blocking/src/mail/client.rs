//! The handle to a running mail client.

use super::Events;
use crate::{Config, Driver, news::News, seed, spawn_storing, spawn_with};
use relay_proto::{
    Application, Stopped, Time,
    mail::{
        DeliveryId,
        client::{
            self as machine, ClientConfig, ConnectionState, Event, Receipt, Receipts, SendError,
            Statistics, Submission, SubmissionId, Unsettled,
        },
    },
    storage::{RestoreError, Storage},
};
use std::{
    sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    time::Duration,
};

/// A running mail client. Cheap to clone; all clones are the same client.
///
/// ```no_run
/// use relay_proto::{mail::{client::{ClientConfig, Submission}, wire::ApiKey}, smtp::{Address, Envelope}};
/// use relay_blocking::{Config, mail::Client};
///
/// # fn send() -> Result<(), Box<dyn std::error::Error>> {
/// let config = ClientConfig::new("wss://relay.example/".parse()?, ApiKey::new("the key"));
/// let client = Client::start(config, Config::default());
/// let alice: Address = "alice@example.org".parse()?;
/// let bob: Address = "bob@example.net".parse()?;
/// let envelope = Envelope::new(alice, [bob])?;
/// let receipt = client.send(Submission::message(envelope, "Subject: hello\r\n\r\nHello, Bob.\r\n".into()))?;
/// println!("accepted: {}", receipt.reply);
/// # Ok(())
/// # }
/// ```
///
/// When the last clone is gone the client finishes what it has accepted, by its own rules for retries, and ends.
#[derive(Clone, Debug)]
pub struct Client {
    driver: Driver<machine::Client, Desk>,
}

impl Client {
    /// Starts a client on a thread of its own. It opens no connection before there is something to send.
    ///
    /// # Panics
    ///
    /// Where the system has no thread or no file descriptors left, like [`std::thread::spawn`].
    pub fn start(config: ClientConfig, transport: Config) -> Self {
        let machine = machine::Client::new(config, seed(), Time::ZERO);
        let driver = spawn_with(machine, transport, |_| Desk::new());
        Self { driver }
    }

    /// Starts a client that keeps its outbox in `storage`, and goes on with what an earlier one has left there.
    ///
    /// What it accepts is there first, and stays until it is settled, whatever happens to the process; also what is left when the
    /// client ends. The outcomes of what was found there ([`Event::Restored`]) are among the events returned, which are
    /// all from the beginning.
    ///
    /// # Errors
    ///
    /// Where the storage cannot be read, or is not an outbox's. Nothing in it was changed then.
    ///
    /// # Panics
    ///
    /// Where the system has no thread or no file descriptors left, like [`std::thread::spawn`].
    pub fn start_with_outbox(
        config: ClientConfig,
        transport: Config,
        mut storage: impl Storage,
    ) -> Result<(Self, Events<Event>), RestoreError> {
        let records = storage.load()?;
        let machine = machine::Client::restore(config, seed(), Time::ZERO, records)?;
        let mut desk = Desk::new();
        let events = desk.news.subscribe();
        let driver = spawn_storing(machine, storage, transport, |_| desk);
        Ok((Self { driver }, events))
    }

    /// Sends a submission and waits for its outcome.
    ///
    /// # Errors
    ///
    /// Where the submission was not accepted, it comes back in the error.
    pub fn send(&self, submission: Submission) -> Result<Receipt, SendError> {
        self.enqueue(submission)?.receipt()
    }

    /// Queues a submission and returns as soon as it is accepted, and on disk where the client keeps its outbox there.
    ///
    /// # Errors
    ///
    /// Where the submission was not accepted, it comes back in the error.
    pub fn enqueue(&self, submission: Submission) -> Result<Ticket, SendError> {
        let (accept, accepted) = mpsc::sync_channel(1);
        let (outcome, told) = mpsc::sync_channel(1);
        let waiting = Waiting {
            accept: Some(accept),
            outcome,
        };
        let submitted = self
            .driver
            .call(move |client, desk, now| desk.receipts.submit(client, now, submission, waiting));
        let id = submitted??;
        match accepted.recv() {
            Ok(delivery) => Ok(Ticket {
                id,
                delivery,
                outcome: told,
            }),
            // Who would have said so has gone: with a refusal, or with the client.
            Err(_) => Err(told.recv().map_or(Stopped.into(), |outcome| {
                outcome.err().unwrap_or(Stopped.into())
            })),
        }
    }

    /// Takes a waiting submission back; none where it is unknown, being sent, or settled.
    ///
    /// # Errors
    ///
    /// [`Stopped`] after the client has ended.
    pub fn cancel(&self, id: SubmissionId) -> Result<Option<Submission>, Stopped> {
        self.driver
            .call(move |client, desk, now| desk.receipts.cancel(client, now, id, tell))
    }

    /// How many submissions leave before this one; none where it does not wait.
    ///
    /// # Errors
    ///
    /// [`Stopped`] after the client has ended.
    pub fn position(&self, id: SubmissionId) -> Result<Option<usize>, Stopped> {
        self.driver.call(move |client, _, _| client.position(id))
    }

    /// The client's numbers.
    ///
    /// # Errors
    ///
    /// [`Stopped`] after the client has ended.
    pub fn stats(&self) -> Result<Statistics, Stopped> {
        self.driver.call(|client, _, _| client.statistics())
    }

    /// Where the connection stands.
    ///
    /// # Errors
    ///
    /// [`Stopped`] after the client has ended.
    pub fn state(&self) -> Result<ConnectionState, Stopped> {
        self.driver.call(|client, _, _| client.state())
    }

    /// The client's events from now on, with the client's time since its start.
    ///
    /// They end with the client. A reader that falls more than 1,024 events behind holds nobody up; it
    /// gets [`Missed`](super::Missed) with their number in their place. Outcomes are never lost this way: they also
    /// reach whoever waits for [`Ticket::receipt`].
    ///
    /// # Errors
    ///
    /// [`Stopped`] after the client has ended.
    pub fn events(&self) -> Result<Events<Event>, Stopped> {
        self.driver.call(|_, desk, _| desk.news.subscribe())
    }

    /// Takes no more submissions, finishes those accepted for up to `patience`, closes the link and ends.
    /// Returns what is left, which is nothing where the client had ended before.
    pub fn shutdown(&self, patience: Duration) -> Vec<Unsettled> {
        self.end(move |client, now| client.shutdown(now, patience))
    }

    /// Ends at once. Returns what is left, which is nothing where the client had ended before.
    pub fn stop(&self) -> Vec<Unsettled> {
        self.end(machine::Client::stop)
    }

    fn end(
        &self,
        command: impl FnOnce(&mut machine::Client, Time) + Send + 'static,
    ) -> Vec<Unsettled> {
        let subscribed = self.driver.call(|client, desk, now| {
            let news = desk.news.subscribe();
            command(client, now);
            news
        });
        let mut unsettled = Vec::new();
        for event in subscribed.into_iter().flatten() {
            if let Ok(Event::Terminated { left }) = event {
                unsettled = left;
            }
        }
        self.driver.finished();
        unsettled
    }
}

/// An accepted submission.
///
/// Dropping it cancels nothing.
#[derive(Debug)]
pub struct Ticket {
    id: SubmissionId,
    delivery: DeliveryId,
    outcome: Receiver<Result<Receipt, SendError>>,
}

impl Ticket {
    /// The submission's id.
    pub const fn id(&self) -> SubmissionId {
        self.id
    }

    /// The submission's lasting name, which it keeps over restarts where the client keeps its outbox on disk.
    pub const fn delivery(&self) -> DeliveryId {
        self.delivery
    }

    /// Waits for the outcome.
    ///
    /// # Errors
    ///
    /// Where the submission failed, or the client ended before it was settled.
    pub fn receipt(self) -> Result<Receipt, SendError> {
        self.outcome.recv().map_err(|_| Stopped)?
    }

    /// Waits for the outcome for so long; the ticket comes back where there is none yet.
    ///
    /// # Errors
    ///
    /// The ticket, to go on waiting with.
    pub fn receipt_within(self, patience: Duration) -> Result<Result<Receipt, SendError>, Self> {
        match self.outcome.recv_timeout(patience) {
            Ok(outcome) => Ok(outcome),
            Err(RecvTimeoutError::Disconnected) => Ok(Err(SendError::Stopped(Stopped))),
            Err(RecvTimeoutError::Timeout) => Err(self),
        }
    }
}

/// How to reach who waits for a submission.
struct Waiting {
    accept: Option<SyncSender<DeliveryId>>,
    outcome: SyncSender<Result<Receipt, SendError>>,
}

/// Who no longer waits has dropped its ticket.
fn tell(waiting: Waiting, outcome: Result<Receipt, SendError>) {
    let _ = waiting.outcome.send(outcome);
}

/// Stands behind the machine: passes outcomes to those who wait for them and events to those who listen.
struct Desk {
    receipts: Receipts<Waiting>,
    news: News<Event>,
}

impl Desk {
    fn new() -> Self {
        Self {
            receipts: Receipts::default(),
            news: News::new(),
        }
    }
}

impl Application<machine::Client> for Desk {
    fn handle_event(&mut self, _client: &mut machine::Client, _now: Time, event: Event) {
        self.receipts.accept(&event, |waiting, delivery| {
            if let Some(accept) = waiting.accept.take() {
                // Who no longer waits has gone.
                let _ = accept.send(delivery);
            }
        });
        self.receipts.settle(&event, tell);
        self.news.send(&event);
    }

    fn handle_abandoned(&mut self, client: &mut machine::Client, now: Time) {
        client.shutdown(now, Duration::MAX);
    }
}
