//! Addresses and host names as parsed types: what holds one can be put into a command as it stands.

use alloc::{borrow::ToOwned, format, string::String};
use core::{
    fmt::{self, Write},
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// RFC 5321, section 4.5.3.1.1, counted in the form the address is sent in.
const MAX_LOCAL_PART: usize = 64;
/// RFC 5321, section 4.5.3.1.2.
const MAX_DOMAIN: usize = 255;
/// RFC 5321, section 4.5.3.1.3: 256 for a path, less the two angle brackets.
const MAX_ADDRESS: usize = 254;
/// RFC 1035, section 2.3.4, to which RFC 5321 refers.
const MAX_LABEL: usize = 63;

/// A mailbox (RFC 5321, section 4.1.2): `local-part@domain`, with UTF-8 where RFC 6531 allows it.
///
/// Reads `user@example.org`, `"quoted string"@example.org` and `user@[192.0.2.1]`. Written out, the local part is
/// quoted where it has to be, so that the text reads back as the same address and can't carry anything but the
/// address: line ends, controls, and angle brackets or spaces outside quotes have no way in.
///
/// Two addresses are equal when their parsed forms are: `"user"@example.org` is `user@example.org`. Letter case
/// counts; see [`has_domain`](Self::has_domain).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    local_part: String,
    domain: String,
}

impl Address {
    /// The part before the `@`, without quotes and escapes. What it means is up to the domain's host.
    pub fn local_part(&self) -> &str {
        &self.local_part
    }

    /// The part behind the `@`: a domain, or an address literal with its brackets.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Whether the domain is this one, whatever the case of ASCII letters.
    ///
    /// An internationalised domain and its `xn--` form count as two domains.
    pub fn has_domain(&self, domain: &str) -> bool {
        self.domain.eq_ignore_ascii_case(domain)
    }

    /// Whether the address goes through a server without SMTPUTF8 (RFC 6531).
    pub fn is_ascii(&self) -> bool {
        self.local_part.is_ascii() && self.domain.is_ascii()
    }

    /// Reads an address at the start of `text` and returns what follows it.
    pub(super) fn parse_prefix(text: &str) -> Result<(Self, &str), AddressError> {
        let (local_part, rest) = local_part_prefix(text)?;
        let rest = rest.strip_prefix('@').ok_or(AddressError::MissingDomain)?;
        let (domain, rest) = domain_prefix(rest)?;
        let address = Self { local_part, domain };
        let length = sent_length(&address.local_part);
        if length > MAX_LOCAL_PART {
            return Err(AddressError::LocalPartTooLong);
        }
        if length + 1 + address.domain.len() > MAX_ADDRESS {
            return Err(AddressError::TooLong);
        }
        Ok((address, rest))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match Self::parse_prefix(text)? {
            (address, "") => Ok(address),
            _ => Err(AddressError::Domain),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_dot_string(&self.local_part) {
            f.write_str(&self.local_part)?;
        } else {
            f.write_char('"')?;
            for character in self.local_part.chars() {
                if needs_escape(character) {
                    f.write_char('\\')?;
                }
                f.write_char(character)?;
            }
            f.write_char('"')?;
        }
        write!(f, "@{}", self.domain)
    }
}

/// Where a message comes from, and where to report that it could not be delivered (RFC 5321, section 4.1.1.2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the grammar has these two")]
pub enum ReversePath {
    /// `<>`: nobody, as in a report itself.
    Null,
    /// A mailbox.
    Mailbox(Address),
}

impl ReversePath {
    /// The address, if there is one.
    pub const fn address(&self) -> Option<&Address> {
        match self {
            Self::Null => None,
            Self::Mailbox(address) => Some(address),
        }
    }
}

impl From<Address> for ReversePath {
    fn from(address: Address) -> Self {
        Self::Mailbox(address)
    }
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<>"),
            Self::Mailbox(address) => write!(f, "<{address}>"),
        }
    }
}

/// Where a message goes (RFC 5321, section 4.1.1.3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the grammar has these two")]
pub enum ForwardPath {
    /// `<Postmaster>` without a domain: whoever runs the server asked.
    Postmaster,
    /// A mailbox.
    Mailbox(Address),
}

impl ForwardPath {
    /// The address, if there is one.
    pub const fn address(&self) -> Option<&Address> {
        match self {
            Self::Postmaster => None,
            Self::Mailbox(address) => Some(address),
        }
    }
}

impl From<Address> for ForwardPath {
    fn from(address: Address) -> Self {
        Self::Mailbox(address)
    }
}

impl fmt::Display for ForwardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postmaster => f.write_str("<Postmaster>"),
            Self::Mailbox(address) => write!(f, "<{address}>"),
        }
    }
}

/// The name a host gives itself in EHLO and HELO: a domain or an address literal (RFC 5321, section 4.1.3), in ASCII.
///
/// Underscores are allowed, against the grammar: hosts do have such names, and nothing but a log depends on them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

