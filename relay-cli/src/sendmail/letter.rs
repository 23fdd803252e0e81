//! A message as programs hand it to sendmail: often without the header fields it needs.

use super::people::People;
use jiff::{Timestamp, fmt::rfc2822, tz::TimeZone};
use mail_builder::headers::{Header, address::Address as Written};
use relay_proto::smtp::ReversePath;
use std::io::{self, BufRead};

/// Reads a message, up to a line with nothing but a dot where `dot_ends`.
pub(super) fn read_message(mut input: impl BufRead, dot_ends: bool) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    if !dot_ends {
        input.read_to_end(&mut content)?;
        return Ok(content);
    }
    loop {
        let start = content.len();
        input.read_until(b'\n', &mut content)?;
        if matches!(&content[start..], b"" | b".\n" | b".\r\n" | b".") {
            content.truncate(start);
            return Ok(content);
        }
    }
}

/// A message, its header in fields.
#[derive(Debug)]
pub(super) struct Letter<'a> {
    /// Each with its continuation lines and line ends.
    fields: Vec<&'a [u8]>,
    body: &'a [u8],
}

impl<'a> Letter<'a> {
    /// Takes a message apart. The first line that is neither a field nor its continuation begins the body, also where no empty
    /// line says so; the line that begins a message in a mailbox file (`From `) is passed over.
    pub(super) fn parse(content: &'a [u8]) -> Self {
        let mut rest = content;
        if rest.starts_with(b"From ") || rest.starts_with(b">From ") {
            rest = &rest[line_length(rest)..];
        }
        let mut fields = Vec::new();
        while field_name(rest).is_some() {
            let mut length = line_length(rest);
            while matches!(rest.get(length), Some(b' ' | b'\t')) {
                length += line_length(&rest[length..]);
            }
            fields.push(&rest[..length]);
            rest = &rest[length..];
        }
        let body = rest
            .strip_prefix(b"\r\n")
            .or_else(|| rest.strip_prefix(b"\n"))
            .unwrap_or(rest);
        Self { fields, body }
    }

    /// Whether there is a field of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// What the fields of this name say.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.fields.iter().filter_map(move |field| {
            let found = field_name(field)?;
            let is_meant = found.trim_ascii_end().eq_ignore_ascii_case(name.as_bytes());
            is_meant.then(|| &field[found.len() + 1..])
        })
    }

    /// Takes out who gets a copy without the others knowing.
    pub(super) fn drop_blind_copies(&mut self) {
        self.fields.retain(|field| {
            let name = field_name(field).unwrap_or_default().trim_ascii_end();
            !name.eq_ignore_ascii_case(b"bcc") && !name.eq_ignore_ascii_case(b"resent-bcc")
        });
    }

    /// The message with what it lacks (RFC 6409, section 8): Date, Message-ID, From.
    pub(super) fn complete(
        &self,
        people: &People,
        sender: &ReversePath,
        full_name: Option<&str>,
    ) -> Vec<u8> {
        let mut content = Vec::with_capacity(self.body.len() + 4096);
        if !self.has("date") {
            #[expect(clippy::disallowed_methods, reason = "a date for people")]
            let now = Timestamp::now().to_zoned(TimeZone::UTC);
            let date = rfc2822::to_string(&now).expect("the year has four digits");
            content.extend(format!("Date: {date}\r\n").bytes());
        }
        if !self.has("message-id") {
            let random =
                u128::from_le_bytes(*relay_tokio::seed().first_chunk().expect("a seed is longer"));
            let domain = &people.domain;
            content.extend(format!("Message-ID: <{random:032x}@{domain}>\r\n").bytes());
        }
        if !self.has("from") {
            let address = match sender {
                ReversePath::Mailbox(address) => address.to_string(),
                ReversePath::Null => format!("MAILER-DAEMON@{}", people.domain),
            };
            content.extend(b"From: ");
            let name = full_name.filter(|name| !name.is_empty());
            Written::new_address(name, address).write_header(&mut content, "From: ".len());
        }
        for field in &self.fields {
            content.extend_from_slice(field);
        }
        if content.last() != Some(&b'\n') {
            content.extend(b"\r\n");
        }
        content.extend(b"\r\n");
        content.extend_from_slice(self.body);
        content
    }
}

