//! Byte streams.

use super::{Group, named};
use crate::{
    Binding, Probe, Transcript,
    conformance::rig::Rig,
    peer::{accept_tcp, binary, config, listener, stream, tcp},
};
use relay_proto::{CloseCode, Endpoint, Input, StreamAddress};
use relay_transport::{PIECE, tls::StreamTls};
use std::io::{Read, Write};

pub(super) fn all<B: Binding>() -> Group {
    named![
        a_byte_stream_carries_bytes_both_ways_and_ends,
        the_limit_bounds_each_piece,
        byte_streams_are_accepted_without_a_handshake,
    ]
}

fn a_byte_stream_carries_bytes_both_ways_and_ends<B: Binding>(transcript: &mut Transcript) {
    let (listener, address) = listener();
    let client = Rig::<B>::new(Probe::default(), config());
    let to = StreamAddress::new("localhost", address.port(), false);
    let link = client.opened(Endpoint::Stream(to));
    let mut tcp = accept_tcp(&listener);
    tcp.write_all(&[b'x'; 100_000]).unwrap();
    let mut total = 0;
    while total < 100_000 {
        let (_, frame) = client.frame();
        assert!(frame.len() <= PIECE);
        total += frame.len();
    }
    client.send(link, binary("EHLO "));
    client.send(link, binary("a\r\n"));
    let mut line = [0; 8];
    tcp.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"EHLO a\r\n");
    client.close(link, CloseCode::NORMAL, "");
    assert_eq!(tcp.read(&mut [0]).unwrap(), 0);
    drop(tcp);
    client.closed(link);
    transcript.saw("client", client.finish());
}

fn the_limit_bounds_each_piece<B: Binding>(transcript: &mut Transcript) {
    let (listener, address) = listener();
    let client = Rig::<B>::new(Probe::limited(10), config());
    let link = client.opened(stream(address));
    let mut tcp = accept_tcp(&listener);
    tcp.write_all(b"0123456789abc").unwrap();
    drop(tcp);
    assert_eq!(client.frame(), (link, binary("0123456789")));
    assert_eq!(client.frame(), (link, binary("abc")));
    client.closed(link);
    transcript.saw("client", client.finish());
}

fn byte_streams_are_accepted_without_a_handshake<B: Binding>(transcript: &mut Transcript) {
    let server = Rig::<B>::new(Probe::echoing(), config());
    let (_, address) = server.listen_stream(StreamTls::None);
    let mut tcp = tcp(address);
    let link = server.accepted();
    server.send(link, binary("220 hi\r\n"));
    let mut greeting = [0; 8];
    tcp.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"220 hi\r\n");
    assert_eq!(server.next(), Input::Written { link });
    tcp.write_all(b"QUIT\r\n").unwrap();
    let mut echo = [0; 6];
    tcp.read_exact(&mut echo).unwrap();
    drop(tcp);
    server.closed(link);
    transcript.saw("server", server.finish());
}
