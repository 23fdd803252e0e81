use super::*;
use futures_util::{AsyncReadExt, AsyncWriteExt};
use smol::block_on;
use std::collections::VecDeque;

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
    block_on(async {
        let mut little = [0; 700];
        loop {
            match buffered.read(&mut little).await.unwrap() {
                0 => break,
                count => all.extend_from_slice(&little[..count]),
            }
        }
    });
    assert_eq!(all, bytes);
    assert_eq!(buffered.unread.capacity(), 0);
    assert_eq!(buffered.inner.calls, 3);
}

#[test]
fn nothing_is_written_before_the_flush_and_everything_by_it() {
    let mut buffered = Buffered::new(Socket {
        at_once: 1000,
        ..Socket::default()
    });
    block_on(async {
        for _ in 0..11 {
            buffered.write_all(&[7; 200]).await.unwrap();
        }
        assert_eq!(buffered.inner.calls, 0);
        buffered.flush().await.unwrap();
    });
    assert_eq!(buffered.unwritten.capacity(), 0);
    assert_eq!(
        (buffered.inner.taken.len(), buffered.inner.calls),
        (2200, 3)
    );
}

#[test]
fn no_more_waits_for_the_flush_than_the_bound() {
    let mut buffered = Buffered::new(Socket {
        at_once: usize::MAX,
        ..Socket::default()
    });
    let bytes = vec![7; 3 * WRITE];
    block_on(buffered.write_all(&bytes)).unwrap();
    assert_eq!(buffered.unwritten.len(), WRITE);
    block_on(buffered.close()).unwrap();
    assert_eq!(buffered.inner.taken, bytes);
}

#[test]
fn a_socket_that_takes_nothing_is_an_error() {
    let mut buffered = Buffered::new(Socket::default());
    block_on(buffered.write_all(b"lost")).unwrap();
    let error = block_on(buffered.flush()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WriteZero);
}

#[test]
fn what_is_flushed_while_it_is_held_goes_out_with_the_next_flush() {
    let mut buffered = Buffered::new(Socket {
        at_once: 1000,
        ..Socket::default()
    });
    block_on(async {
        buffered.hold(true);
        for _ in 0..2 {
            buffered.write_all(b"pong").await.unwrap();
            buffered.flush().await.unwrap();
        }
        assert_eq!(buffered.inner.calls, 0);
        buffered.hold(false);
        buffered.flush().await.unwrap();
    });
    assert_eq!(buffered.inner.taken, b"pongpong");
    assert_eq!(buffered.inner.calls, 1);
}
