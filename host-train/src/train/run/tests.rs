use std::sync::atomic::AtomicUsize;

use super::*;
use crate::data::Dataset;
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;

/// Multiplies every weight.
struct Times(f32);

impl ModuleMapper for Times {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|value| value * self.0)
    }
}

fn pictures() -> Dataset {
    Dataset {
        size: 28,
        pixels: vec![0; 8 * 784],
        labels: vec![3; 8],
    }
}

/// A run of two steps, saved, that is to make four.
fn half_way(path: &Path, data: &dyn Examples) -> Config {
    let mut config = Config::preset("smoke").unwrap();
    config.training.steps = 2;
    config.training.sample_every = 0;
    let run = Run::create(path, config.clone(), data, Device::flex()).unwrap();
    assert_eq!(run.train().unwrap(), Outcome::Finished);
    config.training.steps = 4;
    config.training.checkpoint_every = 1;
    config
}

#[test]
fn a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let data = pictures();
    let config = half_way(&path, &data);
    let mut run = Run::resume(&path, config, &data, Device::flex()).unwrap();
    run.model = run.model.map(&mut Times(f32::NAN));
    let error = run.train().unwrap_err();
    let text = error.to_string();
    assert!(text.contains("step 3") && text.contains("NaN"), "{text}");
    let trouble = error.downcast::<Trouble>().unwrap();
    assert!(matches!(trouble, Trouble::NotANumber { step: 3, .. }));
    assert_eq!(Checkpoint::newest(&path).unwrap().state.step, 2);
}

/// The loss of a step is from before its update: weights may be ruined that
/// it knows nothing of.
#[test]
fn weights_that_are_no_numbers_are_not_saved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let data = pictures();
    let config = half_way(&path, &data);
    for ruin in [f32::NAN, f32::INFINITY] {
        let mut run = Run::resume(&path, config.clone(), &data, Device::flex()).unwrap();
        run.ema.model = run.ema.model.map(&mut Times(ruin));
        let trouble = run.train().unwrap_err().downcast::<Trouble>().unwrap();
        let text = trouble.to_string();
        assert!(
            matches!(trouble, Trouble::NotANumber { step: 3, .. }),
            "{text}"
        );
        assert!(text.contains("no numbers"), "{text}");
        assert_eq!(Checkpoint::newest(&path).unwrap().state.step, 2);
    }
    // Untouched it goes on.
    let run = Run::resume(&path, config, &data, Device::flex()).unwrap();
    assert_eq!(run.train().unwrap(), Outcome::Finished);
}

/// Pictures that panic as a backend does whose device is lost.
#[derive(Debug)]
struct Failing {
    data: Dataset,
    left: AtomicUsize,
}

impl Examples for Failing {
    fn count(&self) -> usize {
        self.data.count()
    }

    fn each_value(&self, index: usize, show: &mut dyn FnMut(f32)) {
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        assert!(left > 0, "Device lost");
        self.data.each_value(index, show);
    }

    fn class(&self, index: usize) -> u8 {
        self.data.class(index)
    }

    fn fingerprint(&self) -> String {
        self.data.fingerprint()
    }
}

#[test]
fn a_panic_within_a_step_is_trouble_and_the_run_goes_on_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let data = pictures();
    let config = half_way(&path, &data);
    let failing = Failing {
        data: pictures(),
        // In the middle of step 4.
        left: AtomicUsize::new(config.training.batch * 3 / 2),
    };
    let run = Run::resume(&path, config.clone(), &failing, Device::flex()).unwrap();
    let trouble = run.train().unwrap_err().downcast::<Trouble>().unwrap();
    let Trouble::Panic { step: 4, message } = &trouble else {
        panic!("{trouble:?}");
    };
    assert!(message.starts_with("Device lost"), "{message}");
    assert_eq!(Checkpoint::newest(&path).unwrap().state.step, 3);
    let run = Run::resume(&path, config, &data, Device::flex()).unwrap();
    assert_eq!(run.train().unwrap(), Outcome::Finished);
    assert_eq!(Checkpoint::newest(&path).unwrap().state.step, 4);
}

#[test]
fn rows_that_were_cut_short_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let data = pictures();
    let config = half_way(&path, &data);
    let metrics = path.join("metrics.csv");
    let row = "1,0.500000,1.000000,0.00010000,0.10\n";
    let rows = [METRICS.1, row, "2,0.5000", "\n\0\0\0,", "3"].concat();
    fs::write(&metrics, rows).unwrap();
    Run::resume(&path, config, &data, Device::flex()).unwrap();
    let text = fs::read_to_string(&metrics).unwrap();
    assert_eq!(text, [METRICS.1, row].concat());
}
