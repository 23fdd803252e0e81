//! The Simple Mail Transfer Protocol (RFC 5321): its grammar, and both ends of a session as pure state machines.

mod capabilities;
mod category;
mod content;
mod reply;
mod reply_parser;

pub use capabilities::{Capabilities, Size};
pub use category::Category;
pub use content::{ContentDecoder, ContentEncoder, Decoded};
pub use reply::{Code, EnhancedCode, ParseEnhancedCodeError, Reply, reply};
pub use reply_parser::{ReplyError, ReplyParser};
