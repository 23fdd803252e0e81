//! Who the client is, and whether somebody reads along: AUTH (RFC 4954) and STARTTLS (RFC 3207).

use super::{MAX_LINE, Request, Security, Session, Stage};
use crate::smtp::{
    Capabilities, Mechanism, Reply, SaslMessage,
    authentication::{Exchange, ExchangeStep, denied},
    reply,
};
use core::mem;

/// The longest line with a message of AUTH in it, with its CRLF, in bytes (RFC 4954, section 4).
const MAX_MESSAGE_LINE: usize = 12_288;

impl Session {
    /// The connection is secure from now on: TLS, started after the positive answer to [`Request::StartTls`], is in force.
    ///
    /// What the client has said before counts no longer (RFC 3207, section 4.2): it begins anew with EHLO, and is not greeted
    /// again. Does nothing where it was not asked for.
    pub fn secured(&mut self) {
        if matches!(self.stage, Stage::Securing) {
            self.stage = Stage::Idle;
            self.config.security = Security::Tls;
            self.said_hello = false;
            self.is_authenticated = false;
        }
    }

    /// What EHLO offers now.
    pub(super) fn offered(&self) -> Capabilities {
        let mut offered = self.config.capabilities.clone();
        offered.starttls = self.config.security == Security::StartTls;
        offered.auth.clear();
        if !self.is_authenticated && self.takes_passwords() {
            offered.auth.extend([Mechanism::Plain, Mechanism::Login]);
        }
        offered
    }

    /// Whether AUTH is offered, and nobody reads along or nobody minds.
    fn takes_passwords(&self) -> bool {
        let authentication = self.config.authentication.as_ref();
        authentication.is_some_and(|authentication| {
            authentication.in_clear || self.config.security == Security::Tls
        })
    }

    pub(super) fn handle_start_tls(&mut self) -> Option<Request> {
        match self.config.security {
            Security::Clear => {
                return self.handle_error(&reply(502, "5.5.1", "TLS is not offered here"));
            }
            Security::Tls => self.say(&reply(503, "5.5.1", "TLS is in force already")),
            Security::StartTls if self.in_transaction() => self.say(&in_transaction()),
            Security::StartTls => {
                // Whoever is between client and server could have put it there, for it to count as said behind TLS.
                self.input.clear();
                self.stage = Stage::AskedStartTls;
                return Some(Request::StartTls);
            }
        }
        None
    }

    pub(super) fn handle_auth(
        &mut self,
        mechanism: Mechanism,
        initial: Option<SaslMessage>,
    ) -> Option<Request> {
        let refusal = if self.config.authentication.is_none() {
            return self.handle_error(&reply(502, "5.5.1", "Authentication is not offered here"));
        } else if self.config.require_hello && !self.said_hello {
            reply(503, "5.5.1", "Send EHLO or HELO first")
        } else if self.is_authenticated {
            reply(503, "5.5.1", "Already authenticated")
        } else if self.in_transaction() {
            in_transaction()
        } else if !self.takes_passwords() {
            reply(538, "5.7.11", "Encryption required for authentication")
        } else {
            return self.follow(Exchange::begin(mechanism, initial));
        };
        self.say(&refusal);
        None
    }

    /// The client's next message in an exchange.
    pub(super) fn handle_message(&mut self, line: &[u8]) -> Option<Request> {
        match mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Authenticating(exchange) => self.follow(exchange.handle_line(line)),
            other => {
                self.stage = other;
                None
            }
        }
    }

    fn follow(&mut self, step: ExchangeStep) -> Option<Request> {
        match step {
            ExchangeStep::Challenge(exchange, challenge) => {
                self.stage = Stage::Authenticating(exchange);
                self.say(&challenge);
                None
            }
            ExchangeStep::Credentials(credentials) => {
                self.stage = Stage::AskedCredentials;
                Some(Request::Credentials(credentials))
            }
            ExchangeStep::Refused(refusal) if refusal.code() == denied().code() => {
                self.stage = Stage::AskedCredentials;
                self.respond(refusal);
                None
            }
            ExchangeStep::Refused(refusal) => self.handle_error(&refusal),
        }
    }

    /// Ends a session whose client has been refused too often.
    pub(super) fn end_guessing(&mut self) {
        let authentication = self.config.authentication.as_ref();
        if authentication.is_some_and(|authentication| self.failures >= authentication.max_failures)
        {
            self.close(reply(421, "4.7.0", "Too many failed authentications"));
        }
    }

    /// Why MAIL is refused to a client that is nobody yet, and has to be somebody.
    pub(super) fn refusal_of_strangers(&self) -> Option<Reply> {
        let authentication = self.config.authentication.as_ref()?;
        if !authentication.required || self.is_authenticated {
            return None;
        }
        let text = match self.config.security {
            Security::StartTls if !self.takes_passwords() => "Must issue a STARTTLS command first",
            _ => "Authentication required",
        };
        Some(reply(530, "5.7.0", text))
    }

    /// How long a line that is this, or begins with it, may be.
    pub(super) fn max_line(&self, line: &[u8]) -> usize {
        let has_message = matches!(self.stage, Stage::Authenticating(_))
            || self.config.authentication.is_some()
                && line
                    .get(..5)
                    .is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH "));
        if has_message {
            MAX_MESSAGE_LINE
        } else {
            MAX_LINE
        }
    }

    pub(super) fn line_too_long(&self) -> Reply {
        match self.stage {
            Stage::Authenticating(_) => {
                reply(500, "5.5.6", "Authentication exchange line is too long")
            }
            _ => reply(500, "5.5.2", "Line too long"),
        }
    }
}

fn in_transaction() -> Reply {
    reply(503, "5.5.1", "Not while a message is under way")
}

#[cfg(test)]
#[path = "trust_tests.rs"]
mod tests;
