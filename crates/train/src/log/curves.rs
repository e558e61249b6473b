//! The curves of a run: loss, Dice and learning rate against the epoch, as a PNG and as SVG.

use std::error::Error as StdError;
use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;
use unet3p_data::{Picture, default_color};

use super::table::Table;
use crate::{Error, Result};

/// The picture's name in the run folder.
pub(crate) const FILE_NAME: &str = "progress.png";

/// Width and height in pixels.
const SIZE: (u32, u32) = (1000, 1080);
/// The PNG is drawn this many times as large and reduced: smooth lines.
const OVERSAMPLING: u32 = 2;

/// DejaVu Sans: see `assets/LICENSE`.
const FONT: &[u8] = include_bytes!("../../assets/DejaVuSans.ttf");
/// The font's name: a browser that shows the SVG takes its own.
const FAMILY: &str = "sans-serif";

const INK: RGBColor = RGBColor(51, 51, 51);
const GRID: RGBColor = RGBColor(228, 228, 228);
const BLUE: RGBColor = RGBColor(31, 119, 180);
const RED: RGBColor = RGBColor(214, 72, 56);

/// Axes and what is drawn over the epochs.
struct Panel {
    title: &'static str,
    legend: SeriesLabelPosition,
    lines: Vec<Line>,
}

struct Line {
    label: String,
    color: RGBColor,
    /// Epoch and value.
    points: Vec<(f64, f64)>,
}

/// Draws the curves of a table into the run folder.
pub(crate) fn write_png(table: &Table, class_names: &[String], run_dir: &Path) -> Result<()> {
    let (width, height) = (SIZE.0 * OVERSAMPLING, SIZE.1 * OVERSAMPLING);
    let mut buffer = vec![0; (width * height * 3) as usize];
    let drawn = {
        let area = BitMapBackend::with_buffer(&mut buffer, (width, height)).into_drawing_area();
        draw(&area, &panels(table, class_names), OVERSAMPLING)
    };
    let path = run_dir.join(FILE_NAME);
    drawn.map_err(|e| cannot_draw(&path, e.as_ref()))?;
    Ok(reduced(&buffer, width as usize, OVERSAMPLING as usize).write_png(&path)?)
}

/// The curves of a table as SVG.
pub(crate) fn svg(table: &Table, class_names: &[String], path: &Path) -> Result<String> {
    let mut text = String::new();
    let drawn = {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        draw(&area, &panels(table, class_names), 1)
    };
    drawn.map_err(|e| cannot_draw(path, e.as_ref()))?;
    Ok(text)
}

/// Drawing in memory does not fail; plotters' signatures allow for other targets.
fn cannot_draw(path: &Path, error: &dyn StdError) -> Error {
    Error::io(path, "draw", std::io::Error::other(error.to_string()))
}

fn panels(table: &Table, class_names: &[String]) -> [Panel; 3] {
    let line = |label: &str, column: &str, color| Line {
        label: label.to_string(),
        color,
        points: table.curve(column),
    };
    let mut dice = vec![line("mean", "dice", INK)];
    // The mean of one class is the class.
    if class_names.len() > 1 {
        for (id, name) in (1..=u8::MAX).zip(class_names) {
            let [r, g, b] = default_color(id);
            dice.push(line(name, &format!("dice_{name}"), RGBColor(r, g, b)));
        }
    }
    let loss = vec![line("training", "loss", BLUE), line("validation", "validation_loss", RED)];
    let rate = vec![line("learning rate", "learning_rate", BLUE)];
    [
        Panel { title: "Loss", legend: SeriesLabelPosition::UpperRight, lines: loss },
        Panel { title: "Validation Dice", legend: SeriesLabelPosition::LowerRight, lines: dice },
        Panel { title: "Learning rate", legend: SeriesLabelPosition::UpperRight, lines: rate },
    ]
}

/// Draws panels below each other, everything `scale` times as large as in [`SIZE`].
fn draw<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    panels: &[Panel],
    scale: u32,
) -> std::result::Result<(), Box<dyn StdError>>
where
    DB::ErrorType: 'static,
{
    register_font(FAMILY, FontStyle::Normal, FONT).map_err(|_| "the font cannot be read")?;
    area.fill(&WHITE)?;
    let points = panels.iter().flat_map(|panel| &panel.lines).flat_map(|line| &line.points);
    let epochs = points.map(|&(epoch, _)| epoch).fold(1.0, f64::max);
    for (area, panel) in area.split_evenly((panels.len(), 1)).iter().zip(panels) {
        panel.draw(area, epochs, scale)?;
    }
    Ok(area.present()?)
}

impl Panel {
    fn draw<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, Shift>,
        epochs: f64,
        scale: u32,
    ) -> std::result::Result<(), Box<dyn StdError>>
    where
        DB::ErrorType: 'static,
    {
        let font = |size: u32| (FAMILY, size * scale).into_font().color(&INK);
        let lines: Vec<&Line> = self.lines.iter().filter(|line| !line.points.is_empty()).collect();
        let values = padded(lines.iter().flat_map(|line| line.points.iter().map(|&(_, value)| value)));
        let mut chart = ChartBuilder::on(area)
            .margin(12 * scale)
            .margin_right(24 * scale)
            .caption(self.title, font(20))
            .x_label_area_size(44 * scale)
            .y_label_area_size(76 * scale)
            .build_cartesian_2d(0.0..epochs, values)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID.stroke_width(scale))
            .axis_style(GRID.stroke_width(scale))
            .x_labels((epochs as usize + 1).min(11))
            .y_labels(6)
            .set_all_tick_mark_size(6 * scale)
            .x_label_formatter(&|value| number(*value))
            .y_label_formatter(&|value| number(*value))
            .label_style(font(15))
            .axis_desc_style(font(15))
            .x_desc("epoch")
            .draw()?;
        for line in &lines {
            let style = line.color.filled().stroke_width(2 * scale);
            let legend =
                move |(x, y): (i32, i32)| PathElement::new([(x, y), (x + 18 * scale as i32, y)], style);
            // A line needs two points.
            let dot = if line.points.len() == 1 { 4 * scale } else { 0 };
            let series = LineSeries::new(line.points.iter().copied(), style).point_size(dot);
            chart.draw_series(series)?.label(line.label.clone()).legend(legend);
        }
        if self.lines.len() > 1 && !lines.is_empty() {
            chart
                .configure_series_labels()
                .position(self.legend.clone())
                .legend_area_size(26 * scale)
                .margin(8 * scale)
                .background_style(WHITE.mix(0.85))
                .border_style(GRID)
                .label_font(font(15))
                .draw()?;
        }
        Ok(())
    }
}

