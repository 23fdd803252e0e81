//! What can be wrong with the upstream.

use crate::{Closure, OpenError, smtp::Reply};
use alloc::{
    format,
    string::{String, ToString},
};
use core::fmt::Display;

/// Why an upstream connection cannot go on. `Display` is what the client may know, to follow "the mail server host:port".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    #[error("cannot be reached")]
    Unreachable(OpenError),
    #[error("closed the connection")]
    Lost(Closure),
    #[error("did not answer in time")]
    Timeout(&'static str),
    #[error("broke the SMTP protocol")]
    Protocol { detail: String },
    #[error("does not let this relay in")]
    Denied(Reply),
    #[error("does not offer {0}, which this relay needs")]
    Lacks(&'static str),
    #[error("said: {0}")]
    Refused(Reply),
    #[error("is not needed any more")]
    Stopped,
}

impl Trouble {
    pub(super) fn broke_protocol(detail: impl Display) -> Self {
        Self::Protocol {
            detail: detail.to_string(),
        }
    }

    pub(super) fn unexpected(reply: &Reply) -> Self {
        Self::broke_protocol(format_args!("unexpected reply {}", reply.code()))
    }

    /// Everything that is known, for the operator.
    pub(super) fn detail(&self) -> String {
        match self {
            Self::Unreachable(error) => error.to_string(),
            Self::Lost(closure) => closure.to_string(),
            Self::Timeout(timer) => format!("timeout: {timer}"),
            Self::Protocol { detail } => format!("SMTP protocol broken: {detail}"),
            Self::Denied(reply) => format!("credentials refused: {reply}"),
            Self::Lacks(what) => format!("{what} is not offered"),
            Self::Refused(reply) => format!("refused: {reply}"),
            Self::Stopped => "the relay stops".to_string(),
        }
    }
}
