//! The border between samplers and networks.

use crate::Prediction;

/// Something that looks at x_t and tells noise from picture: an int8 U-Net on
/// a chip, a float network on a GPU, a closed form in a test.
pub trait Denoiser {
    /// Why a prediction could not be made.
    type Error;

    /// What [`predict`](Self::predict) writes.
    fn prediction(&self) -> Prediction;

    /// Predicts for `x_t`, whose noise is that of `timestep` (1 to T).
    ///
    /// `class` is what the picture should show; `None` leaves it open. `out`
    /// has the length of `x_t` and is written whole.
    ///
    /// # Errors
    /// Whatever keeps the implementation from predicting.
    fn predict(
        &mut self,
        x_t: &[f32],
        timestep: u16,
        class: Option<u8>,
        out: &mut [f32],
    ) -> Result<(), Self::Error>;
}

impl<D: Denoiser + ?Sized> Denoiser for &mut D {
    type Error = D::Error;

    fn prediction(&self) -> Prediction {
        (**self).prediction()
    }

    fn predict(
        &mut self,
        x_t: &[f32],
        timestep: u16,
        class: Option<u8>,
        out: &mut [f32],
    ) -> Result<(), Self::Error> {
        (**self).predict(x_t, timestep, class, out)
    }
}