/// The range of values, and some room on both sides.
fn padded(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = values
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        return 0.0..1.0;
    }
    let room = if high > low { 0.0625 * (high - low) } else { 0.125 * low.abs().max(1e-3) };
    low - room..high + room
}

/// A number on an axis.
fn number(value: f64) -> String {
    let size = value.abs();
    if size > 0.0 && size < 1e-12 {
        // What rounding leaves of a 0 between the labels.
        return "0".into();
    }
    if size != 0.0 && !(1e-3..1e5).contains(&size) {
        let text = format!("{value:.2e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{exponent}", digits.trim_end_matches('0').trim_end_matches('.'));
    }
    let text = format!("{value:.5}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// A picture of RGB bytes, each `factor` x `factor` pixels averaged into one.
fn reduced(bytes: &[u8], width: usize, factor: usize) -> Picture {
    let rows = bytes.chunks_exact(width * 3 * factor);
    let height = rows.len();
    let mean = |rows: &[u8], x: usize| {
        [0, 1, 2].map(|c| {
            let sample =
                |i: usize| usize::from(rows[((i / factor) * width + x * factor + i % factor) * 3 + c]);
            let count = factor * factor;
            ((0..count).map(sample).sum::<usize>() / count) as u8
        })
    };
    let pixels = rows.flat_map(|rows| (0..width / factor).map(move |x| mean(rows, x))).collect();
    Picture { height, width: width / factor, pixels }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EpochReport, Validation, VolumeScore};

    /// A table of `epochs` epochs; losses fall, three classes of Dice rise.
    fn table(dir: &Path, names: &[String], epochs: usize) -> Table {
        let mut table = Table::open(dir, false, names, false, 0).unwrap();
        for epoch in 1..=epochs {
            let t = epoch as f64 / 10.0;
            let score = |class: u8| VolumeScore {
                group: "a".into(),
                class,
                dice: Some(1.0 - (-t / f64::from(class)).exp() * (1.0 + 0.1 * (3.0 * t).sin())),
                false_positives: 0,
            };
            let validation = Validation {
                scores: (1..=3).map(score).collect(),
                loss: 1.2 + (-t).exp() + 0.02 * t,
                presence_auc: None,
                seconds: 1.0,
            };
            table
                .add(&EpochReport {
                    epoch,
                    step: epoch,
                    loss: 1.0 + (-t).exp() + 0.05 * (5.0 * t).cos(),
                    gradient_norm: 1.0,
                    learning_rate: 5e-4 * (1.0 + (0.4 * t).cos()),
                    images_per_second: 1.0,
                    validation: epoch.is_multiple_of(2).then_some(validation),
                    is_best: false,
                })
                .unwrap();
        }
        table
    }

    #[test]
    fn curves_of_whatever_there_is() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["Leber".to_string(), "Nieren \u{1F480} <\u{4E2D}>".to_string(), "milt".to_string()];
        for epochs in [0, 1, 60] {
            let table = table(dir.path(), &names, epochs);
            write_png(&table, &names, dir.path()).unwrap();
            let picture = image::open(dir.path().join(FILE_NAME)).unwrap().to_rgb8();
            assert_eq!(picture.dimensions(), SIZE);
            let ink = picture.pixels().filter(|pixel| pixel.0 != [255; 3]).count();
            assert!(ink > 5000, "{epochs}: {ink}");
            let svg = svg(&table, &names, dir.path()).unwrap();
            assert!(svg.starts_with("<svg") && !svg.contains("<\u{4E2D}>"), "{svg}");
            assert_eq!(svg.contains("Nieren"), epochs > 1);
        }
    }

    #[test]
    fn numbers_of_an_axis() {
        assert_eq!(number(0.0), "0");
        assert_eq!(number(-2e-17), "0");
        assert_eq!(number(0.250), "0.25");
        assert_eq!(number(10.0), "10");
        assert_eq!(number(5e-4), "5e-4");
        assert_eq!(number(-1.05e6), "-1.05e6");
    }

    #[test]
    fn ranges_have_room_whatever_the_values() {
        assert_eq!(padded([1.0, 3.0].into_iter()), 0.875..3.125);
        assert_eq!(padded([2.0].into_iter()), 1.75..2.25);
        assert_eq!(padded(std::iter::empty()), 0.0..1.0);
        assert!(!padded([0.0].into_iter()).is_empty());
    }

    #[test]
    fn four_pixels_become_one() {
        let bytes: Vec<u8> = (0..2 * 4 * 3).collect();
        let picture = reduced(&bytes, 4, 2);
        assert_eq!((picture.height, picture.width), (1, 2));
        assert_eq!(picture.pixels, [[7, 8, 9], [13, 14, 15]]);
    }
}
