//! The memory of segments, used again and again: memory that is touched for the first time costs more than what is
//! written to it.

use super::SEGMENT_BYTES;
use std::ops::Deref;
use std::sync::mpsc;

/// How many buffers are kept while nobody needs them.
const KEPT: usize = 3;
/// Room for a segment and the part that makes it full.
const BYTES: usize = SEGMENT_BYTES as usize + (8 << 20);

/// Buffers that come back when they were used.
#[derive(Debug)]
pub(super) struct Buffers {
    free: Vec<Vec<u8>>,
    back: mpsc::Receiver<Vec<u8>>,
    home: mpsc::Sender<Vec<u8>>,
}

/// A segment's bytes, whose memory is used again when they are dropped.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    home: mpsc::Sender<Vec<u8>>,
}

impl Default for Buffers {
    fn default() -> Buffers {
        let (home, back) = mpsc::channel();
        Buffers {
            free: Vec::new(),
            back,
            home,
        }
    }
}

impl Buffers {
    /// A buffer to fill.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.free.extend(self.back.try_iter());
        self.free.truncate(KEPT);
        self.free.pop().unwrap_or_else(|| Vec::with_capacity(BYTES))
    }

    /// A buffer that was filled, for somebody who needs it for a while.
    pub(super) fn lend(&self, bytes: Vec<u8>) -> Buffer {
        let home = self.home.clone();
        Buffer { bytes, home }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // Who is gone needs no buffers.
        let _ = self.home.send(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again() {
        let mut buffers = Buffers::default();
        let mut bytes = buffers.take();
        bytes.extend(b"segment");
        let place = bytes.as_ptr();
        let lent = buffers.lend(bytes);
        let other = buffers.take();
        assert_ne!(other.as_ptr(), place);
        assert_eq!(&*lent, b"segment");
        drop(lent);
        let again = buffers.take();
        assert_eq!(again.as_ptr(), place);
    }
}
