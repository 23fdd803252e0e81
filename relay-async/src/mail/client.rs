//! The handle to a running mail client.

use crate::{Config, Driver, Runtime, news, seed, spawn_storing, spawn_with, storage::elsewhere};
use futures_util::Stream;
use relay_proto::{
    Application, Missed, Stopped, Time,
    mail::{
        DeliveryId,
        client::{
            self as machine, ClientConfig, ConnectionState, Event, Receipt, Receipts, SendError,
            Statistics, Submission, SubmissionId, Unsettled,
        },
    },
    pacing::Rate,
    storage::{RestoreError, Storage, StorageError},
};
use std::time::Duration;
use tokio::sync::{broadcast, oneshot};

/// A running mail client. Cheap to clone; all clones are the same client.
///
/// ```no_run
/// use relay_proto::{mail::{client::{ClientConfig, Submission}, wire::ApiKey}, smtp::{Address, Envelope}};
/// use relay_async::{Config, Runtime, mail::Client};
///
/// # async fn send<R: Runtime>() -> Result<(), Box<dyn std::error::Error>> {
/// let config = ClientConfig::new("wss://relay.example/".parse()?, ApiKey::new("the key"));
/// let client = Client::<R>::start(config, Config::default());
/// let alice: Address = "alice@example.org".parse()?;
/// let bob: Address = "bob@example.net".parse()?;
/// let envelope = Envelope::new(alice, [bob])?;
/// let receipt = client.send(Submission::message(envelope, "Subject: hello\r\n\r\nHello, Bob.\r\n".into())).await?;
/// println!("accepted: {}", receipt.reply);
/// # Ok(())
/// # }
/// ```
///
/// When the last clone is gone the client finishes what it has accepted, by its own rules for retries, and ends.
#[derive(Clone, Debug)]
pub struct Client<R> {
    driver: Driver<R, machine::Client, Desk>,
}

impl<R: Runtime> Client<R> {
    /// Starts a client on the current runtime. It opens no connection before there is something to send.
    pub fn start(config: ClientConfig, transport: Config) -> Self {
        let machine = machine::Client::new(config, seed(), Time::ZERO);
        let driver = spawn_with(machine, transport, |_| Desk::new());
        Self { driver }
    }

    /// Starts a client on the current runtime that keeps its outbox in `storage`, and goes on with what an earlier one has left
    /// there.
    ///
    /// What it accepts is there first, and stays until it is settled, whatever happens to the process; also what is left when the
    /// client ends. The outcomes of what was found there ([`Event::Restored`]) are among the events returned, which are
    /// all from the beginning and end like [`events`](Self::events).
    ///
    /// # Errors
    ///
    /// Where the storage cannot be read, or is not an outbox's. Nothing in it was changed then.
    pub async fn start_with_outbox<S: Storage>(
        config: ClientConfig,
        transport: Config,
        mut storage: S,
    ) -> Result<
        (
            Self,
            impl Stream<Item = Result<Event, Missed>> + Send + Unpin + use<R, S>,
        ),
        RestoreError,
    > {
        let loaded = elsewhere(move || storage.load().map(|records| (storage, records))).await;
        let (storage, records) = loaded.map_err(|error| StorageError::Failed {
            detail: error.to_string(),
        })??;
        let machine = machine::Client::restore(config, seed(), Time::ZERO, records)?;
        let desk = Desk::new();
        let events = news::stream(desk.news.subscribe());
        let driver = spawn_storing(machine, storage, transport, |_| desk);
        Ok((Self { driver }, events))
    }

    /// Sends a submission and waits for its outcome.
    ///
    /// Dropping the future once it has been polled to the point of acceptance cancels nothing: the submission
    /// is sent all the same, and its outcome is among the [`events`](Self::events).
    ///
    /// # Errors
    ///
    /// [`SendError::Refused`] where the client did not accept the submission, which comes back in it;
    /// [`SendError::Stopped`] where the client had ended, which keeps nothing. Otherwise as [`Ticket::receipt`].
    pub async fn send(&self, submission: Submission) -> Result<Receipt, SendError> {
        self.enqueue(submission).await?.receipt().await
    }

    /// Queues a submission and returns as soon as it is accepted, and on disk where the client keeps its outbox there.
    ///
    /// # Errors
    ///
    /// [`SendError::Refused`] where the client did not accept the submission, which comes back in it;
    /// [`SendError::Stopped`] where the client had ended, which keeps nothing.
    pub async fn enqueue(&self, submission: Submission) -> Result<Ticket, SendError> {
        let (accept, accepted) = oneshot::channel();
        let (tell, outcome) = oneshot::channel();
        let waiting = Waiting {
            accept: Some(accept),
            outcome: tell,
        };
        let submitted = self
            .driver
            .call(|client, desk, now| desk.receipts.submit(client, now, submission, waiting));
        let id = submitted.await??;
        match accepted.await {
            Ok(delivery) => Ok(Ticket {
                id,
                delivery,
                outcome,
            }),
            // Who would have said so has gone: with a refusal, or with the client.
            Err(_) => Err(outcome.await.map_or(Stopped.into(), |outcome| {
                outcome.err().unwrap_or(Stopped.into())
            })),
        }
    }

