//! A client of a relay that decides what is in each frame, in both dialects of docs/protocol.md.

use crate::support::{KEY, Opcode, RelayServer, WebSocket};
use serde_json::{Value, json};

/// How a client speaks to a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Base,
    Durable,
}

pub(crate) const DIALECTS: [Dialect; 2] = [Dialect::Base, Dialect::Durable];

/// One client, with one channel at a time.
pub(crate) struct Conversation {
    socket: WebSocket,
    dialect: Dialect,
    sent: u64,
    received: u64,
    channel: u64,
    /// What came of SMTP and has not been looked at.
    smtp: String,
}

/// What is said to a client at the end of a channel.
#[derive(Debug)]
pub(crate) struct Ended(pub(crate) Value);

impl Conversation {
    /// One whose key was accepted.
    pub(crate) fn start(relay: &RelayServer, dialect: Dialect) -> Self {
        let mut conversation = Self {
            socket: WebSocket::connect(relay.address),
            dialect,
            sent: 0,
            received: 0,
            channel: 0,
            smtp: String::new(),
        };
        let mut authenticate = json!({"type": "AUTHENTICATE", "apiKey": KEY});
        if dialect == Dialect::Durable {
            authenticate["durable"] = json!({});
        }
        conversation.socket.send_text(&authenticate.to_string());
        conversation.socket.wait_for("\"success\":true");
        conversation
    }

    /// Opens a channel for the delivery of this number, and says who sends to whom.
    pub(crate) fn begin(&mut self, delivery: usize, recipient: &str) {
        self.open(delivery);
        self.command("MAIL FROM:<alice@example.org>", "250");
        self.command(&format!("RCPT TO:<{recipient}>"), "250");
    }

    /// Opens a channel for the delivery of this number.
    pub(crate) fn open(&mut self, delivery: usize) {
        self.smtp.clear();
        self.channel += 1;
        match self.dialect {
            Dialect::Base => {
                self.say_word(&json!({"type": "SMTP_CHANNEL_OPEN"}));
                assert_eq!(self.reply().unwrap(), "220");
                self.command("EHLO client.example", "250");
            }
            Dialect::Durable => {
                let delivery = format!("{delivery:032x}");
                let channel = self.channel;
                self.say_word(&json!({"type": "SMTP_CHANNEL_OPEN", "channelId": channel, "deliveryId": delivery}));
            }
        }
    }

    /// Announces content of this length.
    pub(crate) fn announce(&mut self, length: usize) {
        match self.dialect {
            Dialect::Base => self.command("DATA", "354"),
            Dialect::Durable => self.write(format!("BDAT {length} LAST\r\n").as_bytes()),
        }
    }

    /// What says that the content is over, behind content that ends a line.
    pub(crate) fn finish(&mut self) {
        if self.dialect == Dialect::Base {
            self.write(b".\r\n");
        }
    }

    /// Sends this content, in which dots need nothing, and returns the code of the reply.
    pub(crate) fn send(
        &mut self,
        delivery: usize,
        recipient: &str,
        content: &[u8],
    ) -> Result<String, Ended> {
        self.begin(delivery, recipient);
        self.announce(content.len());
        for piece in content.chunks(16 << 10) {
            self.write(piece);
        }
        self.finish();
        let reply = self.reply()?;
        self.end();
        Ok(reply)
    }

    /// Sends this content, which is accepted.
    #[track_caller]
    pub(crate) fn is_accepted(&mut self, delivery: usize, recipient: &str, content: &str) {
        let reply = self.send(delivery, recipient, content.as_bytes());
        assert_eq!(reply.unwrap(), "250", "{content:?}");
    }

    /// Ends the channel.
    pub(crate) fn end(&mut self) {
        match self.dialect {
            Dialect::Base => {
                self.say_word(&json!({"type": "SMTP_CHANNEL_CLOSED"}));
                while self.reply().is_ok() {}
            }
            Dialect::Durable => {
                let channel = self.channel;
                self.say_word(&json!({"type": "SMTP_CHANNEL_CLOSED", "channelId": channel}));
            }
        }
    }

    /// Says this line, to which the reply has this code.
    #[track_caller]
    pub(crate) fn command(&mut self, line: &str, code: &str) {
        self.write(format!("{line}\r\n").as_bytes());
        assert_eq!(self.reply().unwrap(), code, "{line}");
    }

    /// Sends a frame of SMTP.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        match self.dialect {
            Dialect::Base => {
                let text = std::str::from_utf8(bytes).unwrap();
                self.say_word(&json!({"type": "SMTP_TO_SERVER", "data": text}));
            }
            Dialect::Durable => {
                let channel = self.channel;
                self.send_frame(2, |frame| {
                    number(frame, channel);
                    frame.extend(bytes);
                });
            }
        }
    }

    fn say_word(&mut self, word: &Value) {
        match self.dialect {
            Dialect::Base => self.socket.send_text(&word.to_string()),
            Dialect::Durable => self.send_frame(1, |frame| frame.extend(word.to_string().bytes())),
        }
    }

    fn send_frame(&mut self, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
        self.sent += 1;
        let mut frame = vec![kind];
        number(&mut frame, self.sent);
        number(&mut frame, self.received);
        write(&mut frame);
        self.socket.send_frame(Opcode::Binary, &frame);
    }

    /// The code of the next reply, or what the relay says instead.
    pub(crate) fn reply(&mut self) -> Result<String, Ended> {
        loop {
            while let Some((line, rest)) = self.smtp.split_once("\r\n") {
                let (line, rest) = (line.to_owned(), rest.to_owned());
                self.smtp = rest;
                if line.as_bytes().get(3) != Some(&b'-') {
                    return Ok(line[..3].to_owned());
                }
            }
            self.hear()?;
        }
    }

    fn hear(&mut self) -> Result<(), Ended> {
        let (opcode, payload) = self.socket.read_frame().unwrap();
        let (kind, mut rest) = match opcode {
            Opcode::Text => (1, &payload[..]),
            Opcode::Binary => (payload[0], &payload[1..]),
            _ => return Ok(()),
        };
        if opcode == Opcode::Binary && kind != 0 {
            self.received = take_number(&mut rest);
        }
        if opcode == Opcode::Binary {
            take_number(&mut rest);
        }
        match kind {
            0 => {}
            2 => {
                if take_number(&mut rest) == self.channel {
                    self.smtp.push_str(std::str::from_utf8(rest).unwrap());
                }
            }
            _ => {
                let word: Value = serde_json::from_slice(rest).unwrap();
                let is_ours = word["channelId"]
                    .as_u64()
                    .is_none_or(|id| id == self.channel);
                match word["type"].as_str().unwrap() {
                    "SMTP_FROM_SERVER" => self.smtp.push_str(word["data"].as_str().unwrap()),
                    "SMTP_CHANNEL_CLOSED" | "SMTP_CHANNEL_ERROR" if is_ours => {
                        return Err(Ended(word));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

fn number(frame: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        frame.push(number as u8 | 0x80);
        number >>= 7;
    }
    frame.push(number as u8);
}

fn take_number(frame: &mut &[u8]) -> u64 {
    let end = frame.iter().position(|byte| byte & 0x80 == 0).unwrap();
    let (bytes, rest) = frame.split_at(end + 1);
    *frame = rest;
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f))
}
