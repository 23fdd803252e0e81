//! The states of a client's connection, and which may follow which.

use core::fmt;

/// Where the client's connection to its service stands.
///
/// Which may follow which ([`successors`](Self::successors)):
///
/// | state | may become |
/// | --- | --- |
/// | Disconnected | Connecting |
/// | Connecting | Introducing, Connected, Reconnecting, Failed, Disconnected |
/// | Introducing | Connected, Reconnecting, Failed, Disconnected |
/// | Connected | Reconnecting, Failed, Disconnected |
/// | Reconnecting | Connecting, Disconnected |
/// | Failed | Connecting, Disconnected |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the transition table names them all"
)]
pub enum ConnectionState {
    /// No link, and none wanted.
    #[default]
    Disconnected,
    /// The link is being opened.
    Connecting,
    /// The WebSocket is open, which is as far as a plain service goes; the durable dialect was asked for, the answer is awaited.
    Introducing,
    /// Calls are made and answered.
    Connected,
    /// The link is gone, or did not come; another attempt is scheduled.
    Reconnecting,
    /// Given up: attempts are used up, or the credential is refused. The next call, or `connect`, tries afresh.
    Failed,
}

impl ConnectionState {
    /// All states, in the order of a connection's life.
    pub const ALL: [Self; 6] = [
        Self::Disconnected,
        Self::Connecting,
        Self::Introducing,
        Self::Connected,
        Self::Reconnecting,
        Self::Failed,
    ];

    /// The states that may follow this one: the table the machine and its tests share.
    pub const fn successors(self) -> &'static [Self] {
        use ConnectionState::*;
        match self {
            Disconnected => &[Connecting],
            Connecting => &[Introducing, Connected, Reconnecting, Failed, Disconnected],
            Introducing => &[Connected, Reconnecting, Failed, Disconnected],
            Connected => &[Reconnecting, Failed, Disconnected],
            Reconnecting | Failed => &[Connecting, Disconnected],
        }
    }

    /// Whether `next` may follow this state.
    pub fn may_become(self, next: Self) -> bool {
        self.successors().contains(&next)
    }

    /// Whether there is a link.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Introducing | Self::Connected)
    }
}

impl fmt::Display for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disconnected => "disconnected",
            Self::Connecting => "connecting",
            Self::Introducing => "introducing",
            Self::Connected => "connected",
            Self::Reconnecting => "reconnecting",
            Self::Failed => "failed",
        })
    }
}
