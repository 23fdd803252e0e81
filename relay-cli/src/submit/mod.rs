//! Hands mail that came by SMTP or from a program to a relay, and says in SMTP's words what became of it.

mod answer;
mod draft;
mod report;

pub(crate) use draft::{Budget, Draft, no_room};

use bytes::Bytes;
use relay_proto::{
    mail::client::{Receipt, Submission},
    smtp::{Envelope, HostName},
};
use relay_tokio::mail::{Client, SendError, Ticket};
use report::report;
use std::{future::Future, pin::pin, time::Duration};
use tokio::select;

/// The most patience with one sending: a mail program waits for ten minutes (RFC 5321, section 4.5.3.2.6), in
/// which a message may be sent twice and may have waited for others.
pub(crate) const MAX_SENDING: Duration = Duration::from_secs(4 * 60);

/// The longest a message waits for those before it. Whoever handed it in waits, too, and RFC 5321, section 4.5.3.2.6,
/// lets that end after ten minutes; sending takes its part of them.
const MAX_WAIT: Duration = Duration::from_secs(120);

/// Hands messages to a relay, one outcome for each.
#[derive(Clone, Debug)]
pub(crate) struct Forwarder {
    pub(crate) client: Client,
    /// What reports of refused recipients come from.
    pub(crate) host_name: HostName,
}

/// What became of a message.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It was accepted for every recipient.
    Accepted(Receipt),
    /// It was accepted, but not for every recipient.
    Partly { receipt: Receipt, told: Told },
    /// It was not accepted, or nobody knows.
    Failed(SendError),
    /// Whoever handed it in left before it was sent, so it was not.
    TakenBack,
}

/// Whether the sender is told of refused recipients.
#[derive(Debug)]
pub(crate) enum Told {
    /// A report is on its way.
    Report(Ticket),
    /// There is no sender to tell: the reverse-path is null.
    Nobody,
    /// The report was not taken.
    Failed(SendError),
}

impl Forwarder {
    /// Sends a message and, where it is accepted for some recipients only, a report to its sender.
    ///
    /// Where `gone` comes first, the message is taken back, if it can be: nobody is there any more to hear that it was accepted,
    /// and so it would come again.
    pub(crate) async fn forward(
        &self,
        envelope: Envelope,
        content: Bytes,
        gone: impl Future<Output = ()>,
    ) -> Outcome {
        let submission =
            Submission::message(envelope.clone(), content.clone()).with_max_age(MAX_WAIT);
        let ticket = match self.client.enqueue(submission).await {
            Ok(ticket) => ticket,
            Err(error) => return Outcome::Failed(error),
        };
        let id = ticket.id();
        let mut receipt = pin!(ticket.receipt());
        let settled = select! {
            biased;
            settled = &mut receipt => settled,
            () = gone => {
                if let Ok(Some(_)) = self.client.cancel(id).await {
                    return Outcome::TakenBack;
                }
                receipt.await
            }
        };
        match settled {
            Ok(receipt) if receipt.rejected.is_empty() => Outcome::Accepted(receipt),
            Ok(receipt) => {
                let told = self.tell(&envelope, &content, &receipt).await;
                Outcome::Partly { receipt, told }
            }
            Err(error) => Outcome::Failed(error),
        }
    }

    async fn tell(&self, envelope: &Envelope, content: &Bytes, receipt: &Receipt) -> Told {
        let Some(sender) = envelope.reverse_path().address() else {
            return Told::Nobody;
        };
        let report = report(&self.host_name, sender, &receipt.rejected, content);
        match self.client.enqueue(report).await {
            Ok(ticket) => Told::Report(ticket),
            Err(error) => Told::Failed(error),
        }
    }
}
