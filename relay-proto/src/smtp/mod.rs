//! The Simple Mail Transfer Protocol (RFC 5321): its grammar, and both ends of a session as pure state machines.

mod address;
mod capabilities;
mod category;
mod command;
mod content;
mod envelope;
mod reply;
mod reply_parser;
mod server;
mod session;

pub use address::{Address, AddressError, ForwardPath, HostName, ReversePath};
pub use capabilities::{Capabilities, Size};
pub use category::Category;
pub use command::{Body, Command, MailParameters};
pub use content::{ContentDecoder, ContentEncoder, Decoded};
pub use envelope::{Envelope, EnvelopeError};
pub use reply::{Code, EnhancedCode, ParseEnhancedCodeError, Reply, reply};
pub use reply_parser::{ReplyError, ReplyParser};
pub use server::{Server, ServerConfig, ServerEvent};
pub use session::{Request, Session, SessionConfig, Turn};
