//! Mail the whole way, with all three machines on the binding: client, relay, mail server.

use super::{Group, mail_relay::decide_at_once, named};
use crate::{
    Authority, Binding, Transcript,
    conformance::rig::Rig,
    mail::{
        answering, base_client_config, client_event, message, raw, relay_config, relay_event,
        server, server_event,
    },
    monitor::Seen,
    peer::{self, HANGS, cutting_proxy},
};
use relay_proto::{
    Time,
    mail::{
        client::{Client, ClientConfig, ConnectionState, Event, Submission},
        relay::Relay,
    },
    smtp::Server,
};
use relay_transport::{Config, tls::StreamTls};
use rustls::ServerConfig;
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, mpsc},
    time::Duration,
};

pub(super) fn all<B: Binding>() -> Group {
    named![
        a_message_goes_the_whole_way,
        refused_recipients_are_named,
        every_byte_of_the_content_arrives,
        a_cut_in_the_middle_of_a_message_is_healed,
        many_messages_share_one_link,
        a_session_carries_many_messages_at_once,
        a_session_goes_on_behind_a_cut,
        mail_goes_over_tls,
        an_idle_client_hangs_up_and_comes_back,
    ]
}

const BOB: &str = "bob@example.net";

/// All three, wired up.
struct Way<B: Binding> {
    client: Rig<B, Client>,
    relay: Rig<B, Relay>,
    server: Rig<B, Server>,
    inbox: mpsc::Receiver<Vec<u8>>,
}

impl<B: Binding> Way<B> {
    fn new() -> Self {
        Self::with(
            None,
            Config::default(),
            "ws://127.0.0.1",
            |relay| relay,
            |_| {},
        )
    }

    /// `detour` says where the client goes to come to the relay.
    fn with(
        tls: Option<Arc<ServerConfig>>,
        transport: Config,
        host: &str,
        detour: impl FnOnce(SocketAddr) -> SocketAddr,
        change: impl FnOnce(&mut ClientConfig),
    ) -> Self {
        let (deliver, inbox) = mpsc::channel();
        let server = Rig::spawn(server(), peer::config(), server_event, answering(deliver));
        let (_, mx) = server.listen_stream(StreamTls::None);
        let relay = Relay::new(relay_config(mx), [7; 32]);
        let relay: Rig<B, _> = Rig::spawn(relay, peer::config(), relay_event, decide_at_once);
        let (_, address) = relay.listen_websocket(tls);
        let mut config = base_client_config(&format!("{host}:{}/", detour(address).port()));
        change(&mut config);
        let client = Client::new(config, [7; 32], Time::ZERO);
        let client = Rig::spawn(client, transport, client_event, |_, _, _| {});
        Self {
            client,
            relay,
            server,
            inbox,
        }
    }

    fn submit(&self, submission: Submission) {
        self.client
            .tell(|client, now| client.submit(now, submission).map(drop).unwrap());
    }

    /// Waits until a submission is settled and its channel is closed.
    fn settled(&self) {
        self.client
            .find(|event| event.outcome().is_some().then_some(()));
        self.client.find(|event| {
            let to = ConnectionState::Authenticated;
            matches!(event, Event::StateChanged { to: now, .. } if now == to).then_some(())
        });
    }

    fn delivered(&self) -> Vec<u8> {
        self.inbox.recv_timeout(HANGS).unwrap()
    }

    /// Ends all three, one after the other: what each has seen.
    fn ended(self) -> [Seen; 3] {
        self.client.rest();
        self.client
            .tell(|client, now| client.shutdown(now, Duration::MAX));
        let client = self.client.finished();
        self.relay.alone();
        self.relay.tell(Relay::stop);
        let relay = self.relay.finished();
        self.server.alone();
        self.server.tell(Server::shutdown);
        [client, relay, self.server.finished()]
    }

    /// In the middle two directions overlap, so that what happens there is written down without the frames.
    fn write_down(self, transcript: &mut Transcript) {
        let [client, relay, server] = self.ended();
        transcript.saw("client", client);
        transcript.add("relay", relay.events);
        transcript.add("server", server.events);
    }
}

fn a_message_goes_the_whole_way<B: Binding>(transcript: &mut Transcript) {
    let way = Way::<B>::new();
    way.submit(message(&[BOB], "hello"));
    way.settled();
    assert_eq!(way.delivered(), b"Subject: x\r\n\r\nhello\r\n");
    way.write_down(transcript);
}

fn refused_recipients_are_named<B: Binding>(transcript: &mut Transcript) {
    let way = Way::<B>::new();
    way.submit(message(&[BOB, "mallory@example.net"], "hello"));
    way.settled();
    way.delivered();
    way.submit(message(&["mallory@example.net"], "hello"));
    way.settled();
    way.write_down(transcript);
}

