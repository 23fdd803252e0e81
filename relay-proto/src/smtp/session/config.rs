//! How a session behaves.

use crate::smtp::{Capabilities, HostName};

/// How a [`Session`](super::Session) behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// The server's name in its replies.
    pub host_name: HostName,
    /// What the reply to EHLO offers. SIZE, AUTH and STARTTLS are taken from the other fields instead; DSN is left out, as a
    /// session does not speak it.
    pub capabilities: Capabilities,
    /// Whether MAIL needs an EHLO or HELO before it (RFC 5321, section 4.1.4).
    pub require_hello: bool,
    /// The most recipients of a message. Further ones get 452, and their mail comes in another transaction.
    pub max_recipients: usize,
    /// The largest content in bytes, counted without the dots of transparency.
    pub max_message_bytes: Option<u64>,
    /// How many commands that are none, or malformed, a client may send; the next ends the session. Commands in the wrong order
    /// do not count: a client that pipelines sends many of them behind one that was refused.
    pub max_errors: u32,
    /// Whether clients may, or must, say who they are (RFC 4954). With none, AUTH is not offered.
    pub authentication: Option<Authentication>,
    /// Whether the connection is secure.
    pub security: Security,
}

/// How a [`Session`](super::Session) learns who its client is. The owner decides whether it is who it says:
/// [`Request::Credentials`](super::Request::Credentials).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// Whether MAIL is refused before it, with 530.
    pub required: bool,
    /// Whether a password may cross a connection that is not secure. Else AUTH is offered only behind TLS, and refused with
    /// 538 before it. Good for connections that do not leave the machine.
    pub in_clear: bool,
    /// How many refusals of its credentials end the session: as many as a person who mistypes needs, too few for one who guesses.
    pub max_failures: u32,
}

impl Authentication {
    /// Everyone has to say who he is, behind TLS, and has three attempts.
    pub const fn required() -> Self {
        Self {
            required: true,
            in_clear: false,
            max_failures: 3,
        }
    }
}

/// Whether the connection of a [`Session`](super::Session) is secure, or can become so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "whoever asks must know every case")]
pub enum Security {
    /// It is not, and stays so.
    Clear,
    /// It is not, and TLS can be started: STARTTLS (RFC 3207) is offered.
    StartTls,
    /// TLS protects it from its first byte, or by now.
    Tls,
}

impl SessionConfig {
    /// The same with CHUNKING (RFC 3030), for owners that take content as it comes by BDAT: with line ends of any kind.
    #[must_use]
    pub const fn with_chunking(mut self) -> Self {
        self.capabilities.chunking = true;
        self
    }

    /// A strict server called `host_name`, without AUTH and STARTTLS: 100 recipients (what RFC 5321, section 4.5.3.1.8, asks for), 64 MiB (more
    /// than large mail services take), 20 errors (a person at a keyboard makes fewer).
    pub fn new(host_name: HostName) -> Self {
        Self {
            host_name,
            capabilities: Capabilities {
                pipelining: true,
                eight_bit_mime: true,
                smtputf8: true,
                enhanced_status_codes: true,
                ..Capabilities::default()
            },
            require_hello: true,
            max_recipients: 100,
            max_message_bytes: Some(64 * 1024 * 1024),
            max_errors: 20,
            authentication: None,
            security: Security::Clear,
        }
    }
}
