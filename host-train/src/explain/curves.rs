//! Curves over the timesteps, as SVG in the colours of the page.

use anyhow::{Result, ensure};
use plotters::prelude::*;

use crate::evaluate::report::plot::{COLOURS, failed, flexible};

/// Pixels from left to right, and from top to bottom.
const SIZE: (u32, u32) = (480, 280);
/// Most points of a line: more would not be seen.
const POINTS: usize = 400;

/// A plot of one or more lines.
#[derive(Clone, Debug)]
pub struct Curves<'a> {
    /// What it shows, for the page and for errors; it is not in the SVG, which
    /// has no MathML.
    pub title: &'a str,
    /// Whether the timesteps are told apart by their ratio.
    pub log_x: bool,
    /// Whether the values are.
    pub log_y: bool,
    /// A name for the legend, and the value at each t.
    pub lines: Vec<(&'a str, Vec<(u16, f64)>)>,
}

impl Curves<'_> {
    /// Draws it. On a logarithmic axis, what is not above 0 is left out.
    ///
    /// # Errors
    /// Where no point is left, or plotters fails.
    pub fn draw(&self) -> Result<String> {
        let along = |value: f64, log: bool| if log { value.log10() } else { value };
        let lines: Vec<(&str, Vec<(f64, f64)>)> = self
            .lines
            .iter()
            .map(|(name, points)| {
                let thinner = points.len().div_ceil(POINTS).max(1);
                let last = points.len().saturating_sub(1);
                let kept = points.iter().enumerate();
                // The first of them are far apart on a logarithmic axis.
                let kept = kept.filter(|&(index, _)| {
                    index < POINTS / 4 || index % thinner == 0 || index == last
                });
                let points = kept
                    .map(|(_, &(t, value))| (along(t.into(), self.log_x), along(value, self.log_y)))
                    .filter(|(t, value)| t.is_finite() && value.is_finite());
                (*name, points.collect())
            })
            .collect();
        let all = lines.iter().flat_map(|(_, points)| points);
        let range = |values: &mut dyn Iterator<Item = f64>| {
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| {
                (a.min(v), b.max(v))
            })
        };
        let (left, right) = range(&mut all.clone().map(|point| point.0));
        let (least, most) = range(&mut all.map(|point| point.1));
        ensure!(left <= right, "there is nothing to draw of {}", self.title);
        let margin = 0.05 * (most - least).max(1e-3);
        let right = if right > left { right } else { left + 1.0 };

        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            let mut chart = ChartBuilder::on(&area)
                .margin(8)
                .margin_right(20)
                .x_label_area_size(34)
                .y_label_area_size(48)
                .build_cartesian_2d(left..right, least - margin..most + margin)
                .map_err(failed)?;
            chart
                .configure_mesh()
                .disable_x_mesh()
                .light_line_style(TRANSPARENT)
                .x_desc("t")
                .x_label_formatter(&|v| label(*v, self.log_x))
                .y_label_formatter(&|v| label(*v, self.log_y))
                .label_style(("sans-serif", 12))
                .draw()
                .map_err(failed)?;
            let named = lines.len() > 1;
            for ((name, points), colour) in lines.into_iter().zip(COLOURS.iter().cycle()) {
                let series = LineSeries::new(points, colour.stroke_width(2));
                let series = chart.draw_series(series).map_err(failed)?;
                if named {
                    series.label(name).legend(move |(x, y)| {
                        PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2))
                    });
                }
            }
            if named {
                chart
                    .configure_series_labels()
                    .position(SeriesLabelPosition::LowerRight)
                    .label_font(("sans-serif", 14))
                    .draw()
                    .map_err(failed)?;
            }
            area.present().map_err(failed)?;
        }
        Ok(flexible(&svg, SIZE))
    }
}

/// A number on an axis; on a logarithmic one, powers of ten alone.
fn label(value: f64, log: bool) -> String {
    if !log {
        let rounded = (value * 1e6).round() / 1e6;
        return format!("{rounded}");
    }
    if (value - value.round()).abs() > 1e-6 {
        return String::new();
    }
    match value.round() as i32 {
        power @ 0..=4 => format!("{}", 10_u32.pow(power.unsigned_abs())),
        power => {
            let raised = power.unsigned_abs().to_string();
            let digits = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
            let raised = raised.bytes().map(|b| digits[usize::from(b - b'0')]);
            let sign = if power < 0 { "⁻" } else { "" };
            format!("10{sign}{}", raised.collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curves(log: bool, points: Vec<(u16, f64)>) -> Curves<'static> {
        Curves {
            title: "alpha",
            log_x: log,
            log_y: log,
            lines: vec![("one", points.clone()), ("other", points)],
        }
    }

    #[test]
    fn lines_within_the_plot() {
        let points: Vec<(u16, f64)> = (1..=1000).map(|t| (t, 1e-4 * f64::from(t))).collect();
        for log in [false, true] {
            let svg = curves(log, points.clone()).draw().unwrap();
            assert!(svg.starts_with("<svg class=\"plot\" viewBox=\"0 0 480 280\""));
            for words in ["one", "other"] {
                assert!(svg.contains(words), "{words}");
            }
            assert!(!svg.contains("NaN") && !svg.contains("inf"));
        }
    }

    #[test]
    fn few_points_and_none() {
        for log in [false, true] {
            curves(log, vec![(1, 0.5)]).draw().unwrap();
            assert!(curves(log, vec![]).draw().is_err());
        }
        // A zero has no place on a logarithmic axis, an infinity on neither.
        curves(true, vec![(1, 0.0), (2, 0.5)]).draw().unwrap();
        curves(false, vec![(1, f64::INFINITY), (2, 0.5)])
            .draw()
            .unwrap();
        assert!(curves(true, vec![(1, 0.0)]).draw().is_err());
    }

    #[test]
    fn labels_people_can_read() {
        assert_eq!(label(0.1 + 0.2, false), "0.3");
        assert_eq!(label(-20.0, false), "-20");
        let powers = [(0.0, "1"), (3.0, "1000"), (-4.0, "10⁻⁴"), (-12.0, "10⁻¹²")];
        for (value, text) in powers {
            assert_eq!(label(value, true), text);
        }
        assert_eq!(label(-3.5, true), "");
    }
}
