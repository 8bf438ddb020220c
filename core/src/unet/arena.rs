//! Places activations in one buffer, and reuses what is free.

use super::walk::Conv;
use core::ops::Range;
use heapless::Vec;

/// Activations begin at multiples of this many bytes.
const ALIGN: usize = 4;
/// Most activations alive at once: every skip connection, and what one block
/// works on.
const MAX_LIVE: usize = 32;

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
        if conv.lent { Self::High } else { Self::Low }
    }
}

/// A place in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    end: End,
    /// Bytes between that end and this place.
    before: usize,
    len: usize,
}

impl Place {
    /// The bytes, in a buffer of `size`.
    pub fn range(&self, size: usize) -> Range<usize> {
        let after = self.before + self.len;
        match self.end {
            End::Low => self.before..after,
            End::High => size.saturating_sub(after)..size.saturating_sub(self.before),
        }
    }
}

/// Which bytes of the buffer are in use.
///
/// Planning and running place through this same code, so what was planned is
/// what is run.
#[derive(Clone, Debug, Default)]
pub(super) struct Arena {
    /// Sorted by place, none overlapping.
    low: Vec<Range<usize>, MAX_LIVE>,
    high: Vec<Range<usize>, MAX_LIVE>,
    peak: usize,
}

impl Arena {
    /// The free place nearest to an end for `len` bytes, at least one; `None`
    /// if too many are alive.
    pub fn place(&mut self, end: End, len: usize) -> Option<Place> {
        let len = len.next_multiple_of(ALIGN);
        let live = self.live(end);
        let mut start = 0;
        let mut index = 0;
        for range in live.iter() {
            if range.start >= start + len {
                break;
            }
            start = range.end;
            index += 1;
        }
        live.insert(index, start..start + len).ok()?;
        let extent = |live: &[Range<usize>]| live.last().map_or(0, |range| range.end);
        self.peak = self.peak.max(extent(&self.low) + extent(&self.high));
        Some(Place {
            end,
            before: start,
            len,
        })
    }

    /// Frees a place.
    pub fn release(&mut self, place: Place) {
        let live = self.live(place.end);
        live.retain(|range| range.start != place.before);
    }

    /// Bytes that the buffer must have had so far.
    pub fn peak(&self) -> usize {
        self.peak
    }

    fn live(&mut self, end: End) -> &mut Vec<Range<usize>, MAX_LIVE> {
        match end {
            End::Low => &mut self.low,
            End::High => &mut self.high,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_used_again() {
        let mut arena = Arena::default();
        let mut place = |arena: &mut Arena, len| arena.place(End::Low, len).unwrap();
        let a = place(&mut arena, 10);
        let b = place(&mut arena, 20);
        assert_eq!((a.range(99), b.range(99)), (0..12, 12..32));
        arena.release(a);
        assert_eq!(place(&mut arena, 13).range(99), 32..48);
        assert_eq!(place(&mut arena, 12).range(99), 0..12);
        assert_eq!(arena.peak(), 48);
    }

    #[test]
    fn the_ends_meet_at_the_peak() {
        let mut arena = Arena::default();
        let low = arena.place(End::Low, 8).unwrap();
        let first = arena.place(End::High, 4).unwrap();
        let second = arena.place(End::High, 12).unwrap();
        let size = arena.peak();
        assert_eq!(size, 24);
        assert_eq!(low.range(size), 0..8);
        assert_eq!(first.range(size), 20..24);
        assert_eq!(second.range(size), 8..20);
    }
}
