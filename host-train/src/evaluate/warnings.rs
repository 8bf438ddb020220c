//! Says in words what a table of figures may hide: pictures that are copies,
//! repetitions, no pictures at all, or lack a part of what is real.
//!
//! Each limit is a relation to what real pictures get in the same report. The
//! limits were set so that real test pictures pass them and sets spoiled on
//! purpose do not (`tests/evaluate.rs`).

use serde::Serialize;

use super::results::{DataFacts, Evaluation, Neighbours, Real, SetResult};

/// Something a reader should not miss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// [`ModelFacts::numbers`](super::results::ModelFacts::numbers).
    pub model: &'static str,
    /// Steps of the set.
    pub steps: u16,
    /// What it is.
    pub text: String,
}

/// Share of pictures nearer to training pictures than 99% of test pictures are
/// that is no chance any more.
const COPIES: f64 = 0.1;
/// The same where the typical picture is so much nearer, as a part of the test
/// pictures' distance: copies that were changed a little.
const NEAR: f64 = 0.75;
/// Share of pictures with a twin.
const TWINS: f64 = 0.25;
/// Frechet distance, as a multiple of the real pictures'. Precision alone does
/// not find noise out: a judge sees so little in it that it puts it into the
/// middle of everything.
const FAR: f64 = 5.0;
/// Precision below this part of the test pictures'.
const PRECISE: f64 = 0.7;
/// Recall or coverage below this part of the test pictures'.
const PART: f64 = 0.5;
/// Coverage of a class below this part of all classes'.
const CLASS_PART: f64 = 0.5;
/// Read as the class asked for.
const READ: f64 = 0.5;

/// What is to be said of all sets.
#[must_use]
pub fn warnings(evaluation: &Evaluation) -> Vec<Warning> {
    let mut found = Vec::new();
    for set in &evaluation.sets {
        let mut texts = of_set(set, &evaluation.real, &evaluation.data);
        if set.steps == evaluation.settings.shown_steps {
            let same = |found: &&Neighbours| found.model == set.model;
            let neighbours = evaluation.neighbours.iter().find(same);
            texts.extend(neighbours.and_then(of_neighbours));
        }
        found.extend(texts.into_iter().map(|text| Warning {
            model: set.model,
            steps: set.steps,
            text,
        }));
    }
    found
}

fn percent(share: f64) -> String {
    format!("{:.0}%", 100.0 * share)
}

fn of_set(set: &SetResult, real: &Real, data: &DataFacts) -> Vec<String> {
    let mut texts = Vec::new();
    // A distance shrinks and coverage grows with N: fewer test pictures than
    // that say nothing here.
    let fewer = real.test.count < real.count;
    let (found, real_manifold, floor) = match fewer {
        true => (&set.manifold, &real.manifold, real.frechet),
        false => (
            &set.manifold,
            &real.test.manifold,
            real.frechet.max(real.test.frechet),
        ),
    };
    let held_against = match fewer {
        true => "other training pictures",
        false => "test pictures",
    };
    if set.frechet > FAR * floor || found.precision < PRECISE * real_manifold.precision {
        texts.push(format!(
            "it is far from real pictures: Frechet distance {:.1} where real ones have {floor:.1}; {} of it lie among them, of {held_against} {}",
            set.frechet,
            percent(found.precision),
            percent(real_manifold.precision)
        ));
    }
    let kinds = [
        (found.recall, real_manifold.recall),
        (found.coverage, real_manifold.coverage),
    ];
    if kinds.iter().any(|&(found, real)| found < PART * real) {
        texts.push(format!(
            "a part of what is real is never drawn: recall {}, coverage {}; {held_against} reach {} and {}",
            percent(found.recall),
            percent(found.coverage),
            percent(real_manifold.recall),
            percent(real_manifold.coverage)
        ));
    }
    let missing: Vec<String> = set
        .class_coverage
        .iter()
        .enumerate()
        .filter(|(_, covered)| covered.is_some_and(|c| c < CLASS_PART * found.coverage))
        .map(|(class, _)| data.class(class))
        .collect();
    if !missing.is_empty() {
        texts.push(format!(
            "hardly anything looks like class {}",
            missing.join(", ")
        ));
    }
    if set.twins > TWINS.max(real.test.twins) {
        texts.push(format!(
            "it repeats itself: {} of the pictures have a twin as near as 1% of real ones have",
            percent(set.twins)
        ));
    }
    let read = set.accuracy.as_ref().map(|accuracy| accuracy.overall);
    if let Some(read) = read.filter(|&read| read < READ) {
        texts.push(format!(
            "only {} is read as the class asked for",
            percent(read)
        ));
    }
    texts
}

