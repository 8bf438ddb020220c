//! Places activations in one buffer, and reuses what is free.

use core::ops::Range;
use heapless::Vec;

/// Activations begin at multiples of this many bytes.
const ALIGN: usize = 4;
/// Most activations alive at once: every skip connection, and what one block
/// works on.
const MAX_LIVE: usize = 32;

/// Which bytes of the buffer are in use.
///
/// Planning and running place through this same code, so what was planned is
/// what is run.
#[derive(Clone, Debug, Default)]
pub(super) struct Arena {
    /// Sorted by place, none overlapping.
    live: Vec<Range<usize>, MAX_LIVE>,
    peak: usize,
}

impl Arena {
    /// The lowest free place for `len` bytes, at least one; `None` if too many are alive.
    pub fn place(&mut self, len: usize) -> Option<Range<usize>> {
        let len = len.next_multiple_of(ALIGN);
        let mut start = 0;
        let mut index = 0;
        for range in &self.live {
            if range.start >= start + len {
                break;
            }
            start = range.end;
            index += 1;
        }
        let range = start..start + len;
        self.live.insert(index, range.clone()).ok()?;
        self.peak = self.peak.max(range.end);
        Some(range)
    }

    /// Frees what begins at `start`.
    pub fn release(&mut self, start: usize) {
        self.live.retain(|range| range.start != start);
    }

    /// Bytes in use at most so far.
    pub fn peak(&self) -> usize {
        self.peak
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_used_again() {
        let mut arena = Arena::default();
        let a = arena.place(10).unwrap();
        let b = arena.place(20).unwrap();
        assert_eq!((a.clone(), b), (0..12, 12..32));
        arena.release(a.start);
        assert_eq!(arena.place(13), Some(32..48));
        assert_eq!(arena.place(12), Some(0..12));
        assert_eq!(arena.peak(), 48);
    }
}
