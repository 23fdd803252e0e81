//! Handles to the machines of [`relay_proto::kv`].

use crate::{Config, Driver, Runtime, news, seed, spawn, spawn_with};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, future};
use relay_proto::{
    Application, Missed, Stopped, Time,
    kv::{
        client::{
            self as machine, Answer, Call, CallId, ClientConfig, ConnectionState, Credential,
            Event, Gap, Range, Replies, ServiceUrl, Statistics, Unsettled,
        },
        token::{Scope, TokenError, TokenRequest},
        wire::Notification,
    },
    pacing::Rate,
};
use std::time::Duration;
use tokio::sync::{broadcast, oneshot};

pub use relay_proto::kv::client::NoAnswer;

/// A running key-value client. Cheap to clone; all clones are the same client.
///
/// ```no_run
/// use relay_proto::kv::client::{ClientConfig, Credential};
/// use relay_async::{Config, Runtime, kv::Client};
///
/// # async fn count<R: Runtime>() -> Result<(), Box<dyn std::error::Error>> {
/// let config = ClientConfig::new("wss://kv.example".parse()?, Credential::ApiKey("the key".into()));
/// let client = Client::<R>::start(config, Config::default());
/// client.set("greeting", "hello").await?;
/// println!("visitor number {}", client.increment("visits", 1).await?);
/// # Ok(())
/// # }
/// ```
///
/// When the last clone is gone the client finishes the calls it has, and ends.
#[derive(Clone, Debug)]
pub struct Client<R> {
    driver: Driver<R, machine::Client, Desk>,
}

impl<R: Runtime> Client<R> {
    /// Starts a client on the current runtime. It opens no connection before there is a call, or it is told to
    /// [connect](Self::connect).
    pub fn start(config: ClientConfig, transport: Config) -> Self {
        let machine = machine::Client::new(config, seed(), Time::ZERO);
        let driver = spawn_with(machine, transport, |_| Desk::new());
        Self { driver }
    }

    /// Makes a call and waits for its answer.
    ///
    /// Dropping the future once it has been polled to the point of acceptance cancels nothing: the call is made all the same, and its
    /// end is among the [`events`](Self::events).
    ///
    /// # Errors
    ///
    /// Where the client did not take the call, which comes back in the error, where it failed, and where the client ends first.
    pub async fn call(&self, call: Call) -> Result<Answer, NoAnswer> {
        self.begin(call).await?.answer().await
    }

    /// Makes a call and returns as soon as the client has taken it.
    ///
    /// # Errors
    ///
    /// [`NoAnswer::Refused`] where the client did not take the call, which comes back in it; [`NoAnswer::Stopped`] where the client
    /// had ended.
    pub async fn begin(&self, call: Call) -> Result<Ticket, NoAnswer> {
        let (tell, answer) = oneshot::channel();
        let taken = self
            .driver
            .call(|client, desk, now| desk.replies.call(client, now, call, tell));
        let id = taken.await??;
        Ok(Ticket { id, answer })
    }

    /// The value of a key.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call); a key that is not there [is not found](NoAnswer::is_not_found).
    pub async fn get(&self, key: impl Into<String>) -> Result<Bytes, NoAnswer> {
        Ok(self.call(Call::get(key)).await?.value()?)
    }

