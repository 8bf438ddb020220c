//! Losses and gradients of the critics and of the student.

use std::ops::Range;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::activation::softplus;
use burn::tensor::{Device, Tensor};

use super::critics::{CriticLosses, Critics};
use super::draw::{Draws, Noised, Real, Seeds};
use super::student::Student;
use crate::network::shards::in_shards;
use crate::network::{Forward, Network};
use crate::train::qat::Rounded;
use crate::train::teacher::Teacher;

/// Range of timesteps, relative to T, at which the scores are compared: near
/// the ends they carry no information.
const SCORED: (f64, f64) = (0.02, 0.98);
/// The discriminator's range: with more noise all pictures look alike.
const JUDGED: (f64, f64) = (0.005, 0.7);

/// Computes the losses; holds everything they need besides the trained networks.
pub struct Losses<'a> {
    pub draws: Draws<'a>,
    pub teacher: Teacher,
    /// Weight of the discriminator's loss in the student's.
    pub discriminator_weight: f64,
    /// A device with autodiff.
    pub device: Device,
}

/// The random inputs of one update of the critics.
struct CriticBatch {
    real: Real,
    /// Noise for the fake score.
    scored: Noised,
    /// Noise for the discriminator, for generated and for real pictures.
    judged: Noised,
    judged_real: Noised,
}