fn of_neighbours(found: &Neighbours) -> Option<String> {
    let (median, test) = (
        found.generated_distances.median,
        found.test_distances.median,
    );
    (found.nearer > COPIES || median < NEAR * test).then(|| {
        format!(
            "training pictures are copied: {} are nearer to one than 99% of test pictures are, half of them within {median:.1} grey values (test pictures: {test:.1})",
            percent(found.nearer)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::example;
    use super::*;

    #[test]
    fn each_limit_is_heeded() {
        let good = || {
            let mut evaluation = example();
            evaluation.warnings.clear();
            evaluation
                .sets
                .retain(|set| set.steps == 20 && set.model == "int8");
            let set = &mut evaluation.sets[0];
            set.frechet = 0.5;
            set.class_coverage = vec![Some(set.manifold.coverage); 3];
            evaluation
        };
        assert_eq!(warnings(&good()), []);
        type Spoil = fn(&mut Evaluation);
        let cases: [(Spoil, &str); 9] = [
            (|e| e.sets[0].manifold.precision *= 0.6, "far from real"),
            (|e| e.sets[0].frechet = 6.0 * 0.375, "far from real"),
            (|e| e.sets[0].manifold.recall *= 0.4, "never drawn"),
            (|e| e.sets[0].class_coverage[1] = Some(0.0), "class 1"),
            (
                |e| {
                    e.sets[0].class_coverage[2] = Some(0.0);
                    e.data.class_names = ["cat", "dog", "fish"].map(str::to_owned).into();
                },
                "class 2 fish",
            ),
            (|e| e.sets[0].twins = 0.3, "repeats itself: 30%"),
            (
                |e| e.sets[0].accuracy.as_mut().unwrap().overall = 0.1,
                "only 10%",
            ),
            (|e| e.neighbours[0].nearer = 0.2, "copied: 20%"),
            (
                |e| e.neighbours[0].generated_distances.median = 10.0,
                "copied",
            ),
        ];
        for (spoil, words) in cases {
            let mut evaluation = good();
            spoil(&mut evaluation);
            let found = warnings(&evaluation);
            assert_eq!(found.len(), 1, "{words}: {found:?}");
            assert!(found[0].text.contains(words), "{words}: {found:?}");
            assert_eq!((found[0].model, found[0].steps), ("int8", 20));
        }
    }

    /// Few test pictures are far from the reference and cover little of it,
    /// which must not excuse a set of more.
    #[test]
    fn few_test_pictures_are_no_measure() {
        let mut evaluation = example();
        let count = evaluation.real.count;
        let (far, little) = (6.0 * evaluation.real.frechet, 0.3);
        evaluation.sets.truncate(1);
        evaluation.sets[0].frechet = far;
        evaluation.sets[0].manifold.coverage = little;
        evaluation.real.test.frechet = far;
        evaluation.real.test.manifold.coverage = little;
        let said = |evaluation: &Evaluation, words: &str| {
            let mut found = warnings(evaluation).into_iter();
            found.any(|warning| warning.text.contains(words))
        };
        for (few, expected) in [(count, false), (count - 1, true)] {
            evaluation.real.test.count = few;
            for words in ["far from real", "never drawn"] {
                assert_eq!(said(&evaluation, words), expected, "{few}: {words}");
            }
        }
    }
}
