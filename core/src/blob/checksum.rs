//! The one checksum of blobs, pictures and updates.

/// CRC-32/ISO-HDLC, which `zlib.crc32` and most other tools compute.
pub(crate) const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    CRC.checksum(bytes)
}
