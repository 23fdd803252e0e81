//! The Simple Mail Transfer Protocol (RFC 5321): its grammar, and both ends of a session as pure state machines.

mod address;
mod authentication;
mod capabilities;
mod category;
mod command;
mod content;
mod conversation;
mod delivery;
mod dialogue;
mod envelope;
mod flight;
mod handshake;
mod introduction;
#[cfg(test)]
#[expect(unreachable_pub, reason = "relay-testkit publishes it")]
pub(crate) mod malformed_ends;
mod reply;
mod reply_parser;
mod script;
mod server;
mod session;
mod slow_down;

pub use address::{Address, AddressError, ForwardPath, HostName, ReversePath};
pub use authentication::{Credentials, Mechanism, SaslMessage};
pub use capabilities::{Capabilities, Size};
pub use category::Category;
pub use command::{Body, Command, MailParameters};
pub use content::{ContentDecoder, ContentEncoder, Decoded};
pub use conversation::{Completed, Conversation, DialogueError, Exchange, Stage};
pub use dialogue::Dialogue;
pub use envelope::{Envelope, EnvelopeError};
pub use flight::Flight;
pub use handshake::{Handshake, HandshakeStep};
pub use introduction::{Access, Introduction, IntroductionStep};
pub use reply::{Code, EnhancedCode, ParseEnhancedCodeError, Reply, reply};
pub use reply_parser::{ReplyError, ReplyParser};
pub use script::{Script, ScriptError, ScriptRun};
pub use server::{Server, ServerConfig, ServerEvent};
pub use session::{Ahead, Authentication, Request, Security, Session, SessionConfig, Turn};
