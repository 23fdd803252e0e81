//! What a session refuses.

use super::FrameError;

/// A frame was not taken to be sent; the session is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// As much as the session keeps is not acknowledged yet; there is room again when the peer has acknowledged some.
    #[error("the session keeps as much as it may until the peer acknowledges some of it")]
    Full,
    /// Data without any.
    #[error("there is no data to send")]
    NoData,
    /// The session is gone.
    #[error("the session is gone")]
    Gone,
}

/// A frame of the peer breaks the protocol; the session is as it was before.
///
/// The peer's count and ours do not agree, and will not on another link either: close the link with 1002 and
/// [end](super::Session::end) the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The bytes are no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Frames are missing before this one.
    #[error("frame {seq} where {expected} is next")]
    Gap {
        /// The frame's number.
        seq: u64,
        /// The number that should have come.
        expected: u64,
    },
    /// It acknowledges what was never sent.
    #[error("{ack} is acknowledged where {sent} frames were sent")]
    NeverSent {
        /// What is acknowledged.
        ack: u64,
        /// The number of the last frame that was sent.
        sent: u64,
    },
}

/// A session cannot go on on this link; whatever link it has, it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// There is no such session: it has expired, was ended, is another key's, or never was.
    #[error("there is no such session, or no longer")]
    Unknown,
    /// The peer wants frames it has acknowledged. It has lost them, or its word is older than that acknowledgement.
    #[error("receiveNext is {receive_next}, but all before {first} is acknowledged")]
    Behind {
        /// The peer's word.
        receive_next: u64,
        /// The first number it could have said.
        first: u64,
    },
    /// The peer has received more than was ever sent.
    #[error("receiveNext is {receive_next}, but {sent} frames were sent")]
    Ahead {
        /// The peer's word.
        receive_next: u64,
        /// The number of the last frame that was sent.
        sent: u64,
    },
}
