//! From a blob to a picture without heap: the whole interface of the crate in
//! one program. Firmware has the same statics, and draws, feeds a watchdog or
//! yields between steps.
//!
//! ```console
//! cargo run --release -p tiny-ddpm --example embed
//! ```

use static_cell::ConstStaticCell;
use tiny_ddpm::picture::{picture_hash, to_pixels};
use tiny_ddpm::{BlobError, InPlaceSampler, Model, Settings, SettingsError, Unet, UnetError};

static BLOB: &[u8] = tiny_ddpm::include_blob!("digits.tddpm");

/// Width and height of a picture.
const SIDE: usize = 28;
const PIXELS: usize = SIDE * SIDE;
/// Words of the network's activations: `tiny-ddpm inspect --rust` prints the sizes
/// for a blob, and `Unet::new` and `InPlaceSampler::new` refuse smaller buffers.
const WORKSPACE_WORDS: usize = 24_624 / 4;

static WORKSPACE: ConstStaticCell<[u32; WORKSPACE_WORDS]> =
    ConstStaticCell::new([0; WORKSPACE_WORDS]);
static X: ConstStaticCell<[f32; PIXELS]> = ConstStaticCell::new([0.0; PIXELS]);

#[derive(Debug)]
#[expect(dead_code, reason = "`main` shows them by Debug")]
enum Error {
    Blob(BlobError),
    Unet(UnetError),
    Settings(SettingsError),
}

/// Draws one picture. The statics are taken here, so that this can be called
/// once; firmware that draws more keeps them.
fn draw(class: u8) -> Result<[u8; PIXELS], Error> {
    let model = Model::load(BLOB).map_err(Error::Blob)?;
    let mut unet = Unet::new(&model, WORKSPACE.take()).map_err(Error::Unet)?;
    let settings = Settings::recommended(&model).class(class).seed(42);
    let mut sampler = InPlaceSampler::new(model.schedule(), settings, X.take(), &mut [])
        .map_err(Error::Settings)?;
    while let Some(_step) = sampler.step(&mut unet).map_err(Error::Unet)? {
        // Here a watchdog is fed.
    }
    let mut pixels = [0; PIXELS];
    to_pixels(sampler.x(), &mut pixels);
    Ok(pixels)
}

fn main() -> Result<(), Error> {
    let pixels = draw(7)?;
    for row in pixels.chunks(SIDE) {
        let shades = row
            .iter()
            .map(|&p| char::from(b" .:+#"[usize::from(p) / 52]));
        println!("{}", shades.collect::<String>());
    }
    println!("hash {:08x}", picture_hash(&pixels));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_exactly_as_large_as_the_model_needs() {
        let model = Model::load(BLOB).unwrap();
        assert_eq!(WORKSPACE_WORDS, model.workspace_words());
        assert_eq!(PIXELS, model.topology().pixels());
        let pixels = draw(7).unwrap();
        let ink = pixels.iter().filter(|&&pixel| pixel > 127).count();
        assert!(
            (20..PIXELS / 2).contains(&ink),
            "no digit: {ink} bright pixels"
        );
    }
}
