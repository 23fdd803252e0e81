//! Commands (RFC 5321, section 4.1), read strictly and written from parsed parts.

use super::{
    Address, AddressError, ForwardPath, HostName, Mechanism, Reply, ReversePath, SaslMessage,
    address::domain_prefix, authentication::not_base64, reply,
};
use alloc::{
    format,
    string::{String, ToString},
};
use bytes::Bytes;
use core::fmt::{self, Display};

/// A command a client gives a server (RFC 5321, section 4.1.1).
///
/// `Display` is the line without its CRLF, and without what AUTH keeps secret. It is a single line whatever the parts are, as
/// all of them are parsed types.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// EHLO: the client's name, from one that knows extensions.
    Ehlo(HostName),
    /// HELO: the client's name, from one that does not.
    Helo(HostName),
    /// MAIL: begins a transaction.
    Mail {
        /// The sender.
        reverse_path: ReversePath,
        /// What the client says about the message.
        parameters: MailParameters,
    },
    /// RCPT: adds a recipient.
    Rcpt {
        /// The recipient.
        forward_path: ForwardPath,
    },
    /// DATA: content follows once the server agrees.
    Data,
    /// BDAT (RFC 3030): so many bytes of content follow at once.
    BinaryData {
        /// How many.
        size: u64,
        /// Whether the content ends with them.
        last: bool,
    },
    /// STARTTLS (RFC 3207): the connection is to be secured.
    StartTls,
    /// AUTH (RFC 4954): the client says who it is.
    Auth {
        /// In which way.
        mechanism: Mechanism,
        /// The mechanism's first message, where it comes at once.
        initial_response: Option<SaslMessage>,
    },
    /// RSET: gives up the transaction.
    Reset,
    /// NOOP: nothing. What stands behind it is not kept.
    Noop,
    /// QUIT: ends the session.
    Quit,
    /// VRFY: asks whether an address exists. Which one is not kept, since no server tells today.
    Verify,
    /// EXPN: asks who is on a list. Which one is not kept.
    Expand,
    /// HELP: asks for advice. On what is not kept.
    Help,
}

/// What MAIL says about the message besides its sender (RFC 5321, section 4.1.2). The default says nothing.
///
/// `Display` puts a space before each parameter, to follow the path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailParameters {
    /// SIZE (RFC 1870): about how many bytes the content has.
    pub size: Option<u64>,
    /// BODY (RFC 6152): which bytes the content has.
    pub body: Option<Body>,
    /// SMTPUTF8 (RFC 6531): addresses or header are international.
    pub smtputf8: bool,
    /// AUTH (RFC 4954, section 5): who has handed in the message first, as xtext, or `<>`. It proves nothing.
    pub auth: Option<String>,
}

/// Which bytes content consists of (RFC 6152).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// ASCII alone.
    SevenBit,
    /// Any bytes, in lines.
    EightBitMime,
}

