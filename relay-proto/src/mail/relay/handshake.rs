//! stand-in
use crate::smtp::{Capabilities, Command, HostName, Reply};

pub(super) struct Handshake {
    host_name: HostName,
    stage: Stage,
}
enum Stage {
    Greeting,
    Ehlo,
    Helo,
}
pub(super) enum HandshakeStep {
    Send(Command),
    Ready(Capabilities),
    Failed(Reply),
}
impl Handshake {
    pub(super) fn new(host_name: HostName) -> Self {
        Self {
            host_name,
            stage: Stage::Greeting,
        }
    }
    pub(super) fn handle_reply(&mut self, reply: Reply) -> HandshakeStep {
        let class = reply.code().class();
        match self.stage {
            Stage::Greeting if class == 2 => {
                self.stage = Stage::Ehlo;
                HandshakeStep::Send(Command::Ehlo(self.host_name.clone()))
            }
            Stage::Ehlo if class == 2 => HandshakeStep::Ready(Capabilities::from_reply(&reply)),
            Stage::Ehlo if class == 5 => {
                self.stage = Stage::Helo;
                HandshakeStep::Send(Command::Helo(self.host_name.clone()))
            }
            Stage::Helo if class == 2 => HandshakeStep::Ready(Capabilities::default()),
            _ => HandshakeStep::Failed(reply),
        }
    }
}
