//! What a reply means to a person.

use core::fmt;

use super::reply::{EnhancedCode, Reply};

/// What a reply means to a person, derived from its enhanced code (RFC 3463 and the registry it opened), or from its code alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Category {
    /// A positive reply.
    Accepted,
    /// The sender, or the client on its behalf, may not send this.
    SenderNotAuthorized,
    /// The sender's address is malformed or cannot be answered.
    SenderInvalid,
    /// There is no such recipient.
    RecipientUnknown,
    /// The mailbox exists or may exist, but takes no mail.
    MailboxUnavailable,
    /// The mailbox has no room.
    MailboxFull,
    /// The message is larger than the server or mailbox takes.
    MessageTooLarge,
    /// More recipients than the server takes with one message.
    TooManyRecipients,
    /// The content itself was refused.
    ContentRefused,
    /// The server's policy refuses the message.
    PolicyRefused,
    /// The server wants the client to authenticate, or to encrypt, first.
    AuthenticationRequired,
    /// The server does not accept the credentials.
    AuthenticationFailed,
    /// The server does not support what the message needs.
    Unsupported,
    /// The server did not understand the client, or not at this point.
    ProtocolError,
    /// The server cannot reach where the message has to go.
    RoutingFailed,
    /// The server has a problem of its own that does not go away by waiting.
    ServerError,
    /// The server has a passing problem or limits the rate.
    TryAgainLater,
    /// Refused without a reason a program can read.
    Refused,
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accepted => "Accepted",
            Self::SenderNotAuthorized => "Sender not authorized",
            Self::SenderInvalid => "Sender address not valid",
            Self::RecipientUnknown => "Recipient unknown",
            Self::MailboxUnavailable => "Mailbox unavailable",
            Self::MailboxFull => "Mailbox full",
            Self::MessageTooLarge => "Message too large",
            Self::TooManyRecipients => "Too many recipients",
            Self::ContentRefused => "Content refused",
            Self::PolicyRefused => "Refused by policy",
            Self::AuthenticationRequired => "Authentication required",
            Self::AuthenticationFailed => "Authentication failed",
            Self::Unsupported => "Not supported by the server",
            Self::ProtocolError => "Protocol error",
            Self::RoutingFailed => "No route to the recipient",
            Self::ServerError => "Server error",
            Self::TryAgainLater => "Try again later",
            Self::Refused => "Refused",
        })
    }
}

impl Reply {
    /// What the reply means to a person.
    pub fn category(&self) -> Category {
        if self.is_positive() {
            return Category::Accepted;
        }
        self.enhanced()
            .and_then(by_enhanced_code)
            .unwrap_or_else(|| by_code(self.code().as_u16()))
    }
}

/// `None` where the enhanced code says no more than the code does.
fn by_enhanced_code(
    EnhancedCode {
        class,
        subject,
        detail,
    }: EnhancedCode,
) -> Option<Category> {
    Some(match (class, subject, detail) {
        (_, 1, 7..=9) | (_, 7, 27) => Category::SenderInvalid,
        (_, 1, 1..=3 | 6 | 10) | (_, 7, 17 | 18) => Category::RecipientUnknown,
        (_, 1, _) => Category::MailboxUnavailable,
        (_, 2, 2) => Category::MailboxFull,
        (_, 2, 3) | (_, 3, 4) => Category::MessageTooLarge,
        (_, 2, _) => Category::MailboxUnavailable,
        (4, 3 | 4, _) => Category::TryAgainLater,
        (_, 3, 3) | (_, 6, 7 | 9 | 10) => Category::Unsupported,
        (_, 3, _) => Category::ServerError,
        (_, 4, _) => Category::RoutingFailed,
        (_, 5, 3) => Category::TooManyRecipients,
        (_, 5, _) => Category::ProtocolError,
        (_, 6, _) => Category::ContentRefused,
        (_, 7, 8) => Category::AuthenticationFailed,
        (_, 7, 10 | 11) => Category::AuthenticationRequired,
        (5, 7, 1 | 2 | 20..=26) => Category::SenderNotAuthorized,
        // 4.7.x is greylisting and rate limiting; 5.7.0 goes with 530 as well as with 550.
        (5, 7, 0) | (4, 7, _) => return None,
        (_, 7, _) => Category::PolicyRefused,
        _ => return None,
    })
}

fn by_code(code: u16) -> Category {
    match code {
        400..=499 => Category::TryAgainLater,
        500..=503 => Category::ProtocolError,
        504 | 555 => Category::Unsupported,
        530 | 538 => Category::AuthenticationRequired,
        534 | 535 => Category::AuthenticationFailed,
        550 | 551 | 553 => Category::MailboxUnavailable,
        552 => Category::MessageTooLarge,
        556 => Category::RecipientUnknown,
        _ => Category::Refused,
    }
}
