//! The border between samplers and networks.

use super::prediction::Prediction;

/// Something that looks at x_t and tells noise from picture: an int8 U-Net on
/// a chip, a float network on a GPU, a closed form in a test.
pub trait Denoiser {
    /// Why a prediction could not be made.
    type Error;

    /// The quantity that [`predict`](Self::predict) writes.
    fn prediction(&self) -> Prediction;

    /// Predicts for `x_t`, whose noise is that of `timestep` (1 to T).
    ///
    /// `class` is what the picture should show; `None` leaves it open. `out`
    /// has the length of `x_t` and is written whole.
    ///
    /// # Errors
    /// The implementation's own.
    fn predict(
        &mut self,
        x_t: &[f32],
        timestep: u16,
        class: Option<u8>,
        out: &mut [f32],
    ) -> Result<(), Self::Error>;
}

/// A denoiser that can do without a buffer for what it predicts.
pub trait InPlace: Denoiser {
    /// Predicts like [`predict`](Denoiser::predict), guided where `guidance`
    /// is not 0 (see [`Settings::guidance`](crate::Settings::guidance)), and
    /// hands each pixel of x_t, its index first, with what is predicted for it
    /// to `each`, in any order. By then nothing else of x_t is needed, so that
    /// `each` may write x_s in its place.
    ///
    /// # Errors
    /// The implementation's own; `x` is then as it
    /// was.
    fn update(
        &mut self,
        x: &mut [f32],
        timestep: u16,
        class: Option<u8>,
        guidance: f32,
        each: &mut dyn FnMut(usize, &mut f32, f32),
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
