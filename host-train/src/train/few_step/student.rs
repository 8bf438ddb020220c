//! Generation by the student, with or without gradients.

use std::ops::Range;

use burn::tensor::{Device, Tensor};

use super::draw::{Draws, Noise};
use crate::network::{Forward, Network, NoTaps};
use crate::train::qat::Rounded;

/// Generates pictures at the student's timesteps.
pub struct Student<'a> {
    draws: &'a Draws<'a>,
    model: &'a Network,
    rounded: Option<&'a Rounded<'a>>,
}

impl<'a> Student<'a> {
    pub fn new(draws: &'a Draws<'a>, model: &'a Network, rounded: Option<&'a Rounded<'a>>) -> Self {
        Self {
            draws,
            model,
            rounded,
        }
    }

    /// x̂_0 of the last step in `noise`. Earlier steps run as at sampling time,
    /// without gradients (multistep consistency sampling: Song et al. 2023,
    /// arXiv:2303.01469, algorithm 1). Not clipped. `[n, pixels]`.
    pub fn draw(
        &self,
        noise: &Noise,
        rows: Range<usize>,
        classes: &[Option<u8>],
        device: &Device,
    ) -> Tensor<2> {
        let fresh = |step: usize| self.draws.tensor(&noise.steps[step], rows.clone(), device);
        let mut x_t = fresh(0);
        let last = noise.steps.len() - 1;
        for step in 0..last {
            let x0_hat = self.x0_hat(x_t, self.draws.visited[step], classes, device);
            let next = self.draws.visited[step + 1];
            x_t = self.draws.renoise(x0_hat, fresh(step + 1), next).detach();
        }
        self.x0_hat(x_t, self.draws.visited[last], classes, device)
    }

    fn x0_hat(
        &self,
        x_t: Tensor<2>,
        timestep: u16,
        classes: &[Option<u8>],
        device: &Device,
    ) -> Tensor<2> {
        let timesteps = vec![timestep; classes.len()];
        let output = match self.rounded {
            Some(rounded) => {
                let taps = &mut rounded.taps(device);
                self.model
                    .forward_with(x_t.clone(), &timesteps, classes, taps)
            }
            None => self
                .model
                .forward_with(x_t.clone(), &timesteps, classes, &mut NoTaps),
        };
        self.draws.x0_hat(x_t, output, &timesteps)
    }
}
