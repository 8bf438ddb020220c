//! Whether a signature is asked for, and checking it piece by piece. Without
//! the feature `ed25519` none ever is.

use crate::record::SIGNATURE_LEN;

/// What is wrong with a signature.
#[cfg_attr(
    not(feature = "ed25519"),
    allow(dead_code, reason = "without a key nothing is distrusted")
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Distrust {
    Missing,
    Wrong,
}

/// The key, if there is one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trust {
    #[cfg(feature = "ed25519")]
    pub key: Option<crate::signature::Key>,
}

/// A check under way.
pub(crate) struct Verifier {
    #[cfg(feature = "ed25519")]
    state: Option<ed25519_compact::VerifyingState>,
}

#[cfg(feature = "ed25519")]
impl Trust {
    pub fn wants_signature(&self) -> bool {
        self.key.is_some()
    }

    pub fn begin(&self, signature: Option<&[u8; SIGNATURE_LEN]>) -> Result<Verifier, Distrust> {
        let state = match (self.key, signature) {
            (None, _) => None,
            (Some(_), None) => return Err(Distrust::Missing),
            (Some(key), Some(signature)) => Some(key.begin(*signature).ok_or(Distrust::Wrong)?),
        };
        Ok(Verifier { state })
    }
}

#[cfg(feature = "ed25519")]
impl Verifier {
    pub fn absorb(&mut self, bytes: &[u8]) {
        if let Some(state) = &mut self.state {
            state.absorb(bytes);
        }
    }

    pub fn finish(self) -> Result<(), Distrust> {
        let result = self.state.map_or(Ok(()), |state| state.verify());
        result.map_err(|_| Distrust::Wrong)
    }
}

#[cfg(not(feature = "ed25519"))]
impl Trust {
    pub fn wants_signature(&self) -> bool {
        false
    }

    pub fn begin(&self, _: Option<&[u8; SIGNATURE_LEN]>) -> Result<Verifier, Distrust> {
        Ok(Verifier {})
    }
}

#[cfg(not(feature = "ed25519"))]
impl Verifier {
    pub fn absorb(&mut self, _: &[u8]) {}

    pub fn finish(self) -> Result<(), Distrust> {
        Ok(())
    }
}
