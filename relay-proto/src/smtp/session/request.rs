//! What a session asks of its owner.

use crate::smtp::{Credentials, ForwardPath, MailParameters, ReversePath};
use bytes::Bytes;
use core::fmt;

/// What only the owner of a [`Session`](super::Session) can answer, or has to know.
///
/// A transaction begins with a positive answer to [`Mail`](Self::Mail) and ends with any answer to
/// [`EndOfContent`](Self::EndOfContent), with [`Reset`](Self::Reset), or with the session.
///
/// `Debug` shows the length of content only, and no password.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// May a message from this sender come? A positive answer begins a transaction.
    Mail {
        /// The sender.
        reverse_path: ReversePath,
        /// What the client says about the message.
        parameters: MailParameters,
    },
    /// May it go to this recipient? A positive answer adds it.
    Recipient(ForwardPath),
    /// May its content come? The positive answer is 354. There is a recipient. Not asked where content comes by BDAT.
    Data,
    /// The next piece of content, as it was before transparency. Needs no answer.
    Content(Bytes),
    /// That was all. Is the message accepted?
    EndOfContent,
    /// The transaction is given up: by RSET or EHLO, before QUIT, because the content is too large, because DATA was refused to a
    /// client that sent the content all the same, or because of too many errors. Needs no answer.
    Reset,
    /// Is the client who it says? The positive answer is 235, the negative one 535, or 454 where that cannot be told now.
    Credentials(Credentials),
    /// The connection is to be secured (RFC 3207). The positive answer is 220, the negative one 454. After the positive one, and
    /// once it is sent, the owner starts TLS and says so with [`Session::secured`](super::Session::secured).
    StartTls,
    /// The client has said QUIT and was told goodbye. Needs no answer.
    Quit,
}

/// Whose turn it is in a [`Session`](super::Session).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Turn {
    /// The owner's: to greet, to answer a request, or to start TLS.
    Owner,
    /// The client's, to send a command.
    Command,
    /// The client's, to send content.
    Content,
    /// Nobody's: the session is over.
    Over,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mail {
                reverse_path,
                parameters,
            } => write!(f, "Mail({reverse_path}{parameters})"),
            Self::Recipient(forward_path) => write!(f, "Recipient({forward_path})"),
            Self::Data => f.write_str("Data"),
            Self::Content(content) => write!(f, "Content({} bytes)", content.len()),
            Self::EndOfContent => f.write_str("EndOfContent"),
            Self::Reset => f.write_str("Reset"),
            Self::Credentials(credentials) => credentials.fmt(f),
            Self::StartTls => f.write_str("StartTls"),
            Self::Quit => f.write_str("Quit"),
        }
    }
}
