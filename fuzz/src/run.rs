//! A step of an accepted model: in as much memory as it may have and in as
//! little as it must, apart and in place, to the same bits.

use arbitrary::Arbitrary;
use tiny_ddpm::{
    Buffers, Denoiser, InPlaceSampler, Method, Model, Sampler, Settings, Spacing, Unet, UnetError,
};

/// What a model is asked.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Question {
    timestep: u16,
    class: Option<u8>,
    /// Which of [`VALUES`] the picture is made of, four bits each.
    x: [u8; 4],
    method: u8,
    spacing: u8,
    /// Two bits of steps, one of clipping.
    steps: u8,
    eta: u8,
    guidance: u8,
    seed: u64,
}

/// What a picture may hold: what networks see, and what nothing keeps away.
const VALUES: [f32; 16] = [
    0.0,
    -0.0,
    0.5,
    -1.0,
    1.0,
    0.1,
    -3.7,
    127.3,
    1e-40,
    1e10,
    f32::MAX,
    f32::MIN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    f32::MIN_POSITIVE,
];

/// Two values of which nobody can tell one from the other: any NaN is as good
/// as another.
fn same(a: &[f32], b: &[f32]) -> bool {
    let pairs = a.iter().zip(b);
    a.len() == b.len()
        && pairs
            .into_iter()
            .all(|(a, b)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()))
}

impl Question {
    /// Bytes that suffice for any question.
    pub const BYTES: usize = 24;

    fn x(&self, pixels: usize) -> Vec<f32> {
        (0..pixels)
            .map(|i| {
                let byte = self.x[i / 2 % 4];
                VALUES[usize::from(if i % 2 == 0 { byte >> 4 } else { byte & 15 })]
            })
            .collect()
    }

    /// Settings that may be refused.
    fn settings(&self) -> Settings {
        let names = Method::NAMES;
        let spacings = Spacing::ALL;
        let name = names[usize::from(self.method) % names.len()];
        Settings::new(
            Method::from_name(name, f32::from(self.eta) / 250.0).expect("its own name"),
            u16::from(self.steps & 3),
        )
        .class(self.class)
        .seed(self.seed)
        .picture(self.seed >> 32)
        .guidance(f32::from(self.guidance) / 2.0)
        .spacing(spacings[usize::from(self.spacing) % spacings.len()])
        .clip(self.steps & 4 == 0)
    }
}

/// Asks the model, in all ways that there are.
///
/// # Panics
/// Where it cannot be asked, or the answers differ.
pub fn ask(model: &Model<'_>, question: &Question) {
    predictions(model, question);
    samplings(model, question);
}

fn predictions(model: &Model<'_>, question: &Question) {
    let x_t = question.x(model.topology().pixels());
    let (full, least) = (model.workspace_words(), model.least_workspace_words());
    let timesteps = model.schedule().timesteps();
    let timestep = question.timestep % (timesteps + 2);
    let predict = |words: usize, fill: u32| {
        let mut workspace = vec![fill; words];
        let mut unet = Unet::new(model, &mut workspace)?;
        let mut out = vec![7.0; x_t.len()];
        unet.predict(&x_t, timestep, question.class, &mut out)?;
        Ok(out)
    };
    let answer = predict(full, 0xaaaa_aaaa);
    let classes = model.topology().classes;
    let known = question
        .class
        .is_none_or(|class| u16::from(class) < classes);
    match &answer {
        Ok(out) => {
            assert!(known && timestep >= 1 && timestep <= timesteps);
            for (words, fill) in [
                (full, 0),
                (least, u32::MAX),
                (least.midpoint(full), 0x7f80_0001),
            ] {
                let other = predict(words, fill).expect("it was enough before");
                assert!(same(out, &other), "{words} words of {least} to {full}");
            }
        }
        Err(UnetError::Class { .. }) => assert!(!known),
        Err(UnetError::Timestep { .. }) => assert!(timestep == 0 || timestep > timesteps),
        Err(UnetError::ConditionalOnly) => {
            assert!(question.class.is_none() && model.is_conditional_only());
        }
        Err(error) => panic!("{error}"),
    }
    let refused = predict(least - 1, 0);
    assert!(matches!(refused, Err(UnetError::Workspace { .. })));
}

fn samplings(model: &Model<'_>, question: &Question) {
    let settings = question.settings();
    let pixels = model.topology().pixels();
    let plan = model.plan();
    let least = match settings.guidance {
        0.0 => plan.least_workspace_words(),
        _ => plan.least_guided_workspace_words(),
    };
    let (mut full, mut least) = (vec![0; plan.workspace_words()], vec![0; least]);
    let mut apart = Unet::new(model, &mut full).expect("as much as asked for");
    let mut within = Unet::new(model, &mut least).expect("as much as asked for");

    let history_len = settings.method.history_len(pixels);
    let [mut x, mut y, mut x0_hat, mut unconditional] = [(); 4].map(|()| vec![0.0; pixels]);
    let [mut memory, mut remembered] = [(); 2].map(|()| vec![0.0; history_len]);
    let buffers = Buffers {
        x: &mut x,
        x0_hat: &mut x0_hat,
        unconditional: &mut unconditional,
        history: &mut memory,
    };
    let first = Sampler::new(model.schedule(), settings, buffers);
    let second = InPlaceSampler::new(model.schedule(), settings, &mut y, &mut remembered);
    let (mut first, mut second) = match (first, second) {
        (Ok(first), Ok(second)) => (first, second),
        (first, second) => {
            let errors = (first.err(), second.err());
            assert_eq!(errors.0, errors.1);
            return;
        }
    };
    let evaluations = settings.method.evaluations(settings.steps);
    for number in 1..=evaluations + 1 {
        let (a, b) = (first.step(&mut apart), second.step(&mut within));
        assert_eq!(a, b);
        assert!(same(first.x(), second.x()), "after step {number}");
        match a {
            Ok(Some(step)) => assert!(number <= evaluations && step.index == number),
            Ok(None) => assert_eq!(number, evaluations + 1),
            Err(UnetError::Class { .. }) => {
                let class = settings.class.map(u16::from);
                assert!(class.is_some_and(|class| class >= model.topology().classes));
                return;
            }
            Err(UnetError::ConditionalOnly) => {
                let open = settings.class.is_none() || settings.guidance != 0.0;
                assert!(open && model.is_conditional_only());
                return;
            }
            Err(error) => panic!("{error}"),
        }
    }
    let mut picture = vec![0; pixels];
    tiny_ddpm::picture::to_pixels(first.x(), &mut picture);
}
