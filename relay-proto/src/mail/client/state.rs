//! The states of a client's connection, and which may follow which.

use core::fmt;

/// Where the client's connection to its relay stands.
///
#[doc = include_str!("states.svg")]
///
/// From every state in the frame the link may be given up or lost: each has the three arrows that leave the frame.
/// The same ([`successors`](Self::successors)) as a table:
///
/// | state | may become |
/// | --- | --- |
/// | Disconnected | Connecting |
/// | Connecting | Connected, Reconnecting, Failed, Disconnected |
/// | Connected | Authenticating |
/// | Authenticating | Authenticated, Reconnecting, Failed, Disconnected |
/// | Authenticated | ChannelOpening, Reconnecting, Failed, Disconnected |
/// | ChannelOpening | ChannelReady, ChannelError, Reconnecting, Failed, Disconnected |
/// | ChannelReady | Authenticated, ChannelError, Reconnecting, Failed, Disconnected |
/// | ChannelError | Authenticated, Reconnecting, Failed, Disconnected |
/// | Reconnecting | Connecting, Disconnected |
/// | Failed | Connecting, Disconnected |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the transition table names them all"
)]
pub enum ConnectionState {
    /// No link, and none wanted: nothing is queued.
    #[default]
    Disconnected,
    /// The link is being opened.
    Connecting,
    /// The WebSocket is open.
    Connected,
    /// The API key is sent, the answer awaited.
    Authenticating,
    /// The relay knows us; no channel is open.
    Authenticated,
    /// An SMTP channel was asked for.
    ChannelOpening,
    /// An SMTP channel is open.
    ChannelReady,
    /// An SMTP channel failed or is being given up; the link stands.
    ChannelError,
    /// The link is gone; a new attempt is scheduled.
    Reconnecting,
    /// Given up: attempts are used up or the key is refused. The next submission tries afresh.
    Failed,
}

impl ConnectionState {
    /// All states, in the order of a connection's life.
    pub const ALL: [Self; 10] = [
        Self::Disconnected,
        Self::Connecting,
        Self::Connected,
        Self::Authenticating,
        Self::Authenticated,
        Self::ChannelOpening,
        Self::ChannelReady,
        Self::ChannelError,
        Self::Reconnecting,
        Self::Failed,
    ];

    /// The states that may follow this one: the table the machine, its tests and its diagram share.
    pub const fn successors(self) -> &'static [Self] {
        use ConnectionState::*;
        match self {
            Disconnected => &[Connecting],
            Reconnecting | Failed => &[Connecting, Disconnected],
            Connecting => &[Connected, Reconnecting, Failed, Disconnected],
            Connected => &[Authenticating],
            Authenticating => &[Authenticated, Reconnecting, Failed, Disconnected],
            Authenticated => &[ChannelOpening, Reconnecting, Failed, Disconnected],
            ChannelOpening => &[
                ChannelReady,
                ChannelError,
                Reconnecting,
                Failed,
                Disconnected,
            ],
            ChannelReady => &[
                Authenticated,
                ChannelError,
                Reconnecting,
                Failed,
                Disconnected,
            ],
            ChannelError => &[Authenticated, Reconnecting, Failed, Disconnected],
        }
    }

    /// Whether `next` may follow this state.
    pub fn may_become(self, next: Self) -> bool {
        self.successors().contains(&next)
    }

    /// Whether the relay has accepted the API key on the present link.
    pub const fn is_authenticated(self) -> bool {
        matches!(
            self,
            Self::Authenticated | Self::ChannelOpening | Self::ChannelReady | Self::ChannelError
        )
    }
}

impl fmt::Display for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disconnected => "disconnected",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Authenticating => "authenticating",
            Self::Authenticated => "authenticated",
            Self::ChannelOpening => "channel opening",
            Self::ChannelReady => "channel ready",
            Self::ChannelError => "channel error",
            Self::Reconnecting => "reconnecting",
            Self::Failed => "failed",
        })
    }
}
