//! The messages of the demonstration, and what is to become of each.

use crate::failure::Failure;
use bytes::Bytes;
use mail_builder::MessageBuilder;
use relay_proto::{
    Priority, Random,
    mail::client::Submission,
    smtp::{Address, Envelope},
};

/// One message.
pub(super) struct Letter {
    pub(super) subject: &'static str,
    pub(super) priority: Priority,
    pub(super) from: &'static str,
    pub(super) to: &'static [&'static str],
    /// The length of the attachment, in bytes; zero: none.
    pub(super) attachment: usize,
    /// Who is to get it in the end.
    pub(super) delivered_to: &'static [&'static str],
}

const MIB: usize = 1 << 20;

/// The one that is cut: index in [`LETTERS`].
pub(super) const LARGE: usize = 1;

/// In the order they are handed to the client.
pub(super) const LETTERS: [Letter; 5] = [
    Letter {
        subject: "Monthly newsletter",
        priority: Priority::Low,
        from: "alice@example.org",
        to: &["bob@example.net", "carol@example.net"],
        attachment: 0,
        delivered_to: &["bob@example.net", "carol@example.net"],
    },
    Letter {
        subject: "Holiday pictures",
        priority: Priority::Normal,
        from: "alice@example.org",
        to: &["carol@example.net"],
        attachment: 5 * MIB,
        delivered_to: &["carol@example.net"],
    },
    Letter {
        subject: "Cheap watches",
        priority: Priority::Normal,
        from: "mallory@example.com",
        to: &["bob@example.net"],
        attachment: 0,
        delivered_to: &[],
    },
    Letter {
        subject: "Invoice 4711",
        priority: Priority::High,
        from: "alice@example.org",
        to: &["bob@example.net", "nobody@example.net"],
        attachment: 0,
        delivered_to: &["bob@example.net"],
    },
    Letter {
        subject: "Server room on fire",
        priority: Priority::Critical,
        from: "alice@example.org",
        to: &["bob@example.net"],
        attachment: 0,
        delivered_to: &["bob@example.net"],
    },
];

impl Letter {
    /// The message as it travels (RFC 5322).
    pub(super) fn content(&self) -> Result<Bytes, Failure> {
        let mut message = MessageBuilder::new()
            .from(self.from)
            .to(self.to.to_vec())
            .subject(self.subject)
            .text_body("Hello,\r\n\r\nthis message is part of a demonstration.\r\n");
        if self.attachment > 0 {
            message = message.attachment("image/jpeg", "beach.jpg", noise(self.attachment));
        }
        let content = message.write_to_vec().map_err(Failure::running)?;
        Ok(content.into())
    }

    /// The message in its envelope.
    pub(super) fn submission(&self, content: Bytes) -> Result<Submission, Failure> {
        let address = |text: &str| text.parse::<Address>().map_err(Failure::running);
        let to: Vec<_> = self
            .to
            .iter()
            .map(|to| address(to))
            .collect::<Result<_, _>>()?;
        let envelope = Envelope::new(address(self.from)?, to).map_err(Failure::running)?;
        Ok(Submission::message(envelope, content).with_priority(self.priority))
    }
}

/// Bytes that look like a picture to a program that packs or escapes them: like chance.
fn noise(length: usize) -> Vec<u8> {
    let mut random = Random::new([1; 32]);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend(random.next_u64().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
