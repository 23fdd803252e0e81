//! A mail client for a program of one thread.

use crate::{Config, Local, seed};
use relay_proto::{
    Application, Time,
    mail::client::{
        self as machine, ClientConfig, ConnectionState, Event, Refused, Statistics, Submission,
        SubmissionId,
    },
};
use std::{
    collections::VecDeque,
    io,
    time::{Duration, Instant},
};

/// A mail client without a thread of its own: it works while somebody [waits](Self::wait).
///
/// ```no_run
/// use relay_blocking::{Config, mail::LocalClient};
/// use relay_proto::{mail::{client::{ClientConfig, Event, Submission}, wire::ApiKey}, smtp::{Address, Envelope}};
/// use std::time::{Duration, Instant};
///
/// # fn send() -> Result<(), Box<dyn std::error::Error>> {
/// let config = ClientConfig::new("wss://relay.example/".parse()?, ApiKey::new("the key"));
/// let mut client = LocalClient::start(config, Config::default())?;
/// let alice: Address = "alice@example.org".parse()?;
/// let bob: Address = "bob@example.net".parse()?;
/// let envelope = Envelope::new(alice, [bob])?;
/// client.enqueue(Submission::message(envelope, "Subject: hello\r\n\r\nHello, Bob.\r\n".into()))?;
/// client.shutdown(Duration::from_secs(60));
/// while let Some(event) = client.wait(Instant::now() + Duration::from_secs(61)) {
///     if let Event::Processed { receipt, .. } = event {
///         println!("accepted: {}", receipt.reply);
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// Dropped before it has [ended](Event::Terminated), it forgets what it has accepted.
#[derive(Debug)]
pub struct LocalClient {
    local: Local<machine::Client, Inbox>,
}

impl LocalClient {
    /// Makes a client. It opens no connection before there is something to send.
    ///
    /// # Errors
    ///
    /// Where the system has no file descriptors left.
    pub fn start(config: ClientConfig, transport: Config) -> io::Result<Self> {
        let machine = machine::Client::new(config, seed(), Time::ZERO);
        let local = Local::new(machine, Inbox::default(), transport)?;
        Ok(Self { local })
    }

    /// Queues a submission. Its outcome is among the events.
    ///
    /// # Errors
    ///
    /// Where it is not accepted, it comes back in the error.
    pub fn enqueue(&mut self, submission: Submission) -> Result<SubmissionId, Refused> {
        self.local
            .call(|client, _, now| client.submit(now, submission))
    }

    /// Works until there is an event, at the longest until then, and returns it. None: there is none yet, or the
    /// client has ended, which [`Event::Terminated`] has said.
    pub fn wait(&mut self, until: Instant) -> Option<Event> {
        loop {
            let event = self.local.call(|_, inbox, _| inbox.0.pop_front());
            if event.is_some() {
                return event;
            }
            let over = Instant::now() >= until;
            let running = self.local.wait(until);
            if over || !running {
                return self.local.call(|_, inbox, _| inbox.0.pop_front());
            }
        }
    }

    /// Takes a waiting submission back; none where it is unknown, being sent, or settled.
    pub fn cancel(&mut self, id: SubmissionId) -> Option<Submission> {
        self.local.call(|client, _, now| client.cancel(now, id))
    }

    /// How many submissions leave before this one; none where it does not wait.
    pub fn position(&mut self, id: SubmissionId) -> Option<usize> {
        self.local.call(|client, _, _| client.position(id))
    }

    /// The client's numbers.
    pub fn stats(&mut self) -> Statistics {
        self.local.call(|client, _, _| client.statistics())
    }

    /// Where the connection stands.
    pub fn state(&mut self) -> ConnectionState {
        self.local.call(|client, _, _| client.state())
    }

    /// Takes no more submissions, finishes those accepted for up to `patience`, closes the link and ends, all of it
    /// while somebody [waits](Self::wait). [`Event::Terminated`] has what is left.
    pub fn shutdown(&mut self, patience: Duration) {
        self.local
            .call(|client, _, now| client.shutdown(now, patience));
    }

    /// Ends at the next [`wait`](Self::wait). [`Event::Terminated`] has what is left.
    pub fn stop(&mut self) {
        self.local.call(|client, _, now| client.stop(now));
    }
}

/// Keeps the events until they are asked for; between two waits there come no more than those of the calls.
#[derive(Debug, Default)]
struct Inbox(VecDeque<Event>);

impl Application<machine::Client> for Inbox {
    fn handle_event(&mut self, _client: &mut machine::Client, _now: Time, event: Event) {
        self.0.push_back(event);
    }
}
