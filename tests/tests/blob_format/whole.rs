//! Blobs as the library writes them are read to the last number.

use super::*;

#[test]
fn every_shipped_model_is_read_to_the_last_number() -> Result<()> {
    let mut blobs = Vec::new();
    for entry in fs::read_dir(models())? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "tddpm") {
            blobs.push((path.display().to_string(), fs::read(&path)?));
        }
    }
    ensure!(!blobs.is_empty(), "no blob in models/");
    agree_and_accept(&blobs)?;
    Ok(())
}

#[test]
fn every_form_of_weights_is_read() -> Result<()> {
    let repacked = repack(&digits()?, Target::CortexM4, 880 << 10)?;
    let layouts = agree_and_accept(&[("repacked".into(), repacked)])?;
    assert!(layouts.contains("winograd") && layouts.contains("phases"));

    let four_bits = repack(&with_four_bits(&digits()?)?, Target::Portable, 0)?;
    let layouts = agree_and_accept(&[("4 bits".into(), four_bits)])?;
    assert!(layouts.contains("int4"));

    let mut blobs = Vec::new();
    for (shape, topology) in [("even", small_topology()), ("odd", odd_topology())] {
        for (packing, make) in [
            ("direct", random_blob as fn(_, _) -> _),
            ("transformed", transformed_blob),
            ("int4", int4_blob),
        ] {
            blobs.push((format!("{shape}, {packing}"), make(topology.clone(), 1)));
        }
    }
    let linear = with_linear_schedule(&blobs[0].1, 1e-4, 0.02)?;
    blobs.push(("linear".into(), linear));
    agree_and_accept(&blobs)?;
    Ok(())
}

#[test]
fn the_page_shows_the_first_bytes_of_nano() -> Result<()> {
    let page = fs::read_to_string(repository().join("docs/blob-format.md"))?;
    let blob = fs::read(models().join("nano.tddpm"))?;
    for (i, line) in blob.chunks(16).take(6).enumerate() {
        let pairs: Vec<String> = line
            .chunks(2)
            .map(|pair| pair.iter().map(|byte| format!("{byte:02x}")).collect())
            .collect();
        let line = format!("{:08x}: {}", 16 * i, pairs.join(" "));
        assert!(page.contains(&line), "the page should have {line}");
    }
    Ok(())
}

/// They run as they are, and whoever stored them in another way would change
/// the pictures.
#[test]
fn transformed_weights_of_no_weights_are_not_repacked() -> Result<()> {
    let clean = transformed_blob(small_topology(), 4);
    repack(&clean, Target::Portable, 0)?;
    let mut found = Vec::new();
    Model::load(&clean)?.for_each_layer(|layer| {
        if let Record::Conv(conv) = layer.record
            && matches!(conv.layout, WeightLayout::Winograd | WeightLayout::Phases)
        {
            let start = conv.weights.as_ptr().addr() - clean.as_ptr().addr();
            found.push((start, layer.id.to_string()));
        }
    });
    ensure!(found.len() > 5, "{found:?}");
    for (start, layer) in found {
        let mut blob = clean.clone();
        blob[start] ^= 1;
        let blob = repaired(&blob);
        Model::load(&blob).with_context(|| format!("{layer}: must run"))?;
        for target in [Target::Portable, Target::CortexM4] {
            let error = repack(&blob, target, usize::MAX).map(drop).unwrap_err();
            let message = error.to_string();
            assert!(message.contains(&layer), "{layer}: {message}");
            assert!(message.contains("export"), "{message}");
        }
    }
    Ok(())
}
