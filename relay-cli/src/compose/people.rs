//! People as mail programs write them: addresses, with names where there are any.

use mail_builder::headers::address::Address as Written;
use mail_parser::{Addr, MessageParser};
use relay_proto::smtp::Address;
use std::{fmt, str::FromStr};

/// Somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) name: Option<String>,
    pub(super) address: Address,
}

impl fmt::Display for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} <{}>", self.address),
            None => self.address.fmt(f),
        }
    }
}

/// One at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct People(Vec<Person>);

impl People {
    /// The only one of them.
    ///
    /// # Errors
    ///
    /// Where there are several.
    pub(super) fn alone(self) -> Result<Person, String> {
        <[Person; 1]>::try_from(self.0)
            .map(|[person]| person)
            .map_err(|people| format!("one person writes a message, not {}", people.len()))
    }
}

impl IntoIterator for People {
    type Item = Person;
    type IntoIter = std::vec::IntoIter<Person>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// An address list (RFC 5322, section 3.4).
impl FromStr for People {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains(char::is_control) {
            return Err("there is a control character in it".to_owned());
        }
        let header = format!("To: {}\r\n\r\n", text.trim());
        let message = MessageParser::default().parse(header.as_bytes());
        let list = message.as_ref().and_then(|message| message.to());
        let people = list
            .into_iter()
            .flat_map(|list| list.clone().into_list())
            .map(person)
            .collect::<Result<Vec<_>, _>>()?;
        if people.is_empty() {
            return Err("there is nobody in it".to_owned());
        }
        Ok(Self(people))
    }
}

fn person(read: Addr<'_>) -> Result<Person, String> {
    let Some(text) = read.address else {
        let name = read.name.unwrap_or_default();
        return Err(format!("{name:?} has no address, which is NAME@DOMAIN"));
    };
    let address = text
        .trim()
        .parse()
        .map_err(|error| format!("{text:?}: {error}"))?;
    let name = read.name.map(|name| name.trim().to_owned());
    let name = name.filter(|name| !name.is_empty());
    Ok(Person { name, address })
}

/// For a header field.
pub(super) fn written(people: &[Person]) -> Written<'_> {
    let one =
        |person: &Person| Written::new_address(person.name.clone(), person.address.to_string());
    Written::new_list(people.iter().map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let people = text.parse::<People>().unwrap();
        people
            .into_iter()
            .map(|person| person.to_string())
            .collect()
    }

    fn complaint(text: &str) -> String {
        text.parse::<People>().unwrap_err()
    }

    #[test]
    fn people_have_addresses_and_some_have_names() {
        assert_eq!(
            read("Alice <alice@example.org>, bob@example.net,"),
            ["Alice <alice@example.org>", "bob@example.net"]
        );
        assert_eq!(
            read("\"Doe, J\u{f6}\" <j@example.net>"),
            ["Doe, J\u{f6} <j@example.net>"]
        );
        assert_eq!(read("<c@d.example>"), ["c@d.example"]);
        assert_eq!(read("Us: a@b.example, C <c@d.example>;").len(), 2);
    }

    #[test]
    fn what_is_no_address_is_named() {
        for (text, part) in [
            ("bob@example.net, eve", "\"eve\""),
            ("Eve", "\"Eve\""),
            ("eve@", "eve@"),
            ("a@b@c", "a@b@c"),
            ("joe at example", "joe at example"),
            ("bob@example.net carol@example.net", "carol"),
            ("", "nobody"),
            (" , ", "nobody"),
            ("a@b.example\u{1b}", "control"),
        ] {
            let complaint = complaint(text);
            assert!(complaint.contains(part), "{text}: {complaint}");
        }
    }

    #[test]
    fn one_person_writes() {
        let alone = |text: &str| text.parse::<People>().unwrap().alone();
        assert_eq!(
            alone("A <a@b.example>").unwrap().to_string(),
            "A <a@b.example>"
        );
        assert!(
            alone("a@b.example, c@d.example")
                .unwrap_err()
                .contains("not 2")
        );
    }
}
