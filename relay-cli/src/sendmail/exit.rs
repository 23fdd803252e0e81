//! Exit codes as in `sysexits.h`, which those who call sendmail understand.

use crate::{failure::Failure, submit::Outcome};
use relay_proto::mail::client::Error;
use relay_tokio::mail::SendError;
use std::fmt::Display;

const USAGE: u8 = 64;
const DATA: u8 = 65;
const NO_INPUT: u8 = 66;
const UNAVAILABLE: u8 = 69;
const IO: u8 = 74;
const TEMPORARY: u8 = 75;
const PERMISSION: u8 = 77;
const CONFIG: u8 = 78;

/// The command line is wrong.
pub(super) fn usage(message: impl Display) -> Failure {
    Failure::new(USAGE, message)
}

/// The message is wrong.
pub(super) fn data(message: impl Display) -> Failure {
    Failure::new(DATA, message)
}

/// The message cannot be read.
pub(super) fn no_input(message: impl Display) -> Failure {
    Failure::new(NO_INPUT, message)
}

/// It does not work, and will not later.
pub(super) fn unavailable(message: impl Display) -> Failure {
    Failure::new(UNAVAILABLE, message)
}

/// Who called has gone.
pub(super) fn io(message: impl Display) -> Failure {
    Failure::new(IO, message)
}

/// The settings are wrong.
pub(super) fn config(message: impl Display) -> Failure {
    Failure::new(CONFIG, message)
}

/// The message was not sent, or nobody knows.
pub(super) fn of(error: &SendError) -> Failure {
    let code = match error {
        SendError::Failed(Error::Authentication(denied)) if denied.is_permanent() => PERMISSION,
        error if Outcome::Failed(error.clone()).reply().is_permanent() => UNAVAILABLE,
        _ => TEMPORARY,
    };
    Failure::new(code, format_args!("not sent: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_proto::{
        mail::{client::Timeout, wire::Denied},
        smtp::{DialogueError, Stage, reply},
    };
    use std::process::ExitCode;

    #[test]
    fn what_may_work_later_is_75() {
        let refused = |reply| {
            let rejected = Vec::new();
            let stage = Stage::Mail;
            Error::Message(DialogueError::Refused {
                stage,
                reply,
                rejected,
            })
        };
        let late = Error::Timeout(Timeout::Message);
        let cases = [
            (refused(reply(450, "4.7.1", "later")), TEMPORARY),
            (refused(reply(550, "5.7.1", "never")), UNAVAILABLE),
            (
                Error::Authentication(Denied::for_good("unknown key")),
                PERMISSION,
            ),
            (late.clone(), TEMPORARY),
            (Error::InDoubt(Box::new(late)), UNAVAILABLE),
        ];
        for (error, code) in cases {
            let failure = of(&SendError::Failed(error));
            assert_eq!(failure.code(), ExitCode::from(code), "{failure}");
        }
        assert_eq!(of(&SendError::Cancelled).code(), ExitCode::from(TEMPORARY));
    }
}
