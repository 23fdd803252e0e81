//! What lies between a relay and its mail server: it listens, and at some point lets nothing more through.

use crate::shared::Shared;
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

/// What no longer gets through once the mail server was sent the end of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Blocks {
    #[default]
    Nothing,
    /// Neither the end nor anything behind it, nor any reply.
    TheEnd,
    /// What the server says to it.
    Replies,
}

pub(crate) struct Tap {
    pub(crate) port: u16,
    heard: Arc<Shared<Heard>>,
}

#[derive(Default)]
struct Heard {
    /// What the relay said, on all connections.
    said: Vec<u8>,
    has_ended: bool,
    blocks: Blocks,
}

impl Heard {
    fn has_ended_and(&self, blocks: impl FnOnce(Blocks) -> bool) -> bool {
        self.has_ended && blocks(self.blocks)
    }
}

impl Tap {
    /// Puts one before the mail server at this port; what it blocks, it blocks from the end of a message on that
    /// ends with `last`.
    pub(crate) fn before(server: u16, blocks: Blocks, last: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::<Shared<Heard>>::default();
        heard.change(|heard| heard.blocks = blocks);
        let shared = Arc::clone(&heard);
        thread::spawn(move || {
            for relay in listener.incoming() {
                let relay = relay.unwrap();
                // Where the server is not there, the relay finds the connection closed.
                if let Ok(server) = TcpStream::connect(("127.0.0.1", server)) {
                    connect(relay, server, last, &shared);
                }
            }
        });
        Self { port, heard }
    }

    /// What the relay has said.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().said).into_owned()
    }

    /// Blocks nothing any more.
    pub(crate) fn let_through(&self) {
        self.heard.change(|heard| heard.blocks = Blocks::Nothing);
    }

    /// Waits for the end of the message.
    pub(crate) fn wait_for_end(&self) {
        self.heard
            .wait(|heard| heard.has_ended.then_some(()))
            .expect("the message ends");
    }
}

fn connect(
    mut relay: TcpStream,
    mut server: TcpStream,
    last: &'static str,
    heard: &Arc<Shared<Heard>>,
) {
    let (mut replies, mut to_relay) = (server.try_clone().unwrap(), relay.try_clone().unwrap());
    let shared = Arc::clone(heard);
    thread::spawn(move || {
        each_piece(&mut replies, |piece| {
            let is_blocked = shared
                .lock()
                .has_ended_and(|blocks| blocks != Blocks::Nothing);
            is_blocked || to_relay.write_all(piece).is_ok()
        });
        let _ = to_relay.shutdown(Shutdown::Both);
    });
    let heard = Arc::clone(heard);
    thread::spawn(move || {
        each_piece(&mut relay, |piece| {
            // Decided before it goes on, so that no reply to it gets through.
            heard.change(|heard| {
                heard.said.extend(piece);
                heard.has_ended |= is_whole(&heard.said, last.as_bytes());
            });
            let is_blocked = heard
                .lock()
                .has_ended_and(|blocks| blocks == Blocks::TheEnd);
            is_blocked || server.write_all(piece).is_ok()
        });
        let _ = server.shutdown(Shutdown::Both);
    });
}

/// Whether the message that ends with `last` has been said with its end: by DATA with a dot, by BDAT at once.
fn is_whole(said: &[u8], last: &[u8]) -> bool {
    let is_data = said.windows(6).any(|bytes| bytes == b"DATA\r\n");
    let end = if is_data {
        [last, b".\r\n"].concat()
    } else {
        last.to_vec()
    };
    said.ends_with(&end)
}

/// Reads to the end, or until nobody takes it any more.
fn each_piece(from: &mut TcpStream, mut take: impl FnMut(&[u8]) -> bool) {
    let mut piece = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        if !take(&piece[..length]) {
            break;
        }
    }
}
