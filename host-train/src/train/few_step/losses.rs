//! The losses of the critics and of the student, with their gradients.

use std::ops::Range;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::activation::softplus;
use burn::tensor::{Device, Tensor};

use super::draw::{Draws, Noised, Real, Seeds};
use super::student::Student;
use super::{CriticLosses, Critics};
use crate::train::gradients::in_shards;
use crate::train::qat::Rounded;
use crate::train::teacher::Teacher;
use crate::train::{Forward, Network};

/// Where on the way from 0 to T the scores are compared: the ends say nothing.
const SCORED: (f64, f64) = (0.02, 0.98);
/// And where the discriminator looks: in more noise all pictures look alike.
const JUDGED: (f64, f64) = (0.005, 0.7);

/// What losses depend on beside the networks that learn.
pub struct Losses<'a> {
    pub draws: Draws<'a>,
    pub teacher: Teacher,
    /// What the discriminator's loss counts in the student's.
    pub discriminator_weight: f64,
    /// Where gradients are computed.
    pub device: Device,
}

/// What an update of the critics looks at.
struct Exhibits {
    real: Real,
    scored: Noised,
    judged: Noised,
    judged_real: Noised,
}

impl Losses<'_> {
    /// Those of fake score and discriminator, for pictures of a student
    /// without gradients.
    pub fn of_critics(
        &self,
        critics: &Critics,
        student: &Network,
        rounded: Option<&Rounded<'_>>,
        mut seeds: Seeds,
        shards: usize,
    ) -> (CriticLosses, GradientsParams) {
        let draws = &self.draws;
        let real = draws.real(&mut seeds);
        let noise = draws.noise(&mut seeds);
        let scored = draws.noised(&mut seeds, SCORED);
        let judged = draws.noised(&mut seeds, JUDGED);
        let judged_real = Noised {
            epsilon: draws.normals(&mut seeds),
            timesteps: judged.timesteps.clone(),
        };
        let exhibits = Exhibits {
            real,
            scored,
            judged,
            judged_real,
        };
        let student = Student::new(draws, student, rounded);
        let inner = self.device.clone().inner();
        let size = exhibits.real.classes.len() / shards;
        let (losses, gradients) = in_shards(critics, shards, |shard| {
            let rows = shard * size..(shard + 1) * size;
            let classes = &exhibits.real.classes[rows.clone()];
            let drawn = student.draw(&noise, rows.clone(), classes, &inner);
            // Leaves of a graph of their own, as in plain training.
            let critics = critics.clone().no_grad().set_require_grad(true);
            self.of_critics_in(&critics, Tensor::from_inner(drawn), &exhibits, rows)
        });
        let [fake_score, discriminator] = losses;
        let losses = CriticLosses {
            fake_score,
            discriminator,
        };
        (losses, gradients)
    }

    /// The same over the examples `rows`.
    fn of_critics_in(
        &self,
        critics: &Critics,
        drawn: Tensor<2>,
        exhibits: &Exhibits,
        rows: Range<usize>,
    ) -> ([f32; 2], GradientsParams) {
        let Exhibits {
            real,
            scored,
            judged,
            judged_real,
        } = exhibits;
        let classes = &real.classes[rows.clone()];
        let draws = &self.draws;
        let (x_t, target) = draws.noise_and_target(&drawn, scored, rows.clone());
        let timesteps = &scored.timesteps[rows.clone()];
        let prediction = critics.fake_score.forward(x_t, timesteps, classes);
        let fake_score = (prediction - target).square().mean();

        let timesteps = &judged.timesteps[rows.clone()];
        let generated = draws.add_noise(&drawn, judged, rows.clone());
        let real = draws.tensor(&real.x_0, rows.clone(), &self.device);
        let real = draws.add_noise(&real, judged_real, rows);
        // Logistic losses: -log σ(D(real)) and -log(1 - σ(D(generated))).
        let verdict = |x| critics.discriminator.forward(x, timesteps, classes);
        let discriminator =
            softplus(-verdict(real), 1.0).mean() + softplus(verdict(generated), 1.0).mean();

        let values = [&fake_score, &discriminator].map(|loss| loss.clone().into_scalar::<f32>());
        let gradients = (fake_score + discriminator).backward();
        (values, GradientsParams::from_grads(gradients, critics))
    }

    /// That of the student; it heeds the discriminator, or does not yet.
    pub fn of_student(
        &self,
        critics: &Critics,
        model: &Network,
        rounded: Option<&Rounded<'_>>,
        mut seeds: Seeds,
        heeded: bool,
        shards: usize,
    ) -> (f32, GradientsParams) {
        let draws = &self.draws;
        let classes = draws.real(&mut seeds).classes;
        let noise = draws.noise(&mut seeds);
        let scored = draws.noised(&mut seeds, SCORED);
        let judged = draws.noised(&mut seeds, JUDGED);
        let weight = match heeded {
            true => self.discriminator_weight,
            false => 0.0,
        };
        let fake_score = critics.fake_score.valid();
        let size = classes.len() / shards;
        let ([loss], gradients) = in_shards(model, shards, |shard| {
            let rows = shard * size..(shard + 1) * size;
            let classes = &classes[rows.clone()];
            let model = model.clone().no_grad().set_require_grad(true);
            let student = Student::new(draws, &model, rounded);
            let x0 = student.draw(&noise, rows.clone(), classes, &self.device);

            let direction = self.direction(&fake_score, &x0, &scored, rows.clone(), classes);
            // Its gradient is the direction, over the number of values.
            let target = (x0.clone() - direction).detach();
            let mut loss = (x0.clone() - target).square().mean() * 0.5;
            if weight > 0.0 {
                let noisy = draws.add_noise(&x0, &judged, rows.clone());
                let discriminator = critics.discriminator.clone().no_grad();
                let verdict = discriminator.forward(noisy, &judged.timesteps[rows], classes);
                loss = loss + softplus(-verdict, 1.0).mean() * weight;
            }
            let value = loss.clone().into_scalar::<f32>();
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            ([value], gradients)
        });
        (loss, gradients)
    }

    /// DMD's gradient of each picture (arXiv:2311.18828, eqs. 7 and 8): the
    /// fake score's x̂_0 less the teacher's, over the mean distance of the
    /// picture to the latter.
    fn direction(
        &self,
        fake_score: &Network,
        x0: &Tensor<2>,
        scored: &Noised,
        rows: Range<usize>,
        classes: &[Option<u8>],
    ) -> Tensor<2> {
        let draws = &self.draws;
        let x0 = x0.clone().inner();
        let timesteps = &scored.timesteps[rows.clone()];
        let x_t = draws.add_noise(&x0, scored, rows);
        let fake = fake_score.forward(x_t.clone(), timesteps, classes);
        let fake = draws.x0_hat(x_t.clone(), fake, timesteps);
        let real = self.teacher.predict(x_t.clone(), timesteps, classes);
        let real = draws.x0_hat(x_t, real, timesteps);
        let scale = (x0 - real.clone()).abs().mean_dim(1);
        Tensor::from_inner((fake - real) / scale)
    }
}
