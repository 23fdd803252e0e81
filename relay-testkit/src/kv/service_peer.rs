//! A service that does what a scenario says.

use crate::peer::{self, Peer};
use relay_proto::{
    LinkId, Time,
    kv::{
        StoreId,
        wire::{
            Answer, ClientMessage, Grant, Hello, Request, ServiceMessage, Success, decode_client,
            encode_service,
        },
    },
    session::{Body, RetentionLimits, Session, SessionId},
};
use std::{net::TcpListener, time::Duration};
use tungstenite::Message;

/// A plain service's end of one link, in the hands of a scenario.
pub(crate) struct ServicePeer(Peer);

impl ServicePeer {
    /// Lets a client in.
    pub(crate) fn accept(listener: &TcpListener) -> Self {
        Self(peer::accept(listener))
    }

    /// What the client says next.
    pub(crate) fn hear(&mut self) -> ClientMessage {
        loop {
            if let Message::Text(text) = self.0.message() {
                return decode_client(&text.into()).unwrap();
            }
        }
    }

    /// The client's next call.
    pub(crate) fn call(&mut self) -> Request {
        match self.hear() {
            ClientMessage::Call(request) => request,
            hello @ ClientMessage::Hello { .. } => panic!("not a call: {hello:?}"),
        }
    }

    /// Says this, whatever it is.
    pub(crate) fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).unwrap();
    }

    /// Answers the client's next call with these fields of a JSON object.
    pub(crate) fn answer(&mut self, fields: &str) {
        let number = self.call().message_id;
        self.say(&format!(r#"{{{fields},"messageId":{number}}}"#));
    }

    /// Answers the question for the durable dialect as a service that does not know it.
    pub(crate) fn know_no_hello(&mut self) {
        let ClientMessage::Hello { message_id, .. } = self.hear() else {
            panic!("not a hello");
        };
        self.say(&format!(
            r#"{{"code":400,"error":"unknown op 7","messageId":{message_id}}}"#
        ));
    }

    pub(crate) const fn peer(&mut self) -> &mut Peer {
        &mut self.0
    }
}

/// A service that counts one number in the durable dialect, over as many links as it takes.
pub(crate) struct DurablePeer {
    session: Session,
    links: u64,
    count: i64,
    /// What it has answered.
    pub(crate) applied: Vec<u64>,
}

impl DurablePeer {
    pub(crate) fn new() -> Self {
        let limits = RetentionLimits::default();
        Self {
            session: Session::new(Time::ZERO, Duration::MAX, limits),
            links: 0,
            count: 0,
            applied: Vec::new(),
        }
    }

    /// Lets the client in, and goes on in the one session there is.
    pub(crate) fn accept(&mut self, listener: &TcpListener) -> ServicePeer {
        let mut link = ServicePeer::accept(listener);
        let ClientMessage::Hello { message_id, hello } = link.hear() else {
            panic!("not a hello");
        };
        let Hello { resume, .. } = hello;
        assert_eq!(resume.is_some(), self.links > 0, "it resumes what there is");
        let grant = Grant {
            session: SessionId::from_bits(1),
            receive_next: self.session.receive_next(),
            expires_in: Duration::from_secs(60),
            heartbeat: Duration::from_secs(60),
            max_calls: 100,
            known: false,
            sequence: 0,
            store: StoreId::from_bits(1),
            gone: None,
        };
        let answer = Answer {
            message_id: Some(message_id),
            result: Ok(Success::Granted(grant)),
        };
        let text = encode_service(&ServiceMessage::Answer(answer));
        link.say(str::from_utf8(&text).unwrap());
        self.links += 1;
        let next = resume.map_or(1, |resume| resume.receive_next);
        self.session
            .attach(LinkId::accepted(self.links), next)
            .unwrap();
        link
    }

    /// Applies the next call, an increment, and keeps its answer in the session, to be [told](Self::tell).
    pub(crate) fn apply(&mut self, link: &mut ServicePeer) {
        loop {
            let Message::Binary(frame) = link.0.message() else {
                continue;
            };
            let frame = self
                .session
                .handle_frame(LinkId::accepted(self.links), &frame)
                .unwrap();
            let Some(delivery) = frame else { continue };
            self.session.take_over(delivery.seq);
            let Body::Control(word) = delivery.body else {
                panic!("bytes of a channel");
            };
            let Ok(ClientMessage::Call(request)) = decode_client(&word) else {
                panic!("not a call");
            };
            self.count += 1;
            self.applied.push(request.message_id);
            let answer = ServiceMessage::Answer(Answer {
                message_id: Some(request.message_id),
                result: Ok(Success::Incremented {
                    new_value: self.count,
                }),
            });
            let word = encode_service(&answer);
            self.session.send(Body::Control(&word)).unwrap();
            return;
        }
    }

    /// Sends what there is to say on this link.
    pub(crate) fn tell(&mut self, link: &mut ServicePeer) {
        while let Some(frame) = self.session.poll_frame() {
            link.0.send(Message::binary(frame)).unwrap();
        }
    }
}