impl Command {
    /// Reads a command from a line without its CRLF. The verb, keywords and `BODY` values may have any case; white space
    /// behind the command is allowed, and so are spaces between `FROM:` and the path.
    ///
    /// # Errors
    ///
    /// The reply that tells the client what is wrong:
    /// - 500 5.5.1 an unknown command; 500 5.5.2 a line with a bare CR, a bare LF or a NUL in it, or one that is not UTF-8
    /// - 501 5.5.4 missing, surplus, repeated or malformed arguments; 501 5.1.7 and 501 5.1.3 malformed addresses
    /// - 553 5.6.7 an international sender without SMTPUTF8. For recipients, whether that was said is for the session to know.
    /// - 504 5.5.4 a mechanism of AUTH that is not known; 501 5.5.2 an initial response that is not base64
    /// - 555 5.5.4 a parameter that is not supported
    pub fn parse(line: &[u8]) -> Result<Self, Reply> {
        let malformed = |problem| reply(500, "5.5.2", format!("Syntax error: {problem}"));
        if line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Err(malformed("bare CR, bare LF or NUL in a command"));
        }
        let line = str::from_utf8(line).map_err(|_| malformed("the command is not UTF-8"))?;
        let line = line.trim_end_matches([' ', '\t']);
        let (verb, arguments) = line.split_once(' ').unwrap_or((line, ""));
        let arguments = arguments.trim_start_matches(' ');
        let alone = |command, syntax| {
            if arguments.is_empty() {
                Ok(command)
            } else {
                Err(usage(syntax))
            }
        };
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => Ok(Self::Ehlo(host_name(arguments, "EHLO hostname")?)),
            "HELO" => Ok(Self::Helo(host_name(arguments, "HELO hostname")?)),
            "MAIL" => parse_mail(arguments),
            "RCPT" => parse_rcpt(arguments),
            "DATA" => alone(Self::Data, "DATA"),
            "BDAT" => parse_bdat(arguments),
            "STARTTLS" => alone(Self::StartTls, "STARTTLS"),
            "AUTH" => parse_auth(arguments),
            "RSET" => alone(Self::Reset, "RSET"),
            "QUIT" => alone(Self::Quit, "QUIT"),
            "NOOP" => Ok(Self::Noop),
            "VRFY" => Ok(Self::Verify),
            "EXPN" => Ok(Self::Expand),
            "HELP" => Ok(Self::Help),
            _ => Err(reply(500, "5.5.1", "Command unrecognized")),
        }
    }

    /// The command as it is sent, with CRLF; that of AUTH may hold a password.
    pub fn to_bytes(&self) -> Bytes {
        let mut line = match self {
            Self::Auth {
                mechanism,
                initial_response: Some(message),
            } => format!("AUTH {mechanism} {}", message.encode_initial()),
            _ => self.to_string(),
        };
        line.push_str("\r\n");
        line.into()
    }
}

impl Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ehlo(name) => write!(f, "EHLO {name}"),
            Self::Helo(name) => write!(f, "HELO {name}"),
            Self::Mail {
                reverse_path,
                parameters,
            } => write!(f, "MAIL FROM:{reverse_path}{parameters}"),
            Self::Rcpt { forward_path } => write!(f, "RCPT TO:{forward_path}"),
            Self::Data => f.write_str("DATA"),
            Self::BinaryData { size, last: false } => write!(f, "BDAT {size}"),
            Self::BinaryData { size, last: true } => write!(f, "BDAT {size} LAST"),
            Self::StartTls => f.write_str("STARTTLS"),
            Self::Auth {
                mechanism,
                initial_response: None,
            } => write!(f, "AUTH {mechanism}"),
            Self::Auth {
                mechanism,
                initial_response: Some(_),
            } => write!(f, "AUTH {mechanism} ***"),
            Self::Reset => f.write_str("RSET"),
            Self::Noop => f.write_str("NOOP"),
            Self::Quit => f.write_str("QUIT"),
            Self::Verify => f.write_str("VRFY"),
            Self::Expand => f.write_str("EXPN"),
            Self::Help => f.write_str("HELP"),
        }
    }
}

impl Display for MailParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(size) = self.size {
            write!(f, " SIZE={size}")?;
        }
        if let Some(body) = self.body {
            write!(f, " BODY={body}")?;
        }
        if self.smtputf8 {
            f.write_str(" SMTPUTF8")?;
        }
        if let Some(auth) = &self.auth {
            write!(f, " AUTH={auth}")?;
        }
        Ok(())
    }
}

impl Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SevenBit => "7BIT",
            Self::EightBitMime => "8BITMIME",
        })
    }
}

fn usage(syntax: &str) -> Reply {
    reply(501, "5.5.4", format!("Syntax: {syntax}"))
}

fn host_name(text: &str, syntax: &str) -> Result<HostName, Reply> {
    text.parse().map_err(|_| usage(syntax))
}

