//! A mail client for a program of one thread.

use crate::{Config, Local, seed};
use relay_proto::{
    Application, Time,
    mail::client::{
        self as machine, ClientConfig, ConnectionState, Event, Refused, Statistics, Submission,
        SubmissionId,
    },
    pacing::Rate,
    storage::{RestoreError, Storage},
};
use relay_transport::FAR;
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
/// Dropped before it has [ended](Event::Terminated), it forgets what it has accepted, unless it keeps its outbox on disk.
#[derive(Debug)]
pub struct LocalClient {
    local: Local<machine::Client, Inbox>,
    /// Whether what is accepted is stored first.
    stores: bool,
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
        let stores = false;
        Ok(Self { local, stores })
    }

    /// Makes a client that keeps its outbox in `storage`, and goes on with what an earlier one has left there
    /// ([`Event::Restored`]). What it accepts is there first, and stays until it is settled.
    ///
    /// # Errors
    ///
    /// Where the storage cannot be read, or is not an outbox's: then a [`RestoreError`] is in the error, and nothing was changed.
    /// Where the system has no file descriptors left.
    pub fn start_with_outbox(
        config: ClientConfig,
        transport: Config,
        mut storage: impl Storage,
    ) -> io::Result<Self> {
        let records = storage.load().map_err(RestoreError::from);
        let machine = records
            .and_then(|records| machine::Client::restore(config, seed(), Time::ZERO, records))
            .map_err(io::Error::other)?;
        let local = Local::storing(machine, storage, Inbox::default(), transport)?;
        let stores = true;
        Ok(Self { local, stores })
    }

    /// Queues a submission. Its outcome is among the events. Where the client keeps its outbox on disk this works until
    /// the submission is there.
    ///
    /// # Errors
    ///
    /// Where it is not accepted, it comes back in the error.
    pub fn enqueue(&mut self, submission: Submission) -> Result<SubmissionId, Refused> {
        let id = self
            .local
            .call(|client, _, now| client.submit(now, submission))?;
        while self.stores {
            let accepted = self.local.call(|_, inbox, _| inbox.take_acceptance(id));
            if let Some(accepted) = accepted {
                return accepted.map(|()| id);
            }
            // It says so in any case before it ends.
            self.local.wait(Instant::now() + FAR);
        }
        Ok(id)
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

    /// Sets another limit for how many submissions are sent, or none, from now on: see
    /// [`ClientConfig::rate`].
    pub fn set_rate(&mut self, limit: Option<Rate>) {
        self.local
            .call(|client, _, now| client.set_rate(now, limit));
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

impl Inbox {
    /// Whether a submission was accepted, where an event says so. A refusal is no news any more then.
    fn take_acceptance(&mut self, of: SubmissionId) -> Option<Result<(), Refused>> {
        let about = |event: &Event| match event {
            Event::Queued { id, .. } | Event::Refused { id, .. } => *id == of,
            _ => false,
        };
        let index = self.0.iter().position(about)?;
        match &self.0[index] {
            Event::Refused { refused, .. } => {
                let refused = refused.clone();
                self.0.remove(index);
                Some(Err(refused))
            }
            _ => Some(Ok(())),
        }
    }
}

impl Application<machine::Client> for Inbox {
    fn handle_event(&mut self, _client: &mut machine::Client, _now: Time, event: Event) {
        self.0.push_back(event);
    }
}
