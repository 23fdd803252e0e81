//! Key-value calls on plain threads: handles to the machines of [`relay_proto::kv`].

use crate::{Config, Driver, news::News, seed, spawn_with};
use bytes::Bytes;
use relay_proto::{
    Application, Stopped, Time,
    kv::{
        client::{
            self as machine, Answer, Call, CallId, ClientConfig, ConnectionState, Event, Gap,
            Range, Replies, Statistics, Unsettled,
        },
        wire::Notification,
    },
    pacing::Rate,
};
use std::{
    sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    time::Duration,
};

pub use crate::news::Events;
pub use relay_proto::kv::client::NoAnswer;

/// A running key-value client. Cheap to clone; all clones are the same client.
///
/// ```no_run
/// use relay_proto::kv::client::{ClientConfig, Credential};
/// use relay_blocking::{Config, kv::Client};
///
/// # fn count() -> Result<(), Box<dyn std::error::Error>> {
/// let config = ClientConfig::new("wss://kv.example".parse()?, Credential::ApiKey("the key".into()));
/// let client = Client::start(config, Config::default());
/// client.set("greeting", "hello")?;
/// println!("visitor number {}", client.increment("visits", 1)?);
/// # Ok(())
/// # }
/// ```
///
/// When the last clone is gone the client finishes the calls it has, and ends.
#[derive(Clone, Debug)]
pub struct Client {
    driver: Driver<machine::Client, Desk>,
}

impl Client {
    /// Starts a client on a thread of its own. It opens no connection before there is a call, or it is told to
    /// [connect](Self::connect).
    ///
    /// # Panics
    ///
    /// Where the system has no thread or no file descriptors left, like [`std::thread::spawn`].
    pub fn start(config: ClientConfig, transport: Config) -> Self {
        let machine = machine::Client::new(config, seed(), Time::ZERO);
        let driver = spawn_with(machine, transport, |_| Desk::new());
        Self { driver }
    }

    /// Makes a call and waits for its answer.
    ///
    /// # Errors
    ///
    /// Where the client did not take the call, which comes back in the error, where it failed, and where the client ends first.
    pub fn call(&self, call: Call) -> Result<Answer, NoAnswer> {
        self.begin(call)?.answer()
    }

    /// Makes a call and returns as soon as the client has taken it.
    ///
    /// # Errors
    ///
    /// [`NoAnswer::Refused`] where the client did not take the call, which comes back in it; [`NoAnswer::Stopped`] where the client
    /// had ended.
    pub fn begin(&self, call: Call) -> Result<Ticket, NoAnswer> {
        let (tell, answer) = mpsc::sync_channel(1);
        let taken = self
            .driver
            .call(move |client, desk, now| desk.replies.call(client, now, call, tell));
        let id = taken??;
        Ok(Ticket { id, answer })
    }

    /// The value of a key.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call); a key that is not there [is not found](NoAnswer::is_not_found).
    pub fn get(&self, key: impl Into<String>) -> Result<Bytes, NoAnswer> {
        Ok(self.call(Call::get(key))?.value()?)
    }

