//! Numbers as they lie in a blob: little-endian.

/// Words.
pub(crate) fn words(bytes: &[u8]) -> impl ExactSizeIterator<Item = i32> {
    bytes.as_chunks().0.iter().map(|&b| i32::from_le_bytes(b))
}

/// Floats.
pub(crate) fn floats(bytes: &[u8]) -> impl ExactSizeIterator<Item = f32> {
    bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b))
}

/// Halfwords.
pub(crate) fn halfwords(bytes: &[u8]) -> impl ExactSizeIterator<Item = i16> {
    bytes.as_chunks().0.iter().map(|&b| i16::from_le_bytes(b))
}
