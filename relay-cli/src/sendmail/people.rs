//! Who sends, and who is to get it.

use super::{exit, letter::Letter};
use crate::failure::Failure;
use mail_parser::{Addr, MessageParser};
use relay_proto::smtp::{Address, AddressError, HostName, ReversePath};
use std::env;

/// Reads addresses as people on this machine write them.
pub(super) struct People {
    pub(super) domain: HostName,
}

impl People {
    pub(super) const fn new(domain: HostName) -> Self {
        Self { domain }
    }

    /// The sender: as given, as set, whoever runs this, or else who the message says it is from.
    pub(super) fn sender(
        &self,
        given: Option<&str>,
        set: Option<&Address>,
        letter: &Letter<'_>,
    ) -> Result<ReversePath, Failure> {
        match (given, set) {
            (Some("" | "<>"), _) => Ok(ReversePath::Null),
            (Some(text), _) => self
                .read(text)
                .map(ReversePath::from)
                .map_err(|error| exit::usage(format_args!("the sender {text:?}: {error}"))),
            (None, Some(address)) => Ok(address.clone().into()),
            (None, None) => self
                .user()
                .or_else(|| self.author(letter))
                .map(ReversePath::from)
                .ok_or_else(|| {
                    exit::config(
                        "no sender: give -f ADDRESS, or set sender in the settings or LOGNAME",
                    )
                }),
        }
    }

    fn user(&self) -> Option<Address> {
        let user = ["LOGNAME", "USER"]
            .iter()
            .find_map(|name| env::var(name).ok())?;
        self.read(&user).ok()
    }

    fn author(&self, letter: &Letter<'_>) -> Option<Address> {
        let from = String::from_utf8_lossy(letter.values("from").next()?);
        self.list(&from).ok()?.into_iter().next()
    }

    /// The recipients on the command line, where commas separate some, too.
    pub(super) fn named(&self, arguments: &[String]) -> Result<Vec<Address>, Failure> {
        let mut recipients = Vec::new();
        for argument in arguments {
            recipients.extend(self.list(argument).map_err(exit::usage)?);
        }
        Ok(recipients)
    }

    /// The recipients in the header: those of a message that is passed on, where it is.
    pub(super) fn in_header(&self, letter: &Letter<'_>) -> Result<Vec<Address>, Failure> {
        let passed_on = ["resent-to", "resent-cc", "resent-bcc"];
        let names = if passed_on.iter().any(|name| letter.has(name)) {
            passed_on
        } else {
            ["to", "cc", "bcc"]
        };
        let mut recipients = Vec::new();
        for name in names {
            for value in letter.values(name) {
                let value = String::from_utf8_lossy(value);
                let read = self.list(&value);
                recipients
                    .extend(read.map_err(|problem| exit::data(format_args!("{name}: {problem}")))?);
            }
        }
        Ok(recipients)
    }

    /// The addresses of an address list (RFC 5322, section 3.4), with those in groups.
    fn list(&self, text: &str) -> Result<Vec<Address>, String> {
        let header = format!("To: {}\r\n\r\n", text.trim());
        let message = MessageParser::default().parse(header.as_bytes());
        let list = message.as_ref().and_then(|message| message.to());
        let addresses = list.into_iter().flat_map(|list| list.clone().into_list());
        let read = |address: Addr<'_>| {
            // A lone word is taken for a name; here it is a user of this machine.
            let text = address.address.or(address.name).unwrap_or_default();
            self.read(&text)
                .map_err(|error| format!("{text:?}: {error}"))
        };
        addresses.map(read).collect()
    }

    fn read(&self, text: &str) -> Result<Address, AddressError> {
        let text = text.trim();
        let text = text
            .strip_prefix('<')
            .and_then(|text| text.strip_suffix('>'))
            .unwrap_or(text);
        if text.contains('@') {
            text.parse()
        } else {
            format!("{text}@{}", self.domain).parse()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people() -> People {
        People::new("example.org".parse().unwrap())
    }

    fn named(text: &str) -> Result<Vec<String>, Failure> {
        let addresses = people().named(&[text.to_owned()])?;
        Ok(addresses.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let cases: &[(&str, &[&str])] = &[
            ("root", &["root@example.org"]),
            ("<bob@example.net>", &["bob@example.net"]),
            (
                "bob@example.net, carol",
                &["bob@example.net", "carol@example.org"],
            ),
            ("\"Last, First\" <f@example.net>", &["f@example.net"]),
            ("=?utf-8?q?J=C3=B6?= <j@example.net>", &["j@example.net"]),
            (
                "Friends: a@b.example, c@d.example;",
                &["a@b.example", "c@d.example"],
            ),
            ("undisclosed-recipients:;", &[]),
            ("d@\u{3c0}.example", &["d@\u{3c0}.example"]),
            ("g@[192.0.2.1]", &["g@[192.0.2.1]"]),
        ];
        for (text, expected) in cases {
            assert_eq!(named(text).unwrap(), *expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["joe at example", "a@b@c", "a@", "\"a b\"@example.net"] {
            let failure = named(text).unwrap_err();
            assert_eq!(
                failure.code(),
                std::process::ExitCode::from(64),
                "{failure}"
            );
        }
    }

    #[test]
    fn header_names_the_recipients() {
        let letter = Letter::parse(
            b"to: bob\nCC: Carol <c@d.example>,\n e@f.example\nBcc : g\nX-To: h\n\nTo: i\n",
        );
        let found = people().in_header(&letter).unwrap();
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "bob@example.org",
                "c@d.example",
                "e@f.example",
                "g@example.org"
            ]
        );

        let letter = Letter::parse(b"To: bob\nResent-To: carol\n\n");
        let found = people().in_header(&letter).unwrap();
        assert_eq!(found[0].to_string(), "carol@example.org");
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn a_sender_is_given_or_set() {
        let set: Address = "web@example.org".parse().unwrap();
        let letter = Letter::parse(b"From: Ann <ann@example.net>\n\n");
        let sender = |given| {
            people()
                .sender(given, Some(&set), &letter)
                .unwrap()
                .to_string()
        };
        assert_eq!(sender(Some("root")), "<root@example.org>");
        assert_eq!(sender(Some("")), "<>");
        assert_eq!(sender(Some("<a@b.example>")), "<a@b.example>");
        assert_eq!(sender(None), "<web@example.org>");
        assert_eq!(
            people().author(&letter).unwrap().to_string(),
            "ann@example.net"
        );
        assert!(people().sender(Some("a b"), None, &letter).is_err());
    }
}
