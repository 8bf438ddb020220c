//! A slice cut into pieces of equal length, as `chunks_exact` cuts it, for
//! lengths that come from a model.
//!
//! `chunks_exact` panics where the length is 0, and divides by it. No length
//! that a kernel asks for is 0, but the compiler cannot know, and firmware is
//! to have no panic in it. Here nothing can panic, whatever the length.

/// Pieces of `len` values; a length of 0 counts as 1.
#[inline(always)]
pub(crate) fn pieces<T>(values: &[T], len: usize) -> Pieces<'_, T> {
    let len = len.max(1);
    Pieces { rest: values, len }
}

/// The same to write to.
#[inline(always)]
pub(crate) fn pieces_mut<T>(values: &mut [T], len: usize) -> PiecesMut<'_, T> {
    let len = len.max(1);
    PiecesMut { rest: values, len }
}

/// See [`pieces`].
#[derive(Clone, Debug)]
pub(crate) struct Pieces<'a, T> {
    rest: &'a [T],
    /// Not 0, or there would be no end.
    len: usize,
}

/// See [`pieces_mut`].
#[derive(Debug)]
pub(crate) struct PiecesMut<'a, T> {
    rest: &'a mut [T],
    /// Not 0, or there would be no end.
    len: usize,
}

impl<'a, T> Iterator for Pieces<'a, T> {
    type Item = &'a [T];

    #[inline(always)]
    fn next(&mut self) -> Option<&'a [T]> {
        let (piece, rest) = self.rest.split_at_checked(self.len)?;
        self.rest = rest;
        Some(piece)
    }
}

impl<'a, T> Iterator for PiecesMut<'a, T> {
    type Item = &'a mut [T];

    #[inline(always)]
    fn next(&mut self) -> Option<&'a mut [T]> {
        let rest = core::mem::take(&mut self.rest);
        let (piece, rest) = rest.split_at_mut_checked(self.len)?;
        self.rest = rest;
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_those_of_chunks_exact() {
        let mut values: [u8; 23] = core::array::from_fn(|i| i as u8);
        let mut copy = values;
        for len in 1..30 {
            assert!(pieces(&values, len).eq(copy.chunks_exact(len)), "{len}");
            assert!(pieces_mut(&mut values, len).eq(copy.chunks_exact_mut(len)));
        }
        assert!(pieces(&values, 0).eq(copy.chunks_exact(1)));
        assert!(pieces_mut(&mut values, 0).eq(copy.chunks_exact_mut(1)));
    }
}
