//! From the command line to a blob.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use burn::module::Module;
use burn::tensor::Device;
use clap::Args;
use tiny_ddpm::Model;
use tiny_ddpm::blob::records::{Info, Packing, Recommended, Record};
use tiny_ddpm::graph::{LayerId, Part, Stage};
use tiny_ddpm::{Buffers, Method, Sampler, Settings, Unet};

use super::compare::{Input, LayerError, compare};
use crate::config::Config;
use crate::model_file;
use crate::network::{Backend, Network, UNet};
use crate::output::grouped;
use crate::output::{Staged, check_file, in_shell};
use crate::progress::Phase;
use crate::quant::{Kind, RangeRule, Ranges, Scales, WeightBits, pack, schemes, skip_halves};
use crate::repack::TargetArgs;
use crate::train::{CalibrationSettings, Qat, calibrate, load_any_ema};

/// Bytes of flash of the board that the firmware is written for.
const FLASH: u64 = 1 << 20;
/// That board's chip.
const FLASH_OF: &str = "an STM32F405";

/// Quantise a training run's averaged weights and write the blob
#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    /// The folder of a training run
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// The blob to write
    #[arg(long, value_name = "FILE", default_value = "model.tddpm")]
    pub out: PathBuf,
    /// The model's name in the blob [default: the file's name]
    #[arg(long)]
    pub name: Option<String>,
    /// DDIM steps that the model recommends [default: the configuration's, or 20]
    #[arg(long)]
    pub steps: Option<u16>,
    /// Guidance that the model recommends [default: the configuration's, or 0.5,
    /// or 0 where the run learned guidance by heart or was never trained without
    /// a class]
    #[arg(long)]
    pub guidance: Option<f32>,
    /// DDIM's eta that the model recommends [default: the configuration's, or 0]
    #[arg(long)]
    pub eta: Option<f32>,
    /// How the range of an activation is chosen [default: mse]
    #[arg(long, value_enum)]
    pub range: Option<RangeRule>,
    /// How many scales activations of the residual path have; others than the
    /// default are there to be compared with it [default: channel]
    #[arg(long, value_enum)]
    pub scales: Option<Scales>,
    /// Bits of a convolution's weights [default: 8, or what the run was
    /// fine-tuned for]: 4 take half the flash of 8, a fifth more instructions
    /// where they are multiplied, at most a little more RAM, and quality.
    ///
    /// The first and the last convolution, shortcuts, the finest level and the
    /// embedding stay as they are: small in flash, and needed in full.
    #[arg(long, value_enum, value_name = "BITS")]
    pub weights: Option<WeightBits>,
    /// Pictures generated to see the activations' ranges [default: 40, or of
    /// points 1000]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub pictures: Option<u16>,
    /// Take the ranges of the activations from this file instead of watching
    /// the float network, whose last bits differ between processors: the same
    /// blob then comes out everywhere
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["range", "scales", "pictures"]
    )]
    pub ranges_from: Option<PathBuf>,
    /// Also write the ranges of the activations, as JSON
    #[arg(long, value_name = "FILE")]
    pub ranges_to: Option<PathBuf>,
    /// How the weights are stored.
    #[command(flatten)]
    pub target: TargetArgs,
    /// Where the float network is computed
    #[arg(long, value_enum, default_value = "flex")]
    pub backend: Backend,
}

