//! The whole of `core`'s interface in one place: from a blob to a picture
//! without heap. In firmware the blob is an `include_bytes!`, the buffers are
//! `static`, and the loop draws, feeds a watchdog or yields between steps.
//!
//! ```console
//! cargo run --release -p tiny-ddpm --example embed
//! ```

use tiny_ddpm::picture::{picture_hash, to_pixels};
use tiny_ddpm::{BlobError, Buffers, Method, Model, Sampler, Settings, SettingsError, Spacing};
use tiny_ddpm::{Unet, UnetError};

/// Weights are best placed where fast kernels can load whole words.
#[repr(align(16))]
struct Aligned<T: ?Sized>(T);
static BLOB: &Aligned<[u8]> = &Aligned(*include_bytes!("../../models/digits.tddpm"));

/// Pixels of a picture.
const PIXELS: usize = 28 * 28;
/// Words for the network's activations: `tiny-ddpm inspect` says how many a
/// blob needs, and `Unet::new` refuses fewer.
const WORKSPACE: usize = 16 * 1024;

#[derive(Debug)]
#[expect(dead_code, reason = "`main` shows them by Debug")]
enum Error {
    Blob(BlobError),
    Unet(UnetError),
    Settings(SettingsError),
}

fn draw(class: u8, pixels: &mut [u8; PIXELS]) -> Result<(), Error> {
    let mut workspace = [0u32; WORKSPACE];
    let (mut x, mut x0_hat, mut spare) = ([0.0; PIXELS], [0.0; PIXELS], [0.0; PIXELS]);

    let model = Model::load(&BLOB.0).map_err(Error::Blob)?;
    let mut unet = Unet::new(&model, &mut workspace).map_err(Error::Unet)?;
    let recommended = model.info().recommended;
    let settings = Settings {
        method: Method::Ddim {
            eta: recommended.eta,
        },
        steps: recommended.steps,
        spacing: Spacing::Trailing,
        guidance: recommended.guidance,
        clip: true,
        seed: 42,
        picture: 0,
        class: Some(class),
    };
    let buffers = Buffers {
        x: &mut x,
        x0_hat: &mut x0_hat,
        unconditional: &mut spare,
        // Only Heun and DPM-Solver++ need one.
        memory: &mut [],
    };
    let mut sampler = Sampler::new(model.schedule(), settings, buffers).map_err(Error::Settings)?;
    while let Some(_step) = sampler.step(&mut unet).map_err(Error::Unet)? {
        // Here a watchdog is fed.
    }
    to_pixels(sampler.x(), pixels);
    Ok(())
}

fn main() -> Result<(), Error> {
    let mut pixels = [0; PIXELS];
    draw(7, &mut pixels)?;
    for row in pixels.chunks(28) {
        let shades = row
            .iter()
            .map(|&p| char::from(b" .:+#"[usize::from(p) / 52]));
        println!("{}", shades.collect::<String>());
    }
    println!("hash {:08x}", picture_hash(&pixels));
    Ok(())
}