fn parse_mail(arguments: &str) -> Result<Command, Reply> {
    let syntax = || usage("MAIL FROM:<address>");
    let path = path_start(arguments, "FROM:").ok_or_else(syntax)?;
    let (reverse_path, rest) = if let Some(rest) = path.strip_prefix('>') {
        (ReversePath::Null, rest)
    } else {
        let (address, rest) = mailbox_prefix(path).map_err(|error| {
            let text = format!("Bad sender address syntax: {error}");
            reply(501, "5.1.7", text)
        })?;
        let rest = rest.strip_prefix('>').ok_or_else(syntax)?;
        (address.into(), rest)
    };
    let mut parameters = MailParameters::default();
    for parameter in parameters_of(rest, syntax)? {
        parameters.add(&parameter?)?;
    }
    let is_international = |address: &Address| !address.is_ascii();
    if !parameters.smtputf8 && reverse_path.address().is_some_and(is_international) {
        return Err(international_address());
    }
    Ok(Command::Mail {
        reverse_path,
        parameters,
    })
}

fn parse_rcpt(arguments: &str) -> Result<Command, Reply> {
    let syntax = || usage("RCPT TO:<address>");
    let path = path_start(arguments, "TO:").ok_or_else(syntax)?;
    let (forward_path, rest) = if let Some(rest) = strip_keyword(path, "Postmaster>") {
        (ForwardPath::Postmaster, rest)
    } else {
        let (address, rest) = mailbox_prefix(path).map_err(|error| {
            let text = format!("Bad recipient address syntax: {error}");
            reply(501, "5.1.3", text)
        })?;
        let rest = rest.strip_prefix('>').ok_or_else(syntax)?;
        (address.into(), rest)
    };
    match parameters_of(rest, syntax)?.next() {
        None => Ok(Command::Rcpt { forward_path }),
        Some(parameter) => Err(parameter?.unsupported()),
    }
}

fn parse_bdat(arguments: &str) -> Result<Command, Reply> {
    let syntax = || usage("BDAT size [LAST]");
    let mut words = arguments.split(' ').filter(|word| !word.is_empty());
    let size = words.next().and_then(number).ok_or_else(syntax)?;
    let last = match (words.next(), words.next()) {
        (None, _) => false,
        (Some(word), None) if word.eq_ignore_ascii_case("LAST") => true,
        _ => return Err(syntax()),
    };
    Ok(Command::BinaryData { size, last })
}

fn parse_auth(arguments: &str) -> Result<Command, Reply> {
    let syntax = || usage("AUTH mechanism [initial-response]");
    let mut words = arguments.split(' ').filter(|word| !word.is_empty());
    let name = words.next().ok_or_else(syntax)?;
    let initial_response = words.next();
    if words.next().is_some() {
        return Err(syntax());
    }
    let mechanism = Mechanism::from_name(name)
        .ok_or_else(|| reply(504, "5.5.4", "Unrecognized authentication mechanism"))?;
    let initial_response = match initial_response {
        Some(text) => {
            let message = SaslMessage::decode_initial(text.as_bytes()).ok_or_else(not_base64)?;
            Some(message)
        }
        None => None,
    };
    Ok(Command::Auth {
        mechanism,
        initial_response,
    })
}

/// Text as RFC 3461, section 4, writes it into a parameter.
fn is_xtext(text: &str) -> bool {
    let mut bytes = text.bytes();
    let is_upper_hex = |byte: Option<u8>| matches!(byte, Some(b'0'..=b'9' | b'A'..=b'F'));
    while let Some(byte) = bytes.next() {
        let is_good = match byte {
            b'+' => is_upper_hex(bytes.next()) && is_upper_hex(bytes.next()),
            b'=' => false,
            _ => byte.is_ascii_graphic(),
        };
        if !is_good {
            return false;
        }
    }
    !text.is_empty()
}

/// Digits alone: `parse` would take a sign.
fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// The reply to an address that does not go without SMTPUTF8 (RFC 6531, section 3.5).
pub(super) fn international_address() -> Reply {
    reply(553, "5.6.7", "Non-ASCII addresses need SMTPUTF8")
}

/// What follows `keyword`, perhaps spaces, and `<`.
fn path_start<'a>(arguments: &'a str, keyword: &str) -> Option<&'a str> {
    strip_keyword(arguments, keyword)?
        .trim_start_matches(' ')
        .strip_prefix('<')
}

