//! The loss over the steps of a run, as a picture: `loss.svg` beside
//! `metrics.csv`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use plotters::prelude::*;

use crate::output::Staged;

/// Pixels from left to right, and from top to bottom.
const SIZE: (u32, u32) = (640, 300);
/// Seen on white and on black paper.
const COLOUR: RGBColor = RGBColor(0, 114, 178);

/// Draws the curve of the run in a folder, where its metrics have a row.
///
/// # Errors
/// Where the metrics cannot be read or the curve cannot be written.
pub fn write_curve(run: &Path) -> Result<()> {
    let path = run.join("metrics.csv");
    let metrics =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let points = points(&metrics);
    if points.is_empty() {
        return Ok(());
    }
    let mut staged = Staged::default();
    staged.add(run.join("loss.svg"), curve(&points)?.as_bytes())?;
    staged.publish()
}

/// Step and loss of each row.
fn points(metrics: &str) -> Vec<(f64, f64)> {
    let rows = metrics.lines().skip(1);
    rows.filter_map(|row| {
        let mut cells = row.split(',').map(|cell| cell.parse::<f64>().ok());
        cells.next()?.zip(cells.next()?)
    })
    .collect()
}

/// A line from the first step to the last over losses from 0 on, on white: the
/// file has no page around it.
fn curve(points: &[(f64, f64)]) -> Result<String> {
    let last = points.iter().map(|&(step, _)| step).fold(1.0, f64::max);
    let most = points.iter().map(|&(_, loss)| loss).fold(1e-6, f64::max);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .margin_right(24)
            .x_label_area_size(34)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..last, 0.0..1.05 * most)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc("steps")
            .y_desc("loss")
            .x_label_formatter(&|step| format!("{step:.0}"))
            .label_style(("sans-serif", 12))
            .draw()
            .map_err(failed)?;
        let line = LineSeries::new(points.iter().copied(), COLOUR.stroke_width(2));
        chart.draw_series(line).map_err(failed)?;
        area.present().map_err(failed)?;
    }
    Ok(svg)
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw the loss: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "step,loss,gradient_norm,learning_rate,seconds\n\
        10,1.0,2.0,0.0001,1.5\n\
        20,0.5,2.0,0.0001,3.0\n\
        30,0.25,2.0,0.0001,4.5\n";

    #[test]
    fn the_line_falls_as_the_loss_does() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("metrics.csv"), METRICS).unwrap();
        write_curve(folder.path()).unwrap();
        let svg = fs::read_to_string(folder.path().join("loss.svg")).unwrap();
        assert!(
            svg.starts_with("<svg width=\"640\" height=\"300\""),
            "{svg}"
        );
        let line = svg.lines().find(|line| line.contains("#0072B2")).unwrap();
        let corners = line.split("points=\"").nth(1).unwrap();
        let corners = corners.split('"').next().unwrap().split_whitespace();
        let corners: Vec<(f64, f64)> = corners
            .map(|corner| {
                let (x, y) = corner.split_once(',').unwrap();
                (x.parse().unwrap(), y.parse().unwrap())
            })
            .collect();
        assert_eq!(corners.len(), 3, "{line}");
        for pair in corners.windows(2) {
            assert!(pair[0].0 < pair[1].0, "{line}");
            // From top to bottom.
            assert!(pair[0].1 < pair[1].1, "{line}");
        }
    }

    #[test]
    fn without_a_row_there_is_no_curve() {
        let folder = tempfile::tempdir().unwrap();
        let header = METRICS.lines().next().unwrap();
        fs::write(folder.path().join("metrics.csv"), header).unwrap();
        write_curve(folder.path()).unwrap();
        assert!(!folder.path().join("loss.svg").exists());
        let error = write_curve(Path::new("no/such/run")).unwrap_err();
        assert!(format!("{error:#}").contains("metrics.csv"));
    }
}
