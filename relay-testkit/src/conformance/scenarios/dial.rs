//! Opening links, and every way it can fail.

use super::{Group, named};
use crate::{
    Binding, Probe, Transcript,
    conformance::rig::Rig,
    peer::{
        accept_tcp, answer_upgrade, config, deserted, listener, read_head, shown_head, stream,
        websocket,
    },
};
use relay_proto::{CloseCode, Endpoint, Input, OpenError, StreamAddress};
use std::{
    io::{Read, Write},
    thread,
};
use tungstenite::handshake::derive_accept_key;

pub(super) fn all<B: Binding>() -> Group {
    named![
        a_port_nobody_listens_on,
        a_name_that_does_not_exist,
        http_statuses_are_refusals,
        what_is_no_websocket_server_says_why,
        a_close_abandons_the_opening,
        a_close_abandons_the_lookup,
        the_request_names_host_and_path,
        a_greeting_right_behind_the_upgrade_is_not_lost,
    ]
}

fn fails<B: Binding>(client: &Rig<B>, endpoint: Endpoint) {
    let link = client.open(endpoint);
    match client.next() {
        Input::OpenFailed { link: failed, .. } => assert_eq!(failed, link),
        other => panic!("not failed: {other:?}"),
    }
    assert!(client.has_no_news(), "answered once");
}

/// Opens links to a server that reads the request and gives these answers, one after the other.
fn answered_with<B: Binding>(transcript: &mut Transcript, answers: &'static [&str]) {
    let client = Rig::<B>::new(Probe::default(), config());
    let (listener, address) = listener();
    let serving = thread::spawn(move || {
        for answer in answers {
            answer_upgrade(&listener, answer);
        }
    });
    for _ in answers {
        fails(&client, websocket(address));
    }
    serving.join().unwrap();
    transcript.saw("client", client.finish());
}

fn a_port_nobody_listens_on<B: Binding>(transcript: &mut Transcript) {
    let client = Rig::<B>::new(Probe::default(), config());
    fails(&client, websocket(deserted()));
    fails(&client, stream(deserted()));
    transcript.saw("client", client.finish());
}

fn a_name_that_does_not_exist<B: Binding>(transcript: &mut Transcript) {
    let client = Rig::<B>::new(Probe::default(), config());
    // Longer than a label can be, so that no server has to be asked.
    let name = "x".repeat(64);
    let link = client.open(Endpoint::Stream(StreamAddress::new(name, 25, false)));
    match client.next() {
        Input::OpenFailed {
            link: failed,
            why: why @ OpenError::Unreachable { .. },
        } if failed == link => {
            // What follows is the system's wording.
            assert!(
                why.to_string()
                    .contains("the host name cannot be resolved (")
            );
        }
        other => panic!("not failed: {other:?}"),
    }
    client.finish();
    transcript.note("client", "the host name cannot be resolved");
}

fn http_statuses_are_refusals<B: Binding>(transcript: &mut Transcript) {
    answered_with::<B>(
        transcript,
        &[
            "HTTP/1.1 200 OK\r\n\r\n<html>",
            "HTTP/1.1 301 Moved Permanently\r\nLocation: ws://other.example/\r\n\r\n",
            "HTTP/1.1 401 Unauthorized\r\n\r\n",
            "HTTP/1.1 403 Forbidden\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\n\r\n",
            "HTTP/1.1 503 Busy\r\nRetry-After: 17\r\n\r\n",
            "HTTP/1.1 503 Busy\r\nretry-after: Fri, 31 Dec 1999 23:59:59 GMT\r\n\r\n",
        ],
    );
}

fn what_is_no_websocket_server_says_why<B: Binding>(transcript: &mut Transcript) {
    answered_with::<B>(
        transcript,
        &[
            "220 mx.example ESMTP\r\n",
            "\0\u{1}\u{2}",
            "",
            "HTTP/1.0 200 OK\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: bm90IHRoZSByaWdodCBhbnN3ZXI=\r\n\r\n",
        ],
    );
}

fn a_close_abandons_the_opening<B: Binding>(transcript: &mut Transcript) {
    let (listener, address) = listener();
    let client = Rig::<B>::new(Probe::default(), config());
    let link = client.open(websocket(address));
    let mut tcp = accept_tcp(&listener);
    read_head(&mut tcp);
    client.close(link, CloseCode::NORMAL, "");
    let why = OpenError::Abandoned;
    assert_eq!(client.next(), Input::OpenFailed { link, why });
    assert_eq!(tcp.read(&mut [0]).unwrap(), 0, "the connection is gone");
    assert!(client.has_no_news(), "nothing follows");
    transcript.saw("client", client.finish());
}

fn a_close_abandons_the_lookup<B: Binding>(transcript: &mut Transcript) {
    let client = Rig::<B>::new(Probe::default(), config());
    // Both at once: nothing can have happened in between.
    let link = client.tell(|machine, _| {
        let link = relay_proto::LinkId::dialled(0);
        let endpoint = Endpoint::Stream(StreamAddress::new("localhost", 9, false));
        machine.dialled = 1;
        machine.actions.extend([
            relay_proto::Action::Open { link, endpoint },
            relay_proto::Action::Close {
                link,
                code: CloseCode::NORMAL,
                reason: String::new(),
            },
        ]);
        link
    });
    let why = OpenError::Abandoned;
    assert_eq!(client.next(), Input::OpenFailed { link, why });
    transcript.saw("client", client.finish());
}

fn the_request_names_host_and_path<B: Binding>(transcript: &mut Transcript) {
    let (listener, address) = listener();
    let client = Rig::<B>::new(Probe::default(), config());
    let url = format!("ws://{address}/mail?for=bob");
    client.open(Endpoint::WebSocket(url.parse().unwrap()));
    let mut tcp = accept_tcp(&listener);
    let head = read_head(&mut tcp);
    transcript.add("peer", shown_head(&head));
    transcript.saw("client", client.finish());
}

fn a_greeting_right_behind_the_upgrade_is_not_lost<B: Binding>(transcript: &mut Transcript) {
    let (listener, address) = listener();
    let client = Rig::<B>::new(Probe::default(), config());
    let link = client.open(websocket(address));
    let mut tcp = accept_tcp(&listener);
    let head = read_head(&mut tcp);
    let (_, key) = head.split_once("Sec-WebSocket-Key: ").unwrap();
    let key = derive_accept_key(key.split("\r\n").next().unwrap().as_bytes());
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {key}\r\n\r\n"
    )
    .into_bytes();
    answer.extend_from_slice(b"\x81\x05hello");
    tcp.write_all(&answer).unwrap();
    assert_eq!(client.next(), Input::Opened { link });
    client.frame();
    transcript.saw("client", client.finish());
}