    /// Sets a key to a value. One that is not UTF-8 needs a service that speaks the durable dialect.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub async fn set(
        &self,
        key: impl Into<String>,
        value: impl Into<Bytes>,
    ) -> Result<(), NoAnswer> {
        self.call(Call::set(key, value)).await.map(drop)
    }

    /// Merges a JSON object into the one that is there (RFC 7396); appends where either is none.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call); a key that is not there [is not found](NoAnswer::is_not_found).
    pub async fn patch(
        &self,
        key: impl Into<String>,
        value: impl Into<Bytes>,
    ) -> Result<(), NoAnswer> {
        self.call(Call::patch(key, value)).await.map(drop)
    }

    /// Deletes a key.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call); a key that is not there [is not found](NoAnswer::is_not_found).
    pub async fn delete(&self, key: impl Into<String>) -> Result<(), NoAnswer> {
        self.call(Call::delete(key)).await.map(drop)
    }

    /// The keys from one to another, both included, in ascending order, with their values; as many as the service gives at once. To
    /// ask for fewer, [make the call](Self::call) with a [limit](Call::limit).
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub async fn range(
        &self,
        from: impl Into<String>,
        to: impl Into<String>,
    ) -> Result<Range, NoAnswer> {
        Ok(self.call(Call::range(from, to)).await?.range()?)
    }

    /// Adds to the number a key holds, 0 where it is not there, and returns what it holds now.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub async fn increment(&self, key: impl Into<String>, by: i64) -> Result<i64, NoAnswer> {
        Ok(self.call(Call::increment(key, by)).await?.number()?)
    }

    /// Takes a waiting call back; none where it is unknown, under way, or has ended.
    ///
    /// # Errors
    ///
    /// [`Stopped`] after the client has ended.
    pub async fn cancel(&self, id: CallId) -> Result<Option<Call>, Stopped> {
        self.driver
            .call(move |client, desk, now| desk.replies.cancel(client, now, id, tell))
            .await
    }

    /// Opens a link where there is none and none is coming, and keeps it until [`disconnect`](Self::disconnect). Returns at once.
    ///
    /// # Errors
    ///
    /// [`Stopped`] after the client has ended.
    pub async fn connect(&self) -> Result<(), Stopped> {
        self.driver.call(|client, _, now| client.connect(now)).await
    }

    /// Leaves the link, or the attempt or the wait for one, until the next call or [`connect`](Self::connect). Calls that have not
    /// ended end with [`CallError::Disconnected`](relay_proto::kv::client::CallError::Disconnected), in doubt where they change
    /// something and were sent.
    ///
    /// # Errors
    ///
    /// [`Stopped`] after the client has ended.
    pub async fn disconnect(&self) -> Result<(), Stopped> {
        self.driver
            .call(|client, _, now| client.disconnect(now))
            .await
    }

    /// Limits how often a call is made from now on; none: as often as the service takes it.
    ///
    /// # Errors
    ///
    /// [`Stopped`] after the client has ended.
    pub async fn set_rate(&self, rate: Option<Rate>) -> Result<(), Stopped> {
        self.driver
            .call(move |client, _, now| client.set_rate(now, rate))
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
    /// The stream ends with the client. A reader that falls more than 1,024 events behind holds nobody up; it gets [`Missed`] with
    /// their number in their place. Answers are never lost this way to who waits for them.
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

    /// The changes of the keys that the client's token subscribes to, from now on; and, as [`Gap`], that some may not be among them.
    /// They come as long as the client is [connected](Self::connect), and the stream ends with it.
    ///
    /// # Errors
    ///
    /// [`Stopped`] after the client has ended.
    pub async fn notifications(
        &self,
    ) -> Result<impl Stream<Item = Result<Notification, Gap>> + Send + Unpin + use<R>, Stopped>
    {
        let events = self.events().await?;
        Ok(events.filter_map(|event| {
            future::ready(match event {
                Ok(event) => event.notification().map(Result::<&_, _>::cloned),
                Err(missed) => Some(Err(missed.into())),
            })
        }))
    }

    /// Takes no more calls, finishes those it has for up to `patience`, closes the link and ends. Returns what is left, which is
    /// nothing where the client had ended before.
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

/// A call that was taken.
///
/// Dropping it cancels nothing.
#[derive(Debug)]
pub struct Ticket {
    id: CallId,
    answer: Receiver,
}

type Receiver = oneshot::Receiver<Result<Answer, NoAnswer>>;
type Sender = oneshot::Sender<Result<Answer, NoAnswer>>;

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
    pub async fn answer(self) -> Result<Answer, NoAnswer> {
        self.answer.await.map_err(|_| Stopped)?
    }
}

/// Who no longer waits has dropped its ticket.
fn tell(waiting: Sender, answer: Result<Answer, NoAnswer>) {
    let _ = waiting.send(answer);
}

/// Stands behind the machine: passes answers to those who wait for them and events to those who listen.
struct Desk {
    replies: Replies<Sender>,
    news: broadcast::Sender<Event>,
}

impl Desk {
    fn new() -> Self {
        Self {
            replies: Replies::default(),
            news: news::sender(),
        }
    }
}

impl Application<machine::Client> for Desk {
    fn handle_event(&mut self, _client: &mut machine::Client, _now: Time, event: Event) {
        self.replies.settle(&event, tell);
        // Without a listener there is nobody to tell.
        let _ = self.news.send(event);
    }

    fn handle_abandoned(&mut self, client: &mut machine::Client, now: Time) {
        client.shutdown(now, Duration::MAX);
    }
}

/// Asks `service` for a token, as the owner of `key`, for up to `patience`: what to connect with, or to hand to who is to connect.
///
/// Dropping the future changes nothing about that.
///
/// # Errors
///
/// Where there is none, and why.
pub async fn request_token<R: Runtime>(
    service: &ServiceUrl,
    key: &str,
    scope: &Scope,
    patience: Duration,
    transport: Config,
) -> Result<Credential, TokenError> {
    let (tell, told) = oneshot::channel();
    let mut tell = Some(tell);
    let machine = TokenRequest::new(service, key, scope, Time::ZERO, patience);
    let application = move |_: &mut TokenRequest, _: Time, result| {
        if let Some(tell) = tell.take() {
            // Who no longer waits has dropped the future.
            let _ = tell.send(result);
        }
    };
    let _running: Driver<R, _, _> = spawn(machine, application, transport);
    told.await.unwrap_or(Err(TokenError::Stopped))
}
