//! What channels refuse.

use bytes::Bytes;

/// As many channels are open as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("as many channels are open as may be")]
#[expect(clippy::exhaustive_structs, reason = "there is no more to say")]
pub struct TooManyChannels;

/// Bytes were not taken to be sent; they come back.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// More would wait than may. There is room again when some has left.
    #[error("too much waits to be sent on this channel already")]
    Full(Bytes),
    /// The channel is closed, closing, or never was open.
    #[error("the channel is not open")]
    NotOpen(Bytes),
}

impl core::fmt::Debug for WriteError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (name, bytes) = match self {
            Self::Full(bytes) => ("Full", bytes),
            Self::NotOpen(bytes) => ("NotOpen", bytes),
        };
        write!(f, "{name}({} bytes)", bytes.len())
    }
}

/// The peer breaks the rules of channels; nothing has changed. Close the link with 1002 and end the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelsError {
    /// It opens a channel whose id is not above all before.
    #[error("channel {id} is opened after channel {last}; ids grow and are never used again")]
    Reused {
        /// The id.
        id: u64,
        /// The highest one before.
        last: u64,
    },
    /// It opens a channel with an id that not every JSON reader can read.
    #[error("channel {0} is opened; the highest id is 2^53 - 1")]
    IdTooLarge(u64),
    /// It opens more channels than it was granted.
    #[error("a channel is opened where {0} are open, which is the most")]
    TooMany(usize),
    /// It speaks of a channel that was never opened.
    #[error("channel {0} was never opened")]
    NeverOpened(u64),
    /// It sends more than it has credit for.
    #[error("{bytes} bytes on channel {id}, which has credit for {credit}")]
    BeyondCredit {
        /// The channel.
        id: u64,
        /// How much it sent.
        bytes: u64,
        /// How much it might have.
        credit: u64,
    },
    /// It grants more credit than can be counted.
    #[error("the credit of channel {0} is above 2^53 - 1")]
    TooMuchCredit(u64),
}
