//! How both engines read columns and short slices.

use crate::kernels::engine::LANES;

/// Lanes of columns of equal length.
#[inline(always)]
pub(super) fn lanes<T>(columns: &[T]) -> [&[T]; LANES] {
    let (ab, cd) = columns.split_at(columns.len() / 2);
    let ((a, b), (c, d)) = (ab.split_at(ab.len() / 2), cd.split_at(cd.len() / 2));
    [a, b, c, d]
}

/// `values`, padded with zeros.
#[inline(always)]
pub(super) fn filled<T: Copy + Default, const N: usize>(values: &[T]) -> [T; N] {
    let mut array = [T::default(); N];
    let values = array.iter_mut().zip(values);
    values.for_each(|(to, &value)| *to = value);
    array
}
