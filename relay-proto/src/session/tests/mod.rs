mod frames;
mod model;
mod registry;
mod states;

use super::*;
use crate::{LinkId, Time};
use bytes::Bytes;
use core::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Time {
    Time::ZERO.after(Duration::from_secs(seconds))
}

fn link(index: u64) -> LinkId {
    LinkId::accepted(index)
}

fn session() -> Session {
    Session::new(at(0), 120 * SECOND, RetentionLimits::default())
}

fn control(octets: &[u8]) -> Body<&[u8]> {
    Body::Control(octets)
}

fn encoded(frame: &SessionFrame) -> Bytes {
    let mut bytes = bytes::BytesMut::new();
    frame.encode(&mut bytes);
    bytes.freeze()
}

fn acknowledgement(ack: u64) -> Bytes {
    encoded(&SessionFrame::Acknowledgement { ack })
}

fn numbered(seq: u64, ack: u64) -> Bytes {
    let body = Body::Control(Bytes::from_static(b"{}"));
    encoded(&SessionFrame::Numbered { seq, ack, body })
}

fn drain(session: &mut Session) -> alloc::vec::Vec<Bytes> {
    core::iter::from_fn(|| session.poll_frame()).collect()
}
