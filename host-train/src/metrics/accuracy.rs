//! How often a picture is read as the class that was asked for.

use anyhow::{Result, ensure};

/// How many pictures of each class were read as which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accuracy {
    classes: usize,
    /// Row by row: asked for, then read as.
    counts: Vec<usize>,
}

impl Accuracy {
    /// Counts what was asked for against what was read.
    ///
    /// # Errors
    /// Where there are not as many of one as of the other.
    pub fn new(asked: &[u8], read: &[u8]) -> Result<Self> {
        ensure!(
            asked.len() == read.len(),
            "{} classes were asked for but {} pictures were read",
            asked.len(),
            read.len()
        );
        let classes = asked.iter().chain(read).max();
        let classes = classes.map_or(0, |&class| usize::from(class) + 1);
        let mut counts = vec![0; classes * classes];
        for (&asked, &read) in asked.iter().zip(read) {
            counts[usize::from(asked) * classes + usize::from(read)] += 1;
        }
        Ok(Self { classes, counts })
    }

    /// Classes that can occur: one more than the highest that was asked for or
    /// read.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Pictures of class `asked` that were read as `read`.
    #[must_use]
    pub fn count(&self, asked: usize, read: usize) -> usize {
        if asked.max(read) < self.classes {
            self.counts[asked * self.classes + read]
        } else {
            0
        }
    }

    /// The part of all pictures that was read as asked for; 0 where there is
    /// none.
    #[must_use]
    pub fn overall(&self) -> f64 {
        let right: usize = (0..self.classes)
            .map(|class| self.count(class, class))
            .sum();
        ratio(right, self.counts.iter().sum()).unwrap_or(0.0)
    }

    /// The same of one class's pictures, where it has any.
    #[must_use]
    pub fn of_class(&self, class: usize) -> Option<f64> {
        let all = (0..self.classes).map(|read| self.count(class, read)).sum();
        ratio(self.count(class, class), all)
    }
}

fn ratio(part: usize, all: usize) -> Option<f64> {
    (all > 0).then(|| part as f64 / all as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_by_class() {
        let accuracy = Accuracy::new(&[0, 0, 0, 2, 2], &[0, 0, 3, 2, 0]).unwrap();
        assert_eq!(accuracy.classes(), 4);
        assert_eq!(accuracy.overall(), 0.6);
        assert_eq!(accuracy.of_class(0), Some(2.0 / 3.0));
        assert_eq!(accuracy.of_class(1), None);
        assert_eq!(accuracy.of_class(2), Some(0.5));
        assert_eq!(accuracy.of_class(9), None);
        assert_eq!(accuracy.count(0, 3), 1);
        assert_eq!(accuracy.count(3, 0), 0);
        assert_eq!(accuracy.count(9, 9), 0);
        assert!(Accuracy::new(&[1], &[]).is_err());
        assert_eq!(Accuracy::new(&[], &[]).unwrap().overall(), 0.0);
    }
}
