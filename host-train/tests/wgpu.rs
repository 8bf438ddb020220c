//! Training on a GPU, or on whatever Vulkan there is, beside the CPU.

mod common;

use burn::tensor::Device;
use common::{
    every_layer, lively_network, losses, predict, small_pictures, subset_data, tiny_reference,
};
use tiny_ddpm_train::config::Config;
use tiny_ddpm_train::data::{Dataset, Split};
use tiny_ddpm_train::train::Backend;
use tiny_ddpm_train::train::run::{Outcome, Run};

#[test]
fn wgpu_trains_like_flex() {
    let config = every_layer();
    let data = subset_data(&config);
    trains_like_flex(config, &data);
}

#[test]
fn so_it_does_the_reference_network() {
    let config = tiny_reference(10);
    let data = Dataset::load(small_pictures().path(), Split::Train, &config.network).unwrap();
    trains_like_flex(config, &data);
}

fn trains_like_flex(mut config: Config, data: &Dataset) {
    let gpu = Backend::Wgpu.device().unwrap();
    let [on_cpu, on_gpu] = [Device::flex(), gpu.clone()]
        .map(|device| predict(&lively_network(&config, &device), &config, &device));
    for (a, b) in on_cpu.iter().zip(&on_gpu) {
        assert!((a - b).abs() <= 1e-3 * a.abs().max(1.0), "{a} and {b}");
    }

    config.training.steps = 6;
    config.training.batch = 8;
    config.training.shards = 1;
    config.training.log_every = 1;
    config.training.sample_every = 0;
    config.training.warmup_steps = 1;
    let folder = tempfile::tempdir().unwrap();
    let [on_cpu, on_gpu] = [("flex", Device::flex()), ("wgpu", gpu)].map(|(name, device)| {
        let run = folder.path().join(name);
        let outcome = Run::create(&run, config.clone(), data, device)
            .unwrap()
            .train()
            .unwrap();
        assert_eq!(outcome, Outcome::Finished);
        losses(&run)
    });
    assert_eq!(on_cpu.len(), 6);
    assert!(on_cpu[5] < on_cpu[0], "{on_cpu:?}");
    for (a, b) in on_cpu.iter().zip(&on_gpu) {
        assert!((a - b).abs() <= 1e-2 * a, "{on_cpu:?} and {on_gpu:?}");
    }
}
