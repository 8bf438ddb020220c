//! What is promised of every blob in `models/`.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use tiny_ddpm::Model;
use tiny_ddpm::blob::{HEADER_LEN, header};
use tiny_ddpm::picture::state_hash;
use tiny_ddpm_tests::{digits, models, sample_int8, settings};

/// Each shipped blob's bytes, with the text of its card.
fn shipped() -> Result<Vec<(PathBuf, Vec<u8>, String)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(models())? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "tddpm") {
            let card = std::fs::read_to_string(path.with_extension("md"));
            let card = card.with_context(|| format!("{} needs a card", path.display()))?;
            found.push((path.clone(), std::fs::read(&path)?, card));
        }
    }
    ensure!(!found.is_empty(), "no blob in models/");
    Ok(found)
}

#[test]
fn every_blob_loads_and_its_card_names_it() -> Result<()> {
    for (path, blob, card) in shipped()? {
        Model::load(&blob).with_context(|| path.display().to_string())?;
        let digest = Sha256::digest(&blob);
        let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(
            card.contains(&hash),
            "{}: SHA-256 is {hash}",
            path.display()
        );
    }
    Ok(())
}

#[test]
fn one_changed_weight_changes_the_picture() -> Result<()> {
    let blob = digits()?;
    let model = Model::load(&blob)?;
    let before = sample_int8(&model, settings(&model, 3))?;

    let mut weight = None;
    model.for_each_layer(|layer| {
        if let tiny_ddpm::blob::records::Record::Conv(conv) = layer.record
            && layer.id.to_string() == "mid0.conv1"
        {
            weight = Some(conv.weights.as_ptr().addr() - blob.as_ptr().addr());
        }
    });
    let weight = weight.context("the model has a layer mid0.conv1")?;
    let mut changed = blob.clone();
    changed[weight] = changed[weight].wrapping_add(40);
    if changed[weight] == 0x80 {
        changed[weight] = 0x7f;
    }
    let (head, body) = changed.split_at_mut(HEADER_LEN);
    head.copy_from_slice(&header::seal(model.arch_hash(), body));

    let other = Model::load(&changed)?;
    let after = sample_int8(&other, settings(&other, 3))?;
    assert_ne!(state_hash(&before), state_hash(&after));
    Ok(())
}

/// The hashes that each model's first three have had on every machine so far.
/// They change with the model and with anything in `core` that touches a bit.
#[test]
fn pictures_have_the_same_bits_as_ever() -> Result<()> {
    for (path, blob, card) in shipped()? {
        let model = Model::load(&blob)?;
        for class in 0..3 {
            let x_0 = sample_int8(&model, settings(&model, class))?;
            let hash = format!("{:08x}", state_hash(&x_0));
            assert!(
                card.contains(&hash),
                "{}: picture {class} (of that class, if there are any) without guidance has the state hash {hash}, which the model card does not list",
                path.display()
            );
        }
    }
    Ok(())
}
