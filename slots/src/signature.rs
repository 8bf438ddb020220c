//! Who may make weights: the holder of the key that firmware knows the public
//! half of.
//!
//! Signatures are plain ed25519 (RFC 8032) over the bytes of the blob, so that
//! other tools can make and check them.

use core::fmt;
use ed25519_compact::{PublicKey, Signature};

/// The public half of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(PublicKey);

/// Bytes that are no public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct KeyError;

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("these 32 bytes are no ed25519 public key")
    }
}

impl core::error::Error for KeyError {}

impl Key {
    /// The key of these bytes.
    ///
    /// # Errors
    /// If they are no point of the curve, or one under which anything can be
    /// signed.
    pub fn new(bytes: [u8; 32]) -> Result<Self, KeyError> {
        let key = PublicKey::new(bytes);
        key.validate().map_err(|_| KeyError)?;
        Ok(Self(key))
    }

    /// Begins to check a signature; `None` if it is none of any message.
    pub(crate) fn begin(&self, signature: [u8; 64]) -> Option<ed25519_compact::VerifyingState> {
        self.0.verify_incremental(&Signature::new(signature)).ok()
    }
}
