//! With which code the program ends when a service does not do what it is asked.

use crate::{failure::Failure, printable::printable};
use relay_proto::kv::{
    client::{CallError, NoAnswer},
    token::TokenError,
};

const NOT_FOUND: u8 = 1;
const CREDENTIAL: u8 = 3;
const UNREACHABLE: u8 = 4;
const REFUSED: u8 = 5;
const IN_DOUBT: u8 = 6;

/// Of a call without an answer.
pub(super) fn of_call(error: &NoAnswer) -> Failure {
    let code = match error {
        NoAnswer::Failed(error) => code(error),
        NoAnswer::Unsettled { in_doubt: true } => IN_DOUBT,
        _ => UNREACHABLE,
    };
    failure(code, error)
}

/// Of a link that ended.
pub(super) fn of_link(error: &CallError) -> Failure {
    failure(code(error), error)
}

/// Of a request for a token.
pub(super) fn of_token(error: &TokenError) -> Failure {
    let code = match error {
        TokenError::NoKey => CREDENTIAL,
        TokenError::Refused { .. } => REFUSED,
        _ => UNREACHABLE,
    };
    failure(code, error)
}

fn code(error: &CallError) -> u8 {
    match error {
        CallError::Refused(_) if error.is_not_found() => NOT_FOUND,
        CallError::Refused(_) | CallError::NotText => REFUSED,
        CallError::Credential { .. } => CREDENTIAL,
        CallError::InDoubt(_) => IN_DOUBT,
        _ => UNREACHABLE,
    }
}

/// A service may say anything.
fn failure(code: u8, error: &dyn std::error::Error) -> Failure {
    Failure::new(code, printable(&error.to_string()))
}
