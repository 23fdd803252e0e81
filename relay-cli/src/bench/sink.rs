//! A mail server that takes everything, keeps nothing, and counts.

use super::letter;
use crate::config::local_host;
use relay_proto::{
    LinkId, Time,
    smtp::{Server, ServerConfig, ServerEvent, SessionConfig, reply},
};
use relay_tokio::{Application, Config, Driver, StreamTls, spawn};
use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
};
use tokio::net::TcpListener;

/// As many bytes as tell which message it is.
const HEAD: usize = 64;

/// As many connections as a relay makes at most, and a few more.
const MAX_LINKS: usize = 510;

/// What has arrived.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// How often each message was taken, by its number.
    pub(super) arrivals: BTreeMap<usize, u32>,
    /// Messages that are none of ours, or reached another number of recipients than they should.
    pub(super) strange: usize,
}

impl Tally {
    /// What is wrong with it, where the numbers below `count` should have come once each.
    pub(super) fn complaint(&self, count: usize) -> Option<String> {
        let lost = (0..count)
            .filter(|number| !self.arrivals.contains_key(number))
            .count();
        let doubled = self.arrivals.values().filter(|times| **times > 1).count();
        let strange = self.strange + self.arrivals.range(count..).count();
        let found: Vec<_> = [
            (lost, "lost"),
            (doubled, "delivered more than once"),
            (strange, "not as it was sent"),
        ]
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{number} {what}"))
        .collect();
        (!found.is_empty()).then(|| format!("of {count} messages: {}", found.join(", ")))
    }
}

/// A running sink.
#[derive(Debug)]
pub(super) struct Sink {
    address: SocketAddr,
    driver: Driver<Server, Counter>,
}

impl Sink {
    /// Starts it on a free port. It takes messages of up to `max_message_bytes`, each for so many recipients.
    ///
    /// # Errors
    ///
    /// Where there is no free port.
    pub(super) async fn start(recipients: usize, max_message_bytes: u64) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let session = SessionConfig {
            max_message_bytes: Some(max_message_bytes),
            max_recipients: recipients,
            ..SessionConfig::new(local_host())
        };
        let server = Server::new(ServerConfig {
            max_links: MAX_LINKS,
            ..ServerConfig::new(session)
        });
        let counter = Counter {
            recipients,
            transactions: BTreeMap::new(),
            tally: Tally::default(),
        };
        let driver = spawn(server, counter, Config::default());
        driver.listen_stream(listener, StreamTls::None);
        Ok(Self { address, driver })
    }

    /// Where it listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it. What it has counted.
    pub(super) async fn finish(&self) -> Tally {
        let taken = self.driver.call(|server, counter, now| {
            server.shutdown(now);
            std::mem::take(&mut counter.tally)
        });
        taken.await.unwrap_or_default()
    }
}

/// Answers the server's questions with yes.
#[derive(Debug)]
struct Counter {
    recipients: usize,
    transactions: BTreeMap<LinkId, Transaction>,
    tally: Tally,
}

#[derive(Debug, Default)]
struct Transaction {
    recipients: usize,
    head: Vec<u8>,
}

impl Counter {
    fn count(&mut self, transaction: &Transaction) {
        match letter::number(&transaction.head) {
            Some(number) if transaction.recipients == self.recipients => {
                *self.tally.arrivals.entry(number).or_default() += 1;
            }
            _ => self.tally.strange += 1,
        }
    }
}

impl Application<Server> for Counter {
    fn handle_event(&mut self, server: &mut Server, now: Time, event: ServerEvent) {
        let (link, reply) = match event {
            ServerEvent::Mail { link, .. } => {
                self.transactions.insert(link, Transaction::default());
                (link, reply(250, "2.1.0", "Ok"))
            }
            ServerEvent::Recipient { link, .. } => {
                self.transactions.entry(link).or_default().recipients += 1;
                (link, reply(250, "2.1.5", "Ok"))
            }
            ServerEvent::Content { link, content } => {
                let head = &mut self.transactions.entry(link).or_default().head;
                let room = HEAD - head.len();
                head.extend_from_slice(&content[..room.min(content.len())]);
                return;
            }
            ServerEvent::EndOfContent { link } => {
                let transaction = self.transactions.remove(&link).unwrap_or_default();
                self.count(&transaction);
                (link, reply(250, "2.0.0", "Ok"))
            }
            ServerEvent::Reset { link } | ServerEvent::Closed { link, .. } => {
                self.transactions.remove(&link);
                return;
            }
            _ => return,
        };
        // A relay that has left meanwhile needs no answer.
        let _ = server.respond(now, link, reply);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_says_what_is_lost_doubled_and_strange() {
        let mut tally = Tally::default();
        tally.arrivals.extend([(0, 1), (1, 1), (2, 1)]);
        assert_eq!(tally.complaint(3), None);
        assert_eq!(tally.complaint(4).unwrap(), "of 4 messages: 1 lost");
        tally.arrivals.insert(2, 2);
        tally.strange = 1;
        assert_eq!(
            tally.complaint(4).unwrap(),
            "of 4 messages: 1 lost, 1 delivered more than once, 1 not as it was sent"
        );
    }
}
