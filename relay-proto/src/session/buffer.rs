//! Where frames are written.

use bytes::{Bytes, BytesMut};
use core::mem;

/// How much is allocated at once for small frames: enough for many of them, little for an idle session to hold.
const CHUNK: usize = 4 * 1024;

/// Memory for one frame behind the other.
///
/// A WebSocket message is one piece of memory, so header and payload have to be written behind each other: this is the one
/// copy of a payload. Frames share the memory they lie in, so there is no allocation per small frame. There are two pieces
/// of memory in turns: where the frames in the one are let go of by the time the other is full, nothing is allocated at all.
#[derive(Debug, Default)]
pub(super) struct FrameBuffer {
    current: BytesMut,
    before: BytesMut,
}

impl FrameBuffer {
    /// The frame of up to `length` bytes that `write` writes.
    pub(super) fn frame(&mut self, length: usize, write: impl FnOnce(&mut BytesMut)) -> Bytes {
        if !has_room(&mut self.current, length) {
            mem::swap(&mut self.current, &mut self.before);
            if !has_room(&mut self.current, length) {
                self.current = BytesMut::with_capacity(length.max(CHUNK));
            }
        }
        write(&mut self.current);
        self.current.split().freeze()
    }

    /// Lets go of the memory; the next frame takes some anew.
    pub(super) fn release(&mut self) {
        *self = Self::default();
    }
}

/// Whether so much can be written without an allocation.
fn has_room(memory: &mut BytesMut, length: usize) -> bool {
    memory.capacity() >= length || memory.try_reclaim(length)
}

/// For the model: what is written is in the frames, so buffers are all alike.
#[cfg(test)]
mod for_the_model {
    use super::FrameBuffer;
    use core::hash::{Hash, Hasher};

    impl Clone for FrameBuffer {
        fn clone(&self) -> Self {
            Self::default()
        }
    }

    impl Hash for FrameBuffer {
        fn hash<H: Hasher>(&self, _: &mut H) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(buffer: &mut FrameBuffer, length: usize) -> Bytes {
        buffer.frame(length, |output| output.resize(length, 7))
    }

    #[test]
    fn frames_lie_behind_each_other_and_memory_is_used_again() {
        let mut buffer = FrameBuffer::default();
        let first = frame(&mut buffer, CHUNK / 2);
        let second = frame(&mut buffer, CHUNK / 2);
        let place = first.as_ptr();
        assert_eq!(first.as_ptr_range().end, second.as_ptr());
        drop((first, second));
        let other = frame(&mut buffer, CHUNK);
        assert_eq!(other.as_ptr(), place);
        let another = frame(&mut buffer, CHUNK);
        assert_ne!(another.as_ptr(), place);
        drop(other);
        assert_eq!(frame(&mut buffer, CHUNK).as_ptr(), place);
    }

    #[test]
    fn frames_that_are_kept_are_not_written_over() {
        let mut buffer = FrameBuffer::default();
        let kept = frame(&mut buffer, CHUNK);
        let next = buffer.frame(3, |output| output.extend_from_slice(b"new"));
        assert!(kept.iter().all(|byte| *byte == 7));
        assert_eq!(next, b"new"[..]);
        buffer.release();
        assert_eq!(next, b"new"[..]);
    }
}
