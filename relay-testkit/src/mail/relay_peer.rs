//! A relay that does what a scenario says.

use crate::{
    peer::{self, Peer},
    transcript,
};
use relay_proto::{
    CloseCode, Frame,
    mail::wire::{self, Granted, Message},
};
use std::net::TcpListener;

/// A relay's end of one link, in the hands of a scenario.
pub(crate) struct RelayPeer(Peer);

impl RelayPeer {
    /// Lets a client in.
    pub(crate) fn accept(listener: &TcpListener) -> Self {
        Self(peer::accept(listener))
    }

    /// Lets a client in that presents its key, and takes the key.
    pub(crate) fn authenticated(listener: &TcpListener) -> Self {
        let mut relay = Self::accept(listener);
        relay.expect("AUTHENTICATE");
        relay.say(&Message::AuthenticateResponse(Ok(Granted::default())));
        relay
    }

    /// Lets a client in, takes its key and opens a channel, up to the server's greeting.
    pub(crate) fn greeted(listener: &TcpListener) -> Self {
        let mut relay = Self::authenticated(listener);
        relay.open_channel();
        relay
    }

    pub(crate) fn open_channel(&mut self) {
        self.expect("SMTP_CHANNEL_OPEN");
        self.say(&Message::ChannelReady);
        self.reply("220 mx.test ESMTP");
    }

    pub(crate) fn say(&mut self, message: &Message) {
        let frame = wire::encode(message);
        let text = str::from_utf8(transcript::payload(&frame)).unwrap();
        self.0.send(tungstenite::Message::text(text)).unwrap();
    }

    /// Says something as the SMTP server behind it.
    pub(crate) fn reply(&mut self, line: &str) {
        self.say(&Message::FromServer(format!("{line}\r\n").into()));
    }

    pub(crate) fn hear(&mut self) -> Message {
        loop {
            if let tungstenite::Message::Text(text) = self.0.message() {
                let frame = Frame::Text(text.into());
                return wire::decode(&frame).unwrap().unwrap();
            }
        }
    }

    pub(crate) fn expect(&mut self, kind: &str) {
        let message = self.hear();
        assert_eq!(message.kind(), kind, "{message:?}");
    }

    /// Plays the SMTP server up to the end of data, whose reply it leaves open. Returns the content, as it travels.
    pub(crate) fn take_content(&mut self) -> String {
        let mut received = String::new();
        loop {
            let Message::ToServer(bytes) = self.hear() else {
                panic!("the client breaks off: {received:?}");
            };
            received.push_str(str::from_utf8(&bytes).unwrap());
            if let Some((_, content)) = received.split_once("\r\nDATA\r\n") {
                if content.is_empty() {
                    self.reply("354 go on");
                } else if content.ends_with("\r\n.\r\n") {
                    return content.to_owned();
                }
            } else {
                self.reply("250 ok");
            }
        }
    }

    /// Plays the SMTP server to the end of the channel.
    pub(crate) fn take_message(&mut self) {
        self.take_content();
        self.reply("250 2.0.0 taken");
        self.end_channel();
    }

    /// Ends a channel the client has done with.
    pub(crate) fn end_channel(&mut self) {
        self.hear_end_of_channel();
        self.say(&Message::ChannelClosed { reason: None });
    }

    /// Waits until the client has done with the channel.
    pub(crate) fn hear_end_of_channel(&mut self) {
        while !matches!(self.hear(), Message::ChannelClosed { .. }) {}
    }

    /// The client's goodbye.
    pub(crate) fn goodbye(&mut self) -> String {
        let close = self.0.close_frame();
        let code = CloseCode(close.code.into());
        format!("< close {}", transcript::goodbye(code, &close.reason))
    }

    pub(crate) const fn peer(&mut self) -> &mut Peer {
        &mut self.0
    }
}