/// How long the first line is, with its end.
fn line_length(text: &[u8]) -> usize {
    let end = text.iter().position(|byte| *byte == b'\n');
    end.map_or(text.len(), |end| end + 1)
}

/// The name of the field that begins here, if one does (RFC 5322, section 2.2; 4.5 for the spaces behind the name).
fn field_name(text: &[u8]) -> Option<&[u8]> {
    let line = &text[..line_length(text)];
    let name = &line[..line.iter().position(|byte| *byte == b':')?];
    let word = name.trim_ascii_end();
    let is_name = !word.is_empty() && word.iter().all(u8::is_ascii_graphic);
    is_name.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(content: &[u8], sender: &str, name: Option<&str>) -> String {
        let people = People::new("example.org".parse().unwrap());
        let sender = people
            .sender(Some(sender), None, &Letter::parse(content))
            .unwrap();
        let mut letter = Letter::parse(content);
        letter.drop_blind_copies();
        String::from_utf8(letter.complete(&people, &sender, name)).unwrap()
    }

    const WHOLE: &str =
        "Date: Sat, 21 Nov 2026 08:00:00 +0000\r\nMessage-ID: <1@x>\r\nFrom: me\r\n";

    #[test]
    fn a_dot_ends_a_message_or_does_not() {
        let text = b"a\n..\n.b\n.\nc\n";
        assert_eq!(read_message(&text[..], true).unwrap(), b"a\n..\n.b\n");
        assert_eq!(read_message(&text[..], false).unwrap(), text);
        assert_eq!(read_message(&b"a\r\n.\r\nb"[..], true).unwrap(), b"a\r\n");
        assert_eq!(read_message(&b"a\n."[..], true).unwrap(), b"a\n");
        assert_eq!(read_message(&b"a"[..], true).unwrap(), b"a");
    }

    #[test]
    fn a_whole_message_stays_as_it_is() {
        let text = format!("{WHOLE}Subject: x\r\n y\r\n\r\nbody\r\n\r\n");
        assert_eq!(complete(text.as_bytes(), "root", None), text);
    }

    #[test]
    fn blind_copies_are_taken_out_with_all_their_lines() {
        let text = format!("{WHOLE}BCC: a,\n b\n\tc\nResent-Bcc : d\nTo: e\n\nBcc: f\n");
        assert_eq!(
            complete(text.as_bytes(), "root", None),
            format!("{WHOLE}To: e\n\r\nBcc: f\n")
        );
    }

    #[test]
    fn what_is_missing_is_added() {
        let text = complete(b"Subject: x\n\nbody\n", "root", Some("J\u{f6} \"Q\" Doe"));
        let message = mail_parser::MessageParser::default()
            .parse(text.as_bytes())
            .unwrap();
        assert!(message.date().is_some());
        assert!(message.message_id().unwrap().ends_with("@example.org"));
        let from = message.from().unwrap().first().unwrap();
        assert_eq!(from.address(), Some("root@example.org"));
        assert_eq!(from.name(), Some("J\u{f6} \"Q\" Doe"));
        assert!(
            text.is_ascii() && text.ends_with("Subject: x\n\r\nbody\n"),
            "{text}"
        );
        let text = complete(b"\n", "", None);
        assert!(
            text.contains("\r\nFrom: <MAILER-DAEMON@example.org>\r\n\r\n"),
            "{text}"
        );
    }

    #[test]
    fn a_message_without_a_header_gets_one() {
        for text in [
            &b"hello: is it me\nyou look for\n"[..],
            b"just text",
            b"",
            b"From me\nto you\n",
        ] {
            let complete = complete(text, "root", None);
            let body = text.strip_prefix(b"hello: is it me\n");
            let body = body
                .or_else(|| text.strip_prefix(b"From me\n"))
                .unwrap_or(text);
            let body = String::from_utf8(body.to_vec()).unwrap();
            assert!(complete.ends_with(&format!("\n\r\n{body}")), "{complete:?}");
            assert!(complete.starts_with("Date: "), "{complete:?}");
        }
    }

    #[test]
    fn what_begins_a_message_in_a_mailbox_file_is_passed_over() {
        let text = format!("From alice Sat Nov 21 08:00:00 2026\n{WHOLE}\nbody\n");
        assert_eq!(
            complete(text.as_bytes(), "root", None),
            format!("{WHOLE}\r\nbody\n")
        );
    }
}
