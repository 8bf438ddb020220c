//! Places activations in one buffer, and reuses what is free.

use crate::graph::Conv;
use core::ops::Range;
use heapless::Vec;

/// Activations begin at multiples of this many bytes.
const ALIGN: usize = 4;
/// Most places that one block works on at once: an attention has its input and
/// that normalised, queries, keys, values, and their mix.
const MAX_LOW: usize = 10;

/// From which end of the buffer a place is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// For what is soon gone.
    Low,
    /// For skip connections: the last to come is the first to go, so they
    /// leave no holes, and they stand in nobody's way.
    High,
}

impl End {
    /// Where a convolution's output belongs.
    pub fn of<D>(conv: &Conv<D>) -> Self {
        if conv.readers.skip {
            Self::High
        } else {
            Self::Low
        }
    }
}

/// A place in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    end: End,
    /// Bytes between that end and this place.
    before: usize,
}

impl Place {
    /// The `len` bytes that lie there, in a buffer of `size`.
    pub fn range(&self, len: usize, size: usize) -> Range<usize> {
        let start = match self.end {
            End::Low => self.before,
            End::High => size.saturating_sub(self.before + len.next_multiple_of(ALIGN)),
        };
        start..start + len
    }
}

/// Which bytes of the buffer are in use.
///
/// Planning and running place through this same code, so what was planned is
/// what is run.
#[derive(Clone, Debug, Default)]
pub(super) struct Arena {
    /// Sorted by place, none overlapping.
    low: Vec<Range<usize>, MAX_LOW>,
    /// Bytes in use at the other end.
    high: usize,
}

impl Arena {
    /// The free place nearest to an end for `len` bytes, at least one; `None`
    /// if too many are alive.
    pub fn place(&mut self, end: End, len: usize) -> Option<Place> {
        let len = len.next_multiple_of(ALIGN);
        let before = match end {
            End::Low => insert(&mut self.low, len)?,
            End::High => {
                let before = self.high;
                self.high += len;
                before
            }
        };
        Some(Place { end, before })
    }

    /// Frees a place; at the high end the last that is in use.
    pub fn release(&mut self, place: Place) {
        match place.end {
            End::Low => self.low.retain(|range| range.start != place.before),
            End::High => self.high = place.before,
        }
    }

    /// Where `len` bytes lie that nothing needs after this layer.
    pub fn scratch(&self, len: usize) -> Range<usize> {
        let len = len.next_multiple_of(ALIGN);
        let (start, _) = gap(&self.low, len);
        start..start + len
    }

    /// Bytes that the buffer must have for such scratch.
    pub fn needed(&self, scratch: usize) -> usize {
        let low = extent(&self.low).max(self.scratch(scratch).end);
        low + self.high
    }
}

/// Bytes up to the end of the last place.
fn extent(live: &[Range<usize>]) -> usize {
    live.last().map_or(0, |range| range.end)
}

/// Where the first gap of `len` bytes begins, and before which place.
fn gap(live: &[Range<usize>], len: usize) -> (usize, usize) {
    let (mut start, mut index) = (0, 0);
    for range in live {
        if range.start >= start + len {
            break;
        }
        start = range.end;
        index += 1;
    }
    (start, index)
}

/// Puts `len` bytes into the first gap; returns where that begins.
fn insert(live: &mut Vec<Range<usize>, MAX_LOW>, len: usize) -> Option<usize> {
    if live.is_full() {
        return None;
    }
    let (start, index) = gap(live, len);
    // What `Vec::insert` does, which would panic beyond the end.
    let mut carried = start..start + len;
    for range in live.iter_mut().skip(index) {
        core::mem::swap(range, &mut carried);
    }
    live.push(carried).ok()?;
    Some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_used_again() {
        let mut arena = Arena::default();
        let place = |arena: &mut Arena, len| arena.place(End::Low, len).unwrap();
        let a = place(&mut arena, 10);
        let b = place(&mut arena, 20);
        assert_eq!((a.range(10, 99), b.range(20, 99)), (0..10, 12..32));
        arena.release(a);
        assert_eq!(place(&mut arena, 13).range(13, 99), 32..45);
        assert_eq!(place(&mut arena, 12).range(12, 99), 0..12);
        assert_eq!(arena.scratch(8), 48..56);
        arena.release(b);
        assert_eq!(arena.scratch(20), 12..32);
        assert_eq!((arena.needed(20), arena.needed(21)), (48, 72));
    }

    #[test]
    fn the_ends_meet_at_the_peak() {
        let mut arena = Arena::default();
        let low = arena.place(End::Low, 8).unwrap();
        let first = arena.place(End::High, 3).unwrap();
        let second = arena.place(End::High, 12).unwrap();
        let size = arena.needed(0);
        assert_eq!(size, 24);
        assert_eq!(low.range(8, size), 0..8);
        assert_eq!(first.range(3, size), 20..23);
        assert_eq!(second.range(12, size), 8..20);
        arena.release(second);
        assert_eq!(arena.needed(0), 12);
    }
}
