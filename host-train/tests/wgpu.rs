//! Training on a GPU, or on whatever Vulkan there is, beside the CPU.

mod common;

use burn::tensor::Device;
use common::{every_layer, lively, losses, predict, subset_data};
use tiny_ddpm_train::train::Backend;
use tiny_ddpm_train::train::run::{Outcome, Run};

#[test]
fn wgpu_trains_like_flex() {
    let gpu = Backend::Wgpu.device().unwrap();
    let mut config = every_layer();

    let [on_cpu, on_gpu] = [Device::flex(), gpu.clone()]
        .map(|device| predict(&lively(&config, &device), &config, &device));
    for (a, b) in on_cpu.iter().zip(&on_gpu) {
        assert!((a - b).abs() <= 1e-3 * a.abs().max(1.0), "{a} and {b}");
    }

    config.training.steps = 6;
    config.training.batch = 8;
    config.training.shards = 1;
    config.training.log_every = 1;
    config.training.sample_every = 0;
    config.training.warmup_steps = 1;
    let data = subset_data(&config);
    let folder = tempfile::tempdir().unwrap();
    let [on_cpu, on_gpu] = [("flex", Device::flex()), ("wgpu", gpu)].map(|(name, device)| {
        let run = folder.path().join(name);
        let outcome = Run::create(&run, config.clone(), &data, device)
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
