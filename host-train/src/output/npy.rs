//! NumPy's array format, version 1.0: a magic, a header that is a Python
//! dictionary, and the bare numbers.

use anyhow::{Result, ensure};

/// A number that arrays can be made of.
pub trait Element: Copy {
    /// NumPy's name for it.
    const DTYPE: &'static str;
    /// Its little-endian bytes, behind those of the numbers before it.
    fn append(self, bytes: &mut Vec<u8>);
}

impl Element for u8 {
    const DTYPE: &'static str = "|u1";

    fn append(self, bytes: &mut Vec<u8>) {
        bytes.push(self);
    }
}

impl Element for i64 {
    const DTYPE: &'static str = "<i8";

    fn append(self, bytes: &mut Vec<u8>) {
        bytes.extend(self.to_le_bytes());
    }
}

impl Element for f32 {
    const DTYPE: &'static str = "<f4";

    fn append(self, bytes: &mut Vec<u8>) {
        bytes.extend(self.to_le_bytes());
    }
}

/// Bytes before the numbers are a multiple of this, so that they can be mapped
/// into memory.
const ALIGN: usize = 64;
/// Magic, version and the length of the header.
const PREFIX: usize = 10;

/// The `.npy` file of an array in C order.
///
/// # Errors
/// Where there are not as many values as the shape says.
pub fn encode_npy<T: Element>(shape: &[usize], values: &[T]) -> Result<Vec<u8>> {
    ensure!(
        shape.iter().product::<usize>() == values.len(),
        "{} values for an array of shape {shape:?}",
        values.len()
    );
    // A tuple of one has a comma, too.
    let lengths: String = shape.iter().map(|length| format!("{length},")).collect();
    let mut header = format!(
        "{{'descr': '{}', 'fortran_order': False, 'shape': ({lengths}), }}",
        T::DTYPE
    );
    let end = (PREFIX + header.len() + 1).next_multiple_of(ALIGN) - 1 - PREFIX;
    header = format!("{header:<end$}\n");

    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len())?.to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.reserve_exact(size_of_val(values));
    for &value in values {
        value.append(&mut bytes);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use npyz::{NpyFile, Order};

    #[test]
    fn another_implementation_reads_it() {
        let images: Vec<u8> = (0..24).map(|i| i * 10).collect();
        let bytes = encode_npy(&[2, 3, 4], &images).unwrap();
        let array = NpyFile::new(&bytes[..]).unwrap();
        assert_eq!(array.shape(), [2, 3, 4]);
        assert_eq!(array.order(), Order::C);
        assert_eq!(array.into_vec::<u8>().unwrap(), images);
        assert_eq!((bytes.len() - images.len()) % ALIGN, 0);

        let labels = [-1, 0, i64::MAX, i64::MIN];
        let bytes = encode_npy(&[4], &labels).unwrap();
        let array = NpyFile::new(&bytes[..]).unwrap();
        assert_eq!(array.shape(), [4]);
        assert_eq!(array.into_vec::<i64>().unwrap(), labels);
    }

    #[test]
    fn headers_of_every_length_are_aligned() {
        for length in (0..12).map(|digits| 10usize.pow(digits) / 10) {
            let bytes = encode_npy(&[length, 0, 1], &[0u8; 0]).unwrap();
            assert_eq!(bytes.len() % ALIGN, 0);
            assert_eq!(bytes.last(), Some(&b'\n'));
            let array = NpyFile::new(&bytes[..]).unwrap();
            assert_eq!(array.shape(), [length as u64, 0, 1]);
        }
    }

    #[test]
    fn the_shape_must_fit() {
        assert!(encode_npy(&[2, 3], &[0u8; 5]).is_err());
    }
}
