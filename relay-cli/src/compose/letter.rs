//! A message somebody has written.

use super::people::{Person, written};
use mail_builder::MessageBuilder;
use relay_proto::smtp::{Address, Envelope};

/// A message, and for whom.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) from: Person,
    pub(super) to: Vec<Person>,
    pub(super) cc: Vec<Person>,
    pub(super) bcc: Vec<Person>,
    pub(super) subject: String,
    pub(super) text: String,
}

/// Reads a subject.
///
/// # Errors
///
/// Where it is more than a line.
pub(super) fn subject(text: &str) -> Result<String, String> {
    if text.contains(char::is_control) {
        return Err("a subject is one line, without control characters".to_owned());
    }
    Ok(text.trim().to_owned())
}

impl Letter {
    /// Who gets it, each once.
    pub(super) fn recipients(&self) -> Vec<Address> {
        let mut recipients = Vec::new();
        for person in self.to.iter().chain(&self.cc).chain(&self.bcc) {
            if !recipients.contains(&person.address) {
                recipients.push(person.address.clone());
            }
        }
        recipients
    }

    pub(super) fn envelope(&self) -> Envelope {
        Envelope::new(self.from.address.clone(), self.recipients())
            .expect("somebody has been asked for")
    }

    /// As it travels (RFC 5322).
    pub(super) fn content(&self) -> Vec<u8> {
        let random =
            u128::from_le_bytes(*relay_tokio::seed().first_chunk().expect("a seed is longer"));
        let domain = self.from.address.domain();
        let mut builder = MessageBuilder::new()
            .message_id(format!("{random:032x}@{domain}"))
            .from(written(std::slice::from_ref(&self.from)))
            .to(written(&self.to))
            .subject(&*self.subject)
            .text_body(&*self.text);
        if !self.cc.is_empty() {
            builder = builder.cc(written(&self.cc));
        }
        builder
            .write_to_vec()
            .expect("writing to memory does not fail")
    }

    /// The message in short, for whoever is to say whether to send it.
    pub(super) fn summary(&self) -> String {
        let mut summary = String::new();
        let people = |people: &[Person]| {
            let names: Vec<_> = people.iter().map(Person::to_string).collect();
            names.join(", ")
        };
        let lines = self.text.lines().count();
        let text = match (lines, self.text.len()) {
            (0, _) => "none".to_owned(),
            (1, bytes) => format!("1 line, {bytes} bytes"),
            (lines, bytes) => format!("{lines} lines, {bytes} bytes"),
        };
        for (name, value) in [
            ("From", self.from.to_string()),
            ("To", people(&self.to)),
            ("Cc", people(&self.cc)),
            ("Bcc", people(&self.bcc)),
            ("Subject", self.subject.clone()),
            ("Text", text),
        ] {
            if !value.is_empty() {
                summary.push_str(&format!("  {name:<8} {value}\n"));
            }
        }
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::people::People;
    use mail_parser::MessageParser;

    fn people(text: &str) -> Vec<Person> {
        text.parse::<People>().unwrap().into_iter().collect()
    }

    fn letter() -> Letter {
        Letter {
            from: people("J\u{f6} Doe <jo@example.org>").remove(0),
            to: people("bob@example.net, \"Last, First\" <f@example.net>"),
            cc: people("carol@example.net"),
            bcc: people("dave@example.net, bob@example.net"),
            subject: "Gr\u{fc}\u{df}e".to_owned(),
            text: "Hall\u{f6}chen,\n.\n".to_owned(),
        }
    }

    #[test]
    fn it_is_a_whole_message_of_ascii() {
        let content = letter().content();
        assert!(content.is_ascii());
        let message = MessageParser::default().parse(&content).unwrap();
        let from = message.from().unwrap().first().unwrap();
        assert_eq!(from.name(), Some("J\u{f6} Doe"));
        assert_eq!(from.address(), Some("jo@example.org"));
        assert_eq!(message.subject(), Some("Gr\u{fc}\u{df}e"));
        assert_eq!(message.to().unwrap().iter().count(), 2);
        assert_eq!(message.cc().unwrap().iter().count(), 1);
        assert!(message.date().is_some());
        assert!(message.message_id().unwrap().ends_with("@example.org"));
        let body = message.body_text(0).unwrap().replace("\r\n", "\n");
        assert_eq!(body, "Hall\u{f6}chen,\n.\n");
        assert!(!String::from_utf8(content).unwrap().contains("dave"));
    }

    #[test]
    fn everybody_gets_it_once() {
        let recipients = letter().recipients();
        let recipients: Vec<_> = recipients.iter().map(ToString::to_string).collect();
        assert_eq!(
            recipients,
            [
                "bob@example.net",
                "f@example.net",
                "carol@example.net",
                "dave@example.net"
            ]
        );
    }

    #[test]
    fn the_summary_leaves_out_what_there_is_not() {
        let mut letter = letter();
        letter.cc.clear();
        letter.subject.clear();
        let summary = letter.summary();
        assert!(summary.contains("  Bcc      dave@example.net, bob@example.net\n"));
        assert!(
            !summary.contains("Cc  ") && !summary.contains("Subject"),
            "{summary}"
        );
        assert!(
            summary.ends_with("Text     2 lines, 14 bytes\n"),
            "{summary}"
        );
    }

    #[test]
    fn a_subject_is_a_line() {
        assert_eq!(subject(" x y ").unwrap(), "x y");
        assert!(subject("x\nBcc: y").is_err());
    }
}