fn every_byte_of_the_content_arrives<B: Binding>(transcript: &mut Transcript) {
    let way = Way::<B>::new();
    let every_byte: Vec<u8> = (1..=255).filter(|byte| !b"\r\n".contains(byte)).collect();
    let mut content = b"Subject: x\r\n\r\n.\r\n..\r\n.dot\r\n\r\n".to_vec();
    // Far more than any buffer on the way holds.
    while content.len() < 2_000_000 {
        content.extend_from_slice(&every_byte);
        content.extend_from_slice(b"\r\n.\r\n");
    }
    way.submit(raw(&[BOB], content.clone()));
    way.settled();
    assert!(way.delivered() == content);
    way.ended();
    transcript.note("server", format!("all {} bytes", content.len()));
}

fn a_cut_in_the_middle_of_a_message_is_healed<B: Binding>(transcript: &mut Transcript) {
    let cut = |relay| cutting_proxy(relay, 300_000);
    let way = Way::<B>::with(None, Config::default(), "ws://127.0.0.1", cut, |_| {});
    let text = "0123456789abcdef\r\n".repeat(60_000);
    way.submit(message(&[BOB], &text));
    way.settled();
    assert_eq!(way.delivered().len(), text.len() + 16);
    assert!(way.inbox.try_recv().is_err(), "it came once");
    let reconnects = way.client.tell(|client, _| client.statistics().reconnects);
    transcript.note("client", format!("links lost: {reconnects}"));
    way.ended();
}

fn many_messages_share_one_link<B: Binding>(transcript: &mut Transcript) {
    const MESSAGES: usize = 20;
    let way = Way::<B>::new();
    for number in 0..MESSAGES {
        way.submit(message(&[BOB], &number.to_string()));
    }
    for number in 0..MESSAGES {
        way.settled();
        let expected = format!("Subject: x\r\n\r\n{number}\r\n");
        assert_eq!(way.delivered(), expected.as_bytes());
    }
    let links = way
        .client
        .tell(|client, _| client.statistics().reconnects + 1);
    transcript.note("client", format!("{MESSAGES} messages on {links} link"));
    way.ended();
}

const fn durable(config: &mut ClientConfig) {
    config.durable = true;
}

fn a_session_carries_many_messages_at_once<B: Binding>(transcript: &mut Transcript) {
    const MESSAGES: usize = 20;
    let straight = |relay| relay;
    let way = Way::<B>::with(None, Config::default(), "ws://127.0.0.1", straight, durable);
    for number in 0..MESSAGES {
        way.submit(message(&[BOB, "mallory@example.net"], &number.to_string()));
    }
    for _ in 0..MESSAGES {
        let receipt = way.client.find(|event| match event {
            Event::Processed { receipt, .. } => Some(receipt),
            _ => None,
        });
        assert_eq!(receipt.rejected.len(), 1);
    }
    let came: BTreeSet<_> = (0..MESSAGES).map(|_| way.delivered()).collect();
    let all = (0..MESSAGES).map(|number| format!("Subject: x\r\n\r\n{number}\r\n").into_bytes());
    assert_eq!(came, all.collect());
    let links = way
        .client
        .tell(|client, _| client.statistics().reconnects + 1);
    transcript.note("client", format!("{MESSAGES} messages on {links} link"));
    way.ended();
}

fn a_session_goes_on_behind_a_cut<B: Binding>(transcript: &mut Transcript) {
    let cut = |relay| cutting_proxy(relay, 300_000);
    let way = Way::<B>::with(None, Config::default(), "ws://127.0.0.1", cut, durable);
    let text = "0123456789abcdef\r\n".repeat(60_000);
    way.submit(message(&[BOB], &text));
    way.client
        .find(|event| matches!(event, Event::SessionResumed { .. }).then_some(()));
    way.settled();
    assert_eq!(way.delivered().len(), text.len() + 16);
    assert!(way.inbox.try_recv().is_err(), "it came once");
    let sent = way.client.tell(|client, _| client.statistics().bytes_sent);
    assert!(
        sent < 2 * text.len() as u64,
        "it went on where it was: {sent} bytes"
    );
    transcript.note("client", "the session went on");
    way.ended();
}

fn mail_goes_over_tls<B: Binding>(transcript: &mut Transcript) {
    let authority = Authority::new("test");
    let tls = authority.identity("localhost").server();
    let mut transport = Config::default();
    transport.extra_roots = authority.roots();
    let way = Way::<B>::with(
        Some(tls),
        transport,
        "wss://localhost",
        |relay| relay,
        |_| {},
    );
    way.submit(message(&[BOB], "secret"));
    way.settled();
    assert_eq!(way.delivered(), b"Subject: x\r\n\r\nsecret\r\n");
    let [client, _, _] = way.ended();
    transcript.saw("client", client);
}

fn an_idle_client_hangs_up_and_comes_back<B: Binding>(transcript: &mut Transcript) {
    let at_once = |config: &mut ClientConfig| config.idle = Some(Duration::ZERO);
    let way = Way::<B>::with(
        None,
        Config::default(),
        "ws://127.0.0.1",
        |relay| relay,
        at_once,
    );
    for text in ["first", "second"] {
        way.submit(message(&[BOB], text));
        way.settled();
        way.client.rest();
    }
    way.write_down(transcript);
}
