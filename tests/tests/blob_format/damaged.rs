//! Damaged blobs are refused or accepted alike.

use super::*;

/// Bytes of a blob that are no number of an array, and those at the ends of
/// arrays.
fn telling_places(blob: &[u8]) -> Result<Vec<usize>> {
    let mut inner = BTreeSet::new();
    Model::load(blob)?.for_each_layer(|layer| {
        let arrays = match layer.record {
            Record::Linear(r) => vec![r.weights, r.scales, r.bias],
            Record::Table(r) => vec![r.values],
            Record::Norm(r) => vec![r.gains, r.offsets],
            Record::Conv(r) => vec![r.weights, r.bias, r.multipliers, r.zero_points],
            Record::Output(r) => vec![r.weights, r.bias, r.scales],
            _ => Vec::new(),
        };
        for array in arrays {
            let start = array.as_ptr().addr() - blob.as_ptr().addr();
            inner.extend((start..start + array.len()).skip(2).rev().skip(2));
        }
    });
    let outside = (0..blob.len()).filter(|place| !inner.contains(place));
    Ok(outside.collect())
}

#[test]
fn what_is_damaged_is_refused_or_accepted_alike() -> Result<()> {
    let smallest = random_blob(smallest_topology(), 2);
    let mut blobs = Vec::new();
    let linear = with_linear_schedule(&smallest, 1e-4, 0.02)?;
    let bases = [
        ("smallest", smallest.clone(), 5),
        ("linear", linear, 100),
        ("points", random_blob(point_topology(), 6), 23),
        ("int4", int4_blob(smallest_topology(), 3), 19),
        ("transformed", transformed_blob(small_topology(), 4), 19),
    ];
    for (name, base, step) in &bases {
        // Before the records everything, of them some of it.
        let first = first_record(base)?;
        for (i, place) in telling_places(base)?.into_iter().enumerate() {
            if place > first && i % step > 0 {
                continue;
            }
            let flip = [0x80, 0x01, 0xff, 0x10][i % 4];
            let mut blob = base.clone();
            blob[place] ^= flip;
            let name = format!("{name}, byte {place} ^ {flip:02x}");
            if place >= HEADER_LEN {
                // Once with the old topology's hash, and once with the new.
                let stored = base[12..16].try_into().map_or(0, u32::from_le_bytes);
                let old = sealed(&blob, stored);
                blob = repaired(&blob);
                if old != blob {
                    blobs.push((name.clone(), old));
                }
            }
            blobs.push((name, blob));
        }
    }

    for place in [10, 11, 24, 27] {
        let mut reserved = smallest.clone();
        reserved[place] = 1;
        let crc = picture_hash(&reserved[..28]);
        reserved[28..32].copy_from_slice(&crc.to_le_bytes());
        ensure!(Model::load(&reserved).is_err(), "byte {place} must be 0");
        blobs.push((format!("reserved byte {place}"), reserved));
    }

    for length in (0..smallest.len()).step_by(61) {
        let short = smallest[..length].to_vec();
        if length >= HEADER_LEN {
            blobs.push((format!("{length} bytes, sealed"), repaired(&short)));
        }
        blobs.push((format!("{length} bytes"), short));
    }
    for more in 1..4 {
        let long = [&smallest[..], &[0; 3][..more]].concat();
        blobs.push((format!("{more} more"), long.clone()));
        blobs.push((format!("{more} more, sealed"), repaired(&long)));
    }

    // T = 1000 in three bytes instead of two, and a byte less of padding.
    let first = first_record(&smallest)?;
    let timesteps = first - 13;
    ensure!(
        smallest[timesteps..timesteps + 2] == [0xe8, 0x07],
        "T is elsewhere"
    );
    ensure!(smallest[first] > 0, "no padding to take from");
    let mut long = smallest.clone();
    long[first] -= 1;
    long.remove(first + 1);
    long.splice(timesteps + 1..timesteps + 2, [0x87, 0x00]);
    let long = repaired(&long);
    let refused = Model::load(&long).is_err_and(|error| error == BlobError::Info);
    ensure!(refused, "a varint is no longer than it must be");
    // And with a bit that 16 bits have no place for.
    let mut beyond = long.clone();
    beyond[timesteps + 2] = 4;
    blobs.push(("a varint beyond 16 bits".into(), repaired(&beyond)));
    blobs.push(("a long varint".into(), long));
    // A length in as many bytes as 64 bits have, of which 32 know nothing.
    for more in 1..10 {
        let mut length = smallest.clone();
        length[HEADER_LEN] |= 0x80;
        let zeros = [&vec![0x80; more - 1][..], &[0]].concat();
        length.splice(HEADER_LEN + 1..HEADER_LEN + 1, zeros);
        blobs.push((format!("a length of {} bytes", 1 + more), repaired(&length)));
    }

    let said = agree(&blobs)?;
    let mut places = BTreeSet::new();
    let mut accepted = 0;
    for value in &said {
        match value["error"]["where"].as_str() {
            Some(place) => {
                places.insert(place);
            }
            None => accepted += 1,
        }
    }
    // The test would show little if all were refused, or for one reason.
    println!("{} blobs, {accepted} accepted, {places:?}", said.len());
    assert!(accepted > 100 && said.len() - accepted > 300 && places.len() > 40);
    for place in [
        "header",
        "info",
        "topology",
        "architecture",
        "packing",
        "schedule",
        "recommended",
        "end",
        "layer time.linear1",
        "layer time.classes",
        "layer conv_in",
        "layer mid.attn.mix",
        "layer out.conv",
    ] {
        assert!(places.contains(place), "nothing was wrong with {place}");
    }
    Ok(())
}
