//! The model cards: each shows what its blob draws today.

use super::*;

/// What lies between two marks, where they first occur.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(inside, _)| inside)
}

/// Width, height and grey or coloured bytes.
fn decoded(path: &Path) -> (u32, u32, Vec<u8>) {
    let file = fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let png = png::Decoder::new(std::io::BufReader::new(file));
    let mut png = png.read_info().unwrap();
    let mut bytes = vec![0; png.output_buffer_size().unwrap()];
    let info = png.next_frame(&mut bytes).unwrap();
    (info.width, info.height, bytes)
}

/// A card's picture comes from the command under it, and the command still
/// draws it.
#[test]
fn a_card_shows_what_its_blob_draws() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut cards = 0;
    for entry in fs::read_dir(root.join("models")).unwrap() {
        let blob = entry.unwrap().path();
        if blob.extension().is_none_or(|ending| ending != "tddpm") {
            continue;
        }
        let card = fs::read_to_string(blob.with_extension("md")).unwrap();
        let shown = between(&card, "](", ".png)").expect("the card shows a picture");
        let command = between(&card, "`tiny-ddpm sample models/", "`");
        let command = command.expect("the card says how it was drawn");
        let mut words = command.split_whitespace();
        let out = TempDir::new().unwrap();
        let mut sample = tool();
        sample
            .arg("sample")
            .arg(root.join("models").join(words.next().unwrap()))
            .args(words)
            .arg("--out")
            .arg(out.path());
        succeeded(&sample.output().unwrap());
        let drawn = ["grid.png", "scatter.png"].map(|name| out.path().join(name));
        let drawn = drawn.iter().find(|path| path.is_file()).unwrap();
        let shown = root.join("models").join(format!("{shown}.png"));
        assert!(
            decoded(&shown) == decoded(drawn),
            "{} is not what `tiny-ddpm sample models/{command}` draws",
            shown.display()
        );
        cards += 1;
    }
    assert!(cards >= 4, "{cards} cards");
}