impl Losses<'_> {
    /// Losses of fake score and discriminator. `student` has no autodiff.
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
        let batch = CriticBatch {
            real,
            scored,
            judged,
            judged_real,
        };
        let student = Student::new(draws, student, rounded);
        let inner = self.device.clone().inner();
        let size = batch.real.classes.len() / shards;
        let (losses, gradients) = in_shards(critics, shards, |shard| {
            let rows = shard * size..(shard + 1) * size;
            let classes = &batch.real.classes[rows.clone()];
            let drawn = student.draw(&noise, rows.clone(), classes, &inner);
            // Each shard has its own graph, as in plain training.
            let critics = critics.clone().no_grad().set_require_grad(true);
            self.of_critics_in(&critics, Tensor::from_inner(drawn), &batch, rows)
        });
        let [fake_score, discriminator] = losses;
        let losses = CriticLosses {
            fake_score,
            discriminator,
        };
        (losses, gradients)
    }

    /// The same for the examples `rows` of the batch.
    fn of_critics_in(
        &self,
        critics: &Critics,
        drawn: Tensor<2>,
        batch: &CriticBatch,
        rows: Range<usize>,
    ) -> ([f32; 2], GradientsParams) {
        let CriticBatch {
            real,
            scored,
            judged,
            judged_real,
        } = batch;
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

    /// Loss of the student, with or without the discriminator's part.
    pub fn of_student(
        &self,
        critics: &Critics,
        model: &Network,
        rounded: Option<&Rounded<'_>>,
        mut seeds: Seeds,
        adversarial: bool,
        shards: usize,
    ) -> (f32, GradientsParams) {
        let draws = &self.draws;
        let classes = draws.real(&mut seeds).classes;
        let noise = draws.noise(&mut seeds);
        let scored = draws.noised(&mut seeds, SCORED);
        let judged = draws.noised(&mut seeds, JUDGED);
        let weight = match adversarial {
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
            // The gradient of this loss is the direction divided by the number
            // of values (DMD2's formulation).
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

    /// DMD's gradient for each picture (arXiv:2311.18828, eqs. 7 and 8): the
    /// fake score's x̂_0 minus the teacher's x̂_0, divided by the mean absolute
    /// distance between the picture and the latter. `[n, pixels]`.
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

#[cfg(test)]
mod tests {
    use super::super::FewStep;
    use std::collections::HashSet;

    use burn::module::{ModuleVisitor, Param, ParamId};

    use super::super::discriminator::Discriminator;
    use super::*;
    use crate::config::Config;
    use crate::data::Dataset;
    use crate::train::gradients::clip;
    use tiny_ddpm::Prediction;

    fn data() -> Dataset {
        Dataset {
            size: 28,
            pixels: (0..8 * 784).map(|i| (i % 251) as u8).collect(),
            labels: (0..8).collect(),
        }
    }

    fn config(prediction: Prediction) -> Config {
        let mut config = Config::preset("smoke").unwrap();
        config.diffusion.prediction = prediction;
        config.training.distil_to(2);
        config.training.batch = 4;
        config.training.shards = 1;
        config
    }

    /// A distillation whose teacher is a fresh network.
    fn few_step<'a>(config: &Config, data: &'a Dataset) -> FewStep<'a> {
        let device = Device::flex();
        let network = Network::new(&config.network, 3, &device);
        let teacher = Teacher::new(&network, config.training.teacher().unwrap());
        FewStep::new(config, data, teacher, &device.autodiff()).unwrap()
    }

    #[test]
    fn scores_that_agree_give_no_direction() {
        let (config, data) = (config(Prediction::V), data());
        let few_step = few_step(&config, &data);
        let mut seeds = Seeds::new(1, 0, 0);
        let scored = few_step.losses.draws.noised(&mut seeds, SCORED);
        let x0 = Tensor::<2>::ones([4, 784], &few_step.losses.device) * 0.3;
        let classes = [Some(1), None, Some(9), Some(0)];
        let fake_score = few_step.critics.fake_score.valid();
        let direction = few_step
            .losses
            .direction(&fake_score, &x0, &scored, 0..4, &classes);
        let largest = direction.abs().max().into_scalar::<f32>();
        assert!(largest.abs() < 1e-6, "{largest}");
    }

    #[test]
    fn a_perfect_prediction_gives_the_picture_back() {
        for prediction in [Prediction::Epsilon, Prediction::X0, Prediction::V] {
            let (config, data) = (config(prediction), data());
            let few_step = few_step(&config, &data);
            let draws = &few_step.losses.draws;
            let mut seeds = Seeds::new(1, 0, 0);
            let real = draws.real(&mut seeds);
            let scored = draws.noised(&mut seeds, SCORED);
            assert!(scored.timesteps.iter().all(|t| (20..=980).contains(t)));
            let x_0 = draws.tensor(&real.x_0, 0..4, &Device::flex());
            let (x_t, target) = draws.noise_and_target(&x_0, &scored, 0..4);
            let again = draws.x0_hat(x_t, target, &scored.timesteps);
            let largest = (again - x_0).abs().max().into_scalar::<f32>();
            // ε's is divided by a signal of as little as 0.03.
            assert!(largest < 1e-4, "{prediction:?}: {largest}");
        }
    }

    /// Gradients and moments are found by a parameter's identity: two parameters
    /// of one identity would be trained by each other's gradients.
    #[test]
    fn no_two_parameters_of_the_critics_are_one() {
        #[derive(Default)]
        struct Identities(Vec<ParamId>);
        impl ModuleVisitor for Identities {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                self.0.push(param.id);
            }
        }
        let (config, data) = (config(Prediction::V), data());
        let mut found = Identities::default();
        few_step(&config, &data).critics.visit(&mut found);
        let different: HashSet<_> = found.0.iter().collect();
        assert!(found.0.len() > 40, "{}", found.0.len());
        assert_eq!(different.len(), found.0.len());
    }

    /// What the discriminator learns does not reach the fake score.
    #[test]
    fn each_critic_has_its_own_gradients() {
        let (config, data) = (config(Prediction::V), data());
        let few_step = few_step(&config, &data);
        let student = few_step.critics.fake_score.valid();
        let gradients = |critics: &Critics| {
            let seeds = Seeds::new(1, 0, 0);
            let losses = &few_step.losses;
            let (_, mut gradients) = losses.of_critics(critics, &student, None, seeds, 1);
            clip(&critics.fake_score, &mut gradients, f64::INFINITY)
        };
        let mut other = few_step.critics.clone();
        let encoder = few_step.critics.fake_score.small().unwrap().clone();
        other.discriminator = Discriminator::new(encoder, 99, &few_step.losses.device);
        let (first, second) = (gradients(&few_step.critics), gradients(&other));
        assert!(first > 0.0);
        assert_eq!(first, second);
    }

    #[test]
    fn the_discriminator_s_loss_counts() {
        let (mut config, data) = (config(Prediction::V), data());
        config.training.few_step.as_mut().unwrap().steps = 1;
        let few_step = few_step(&config, &data);
        let student = Network::new(&config.network, 4, &few_step.losses.device);
        let of = |adversarial| {
            let seeds = Seeds::new(1, 0, 2);
            let losses = &few_step.losses;
            losses.of_student(&few_step.critics, &student, None, seeds, adversarial, 1)
        };
        let ((plain, _), (adversarial, gradients)) = (of(false), of(true));
        assert!(adversarial > plain, "{adversarial} {plain}");
        assert_eq!(gradients.len(), {
            let plain = of(false).1;
            plain.len()
        });
    }
}
