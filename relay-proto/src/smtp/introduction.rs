//! How a client comes to be trusted by a server, and the other way round.

use super::{
    Capabilities, Code, Command, Credentials, Handshake, HandshakeStep, HostName, Mechanism, Reply,
    SaslMessage,
};
use alloc::format;
use bytes::Bytes;
use core::mem;

/// What a client does before its first MAIL, where that is more than to greet.
///
/// The default greets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Nothing but EHLO and STARTTLS (RFC 3207) is said before the connection is secure. A server that does not offer it, or refuses,
    /// is not talked to.
    pub start_tls: bool,
    /// Who the client is (AUTH, RFC 4954), where the server has to know. They are sent as soon as the server offers PLAIN or LOGIN,
    /// whether or not somebody reads along: without `start_tls`, for connections that are secure by other means.
    pub credentials: Option<Credentials>,
}

impl Access {
    /// It greets, and no more.
    pub const NONE: Self = Self {
        start_tls: false,
        credentials: None,
    };
}

/// The client's side of everything before the first MAIL: [`Handshake`], STARTTLS, the handshake again, AUTH.
///
/// It begins by waiting for the greeting.
#[derive(Debug)]
pub struct Introduction {
    host_name: HostName,
    access: Access,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Handshake(Handshake),
    StartTls,
    Securing,
    /// AUTH LOGIN is sent, and the user name asked for next.
    UserName(Capabilities, Credentials),
    /// The password is asked for next.
    Password(Capabilities, Credentials),
    /// All is said.
    Said(Capabilities),
    Over,
}

/// What follows from a reply.
#[derive(Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an owner that ignored a step would wait for ever"
)]
pub enum IntroductionStep {
    /// Send this, which may hold a password, and hand in the reply.
    Send(Bytes),
    /// Start TLS, and say so with [`Introduction::secured`]. Whatever else the server has said by now is to be thrown away, or
    /// better the connection: it would be taken for what TLS protects.
    StartTls,
    /// The server is ready for mail, and offers this; nothing where it knows HELO only.
    Ready(Capabilities),
    /// The server will not talk to us.
    Refused(Reply),
    /// The server does not take the credentials.
    Denied(Reply),
    /// The server does not offer this, which is needed.
    Lacks(&'static str),
}

impl Introduction {
    /// A client called `host_name`.
    pub fn new(host_name: HostName, access: Access) -> Self {
        let stage = Stage::Handshake(Handshake::new(host_name.clone()));
        Self {
            host_name,
            access,
            stage,
        }
    }

    /// Takes the server's next reply.
    pub fn handle_reply(&mut self, reply: Reply) -> IntroductionStep {
        let class = reply.code().class();
        match mem::replace(&mut self.stage, Stage::Over) {
            Stage::Handshake(mut handshake) => match handshake.handle_reply(reply) {
                HandshakeStep::Send(command) => {
                    self.stage = Stage::Handshake(handshake);
                    IntroductionStep::Send(command.to_bytes())
                }
                HandshakeStep::Ready(offered) => self.greeted(offered),
                HandshakeStep::Refused(reply) => IntroductionStep::Refused(reply),
            },
            Stage::StartTls if reply.code() == Code::READY => {
                self.stage = Stage::Securing;
                IntroductionStep::StartTls
            }
            Stage::UserName(offered, credentials) if is_challenge(&reply) => {
                let answer = answer(credentials.user_name());
                self.stage = Stage::Password(offered, credentials);
                answer
            }
            Stage::Password(offered, credentials) if is_challenge(&reply) => {
                let answer = answer(credentials.expose_password());
                self.stage = Stage::Said(offered);
                answer
            }
            Stage::Said(offered) if class == 2 => IntroductionStep::Ready(offered),
            Stage::UserName(..) | Stage::Password(..) | Stage::Said(_)
                if class >= 4 && reply.code() != Code::NOT_AVAILABLE =>
            {
                IntroductionStep::Denied(reply)
            }
            _ => IntroductionStep::Refused(reply),
        }
    }

    /// TLS, started after [`IntroductionStep::StartTls`], is in force. What is to be sent first behind it; nothing where it was not
    /// asked for.
    pub fn secured(&mut self) -> Option<Bytes> {
        if !matches!(self.stage, Stage::Securing) {
            return None;
        }
        self.access.start_tls = false;
        let (handshake, ehlo) = Handshake::behind_tls(self.host_name.clone());
        self.stage = Stage::Handshake(handshake);
        Some(ehlo.to_bytes())
    }

    /// Whether TLS is being started, and nothing is to be read or sent.
    pub const fn is_securing(&self) -> bool {
        matches!(self.stage, Stage::Securing)
    }

    fn greeted(&mut self, offered: Capabilities) -> IntroductionStep {
        if self.access.start_tls {
            if !offered.starttls {
                return IntroductionStep::Lacks("STARTTLS");
            }
            self.stage = Stage::StartTls;
            return IntroductionStep::Send(Command::StartTls.to_bytes());
        }
        let Some(credentials) = self.access.credentials.take() else {
            return IntroductionStep::Ready(offered);
        };
        // PLAIN first: it takes one round trip.
        let Some(mechanism) = offered.auth.first().copied() else {
            return IntroductionStep::Lacks("AUTH PLAIN or LOGIN");
        };
        let initial_response = (mechanism == Mechanism::Plain).then(|| {
            let (user_name, password) = (credentials.user_name(), credentials.expose_password());
            SaslMessage::new(format!("\0{user_name}\0{password}"))
        });
        let auth = Command::Auth {
            mechanism,
            initial_response,
        };
        self.stage = match mechanism {
            Mechanism::Plain => Stage::Said(offered),
            Mechanism::Login => Stage::UserName(offered, credentials),
        };
        IntroductionStep::Send(auth.to_bytes())
    }
}

fn is_challenge(reply: &Reply) -> bool {
    reply.code() == Code::CHALLENGE
}

fn answer(text: &str) -> IntroductionStep {
    let message = SaslMessage::new(Bytes::copy_from_slice(text.as_bytes()));
    IntroductionStep::Send(message.to_line())
}

#[cfg(test)]
#[path = "introduction_tests.rs"]
mod tests;
