//! What makes a slot valid.

use crate::crc32;
use crate::error::Flaw;

/// Bytes of a record, and of what is written and read at once.
pub const BLOCK: usize = 128;
/// Bytes of a signature.
pub const SIGNATURE_LEN: usize = 64;

const MAGIC: [u8; 8] = *b"tddpslot";
const VERSION: u16 = 1;
const SIGNED: u16 = 1;
/// Where the checksum lies, and how much it covers.
const CRC_AT: usize = BLOCK - 4;

/// See the crate's description for its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub sequence: u32,
    pub length: u32,
    pub crc: u32,
    pub signature: Option<[u8; SIGNATURE_LEN]>,
}

impl Record {
    pub fn encode(&self) -> [u8; BLOCK] {
        let mut bytes = [0xff; BLOCK];
        let flags = if self.signature.is_some() { SIGNED } else { 0 };
        let fields = (MAGIC.iter().copied())
            .chain(VERSION.to_le_bytes())
            .chain(flags.to_le_bytes())
            .chain(self.sequence.to_le_bytes())
            .chain(self.length.to_le_bytes())
            .chain(self.crc.to_le_bytes())
            .chain(self.signature.into_iter().flatten());
        for (byte, field) in bytes.iter_mut().zip(fields) {
            *byte = field;
        }
        if let Some((body, crc)) = bytes.split_last_chunk_mut::<4>() {
            *crc = crc32(body).to_le_bytes();
        }
        bytes
    }

    pub fn decode(bytes: &[u8; BLOCK]) -> Result<Self, Flaw> {
        if !bytes.starts_with(&MAGIC) {
            return Err(Flaw::NoRecord);
        }
        let [low, high] = array(bytes, 8);
        let version = u16::from_le_bytes([low, high]);
        if version != VERSION {
            return Err(Flaw::Version { found: version });
        }
        let covered = bytes.get(..CRC_AT).unwrap_or_default();
        if crc32(covered) != u32::from_le_bytes(array(bytes, CRC_AT)) {
            return Err(Flaw::RecordCrc);
        }
        let signed = u16::from_le_bytes(array(bytes, 10)) == SIGNED;
        Ok(Self {
            sequence: u32::from_le_bytes(array(bytes, 12)),
            length: u32::from_le_bytes(array(bytes, 16)),
            crc: u32::from_le_bytes(array(bytes, 20)),
            signature: signed.then(|| array(bytes, 24)),
        })
    }

    /// Whether this one was written after `other`.
    pub fn is_newer(&self, other: &Self) -> bool {
        (1..1 << 31).contains(&self.sequence.wrapping_sub(other.sequence))
    }
}

/// `N` bytes from `at`; all callers' lie within the record.
fn array<const N: usize>(bytes: &[u8; BLOCK], at: usize) -> [u8; N] {
    let part = bytes.get(at..).and_then(<[u8]>::first_chunk);
    part.copied().unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(sequence: u32) -> Record {
        Record {
            sequence,
            length: 0x0102_0304,
            crc: 0xa0b0_c0d0,
            signature: None,
        }
    }

    #[test]
    fn bytes_lie_where_the_description_says() {
        let mut signature = [0; SIGNATURE_LEN];
        for (index, byte) in signature.iter_mut().enumerate() {
            *byte = index as u8;
        }
        let signed = Record {
            signature: Some(signature),
            ..record(0x1122_3344)
        };
        let bytes = signed.encode();
        assert_eq!(&bytes[..8], b"tddpslot");
        assert_eq!(bytes[8..12], [1, 0, 1, 0]);
        assert_eq!(bytes[12..16], [0x44, 0x33, 0x22, 0x11]);
        assert_eq!(bytes[16..20], [4, 3, 2, 1]);
        assert_eq!(bytes[20..24], [0xd0, 0xc0, 0xb0, 0xa0]);
        assert_eq!(bytes[24..88], signature);
        assert_eq!(bytes[88..124], [0xff; 36]);
        assert_eq!(bytes[124..], crc32(&bytes[..124]).to_le_bytes());
        assert_eq!(Record::decode(&bytes), Ok(signed));

        let bytes = record(7).encode();
        assert_eq!(bytes[10..12], [0, 0]);
        assert_eq!(bytes[24..88], [0xff; 64]);
        assert_eq!(Record::decode(&bytes), Ok(record(7)));
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let good = record(9).encode();
        for bit in 0..8 * BLOCK {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            let flaw = Record::decode(&bad).unwrap_err();
            match bit / 8 {
                0..8 => assert_eq!(flaw, Flaw::NoRecord),
                8..10 => assert!(matches!(flaw, Flaw::Version { .. })),
                _ => assert_eq!(flaw, Flaw::RecordCrc),
            }
        }
        assert_eq!(Record::decode(&[0xff; BLOCK]), Err(Flaw::NoRecord));
        assert_eq!(Record::decode(&[0; BLOCK]), Err(Flaw::NoRecord));
    }

    #[test]
    fn numbers_wrap() {
        assert!(record(2).is_newer(&record(1)));
        assert!(!record(1).is_newer(&record(2)));
        assert!(!record(1).is_newer(&record(1)));
        assert!(record(0).is_newer(&record(u32::MAX)));
        assert!(!record(u32::MAX).is_newer(&record(0)));
        assert!(record(0x8000_0000).is_newer(&record(0x7fff_ffff)));
    }
}
