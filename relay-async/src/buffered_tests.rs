use super::*;
use smol::block_on;
use std::{collections::VecDeque, future::poll_fn};

/// A socket that has pieces to read, takes so many bytes at once, and counts calls.
#[derive(Default)]
struct Socket {
    pieces: VecDeque<Vec<u8>>,
    taken: Vec<u8>,
    at_once: usize,
    calls: usize,
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.calls += 1;
        let piece = self.pieces.pop_front().unwrap_or_default();
        buffer[..piece.len()].copy_from_slice(&piece);
        Poll::Ready(Ok(piece.len()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.calls += 1;
        let count = bytes.len().min(self.at_once);
        self.taken.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn what_is_there_is_read_at_once_and_handed_out_in_order() {
    let bytes: Vec<u8> = (0..10_000).map(|index| index as u8).collect();
    let pieces = [&bytes[..9_000], &bytes[9_000..]];
    let mut buffered = Buffered::new(Socket {
        pieces: pieces.map(<[u8]>::to_vec).into(),
        ..Socket::default()
    });
    let mut all = Vec::new();
    let mut little = [0; 700];
    loop {
        match buffered.read(&mut little) {
            Ok(0) => break,
            Ok(count) => all.extend_from_slice(&little[..count]),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                assert_eq!(buffered.unread.capacity(), 0);
                block_on(poll_fn(|context| buffered.poll_fill(context))).unwrap();
            }
        }
    }
    assert_eq!(all, bytes);
    assert_eq!(buffered.socket.calls, 3);
}

#[test]
fn nothing_is_written_before_it_is_written_out_and_everything_then() {
    let mut buffered = Buffered::new(Socket {
        at_once: 1000,
        ..Socket::default()
    });
    for _ in 0..11 {
        buffered.write_all(&[7; 200]).unwrap();
    }
    assert_eq!(buffered.socket.calls, 0);
    block_on(poll_fn(|context| buffered.poll_write_out(context))).unwrap();
    assert_eq!(buffered.unwritten.capacity(), 0);
    assert_eq!(
        (buffered.socket.taken.len(), buffered.socket.calls),
        (2200, 3)
    );
}

#[test]
fn a_socket_that_takes_nothing_is_an_error() {
    let mut buffered = Buffered::new(Socket::default());
    buffered.write_all(b"lost").unwrap();
    let writing = poll_fn(|context| buffered.poll_write_out(context));
    let error = block_on(writing).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WriteZero);
}
