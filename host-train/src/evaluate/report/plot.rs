//! Quality over the number of steps, as SVG.
//!
//! The colours of text and axes are left to the page's style sheet, which
//! knows whether the reader prefers light or dark.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

/// Pixels from left to right, and from top to bottom.
const SIZE: (u32, u32) = (640, 300);
/// A model's line: seen on black and on white, and told apart by those who
/// see few colours (Okabe & Ito 2008).
pub(crate) const COLOURS: [RGBColor; 2] = [RGBColor(0, 114, 178), RGBColor(213, 94, 0)];

/// A line of the plot.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// Its name in the legend.
    pub name: &'a str,
    /// Steps, and what was measured.
    pub points: Vec<(u16, f64)>,
}

/// A plot of lines over a logarithmic axis of steps; `level` is what real
/// pictures get, a dashed line across.
///
/// # Errors
/// Where there is no point, or plotters fails.
pub fn plot(title: &str, lines: &[Line<'_>], level: f64) -> Result<String> {
    let points = lines.iter().flat_map(|line| &line.points);
    let steps: Vec<u16> = points.clone().map(|&(steps, _)| steps).collect();
    let values = points.map(|&(_, value)| value).chain([level]);
    let (least, most) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| {
        (a.min(v), b.max(v))
    });
    let (Some(&first), Some(&last)) = (steps.iter().min(), steps.iter().max()) else {
        return Err(anyhow!("a plot without points"));
    };
    let margin = 0.06 * (most - least).max(1e-3);
    let (left, right) = (0.9 * f64::from(first), 1.1 * f64::from(last));

    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 16))
            .margin(8)
            .margin_right(24)
            .x_label_area_size(34)
            .y_label_area_size(56)
            .build_cartesian_2d((left..right).log_scale(), least - margin..most + margin)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc("steps")
            .x_label_formatter(&|steps| format!("{steps:.0}"))
            .label_style(("sans-serif", 12))
            .draw()
            .map_err(failed)?;
        let dashes = DashedLineSeries::new([(left, level), (right, level)], 6, 4, BLACK.into());
        chart
            .draw_series(dashes)
            .map_err(failed)?
            .label("real pictures")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], BLACK));
        for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
            let mut points: Vec<(f64, f64)> = line
                .points
                .iter()
                .map(|&(steps, value)| (f64::from(steps), value))
                .collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let series = LineSeries::new(points, colour.stroke_width(2)).point_size(3);
            chart
                .draw_series(series)
                .map_err(failed)?
                .label(line.name)
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2))
                });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::MiddleRight)
            .label_font(("sans-serif", 12))
            .draw()
            .map_err(failed)?;
        area.present().map_err(failed)?;
    }
    Ok(flexible(&svg, SIZE))
}

/// The same plot, as wide as the page: a fixed size would not fit a phone.
pub(crate) fn flexible(svg: &str, (width, height): (u32, u32)) -> String {
    let fixed = format!("width=\"{width}\" height=\"{height}\" viewBox");
    svg.replacen(&fixed, "class=\"plot\" viewBox", 1)
}

/// What plotters found wrong.
pub(crate) fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw the plot: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_for_each_measurement() {
        let lines = [("f32", 0.0), ("int8", 0.5)].map(|(name, more)| Line {
            name,
            points: vec![(1000, 1.0 + more), (5, 4.0 + more), (20, 2.0 + more)],
        });
        let svg = plot("Frechet distance", &lines, 0.3).unwrap();
        assert!(svg.starts_with("<svg class=\"plot\" viewBox=\"0 0 640 300\""));
        assert_eq!(svg.matches("<circle").count(), 6, "{svg}");
        for word in ["Frechet distance", "f32", "int8", "real pictures", "steps"] {
            assert!(svg.contains(word), "{word}: {svg}");
        }
    }

    #[test]
    fn one_point_is_a_plot_and_none_is_not() {
        let one = Line {
            name: "int8",
            points: vec![(20, 0.3)],
        };
        plot("", &[one], 0.3).unwrap();
        assert!(plot("", &[], 0.3).is_err());
    }
}