fn strip_keyword<'a>(text: &'a str, keyword: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(keyword.len())?;
    start.eq_ignore_ascii_case(keyword).then_some(rest)
}

/// Reads a mailbox and passes over a source route before it (`@a,@b:`), as RFC 5321, appendix C, has it.
fn mailbox_prefix(text: &str) -> Result<(Address, &str), AddressError> {
    let mut rest = text;
    while let Some(hop) = rest.strip_prefix('@') {
        (_, rest) = domain_prefix(hop)?;
        if let Some(mailbox) = rest.strip_prefix(':') {
            return Address::parse_prefix(mailbox);
        }
        rest = rest.strip_prefix(',').ok_or(AddressError::Domain)?;
    }
    if rest.len() < text.len() {
        return Err(AddressError::Domain);
    }
    Address::parse_prefix(text)
}

/// `keyword` or `keyword=value` behind a path.
struct Parameter<'a> {
    keyword: String,
    value: Option<&'a str>,
}

fn parameters_of<'a>(
    rest: &'a str,
    syntax: impl Fn() -> Reply,
) -> Result<impl Iterator<Item = Result<Parameter<'a>, Reply>>, Reply> {
    if !rest.is_empty() && !rest.starts_with(' ') {
        return Err(syntax());
    }
    let words = rest.split(' ').filter(|word| !word.is_empty());
    Ok(words.map(move |word| Parameter::parse(word).ok_or_else(&syntax)))
}

impl<'a> Parameter<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (keyword, value) = match text.split_once('=') {
            Some((keyword, value)) => (keyword, Some(value)),
            None => (text, None),
        };
        let is_keyword = keyword.starts_with(|next: char| next.is_ascii_alphanumeric())
            && keyword
                .chars()
                .all(|next| next.is_ascii_alphanumeric() || next == '-');
        let is_value = value.is_none_or(|value| {
            !value.is_empty()
                && value
                    .chars()
                    .all(|next| matches!(next, '!'..='<' | '>'..='~'))
        });
        (is_keyword && is_value).then(|| Self {
            keyword: keyword.to_ascii_uppercase(),
            value,
        })
    }

    fn unsupported(&self) -> Reply {
        let text = format!("Unsupported option: {}", self.keyword);
        reply(555, "5.5.4", text)
    }
}

impl MailParameters {
    fn add(&mut self, parameter: &Parameter<'_>) -> Result<(), Reply> {
        let wrong = |problem: &str| {
            let text = format!("{problem} option: {}", parameter.keyword);
            reply(501, "5.5.4", text)
        };
        let (set_before, malformed) = (|| wrong("Repeated"), || wrong("Malformed"));
        match (parameter.keyword.as_str(), parameter.value) {
            ("SIZE", Some(size)) => {
                let size = number(size).ok_or_else(malformed)?;
                put(&mut self.size, size).ok_or_else(set_before)
            }
            ("BODY", Some(body)) => {
                let body = match body.to_ascii_uppercase().as_str() {
                    "7BIT" => Body::SevenBit,
                    "8BITMIME" => Body::EightBitMime,
                    _ => return Err(malformed()),
                };
                put(&mut self.body, body).ok_or_else(set_before)
            }
            ("SMTPUTF8", None) if self.smtputf8 => Err(set_before()),
            ("SMTPUTF8", None) => {
                self.smtputf8 = true;
                Ok(())
            }
            ("AUTH", Some(auth)) if auth == "<>" || is_xtext(auth) => {
                put(&mut self.auth, auth.into()).ok_or_else(set_before)
            }
            ("AUTH", Some(_)) => Err(malformed()),
            ("SIZE" | "BODY" | "AUTH", None) | ("SMTPUTF8", Some(_)) => Err(malformed()),
            _ => Err(parameter.unsupported()),
        }
    }
}

/// Fills an empty place.
fn put<T>(place: &mut Option<T>, value: T) -> Option<()> {
    let is_first = place.is_none();
    *place = Some(value);
    is_first.then_some(())
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
