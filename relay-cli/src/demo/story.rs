//! What happens, told line by line.

use super::letters::LETTERS;
use relay_proto::{
    Time,
    mail::{
        client::{self, SubmissionId},
        relay,
    },
};
use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Write},
    time::{Duration, Instant},
};

/// The teller, who also counts.
pub(super) struct Story {
    began: Instant,
    /// Which letter a submission is: an index in [`LETTERS`].
    letters: BTreeMap<SubmissionId, usize>,
    connections: usize,
    pub(super) delivered: usize,
    pub(super) refused: usize,
    pub(super) recipients_refused: usize,
}

impl Story {
    /// The clock runs from here.
    pub(super) fn begin() -> Self {
        Self {
            began: Instant::now(),
            letters: BTreeMap::new(),
            connections: 0,
            delivered: 0,
            refused: 0,
            recipients_refused: 0,
        }
    }

    /// Since the beginning.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Whether every letter has met its fate.
    pub(super) fn is_over(&self) -> bool {
        self.delivered + self.refused == LETTERS.len()
    }

    /// Tells one thing.
    pub(super) fn tell(&self, who: &str, what: impl fmt::Display) {
        let seconds = self.elapsed().as_secs_f64();
        say(format_args!("{seconds:>7.3} s  {who:<6}  {what}"));
    }

    /// A letter was handed to the client.
    pub(super) fn hand_in(&mut self, id: SubmissionId, number: usize) {
        self.letters.insert(id, number);
    }

    /// Something happened at the client.
    pub(super) fn client(&mut self, event: &client::Event) {
        use client::Event;
        let client = |what: fmt::Arguments<'_>| self.tell("client", what);
        match event {
            Event::Connecting => {
                self.connections += 1;
                let again = if self.connections > 1 { " again" } else { "" };
                self.tell("client", format_args!("connects to the relay{again}"));
            }
            Event::Authenticated { .. } => client(format_args!("is let in with its API key")),
            Event::Disconnected {
                error: Some(client::Error::Connection(error)),
            } => client(format_args!("loses the relay: {error}")),
            Event::Disconnected { error: Some(error) } => client(format_args!("hangs up: {error}")),
            Event::Reconnecting { attempt, of, at } => {
                let wait = at.since(Time::ZERO).saturating_sub(self.elapsed());
                let of = of.map_or_else(String::new, |of| format!(" of {of}"));
                client(format_args!(
                    "keeps the message, waits {:.1} s and tries again (attempt {attempt}{of})",
                    wait.as_secs_f64()
                ));
            }
            Event::SessionResumed { .. } => client(format_args!(
                "goes on where the cable was cut, in the middle of the message"
            )),
            Event::RetryScheduled { id, error, .. } => {
                client(format_args!("will try {} again: {error}", self.name(*id)));
            }
            Event::InDoubt { id, .. } => {
                client(format_args!(
                    "does not know whether {} arrived",
                    self.name(*id)
                ));
            }
            Event::Processed { id, receipt } => {
                client(format_args!("✔ {}: {}", self.name(*id), receipt.reply));
                for (recipient, reply) in &receipt.rejected {
                    client(format_args!("  ✘ but not for {recipient}: {reply}"));
                }
                self.delivered += 1;
                self.recipients_refused += receipt.rejected.len();
            }
            Event::Failed { id, error } => {
                client(format_args!("✘ {}: {error}", self.name(*id)));
                self.refused += 1;
            }
            _ => {}
        }
    }

    /// Something happened at the relay.
    pub(super) fn relay(&self, event: &relay::Event) {
        if let relay::Event::MessageAbandoned { .. } = event {
            self.tell(
                "relay",
                "loses the client; drops the half message, so nothing of it is delivered",
            );
        }
    }

    fn name(&self, id: SubmissionId) -> String {
        self.letters
            .get(&id)
            .map_or_else(|| format!("message {id}"), |number| name(*number))
    }
}

/// What a letter is called.
pub(super) fn name(number: usize) -> String {
    format!("{} “{}”", number + 1, LETTERS[number].subject)
}

/// Prints a line. Whoever read it may have gone; the exit code still tells how it went.
pub(super) fn say(line: impl fmt::Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// A length for people.
pub(super) fn size(bytes: u64) -> String {
    const KIB: f64 = 1024.0;
    match bytes as f64 {
        bytes if bytes < KIB => format!("{bytes} bytes"),
        bytes if bytes < KIB * KIB => format!("{:.1} KiB", bytes / KIB),
        bytes => format!("{:.1} MiB", bytes / KIB / KIB),
    }
}
