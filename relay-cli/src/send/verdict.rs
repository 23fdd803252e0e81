//! How a message, or all of them together, ended, as an exit code.

use relay_proto::mail::client::Error;
use relay_tokio::mail::SendError;
use std::process::ExitCode;

/// How a message ended, from the least grave to the gravest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// Accepted for every recipient.
    Accepted,
    /// Accepted, but not for every recipient.
    Partly,
    /// Refused, by the relay or by the server behind it.
    Refused,
    /// Sent, but nobody knows what became of it.
    InDoubt,
    /// It cannot be read any more.
    Unreadable,
    /// The relay cannot be reached, or not for long enough.
    Unreachable,
    /// The relay refused the API key.
    Denied,
}

impl Verdict {
    /// What an error amounts to.
    pub(crate) fn of(error: &SendError) -> Self {
        match error {
            SendError::Failed(error) => match error {
                Error::Authentication(_) => Self::Denied,
                // The relay was reached, and could not hand the message on.
                Error::Channel(error) if matches!(error.code, Some(451 | 500..=599)) => {
                    Self::Refused
                }
                Error::Connection(_)
                | Error::Channel(_)
                | Error::Timeout(_)
                | Error::Protocol(_) => Self::Unreachable,
                Error::InDoubt(_) => Self::InDoubt,
                _ => Self::Refused,
            },
            SendError::Unsettled { in_doubt: true } => Self::InDoubt,
            SendError::Refused(_) => Self::Refused,
            _ => Self::Unreachable,
        }
    }

    /// The exit code, as `relay send --help` lists them.
    pub(crate) fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Accepted => 0,
            Self::Unreadable => 2,
            Self::Denied => 3,
            Self::Unreachable => 4,
            Self::Refused => 5,
            Self::InDoubt => 6,
            Self::Partly => 7,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_proto::mail::{
        client::Timeout,
        wire::{ChannelError, Denied},
    };

    #[test]
    fn a_message_the_relay_could_not_hand_on_is_refused() {
        let of = |code| {
            Verdict::of(&SendError::Failed(Error::Channel(ChannelError {
                error: "nothing was delivered".into(),
                code,
                retry_after: None,
            })))
        };
        assert_eq!(of(Some(451)), Verdict::Refused);
        assert_eq!(of(Some(550)), Verdict::Refused);
        assert_eq!(of(Some(421)), Verdict::Unreachable);
        assert_eq!(of(None), Verdict::Unreachable);
    }

    #[test]
    fn doubt_covers_its_reason() {
        let late = Error::Timeout(Timeout::Message);
        let failed = |error| Verdict::of(&SendError::Failed(error));
        assert_eq!(failed(late.clone()), Verdict::Unreachable);
        assert_eq!(failed(Error::InDoubt(Box::new(late))), Verdict::InDoubt);
        let denied = Denied::for_good("unknown API key");
        assert_eq!(failed(Error::Authentication(denied)), Verdict::Denied);
        let unsettled = |in_doubt| Verdict::of(&SendError::Unsettled { in_doubt });
        assert_eq!(unsettled(true), Verdict::InDoubt);
        assert_eq!(unsettled(false), Verdict::Unreachable);
    }

    #[test]
    fn the_gravest_is_the_one_to_fix_first() {
        let order = [
            Verdict::Denied,
            Verdict::Unreachable,
            Verdict::InDoubt,
            Verdict::Refused,
            Verdict::Partly,
            Verdict::Accepted,
        ];
        assert!(order.is_sorted_by(|graver, lesser| graver > lesser));
    }
}
