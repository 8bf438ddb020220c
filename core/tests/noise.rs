//! The noise: the same bits everywhere, and normal.

use tiny_ddpm::diffusion::noise::Noise;
use tiny_ddpm::picture::state_hash;

/// First values of seed 1, from `golden/noise.py`: ChaCha8 and the transform
/// written anew, in double precision.
const SEED_1: [f64; 8] = [
    -0.895410140802074,
    0.6294257502346963,
    0.15419763094038388,
    0.08525555804043079,
    -1.4491046346089576,
    -1.005716721869231,
    0.26399529579493997,
    1.352695880353099,
];
const SEED_1_PICTURE_7: [f64; 8] = [
    -1.7526230562978833,
    0.3917117970809159,
    -0.07313458704393053,
    -1.8160375081010647,
    1.1476526537852278,
    -1.1941568295857359,
    -0.39735906657473324,
    -1.4094466051400436,
];
/// The largest seed and picture.
const LARGEST: [f64; 8] = [
    0.2900134786777191,
    1.043783260817736,
    -1.4598560474160316,
    1.5206584841366928,
    -1.0283330829793285,
    0.568152523594431,
    -1.4802962918091396,
    -1.5645342613019686,
];
/// Past the first block of the generator.
const SEED_1_AT_1000: f64 = 0.27445805377784555;

/// The bits of the first values of seed 1, as every target must have them.
const SEED_1_BITS: [u32; 8] = [
    0xbf65_399c,
    0x3f21_220a,
    0x3e1d_e5fc,
    0x3dae_9a78,
    0xbfb9_7c43,
    0xbf80_bb53,
    0x3e87_2a65,
    0x3fad_2524,
];
/// CRC-32 of the bits of 100,000 values.
const SEED_1_HASH: u32 = 0x21ab_a652;

fn values(seed: u64, picture: u64, count: usize) -> Vec<f32> {
    let mut values = vec![0.0; count];
    Noise::new(seed, picture).fill(&mut values);
    values
}

#[test]
fn values_are_the_golden_ones() {
    let golden = [
        (1, 0, SEED_1),
        (1, 7, SEED_1_PICTURE_7),
        (u64::MAX, u64::MAX, LARGEST),
    ];
    for (seed, picture, expected) in golden {
        for (found, expected) in values(seed, picture, 8).into_iter().zip(expected) {
            // The angle is rounded to f32: up to 2^-22 at 2 pi.
            let error = (f64::from(found) - expected).abs();
            assert!(error < 1e-6, "{found}, expected {expected}");
        }
    }
    let late = f64::from(values(1, 0, 1001)[1000]);
    assert!((late - SEED_1_AT_1000).abs() < 1e-6, "{late}");
}

#[test]
fn bits_are_the_golden_ones() {
    let bits: Vec<u32> = values(1, 0, 8).iter().map(|v| v.to_bits()).collect();
    assert_eq!(bits, SEED_1_BITS, "found {bits:#010x?}");
    let hash = state_hash(&values(1, 0, 100_000));
    assert_eq!(hash, SEED_1_HASH, "found {hash:#010x}");
}

/// Moments of a million values. Their standard errors are 1/1000 for the
/// mean, sqrt(2)/1000, sqrt(15)/1000 and sqrt(96)/1000 for the mean powers;
/// four of them are allowed.
#[test]
fn moments_are_those_of_a_normal_distribution() {
    let values = values(42, 0, 1_000_000);
    let moment = |power| {
        let sum: f64 = values.iter().map(|&v| f64::from(v).powi(power)).sum();
        sum / values.len() as f64
    };
    for (power, expected, deviation) in
        [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)]
    {
        let error = (moment(power) - expected).abs();
        let allowed = 4.0 * f64::sqrt(deviation) / 1000.0;
        assert!(error < allowed, "moment {power} is off by {error}");
    }
}

/// Shares of a million values below some quantiles; four standard errors.
#[test]
fn quantiles_are_those_of_a_normal_distribution() {
    let values = values(43, 0, 1_000_000);
    // Φ(x) to six digits.
    let quantiles = [
        (-3.0, 0.001350),
        (-2.0, 0.022750),
        (-1.0, 0.158655),
        (0.0, 0.5),
        (0.5, 0.691462),
        (1.5, 0.933193),
        (2.5, 0.993790),
        (4.0, 0.999968),
    ];
    for (x, expected) in quantiles {
        let below = values.iter().filter(|&&v| v < x).count() as f64 / 1e6;
        let allowed = 4.0 * f64::sqrt(expected * (1.0 - expected) / 1e6) + 1e-6;
        assert!((below - expected).abs() < allowed, "{below} below {x}");
    }
    let largest = values.iter().fold(0.0_f32, |max, v| max.max(v.abs()));
    assert!(4.5 < largest && largest < 5.8, "largest {largest}");
}

/// No correlation between neighbours, pictures and seeds, neither of values
/// nor of squares; five standard errors.
#[test]
fn streams_are_independent() {
    const COUNT: usize = 100_000;
    let base = values(1, 0, COUNT + 2);
    let others = [
        ("next picture", values(1, 1, COUNT)),
        ("far picture", values(1, 1 << 40, COUNT)),
        ("next seed", values(2, 0, COUNT)),
        ("next value", base[1..].to_vec()),
        ("next pair", base[2..].to_vec()),
    ];
    for (name, other) in others {
        let pairs = || base.iter().zip(&other).take(COUNT);
        let plain: f64 = pairs().map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
        let squares: f64 = pairs()
            .map(|(&a, &b)| (f64::from(a).powi(2) - 1.0) * (f64::from(b).powi(2) - 1.0))
            .sum();
        let unit = 5.0 / (COUNT as f64).sqrt();
        let (plain, squares) = (plain / COUNT as f64, squares / (2.0 * COUNT as f64));
        assert!(plain.abs() < unit, "{name}: correlation {plain}");
        assert!(
            squares.abs() < unit,
            "{name}: correlation of squares {squares}"
        );
    }
}

#[test]
fn filling_in_parts_is_filling_at_once() {
    let whole = values(5, 3, 100);
    let mut noise = Noise::new(5, 3);
    let mut parts = vec![0.0; 100];
    let (odd, rest) = parts.split_at_mut(33);
    noise.fill(odd);
    rest[0] = noise.normal();
    noise.fill(&mut []);
    noise.fill(&mut rest[1..]);
    assert_eq!(parts, whole);
}