    /// Sets a key to a value. One that is not UTF-8 needs a service that speaks the durable dialect.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn set(&self, key: impl Into<String>, value: impl Into<Bytes>) -> Result<(), NoAnswer> {
        self.call(Call::set(key, value)).map(drop)
    }

    /// Merges a JSON object into the one that is there (RFC 7396); appends where either is none.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call); a key that is not there [is not found](NoAnswer::is_not_found).
    pub fn patch(&self, key: impl Into<String>, value: impl Into<Bytes>) -> Result<(), NoAnswer> {
        self.call(Call::patch(key, value)).map(drop)
    }

    /// Deletes a key.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call); a key that is not there [is not found](NoAnswer::is_not_found).
    pub fn delete(&self, key: impl Into<String>) -> Result<(), NoAnswer> {
        self.call(Call::delete(key)).map(drop)
    }

    /// The keys from one to another, both included, in ascending order, with their values; as many as the service gives at once. To
    /// ask for fewer, [make the call](Self::call) with a [limit](Call::limit).
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn range(&self, from: impl Into<String>, to: impl Into<String>) -> Result<Range, NoAnswer> {
        Ok(self.call(Call::range(from, to))?.range()?)
    }

    /// Adds to the number a key holds, 0 where it is not there, and returns what it holds now.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn increment(&self, key: impl Into<String>, by: i64) -> Result<i64, NoAnswer> {
        Ok(self.call(Call::increment(key, by))?.number()?)
    }

    /// Takes a waiting call back; none where it is unknown, under way, or has ended.
    ///
    /// # Errors
    ///
    /// [`Stopped`] after the client has ended.
    pub fn cancel(&self, id: CallId) -> Result<Option<Call>, Stopped> {
        self.driver
            .call(move |client, desk, now| desk.replies.cancel(client, now, id, tell))
    }

    /// Opens a link where there is none and none is coming, and keeps it until [`disconnect`](Self::disconnect). Returns at once.
    ///
    /// # Errors
    ///
    /// [`Stopped`] after the client has ended.
    pub fn connect(&self) -> Result<(), Stopped> {
        self.driver.call(|client, _, now| client.connect(now))
    }

    /// Leaves the link, or the attempt or the wait for one, until the next call or [`connect`](Self::connect). Calls that have not
    /// ended end with [`CallError::Disconnected`](relay_proto::kv::client::CallError::Disconnected), in doubt where they change
    /// something and were sent.
    ///
    /// # Errors
    ///
    /// [`Stopped`] after the client has ended.
    pub fn disconnect(&self) -> Result<(), Stopped> {
        self.driver.call(|client, _, now| client.disconnect(now))
    }

    /// Limits how often a call is made from now on; none: as often as the service takes it.
    ///
    /// # Errors
    ///
    /// [`Stopped`] after the client has ended.
    pub fn set_rate(&self, rate: Option<Rate>) -> Result<(), Stopped> {
        self.driver
            .call(move |client, _, now| client.set_rate(now, rate))
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
    /// They end with the client. A reader that falls more than 1,024 events behind holds nobody up; it gets
    /// [`Missed`](relay_proto::Missed) with their number in their place. Answers are never lost this way to who waits for them.
    ///
    /// # Errors
    ///
    /// [`Stopped`] after the client has ended.
    pub fn events(&self) -> Result<Events<Event>, Stopped> {
        self.driver.call(|_, desk, _| desk.news.subscribe())
    }

    /// The changes of the keys that the client's token subscribes to, from now on; and, as [`Gap`], that some may not be among them.
    /// They come as long as the client is [connected](Self::connect), and end with it.
    ///
    /// # Errors
    ///
    /// [`Stopped`] after the client has ended.
    pub fn notifications(
        &self,
    ) -> Result<impl Iterator<Item = Result<Notification, Gap>> + Send + use<>, Stopped> {
        let events = self.events()?;
        Ok(events.filter_map(|event| match event {
            Ok(event) => event.notification().map(Result::<&_, _>::cloned),
            Err(missed) => Some(Err(missed.into())),
        }))
    }

    /// Takes no more calls, finishes those it has for up to `patience`, closes the link and ends. Returns what is left, which is
    /// nothing where the client had ended before.
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

/// A call that was taken.
///
/// Dropping it cancels nothing.
#[derive(Debug)]
pub struct Ticket {
    id: CallId,
    answer: Receiver<Result<Answer, NoAnswer>>,
}

type Sender = SyncSender<Result<Answer, NoAnswer>>;

impl Ticket {
    /// The call's id.
    pub const fn id(&self) -> CallId {
        self.id
    }

    /// Waits for the answer.
    ///
    /// # Errors
    ///
    /// Where the call failed, was taken back, or the client ended before it was answered.
    pub fn answer(self) -> Result<Answer, NoAnswer> {
        self.answer.recv().map_err(|_| Stopped)?
    }

    /// Waits for the answer for so long; the ticket comes back where there is none yet.
    ///
    /// # Errors
    ///
    /// The ticket, to go on waiting with.
    pub fn answer_within(self, patience: Duration) -> Result<Result<Answer, NoAnswer>, Self> {
        match self.answer.recv_timeout(patience) {
            Ok(answer) => Ok(answer),
            Err(RecvTimeoutError::Disconnected) => Ok(Err(NoAnswer::Stopped(Stopped))),
            Err(RecvTimeoutError::Timeout) => Err(self),
        }
    }
}

/// Who no longer waits has dropped its ticket.
fn tell(waiting: Sender, answer: Result<Answer, NoAnswer>) {
    let _ = waiting.send(answer);
}

/// Stands behind the machine: passes answers to those who wait for them and events to those who listen.
struct Desk {
    replies: Replies<Sender>,
    news: News<Event>,
}

impl Desk {
    fn new() -> Self {
        Self {
            replies: Replies::default(),
            news: News::new(),
        }
    }
}

impl Application<machine::Client> for Desk {
    fn handle_event(&mut self, _client: &mut machine::Client, _now: Time, event: Event) {
        self.replies.settle(&event, tell);
        self.news.send(&event);
    }

    fn handle_abandoned(&mut self, client: &mut machine::Client, now: Time) {
        client.shutdown(now, Duration::MAX);
    }
}