/// Exports a run.
///
/// # Errors
/// Where the run cannot be read, its weights cannot be quantised, or the blob
/// cannot be written.
pub fn run(args: &ExportArgs) -> Result<()> {
    check_file(&args.out)?;
    if let Some(path) = &args.ranges_to {
        check_file(path)?;
    }
    let device = args.backend.device()?;
    let (config, network) = load_any_ema(&args.run, &device)?;
    let float = for_a_chip(network, &args.run)?;
    let topology = config.network.small()?;
    let schedule = config.schedule()?;
    let conditional = config.network.classes() > 0;
    let configured = config.recommended();
    let recommended = Recommended {
        steps: args.steps.unwrap_or(configured.steps),
        guidance: args.guidance.unwrap_or(configured.guidance),
        eta: args.eta.unwrap_or(configured.eta),
    };
    ensure!(
        conditional || recommended.guidance == 0.0,
        "--guidance {}: {} knows no classes to guide to; leave it out",
        recommended.guidance,
        args.run.display()
    );
    ensure!(
        !config.is_conditional_only() || recommended.guidance == 0.0,
        "--guidance {}: {} was trained with class_dropout = 0, so never without a class, which guidance needs; leave it out, or train with class_dropout = 0.1",
        recommended.guidance,
        args.run.display()
    );
    ensure!(
        (1..=schedule.timesteps()).contains(&recommended.steps),
        "--steps {}: must be 1 to the schedule's {}",
        recommended.steps,
        schedule.timesteps()
    );
    ensure!(
        (0.0..=100.0).contains(&recommended.guidance),
        "--guidance {}: must be 0 to 100",
        recommended.guidance
    );
    ensure!(
        (0.0..=1.0).contains(&recommended.eta),
        "--eta {}: must be 0 to 1",
        recommended.eta
    );

    let (ranges, weight_bits) = match Qat::load(&args.run, &config)? {
        Some(qat) => {
            ensure!(
                args.range.is_none()
                    && args.scales.is_none()
                    && args.pictures.is_none()
                    && args.ranges_from.is_none(),
                "{} was trained with its activations' ranges in mind; leave out --range, --scales, --pictures and --ranges-from",
                args.run.display()
            );
            let bits = qat.weight_bits();
            ensure!(
                args.weights.is_none_or(|asked| asked == bits),
                "{} was trained for weights of {bits} bits; leave out --weights",
                args.run.display()
            );
            println!("weights of {bits} bits and ranges as the run was trained with");
            println!(
                "errors are against its weights before rounding, for which it was not trained"
            );
            (qat.ranges().clone(), bits)
        }
        None => {
            let ranges = match &args.ranges_from {
                Some(path) => load_ranges(path)?,
                None => find_ranges(args, &config, &float, &device)?,
            };
            (ranges, args.weights.unwrap_or_default())
        }
    };

    let default_name = args.out.file_stem().unwrap_or_default().to_string_lossy();
    let info = Info {
        name: args.name.as_deref().unwrap_or(&default_name),
        topology: topology.clone(),
        schedule: config.diffusion.schedule,
        timesteps: config.diffusion.timesteps,
        prediction: config.diffusion.prediction,
        packing: Packing::Portable,
        recommended,
    };
    let mut weights = float.weights();
    if config.is_conditional_only() {
        println!(
            "trained with class_dropout = 0: the model draws with a class only, and without guidance"
        );
        // That is how the blob says so. The row was never trained.
        let table = LayerId::new(Stage::Time, Part::Classes);
        weights.zero_last(table, Kind::Weight, topology.embedding.into())?;
    }
    let blob = pack(&info, &weights, &ranges, weight_bits)?;
    let blob = args.target.repack(&blob)?;
    let model = Model::load(&blob)?;

    let trajectory = trajectory(&model)?;
    let inputs = trajectory.iter().map(|(x_t, timestep)| Input {
        x_t,
        timestep: *timestep,
        class: conditional.then_some(0),
    });
    let errors = compare(&float, &model, &device, inputs)?;
    print_layers(&model, &errors);

    let mut staged = Staged::default();
    staged.add(&args.out, &blob)?;
    if let Some(path) = &args.ranges_to {
        staged.add(path, ranges.to_json()?.as_bytes())?;
    }
    staged.publish()?;
    let hash = model_file::sha256(&blob);
    println!(
        "\n{}: {} bytes, SHA-256 {hash}",
        args.out.display(),
        blob.len()
    );
    let blob = in_shell(&args.out);
    println!("look at it:  tiny-ddpm inspect {blob}");
    println!("try it:      tiny-ddpm sample {blob}");
    Ok(())
}

/// The network that a blob can hold.
///
/// # Errors
/// Where it is the reference network: how far it is from fitting a chip.
fn for_a_chip(network: Network, run: &Path) -> Result<UNet> {
    let bytes = network.num_params() as u64;
    let Network::Small(model) = network else {
        let over = match bytes.checked_sub(FLASH) {
            Some(over @ 1..) => format!(
                ", {} more than the {} that {FLASH_OF} has in all",
                grouped(over),
                grouped(FLASH)
            ),
            _ => String::new(),
        };
        bail!(
            "{} has the reference network, which chips have no code for: its weights alone would take {} bytes of flash at 8 bits{over}. \
             Train a network for chips: `tiny-ddpm train --preset digits`",
            run.display(),
            grouped(bytes)
        );
    };
    Ok(model)
}

