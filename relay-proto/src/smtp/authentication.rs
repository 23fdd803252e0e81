//! Who a client is: AUTH (RFC 4954) with the mechanisms every mail program speaks, and the server's side of them.

use super::{Reply, reply};
use crate::secret;
use alloc::string::String;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use core::fmt;

/// A way to prove who one is: a SASL mechanism (RFC 4422).
///
/// Both say the password itself, so they are for connections nobody reads along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Mechanism {
    /// PLAIN (RFC 4616): user name and password in one message.
    Plain,
    /// LOGIN: user name, then password. It never became a standard, and some mail programs know nothing else.
    Login,
}

impl Mechanism {
    /// The mechanism called so, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Plain, Self::Login]
            .into_iter()
            .find(|mechanism| name.eq_ignore_ascii_case(mechanism.name()))
    }

    /// Its name in SMTP.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A message of a SASL mechanism, as it is before base64. `Debug` shows its length only.
#[derive(Clone)]
pub struct SaslMessage(Bytes);

impl SaslMessage {
    /// A message of these bytes.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The bytes, which may hold a password; not for logs.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Reads one from base64 with its padding, as RFC 4954, section 4, wants it: nothing else in it, and no stray bits.
    pub(super) fn decode(text: &[u8]) -> Option<Self> {
        STANDARD.decode(text).ok().map(Self::new)
    }

    /// The same as an initial response, where `=` stands for a message of no bytes.
    pub(super) fn decode_initial(text: &[u8]) -> Option<Self> {
        match text {
            b"=" => Some(Self(Bytes::new())),
            b"" => None,
            _ => Self::decode(text),
        }
    }

    /// As an initial response.
    pub(super) fn encode_initial(&self) -> String {
        match self.0.is_empty() {
            true => String::from("="),
            false => STANDARD.encode(&self.0),
        }
    }

    /// As the line that answers a challenge, with CRLF.
    pub(super) fn to_line(&self) -> Bytes {
        let mut line = STANDARD.encode(&self.0);
        line.push_str("\r\n");
        line.into()
    }

    fn into_text(self) -> Option<String> {
        let text = str::from_utf8(&self.0).ok()?;
        (!text.is_empty() && !text.contains('\0')).then(|| text.into())
    }
}

impl PartialEq for SaslMessage {
    fn eq(&self, other: &Self) -> bool {
        secret::is_same(&self.0, &other.0)
    }
}

impl Eq for SaslMessage {}

impl fmt::Debug for SaslMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SaslMessage({} bytes)", self.0.len())
    }
}

/// Who someone says to be, and the password that shall prove it.
///
/// Both are compared as they are: without the preparation of RFC 4013, which mail programs do not do either.
/// `Debug` does not show the password. Comparing takes the same time wherever those of the same lengths differ.
#[derive(Clone)]
pub struct Credentials {
    user_name: String,
    password: String,
}

impl Credentials {
    /// This user with this password.
    pub fn new(user_name: impl Into<String>, password: impl Into<String>) -> Self {
        let (user_name, password) = (user_name.into(), password.into());
        Self {
            user_name,
            password,
        }
    }

    /// The user.
    pub fn user_name(&self) -> &str {
        &self.user_name
    }

    /// The password, for comparing or hashing; not for logs.
    pub fn expose_password(&self) -> &str {
        &self.password
    }

    /// Reads a message of PLAIN: `[authorization identity] NUL user name NUL password`.
    fn from_plain(message: &SaslMessage) -> Result<Self, Reply> {
        let text = str::from_utf8(message.expose()).map_err(|_| malformed())?;
        let mut parts = text.split('\0');
        let (Some(acts_for), Some(user_name), Some(password), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed());
        };
        if user_name.is_empty() || password.is_empty() {
            return Err(malformed());
        }
        if !acts_for.is_empty() && acts_for != user_name {
            return Err(denied());
        }
        Ok(Self::new(user_name, password))
    }
}

impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        let same_name = secret::is_same(self.user_name.as_bytes(), other.user_name.as_bytes());
        let same_password = secret::is_same(self.password.as_bytes(), other.password.as_bytes());
        same_name & same_password
    }
}

impl Eq for Credentials {}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({:?}, …)", self.user_name)
    }
}

/// The server's side of an exchange that waits for the client's next message.
pub(super) enum Exchange {
    Plain,
    LoginUserName,
    LoginPassword { user_name: String },
}

/// What follows from a message.
pub(super) enum ExchangeStep {
    Challenge(Exchange, Reply),
    /// The owner decides.
    Credentials(Credentials),
    /// Nothing came of it; with 535 the client has been refused, with 501 it is mistaken.
    Refused(Reply),
}

impl Exchange {
    pub(super) fn begin(mechanism: Mechanism, initial: Option<SaslMessage>) -> ExchangeStep {
        let (exchange, challenge) = match mechanism {
            Mechanism::Plain => (Self::Plain, ""),
            Mechanism::Login => (Self::LoginUserName, "VXNlcm5hbWU6"),
        };
        match initial {
            Some(message) => exchange.proceed(message),
            None => ExchangeStep::Challenge(exchange, reply(334, "", challenge)),
        }
    }

    /// Takes the line that answers a challenge.
    pub(super) fn handle_line(self, line: &[u8]) -> ExchangeStep {
        if line == b"*" {
            return ExchangeStep::Refused(reply(501, "5.7.0", "Authentication cancelled"));
        }
        match SaslMessage::decode(line) {
            Some(message) => self.proceed(message),
            None => ExchangeStep::Refused(not_base64()),
        }
    }

    fn proceed(self, message: SaslMessage) -> ExchangeStep {
        match self {
            Self::Plain => match Credentials::from_plain(&message) {
                Ok(credentials) => ExchangeStep::Credentials(credentials),
                Err(refusal) => ExchangeStep::Refused(refusal),
            },
            Self::LoginUserName => match message.into_text() {
                Some(user_name) => ExchangeStep::Challenge(
                    Self::LoginPassword { user_name },
                    reply(334, "", "UGFzc3dvcmQ6"),
                ),
                None => ExchangeStep::Refused(malformed()),
            },
            Self::LoginPassword { user_name } => match message.into_text() {
                Some(password) => {
                    let credentials = Credentials::new(user_name, password);
                    ExchangeStep::Credentials(credentials)
                }
                None => ExchangeStep::Refused(malformed()),
            },
        }
    }
}

/// The reply to what is no base64.
pub(super) fn not_base64() -> Reply {
    reply(501, "5.5.2", "That is not base64")
}

fn malformed() -> Reply {
    reply(501, "5.5.2", "Malformed authentication message")
}

/// The reply to wrong credentials, which does not say what is wrong with them.
pub(super) fn denied() -> Reply {
    reply(535, "5.7.8", "Authentication credentials invalid")
}

#[cfg(test)]
#[path = "authentication_tests.rs"]
mod tests;
