//! How a client greets a server.

use super::{Capabilities, Command, HostName, Reply};

/// The client's side of the opening of an SMTP conversation (RFC 5321, section 4.1.1.1): the greeting, EHLO, and HELO
/// for servers that do not know EHLO.
///
/// It begins by waiting for the greeting.
#[derive(Debug)]
pub struct Handshake {
    host_name: HostName,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Greeting,
    Ehlo,
    Helo,
}

/// What follows from a reply.
#[derive(Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an owner that ignored a step would wait for ever"
)]
pub enum HandshakeStep {
    /// Send this, and hand in the reply.
    Send(Command),
    /// The server is ready for mail, and offers this; nothing where it knows HELO only.
    Ready(Capabilities),
    /// The server will not talk to us.
    Refused(Reply),
}

impl Handshake {
    /// A client called `host_name`.
    pub const fn new(host_name: HostName) -> Self {
        Self {
            host_name,
            stage: Stage::Greeting,
        }
    }

    /// The same behind STARTTLS (RFC 3207, section 4.2), where there is no greeting, and what it says first.
    pub(super) fn behind_tls(host_name: HostName) -> (Self, Command) {
        let ehlo = Command::Ehlo(host_name.clone());
        let stage = Stage::Ehlo;
        (Self { host_name, stage }, ehlo)
    }

    /// Takes the server's next reply.
    ///
    /// Any 5yz reply to EHLO but 554 leads to HELO; 554 means that there is no service at all.
    pub fn handle_reply(&mut self, reply: Reply) -> HandshakeStep {
        let (class, code) = (reply.code().class(), reply.code().as_u16());
        match self.stage {
            Stage::Greeting if class == 2 => {
                self.stage = Stage::Ehlo;
                HandshakeStep::Send(Command::Ehlo(self.host_name.clone()))
            }
            Stage::Ehlo if class == 2 => HandshakeStep::Ready(Capabilities::from_reply(&reply)),
            Stage::Ehlo if class == 5 && code != 554 => {
                self.stage = Stage::Helo;
                HandshakeStep::Send(Command::Helo(self.host_name.clone()))
            }
            Stage::Helo if class == 2 => HandshakeStep::Ready(Capabilities::default()),
            _ => HandshakeStep::Refused(reply),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::reply;

    fn handshake() -> Handshake {
        Handshake::new("client.example".parse().unwrap())
    }

    #[test]
    fn ehlo_gives_capabilities() {
        let mut handshake = handshake();
        let step = handshake.handle_reply(reply(220, "", "mx ready"));
        assert!(matches!(step, HandshakeStep::Send(Command::Ehlo(_))));
        let step = handshake.handle_reply(reply(250, "", "mx\n8BITMIME\nSIZE 1000"));
        let HandshakeStep::Ready(capabilities) = step else {
            panic!("{step:?}");
        };
        assert!(capabilities.eight_bit_mime && !capabilities.smtputf8);
        assert_eq!(capabilities.max_message_bytes(), Some(1000));
    }

    #[test]
    fn a_server_without_ehlo_is_greeted_with_helo() {
        for code in [500, 502, 550] {
            let mut handshake = handshake();
            let _ = handshake.handle_reply(reply(220, "", "old"));
            let step = handshake.handle_reply(reply(code, "", "what?"));
            assert!(matches!(step, HandshakeStep::Send(Command::Helo(_))));
            let step = handshake.handle_reply(reply(250, "", "old"));
            assert_eq!(step, HandshakeStep::Ready(Capabilities::default()));
        }
    }

    #[test]
    fn a_server_that_will_not_talk_is_believed() {
        let cases: [&[u16]; 7] = [
            &[554],
            &[421],
            &[354],
            &[220, 421],
            &[220, 554],
            &[220, 500, 500],
            &[220, 354],
        ];
        for codes in cases {
            let mut handshake = handshake();
            let last = codes
                .iter()
                .map(|code| handshake.handle_reply(reply(*code, "", "x")))
                .last();
            assert!(
                matches!(last, Some(HandshakeStep::Refused(_))),
                "{codes:?}: {last:?}"
            );
        }
    }
}