    /// Takes a waiting submission back; none where it is unknown, being sent, or settled.
    ///
    /// # Errors
    ///
    /// [`Stopped`] after the client has ended.
    pub async fn cancel(&self, id: SubmissionId) -> Result<Option<Submission>, Stopped> {
        self.driver
            .call(move |client, desk, now| desk.receipts.cancel(client, now, id, tell))
            .await
    }

    /// How many submissions leave before this one; none where it does not wait.
    ///
    /// # Errors
    ///
    /// [`Stopped`] after the client has ended.
    pub async fn position(&self, id: SubmissionId) -> Result<Option<usize>, Stopped> {
        self.driver
            .call(move |client, _, _| client.position(id))
            .await
    }

    /// Sets another limit for how many submissions are sent, or none, from now on: see
    /// [`ClientConfig::rate`].
    ///
    /// # Errors
    ///
    /// [`Stopped`] after the client has ended.
    pub async fn set_rate(&self, limit: Option<Rate>) -> Result<(), Stopped> {
        self.driver
            .call(move |client, _, now| client.set_rate(now, limit))
            .await
    }

    /// The client's numbers.
    ///
    /// # Errors
    ///
    /// [`Stopped`] after the client has ended.
    pub async fn stats(&self) -> Result<Statistics, Stopped> {
        self.driver.call(|client, _, _| client.statistics()).await
    }

    /// Where the connection stands.
    ///
    /// # Errors
    ///
    /// [`Stopped`] after the client has ended.
    pub async fn state(&self) -> Result<ConnectionState, Stopped> {
        self.driver.call(|client, _, _| client.state()).await
    }

    /// The client's events from now on. Times in them count from the client's start.
    ///
    /// The stream ends with the client. A reader that falls more than 1,024 events behind holds nobody up; it
    /// gets [`Missed`] with their number in their place. Outcomes are never lost this way: they also reach
    /// whoever waits for [`Ticket::receipt`].
    ///
    /// # Errors
    ///
    /// [`Stopped`] after the client has ended.
    pub async fn events(
        &self,
    ) -> Result<impl Stream<Item = Result<Event, Missed>> + Send + Unpin + use<R>, Stopped> {
        let subscribed = self.driver.call(|_, desk, _| desk.news.subscribe()).await?;
        Ok(news::stream(subscribed))
    }

    /// Takes no more submissions, finishes those accepted for up to `patience`, closes the link and ends.
    /// Returns what is left, which is nothing where the client had ended before.
    ///
    /// Dropping the future changes nothing about that.
    pub async fn shutdown(&self, patience: Duration) -> Vec<Unsettled> {
        self.end(move |client, now| client.shutdown(now, patience))
            .await
    }

    /// Ends at once. Returns what is left, which is nothing where the client had ended before.
    pub async fn stop(&self) -> Vec<Unsettled> {
        self.end(machine::Client::stop).await
    }

    async fn end(
        &self,
        command: impl FnOnce(&mut machine::Client, Time) + Send + 'static,
    ) -> Vec<Unsettled> {
        let subscribed = self.driver.call(|client, desk, now| {
            let news = desk.news.subscribe();
            command(client, now);
            news
        });
        let left = match subscribed.await {
            Ok(news) => {
                news::last(news, |event| match event {
                    Event::Terminated { left } => Some(left),
                    _ => None,
                })
                .await
            }
            Err(Stopped) => None,
        };
        self.driver.finished().await;
        left.unwrap_or_default()
    }
}

/// An accepted submission.
///
/// Dropping it cancels nothing.
#[derive(Debug)]
pub struct Ticket {
    id: SubmissionId,
    delivery: DeliveryId,
    outcome: oneshot::Receiver<Result<Receipt, SendError>>,
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
    /// Where the submission failed, was taken back, or the client ended before it was settled.
    pub async fn receipt(self) -> Result<Receipt, SendError> {
        self.outcome.await.map_err(|_| Stopped)?
    }
}

/// How to reach who waits for a submission.
struct Waiting {
    accept: Option<oneshot::Sender<DeliveryId>>,
    outcome: oneshot::Sender<Result<Receipt, SendError>>,
}

/// Who no longer waits has dropped its ticket.
fn tell(waiting: Waiting, outcome: Result<Receipt, SendError>) {
    let _ = waiting.outcome.send(outcome);
}

/// Stands behind the machine: passes outcomes to those who wait for them and events to those who listen.
struct Desk {
    receipts: Receipts<Waiting>,
    news: broadcast::Sender<Event>,
}

impl Desk {
    fn new() -> Self {
        Self {
            receipts: Receipts::default(),
            news: news::sender(),
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
        // Without a listener there is nobody to tell.
        let _ = self.news.send(event);
    }

    fn handle_abandoned(&mut self, client: &mut machine::Client, now: Time) {
        client.shutdown(now, Duration::MAX);
    }
}
