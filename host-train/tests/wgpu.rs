//! Training on a GPU, or on whatever Vulkan there is, beside the CPU.

mod common;

use std::sync::Mutex;

use burn::tensor::Device;
use burn::tensor::wgpu::{WgpuSetup, wgpu};
use common::{
    every_layer, lively_network, losses, predict, small_pictures, subset_data, tiny_reference,
};
use tiny_ddpm_train::config::Config;
use tiny_ddpm_train::data::Examples;
use tiny_ddpm_train::data::{Dataset, Split};
use tiny_ddpm_train::network::Backend;
use tiny_ddpm_train::train::run::{Outcome, Run};
use tiny_ddpm_train::train::{Checkpoint, Trouble};

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

/// What is native is there at once: no executor is needed.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        std::thread::yield_now();
    }
}

/// A GPU of our own, which can be taken away.
fn gpu() -> WgpuSetup {
    let instance = wgpu::Instance::default();
    let adapter = now(instance.request_adapter(&wgpu::RequestAdapterOptions::default())).unwrap();
    // Experimental ones take an unsafe word.
    let features = adapter.features() - wgpu::Features::all_experimental_mask();
    let wanted = wgpu::DeviceDescriptor {
        required_features: features - wgpu::Features::MAPPABLE_PRIMARY_BUFFERS,
        required_limits: adapter.limits(),
        ..Default::default()
    };
    let (device, queue) = now(adapter.request_device(&wanted)).unwrap();
    let backend = adapter.get_info().backend;
    WgpuSetup {
        instance,
        adapter,
        device,
        queue,
        backend,
    }
}

/// Pictures that take the GPU away while they are looked at.
#[derive(Debug)]
struct Unplugging<'d> {
    data: &'d Dataset,
    device: wgpu::Device,
    left: Mutex<usize>,
}

impl Examples for Unplugging<'_> {
    fn count(&self) -> usize {
        self.data.count()
    }

    fn each_value(&self, index: usize, show: &mut dyn FnMut(f32)) {
        let mut left = self.left.lock().unwrap();
        if let Some(less) = left.checked_sub(1) {
            *left = less;
            if less == 0 {
                self.device.destroy();
            }
        }
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
fn a_lost_gpu_leaves_the_last_checkpoint() {
    let mut config = every_layer();
    config.training.steps = 8;
    config.training.batch = 8;
    config.training.shards = 1;
    config.training.checkpoint_every = 2;
    config.training.sample_every = 0;
    config.training.warmup_steps = 1;
    let data = subset_data(&config);
    let setup = gpu();
    let unplugging = Unplugging {
        data: &data,
        device: setup.device.clone(),
        // In step 6.
        left: Mutex::new(5 * 8 + 4),
    };
    let device = Device::wgpu_options().setup(setup).init().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let run = Run::create(&path, config.clone(), &unplugging, device).unwrap();
    let trouble = run.train().unwrap_err().downcast::<Trouble>().unwrap();
    println!("{trouble}");
    assert!(
        matches!(trouble, Trouble::Panic { step: 6.., .. }),
        "{trouble:?}"
    );
    assert_eq!(Checkpoint::newest(&path).unwrap().state.step, 4);
    // The way out that the tool names.
    let run = Run::resume(&path, config, &data, Device::flex()).unwrap();
    assert_eq!(run.train().unwrap(), Outcome::Finished);
    assert_eq!(Checkpoint::newest(&path).unwrap().state.step, 8);
}
