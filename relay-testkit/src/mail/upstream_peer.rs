//! A mail server that does what a scenario says.

use crate::peer::accept_tcp;
use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
};

/// A mail server's end of one connection, in the hands of a scenario.
pub(crate) struct UpstreamPeer(BufReader<TcpStream>);

impl UpstreamPeer {
    /// Lets a client in and greets it.
    pub(crate) fn greeting(listener: &TcpListener) -> Self {
        let mut upstream = Self(BufReader::new(accept_tcp(listener)));
        upstream.reply("220 mx.test ESMTP");
        upstream
    }

    pub(crate) fn reply(&mut self, line: &str) {
        let line = format!("{line}\r\n");
        self.0.get_mut().write_all(line.as_bytes()).unwrap();
    }

    /// The next line, without its end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end_matches("\r\n").to_owned()
    }

    /// Agrees to every command up to the one that begins with `verb`, which it leaves without a reply.
    pub(crate) fn agree_up_to(&mut self, verb: &str) {
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "the client has gone before {verb}");
            if line.starts_with(verb) {
                return;
            }
            self.reply("250 ok");
        }
    }
}