/// Ranges that were written by `--ranges-to`.
fn load_ranges(path: &Path) -> Result<Ranges> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the ranges {}", path.display()))?;
    Ranges::from_json(&text)
        .with_context(|| format!("{} holds no ranges of --ranges-to", path.display()))
}

/// Ranges that the float network itself shows while it samples.
fn find_ranges(
    args: &ExportArgs,
    config: &Config,
    float: &UNet,
    device: &Device,
) -> Result<Ranges> {
    let default = CalibrationSettings::of(config)?;
    let settings = CalibrationSettings {
        pictures: args.pictures.map_or(default.pictures, usize::from),
        ..default
    };
    let phase = Phase::begin("calibrating", settings.steps.into(), true)?;
    let calibration = calibrate(float, config, &settings, device, |step| {
        phase.set_position(step.into());
    })?;
    phase.finish();
    Ok(calibration.ranges_with(
        args.range.unwrap_or_default(),
        args.scales.unwrap_or_default(),
        &schemes(config.network.small()?),
        &skip_halves(config.network.small()?),
    ))
}

/// Noisy pictures of a sampling run with the blob itself, with the timesteps
/// that they have.
fn trajectory(model: &Model<'_>) -> Result<Vec<(Vec<f32>, u16)>> {
    let pixels = model.topology().pixels();
    let mut workspace = vec![0; model.workspace_words()];
    let mut unet = Unet::new(model, &mut workspace)?;
    let (mut x, mut x0_hat) = (vec![0.0; pixels], vec![0.0; pixels]);
    let buffers = Buffers {
        x: &mut x,
        x0_hat: &mut x0_hat,
        unconditional: &mut [],
        history: &mut [],
    };
    let settings = Settings::new(Method::Ddim { eta: 0.0 }, model.info().recommended.steps)
        .class((model.topology().classes > 0).then_some(0));
    let mut sampler = Sampler::new(model.schedule(), settings, buffers)?;
    let mut seen = Vec::new();
    loop {
        let x_t = sampler.x().to_vec();
        match sampler.step(&mut unet)? {
            Some(step) => seen.push((x_t, step.timestep)),
            None => return Ok(seen),
        }
    }
}

/// A line for each layer: shapes, scales, bytes and the error against f32.
fn print_layers(model: &Model<'_>, errors: &[LayerError]) {
    let errors: HashMap<&str, &LayerError> = errors.iter().map(|e| (e.name.as_str(), e)).collect();
    println!(
        "{:<18} {:>10} {:>8} {:>10} {:>9} {:>9} {:>8}",
        "layer", "output", "bytes", "scale", "rms", "error", "of rms"
    );
    model.for_each_layer(|layer| {
        let name = layer.id.to_string();
        let (side, channels) = (layer.output.side, layer.output.channels);
        let bytes = match layer.record {
            Record::Linear(r) => r.weights.len() + r.scales.len() + r.bias.len(),
            Record::Table(r) => r.values.len() + 4,
            Record::Norm(r) => r.gains.len() + r.offsets.len() + 9,
            Record::Conv(r) => {
                let arrays = [r.weights, r.bias, r.multipliers, r.shifts, r.zero_points];
                arrays.iter().map(|array| array.len()).sum::<usize>() + 8
            }
            Record::Output(r) => r.weights.len() + r.bias.len() + r.scales.len(),
            Record::Mix(_) => 13,
            _ => 5,
        };
        print!(
            "{name:<18} {:>10} {bytes:>8}",
            format!("{side}x{side}x{channels}")
        );
        let name = if name == "out.conv" {
            "prediction"
        } else {
            &name
        };
        if let Some(error) = errors.get(name) {
            match error.scale {
                Some(scale) => print!(" {scale:>10.6}"),
                None => print!(" {:>10}", "f32"),
            }
            let percent = 100.0 * error.relative();
            print!(" {:>9.4} {:>9.4} {percent:>7.2}%", error.rms, error.error);
        }
        println!();
    });
}
