//! The mail server in front of the mailboxes.

use super::{Delivery, Directory, Maildir};
use crate::config::local_host;
use relay_proto::{
    LinkId, Time,
    smtp::{
        ForwardPath, Reply, ReversePath, Server, ServerConfig, ServerEvent, SessionConfig, reply,
    },
};
use relay_tokio::{Application, Config, Driver, StreamTls, spawn};
use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
};
use tokio::{net::TcpListener, task::block_in_place};

/// As many connections as a relay makes at most, and a few more.
const MAX_LINKS: usize = 510;

/// A running mail server for the mailboxes of a [`Directory`], on a port of this machine.
///
/// It is an ordinary SMTP server, so the relay treats it like any other upstream.
#[derive(Debug)]
pub(crate) struct MailboxServer {
    address: SocketAddr,
    driver: Driver<Server, Counter>,
}

impl MailboxServer {
    /// Starts it on a free port.
    ///
    /// Needs tokio's multi-threaded runtime.
    ///
    /// # Errors
    ///
    /// Where there is no free port.
    pub(crate) async fn start(directory: Directory, max_message_bytes: u64) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let session = SessionConfig {
            max_message_bytes: Some(max_message_bytes),
            ..SessionConfig::new(local_host())
        };
        let server = Server::new(ServerConfig {
            max_links: MAX_LINKS,
            ..ServerConfig::new(session)
        });
        let counter = Counter {
            directory,
            transactions: BTreeMap::new(),
        };
        let driver = spawn(server, counter, Config::default());
        driver.listen_stream(listener, StreamTls::None);
        Ok(Self { address, driver })
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets messages under way finish, and ends.
    pub(crate) async fn shutdown(&self) {
        let shutdown = self.driver.call(|server, _, now| server.shutdown(now));
        // A server that has ended needs no shutdown.
        let _ = shutdown.await;
        self.driver.finished().await;
    }
}

/// Where mail is handed in: answers the server's questions and writes messages to disk.
///
/// It writes on the spot, so that a slow disk slows the sender down instead of filling memory.
#[derive(Debug)]
struct Counter {
    directory: Directory,
    transactions: BTreeMap<LinkId, Transaction>,
}

#[derive(Debug)]
enum Transaction {
    Addressing {
        reverse_path: ReversePath,
        recipients: Vec<(ForwardPath, Maildir)>,
    },
    Writing(Delivery),
    Failed(io::Error),
}

impl Transaction {
    /// The message, begun where it is not yet.
    fn into_delivery(self) -> io::Result<Delivery> {
        match self {
            Self::Addressing {
                reverse_path,
                recipients,
            } => Delivery::begin(&reverse_path, recipients),
            Self::Writing(delivery) => Ok(delivery),
            Self::Failed(error) => Err(error),
        }
    }

    fn write(self, content: &[u8]) -> Self {
        let written = self.into_delivery().and_then(|mut delivery| {
            delivery.write(content)?;
            Ok(delivery)
        });
        written.map_or_else(Self::Failed, Self::Writing)
    }
}

impl Counter {
    /// Takes an event, and answers it where it is a question.
    fn handle(&mut self, event: ServerEvent) -> Option<(LinkId, Reply)> {
        match event {
            ServerEvent::Mail {
                link, reverse_path, ..
            } => {
                let recipients = Vec::new();
                let transaction = Transaction::Addressing {
                    reverse_path,
                    recipients,
                };
                self.transactions.insert(link, transaction);
                Some((link, reply(250, "2.1.0", "Sender ok")))
            }
            ServerEvent::Recipient { link, forward_path } => {
                Some((link, self.recipient(link, forward_path)))
            }
            ServerEvent::Content { link, content } => {
                if let Some(transaction) = self.transactions.remove(&link) {
                    let transaction = block_in_place(|| transaction.write(&content));
                    self.transactions.insert(link, transaction);
                }
                None
            }
            ServerEvent::EndOfContent { link } => Some((link, self.end_of_content(link))),
            ServerEvent::Reset { link } | ServerEvent::Closed { link, .. } => {
                if let Some(transaction) = self.transactions.remove(&link) {
                    // A file goes away with it.
                    block_in_place(|| drop(transaction));
                }
                None
            }
            ServerEvent::Refused { count } => {
                tracing::warn!(count, "mailbox: too many connections");
                None
            }
            _ => None,
        }
    }

    fn recipient(&mut self, link: LinkId, forward_path: ForwardPath) -> Reply {
        let maildir = match self.directory.maildir(&forward_path) {
            Ok(maildir) => maildir,
            Err(refusal) => return refusal,
        };
        match self.transactions.get_mut(&link) {
            Some(Transaction::Addressing { recipients, .. }) => {
                recipients.push((forward_path, maildir));
                reply(250, "2.1.5", "Recipient ok")
            }
            _ => reply(503, "5.5.1", "MAIL first"),
        }
    }

    fn end_of_content(&mut self, link: LinkId) -> Reply {
        let Some(transaction) = self.transactions.remove(&link) else {
            return reply(503, "5.5.1", "MAIL first");
        };
        let delivered = block_in_place(|| transaction.into_delivery().and_then(Delivery::commit));
        match delivered {
            Ok(paths) => {
                for path in &paths {
                    tracing::info!(file = %path.display(), "mailbox: delivered");
                }
                reply(250, "2.0.0", "Delivered")
            }
            Err(error) => {
                tracing::error!(%error, "mailbox: cannot write a message");
                match error.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        reply(452, "4.3.1", "No space left for messages")
                    }
                    _ => reply(451, "4.3.0", "The message could not be written"),
                }
            }
        }
    }
}

impl Application<Server> for Counter {
    fn handle_event(&mut self, server: &mut Server, now: Time, event: ServerEvent) {
        if let Some((link, reply)) = self.handle(event) {
            let heard = server.respond(now, link, reply);
            if !heard {
                tracing::debug!(%link, "mailbox: the client left before it was answered");
            }
        }
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