impl HostName {
    /// The name as it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if !text.is_ascii() {
            return Err(AddressError::Domain);
        }
        if text.starts_with('[') {
            return match domain_prefix(text)? {
                (literal, "") => Ok(Self(literal)),
                _ => Err(AddressError::Domain),
            };
        }
        check_domain(text, |character| {
            character == '_' || is_domain_letter(character)
        })?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no address or no host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Nothing, or something that has no place in one, where the local part should be.
    #[error("the part before the @ is not valid; quote it if it has spaces or special characters")]
    LocalPart,
    /// More than 64 bytes before the `@`.
    #[error("the part before the @ is longer than {MAX_LOCAL_PART} bytes")]
    LocalPartTooLong,
    /// No `@` behind the local part.
    #[error(
        "the @ and the domain are missing, or the part before the @ has a character that must be quoted"
    )]
    MissingDomain,
    /// Not a domain, not an address literal, or followed by something.
    #[error("not a valid domain; one looks like example.org, [192.0.2.1] or [IPv6:2001:db8::1]")]
    Domain,
    /// More than 255 bytes of domain.
    #[error("the domain is longer than {MAX_DOMAIN} bytes")]
    DomainTooLong,
    /// More than 254 bytes together.
    #[error("the address is longer than {MAX_ADDRESS} bytes")]
    TooLong,
}

fn local_part_prefix(text: &str) -> Result<(String, &str), AddressError> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text
            .find(|character| character != '.' && !is_atom_letter(character))
            .unwrap_or(text.len());
        let (local_part, rest) = text.split_at(end);
        return if is_dot_string(local_part) {
            Ok((local_part.to_owned(), rest))
        } else {
            Err(AddressError::LocalPart)
        };
    };
    let mut local_part = String::new();
    let mut characters = quoted.chars();
    loop {
        let character = match characters.next() {
            Some('"') => return Ok((local_part, characters.as_str())),
            Some('\\') => characters.next().filter(|next| matches!(next, ' '..='~')),
            Some(character) => Some(character)
                .filter(|next| matches!(next, ' '..='~') || is_international_letter(*next)),
            None => None,
        };
        local_part.push(character.ok_or(AddressError::LocalPart)?);
    }
}

/// Reads a domain or an address literal at the start of `text` and returns what follows it.
pub(super) fn domain_prefix(text: &str) -> Result<(String, &str), AddressError> {
    if let Some(literal) = text.strip_prefix('[') {
        let (literal, rest) = literal.split_once(']').ok_or(AddressError::Domain)?;
        return Ok((address_literal(literal)?, rest));
    }
    let is_letter = |character| is_domain_letter(character) || is_international_letter(character);
    let end = text
        .find(|character| character != '.' && !is_letter(character))
        .unwrap_or(text.len());
    let (domain, rest) = text.split_at(end);
    check_domain(domain, is_letter)?;
    Ok((domain.to_owned(), rest))
}

/// The one spelling of an address literal, so that equal addresses compare equal.
fn address_literal(text: &str) -> Result<String, AddressError> {
    const TAG: &str = "IPv6:";
    let address = match text.split_at_checked(TAG.len()) {
        Some((tag, address)) if tag.eq_ignore_ascii_case(TAG) => address
            .parse()
            .map(|address: Ipv6Addr| format!("[{TAG}{address}]")),
        _ => text.parse().map(|address: Ipv4Addr| format!("[{address}]")),
    };
    address.map_err(|_| AddressError::Domain)
}

fn check_domain(domain: &str, is_letter: impl Fn(char) -> bool) -> Result<(), AddressError> {
    if domain.len() > MAX_DOMAIN {
        return Err(AddressError::DomainTooLong);
    }
    let is_label = |label: &str| {
        !label.is_empty()
            // The limit of an internationalised label counts its `xn--` form, which is not computed here.
            && (label.len() <= MAX_LABEL || !label.is_ascii())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(&is_letter)
    };
    if domain.split('.').all(is_label) {
        Ok(())
    } else {
        Err(AddressError::Domain)
    }
}

fn is_dot_string(text: &str) -> bool {
    text.split('.')
        .all(|atom| !atom.is_empty() && atom.chars().all(is_atom_letter))
}

fn sent_length(local_part: &str) -> usize {
    if is_dot_string(local_part) {
        return local_part.len();
    }
    let escapes = local_part.chars().filter(|next| needs_escape(*next));
    local_part.len() + escapes.count() + 2
}

const fn needs_escape(character: char) -> bool {
    matches!(character, '"' | '\\')
}

fn is_atom_letter(character: char) -> bool {
    character.is_ascii_alphanumeric()
        || "!#$%&'*+-/=?^_`{|}~".contains(character)
        || is_international_letter(character)
}

const fn is_domain_letter(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '-'
}

/// What RFC 6531 adds to atoms, quoted strings and labels, less what would look like a gap or the dot of a domain
/// (RFC 3490, section 3.1) to software behind this.
fn is_international_letter(character: char) -> bool {
    !character.is_ascii()
        && !character.is_control()
        && !character.is_whitespace()
        && !matches!(character, '\u{3002}' | '\u{ff0e}' | '\u{ff61}')
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
