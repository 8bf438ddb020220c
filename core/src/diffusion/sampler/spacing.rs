//! Which of the T timesteps a short chain visits.
//!
//! Every rule gives a sequence that starts at T, falls strictly and ends with 0.
//! Where steps are so many that two of them would share a timestep, the later
//! one makes room; with T steps all rules are the same.

use crate::diffusion::schedule::Schedule;

/// A rule that picks timesteps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Spacing {
    /// Evenly from T to 1, both among them ("linspace" in Lin et al. 2024,
    /// arXiv:2305.08891, table 2).
    Uniform,
    /// Evenly from T to 0, of which 0 is not visited ("trailing" there).
    #[default]
    Trailing,
    /// Trailing, each moved towards the noise: u T becomes s u / (1 + (s - 1) u) T
    /// (Esser et al. 2024, arXiv:2403.03206, eq. 23), with s = 17/16. Suits
    /// [`Method::DpmSolver`](super::Method::DpmSolver), whose last step is of
    /// first order, in few steps.
    Shifted,
    /// t = floor(c i²), with c such that the last is T (Song et al. 2021,
    /// arXiv:2010.02502, appendix D.2): denser where there is little noise.
    Quadratic,
    /// Evenly in the logarithm of the signal-to-noise ratio, from T to 1, each
    /// rounded to the nearest timestep that is left (Lu et al. 2022,
    /// arXiv:2206.00927). A cosine schedule's ratio falls steeply near T, where
    /// many of few steps then lie. Each step takes the ratio at some log2(T)
    /// timesteps, which costs a linear schedule two products of up to T
    /// factors.
    LogSnr,
}

impl Spacing {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Uniform,
        Self::Trailing,
        Self::Shifted,
        Self::Quadratic,
        Self::LogSnr,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Trailing => "trailing",
            Self::Shifted => "shifted",
            Self::Quadratic => "quadratic",
            Self::LogSnr => "log-snr",
        }
    }

    /// The rule of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|spacing| spacing.name() == name)
    }

    /// t_i of `steps`, where t_{i-1} is `previous`; 0 from i = `steps` on.
    pub(super) fn next(self, schedule: &Schedule, steps: u16, i: u16, previous: u16) -> u16 {
        let timesteps = schedule.timesteps();
        let left = steps.saturating_sub(i);
        if i == 0 || left == 0 {
            return if left == 0 { 0 } else { timesteps };
        }
        let (t, n, k) = (u64::from(timesteps), u64::from(steps), u64::from(left));
        let raw = match self {
            Self::Uniform => 1 + rounded((t - 1) * (k - 1), n - 1),
            Self::Trailing => respaced(timesteps, steps, i),
            // u = k/n and s = 17/16.
            Self::Shifted => rounded(17 * t * k, 16 * n + k),
            Self::Quadratic => (t * k * k / (n * n).max(1)) as u16,
            Self::LogSnr => by_log_snr(schedule, f64::from(i) / f64::from(steps - 1), previous),
        };
        // One below the last, and one for each step that is left.
        raw.min(previous.saturating_sub(1)).max(left)
    }
}

/// The timesteps that `steps` steps visit, from T down to the last before 0.
/// `steps` is 1 to T.
pub fn timesteps(
    schedule: Schedule,
    steps: u16,
    spacing: Spacing,
) -> impl Iterator<Item = u16> + Clone {
    let mut t = schedule.timesteps();
    (0..steps).map(move |i| {
        t = spacing.next(&schedule, steps, i, t);
        t
    })
}

/// [`Spacing::Trailing`] in closed form: the timestep before step `index` of
/// `steps`, and 0 once the chain has ended.
///
/// For `steps` of 1 to T the sequence falls strictly.
#[must_use]
pub fn respaced(timesteps: u16, steps: u16, index: u16) -> u16 {
    let (timesteps, steps) = (u64::from(timesteps), u64::from(steps).max(1));
    let left = steps.saturating_sub(u64::from(index));
    // At most T, so it fits.
    rounded(timesteps * left, steps)
}

/// a / b, rounded to the nearest.
fn rounded(a: u64, b: u64) -> u16 {
    // No rule divides by 0: see where they come from.
    ((2 * a + b) / (2 * b).max(1)) as u16
}

/// The timestep below `previous` whose log-SNR is nearest to that at `share`
/// (0 to 1) of the way from T to 1. Bisection: nothing is stored, and a linear
/// schedule's ᾱ is continued from the lower end, so it takes as many factors
/// as two products over T, however often the way is halved.
#[inline(never)]
fn by_log_snr(schedule: &Schedule, share: f64, previous: u16) -> u16 {
    let log_snr = |alpha_bar: f64| libm::log(alpha_bar / (1.0 - alpha_bar));
    let first = schedule.alpha_bar(1);
    let (start, end) = (
        log_snr(schedule.alpha_bar(schedule.timesteps())),
        log_snr(first),
    );
    let wanted = start + (end - start) * share;
    // The ratio falls from `after` to `before`.
    let (mut after, mut before) = (1, previous);
    let mut alpha_bar = first;
    while before.saturating_sub(after) > 1 {
        let middle = after.midpoint(before);
        let there = schedule.alpha_bar_from(after, alpha_bar, middle);
        if log_snr(there) >= wanted {
            (after, alpha_bar) = (middle, there);
        } else {
            before = middle;
        }
    }
    let next = schedule.alpha_bar_from(after, alpha_bar, before);
    if log_snr(alpha_bar) - wanted <= wanted - log_snr(next) {
        after
    } else {
        before
    }
}
