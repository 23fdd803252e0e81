//! What is sent, and where to.

use crate::{
    Outcome,
    host::{Host, NEAR},
    line::Line,
    processes::Sink,
};
use std::{net::SocketAddr, time::Duration};

/// One measurement's circumstances, the same for everyone measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// How many messages are timed.
    pub(crate) messages: usize,
    /// Their size in bytes.
    pub(crate) size: usize,
    /// How many callers there are, each of whom waits for its message's acceptance. Those who cannot send several at once on a
    /// connection have as many connections.
    pub(crate) callers: usize,
    /// For each message.
    pub(crate) recipients: usize,
    /// Between the client's machine and the next.
    pub(crate) round_trip: Option<Duration>,
    /// Who takes the messages.
    pub(crate) upstream: Upstream,
}

/// Who takes the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// postfix's smtp-sink: PIPELINING, but no CHUNKING.
    SmtpSink,
    /// Ours, with both.
    Counting,
}

/// A server and the way to it.
pub(crate) struct Road {
    pub(crate) sink: Sink,
    line: Option<Line>,
}

impl Road {
    /// Straight from the client to the mail server.
    pub(crate) fn straight(case: &Case) -> Outcome<Self> {
        let sink = Sink::start(case.servers(), case.upstream)?;
        let line = case.line_to(sink.address())?;
        Ok(Self { sink, line })
    }

    /// Where a client of that server connects to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.line
            .as_ref()
            .map_or(self.sink.address(), Line::address)
    }
}

impl Case {
    /// Where its servers run.
    pub(crate) fn servers(&self) -> &'static Host {
        let far = self.round_trip.and_then(|_| Host::far());
        far.unwrap_or(&NEAR)
    }

    /// The long way to one of its servers, where it has one that is not there by itself.
    pub(crate) fn line_to(&self, target: SocketAddr) -> Outcome<Option<Line>> {
        let round_trip = self.round_trip.filter(|_| Host::far().is_none());
        let line = round_trip.map(|round_trip| Line::lay(target, round_trip));
        Ok(line.transpose()?)
    }

    /// What is between the two ends, for people.
    pub(crate) fn line(&self) -> Option<String> {
        let delay = (self.round_trip? / 2).as_millis();
        Some(match Host::far() {
            Some(_) => {
                format!("real TCP between two network namespaces; packets take {delay} ms each way")
            }
            None => format!(
                "a proxy that passes bytes on {delay} ms later each way, and hides what Nagle's algorithm costs"
            ),
        })
    }

    pub(crate) fn recipients(&self) -> impl Iterator<Item = String> {
        (1..=self.recipients).map(|number| format!("bob{number}@example.net"))
    }
}
