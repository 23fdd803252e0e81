//! What the tests share: processes, peers, and WebSockets without manners.

mod process;
mod programs;
mod websocket;

pub(crate) use crate::shared::{PATIENCE, Process, process::Ended};
pub(crate) use programs::{
    Bridge, KEY, MailServer, Mailbox, RelayServer, Sink, base_client, peer, python, relay, send,
    sending, sendmail,
};
#[cfg(target_os = "linux")]
pub(crate) use programs::{files, free_port, skip};
pub(crate) use websocket::{Opcode, WebSocket, WebSocketServer};
