//! Counts as people and as programs read them.

use super::machine::Machine;
use std::fmt::Write as _;

/// A layer, or a denoising step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where it ran.
    pub machine: Machine,
    /// What ran.
    pub kernel: String,
    /// Of what size.
    pub shape: String,
    /// How its weights are stored.
    pub layout: String,
    /// Multiply-accumulates, convolutions counted directly.
    pub macs: u64,
    /// What it took.
    pub instructions: u64,
}

/// CMSIS-NN's instructions for each multiply-accumulate: on a Cortex-M4 (and
/// M7 and M33, which run the same instructions), and on a Cortex-M0.
const CMSIS_NN: [(&str, &str, f64, f64); 7] = [
    ("conv3x3", "28x28x16->16", 2.33, 7.6),
    ("conv3x3", "14x14x32->32", 1.93, 6.7),
    ("conv3x3", "7x7x64->64", 1.78, 6.5),
    ("conv3x3-stride2", "28x28x16->32", 2.14, 7.1),
    ("conv3x3-first", "28x28x1->16", 10.5, 21.4),
    ("conv1x1", "14x14x64->32", 2.07, 7.6),
    ("fully-connected", "64->128", 2.66, 7.6),
];

impl Row {
    /// Instructions for each multiply-accumulate.
    #[must_use]
    pub fn per_mac(&self) -> f64 {
        self.instructions as f64 / self.macs.max(1) as f64
    }

    /// The same by CMSIS-NN, where it is known.
    #[must_use]
    pub fn cmsis_nn(&self) -> Option<f64> {
        let row = CMSIS_NN
            .iter()
            .find(|(kernel, shape, ..)| *kernel == self.kernel && *shape == self.shape);
        let &(_, _, m4, m0) = row?;
        match self.machine {
            Machine::M4 | Machine::M7 | Machine::M33 => Some(m4),
            Machine::M0 => Some(m0),
            Machine::Rv32 => None,
        }
    }
}

/// A table of one machine's rows.
#[must_use]
pub fn table(rows: &[&Row]) -> String {
    let mut text = format!(
        "{:16} {:13} {:9} {:>10} {:>12} {:>8} {:>9} {:>6}\n",
        "kernel", "shape", "layout", "MACs", "instructions", "per MAC", "CMSIS-NN", "ratio"
    );
    for row in rows {
        let (theirs, ratio) = match row.cmsis_nn() {
            Some(theirs) => (
                format!("{theirs:.2}"),
                format!("{:.2}", row.per_mac() / theirs),
            ),
            None => Default::default(),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:16} {:13} {:9} {:>10} {:>12} {:>8.2} {theirs:>9} {ratio:>6}",
            row.kernel,
            row.shape,
            row.layout,
            row.macs,
            row.instructions,
            row.per_mac()
        );
    }
    text
}

/// All rows as JSON: a list of objects.
#[must_use]
pub fn json(rows: &[Row]) -> String {
    // Names are of letters, digits and signs that need no escape.
    let objects: Vec<_> = rows
        .iter()
        .map(|row| {
            format!(
                "  {{\"target\": \"{}\", \"kernel\": \"{}\", \"shape\": \"{}\", \
                 \"layout\": \"{}\", \"macs\": {}, \"instructions\": {}, \
                 \"instructions_per_mac\": {:.4}}}",
                row.machine.name(),
                row.kernel,
                row.shape,
                row.layout,
                row.macs,
                row.instructions,
                row.per_mac()
            )
        })
        .collect();
    format!("[\n{}\n]\n", objects.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(machine: Machine) -> Row {
        Row {
            machine,
            kernel: "conv1x1".to_owned(),
            shape: "14x14x64->32".to_owned(),
            layout: "direct".to_owned(),
            macs: 1000,
            instructions: 2070,
        }
    }

    #[test]
    fn rows_stand_beside_their_like() {
        let text = table(&[&row(Machine::M4)]);
        let words: Vec<_> = text.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(words[3..], ["1000", "2070", "2.07", "2.07", "1.00"]);
        assert_eq!(row(Machine::M0).cmsis_nn(), Some(7.6));
        assert_eq!(row(Machine::Rv32).cmsis_nn(), None);
    }

    #[test]
    fn json_has_the_promised_names() {
        let text = json(&[row(Machine::M4), row(Machine::Rv32)]);
        assert_eq!(
            text.lines().nth(1),
            Some(
                "  {\"target\": \"m4\", \"kernel\": \"conv1x1\", \"shape\": \"14x14x64->32\", \
                 \"layout\": \"direct\", \"macs\": 1000, \"instructions\": 2070, \
                 \"instructions_per_mac\": 2.0700},"
            )
        );
    }
}
