//! Three panels side by side, the picture of the README: the slice, the model's mask on it, the label on it.
//!
//! `cargo run --release -p unet3p --example compare_picture -- SLICE.png LABEL.png OUT.png`

use std::path::Path;

use unet3p::Segmenter;
use unet3p::data::{LabelMap, Picture, default_color, read_mask};

/// White columns between the panels.
const GAP: usize = 8;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let paths: Vec<_> = std::env::args().skip(1).collect();
    let [image, label, out] = paths.as_slice() else {
        return Err("usage: compare_picture SLICE.png LABEL.png OUT.png".into());
    };
    let found = Segmenter::from_pretrained("liver-ct")?.segment(image)?;
    let label = read_mask(Path::new(label))?;
    let palette = [[0; 3], default_color(1)];
    let nothing = LabelMap::empty(found.mask.height, found.mask.width);
    let panels = [&nothing, &found.mask, &label].map(|mask| found.picture().overlay(mask, &palette));
    let [slice, ours, reference] = panels;
    beside(&[slice?, ours?, reference?]).write_png(Path::new(out))?;
    println!("Dice with the label: {:.3}", dice(&found.mask.data, &label.data));
    Ok(())
}

/// Pictures of one height in a row.
fn beside(panels: &[Picture]) -> Picture {
    let height = panels[0].height;
    let width = panels.iter().map(|panel| panel.width + GAP).sum::<usize>() - GAP;
    let mut pixels = vec![[255; 3]; height * width];
    let mut left = 0;
    for panel in panels {
        for (row, line) in panel.pixels.chunks_exact(panel.width).enumerate() {
            pixels[row * width + left..][..panel.width].copy_from_slice(line);
        }
        left += panel.width + GAP;
    }
    Picture { height, width, pixels }
}

/// 2 |P and R| / (|P| + |R|) of the pixels that are not 0.
fn dice(prediction: &[u8], reference: &[u8]) -> f64 {
    let count = |ids: &[u8]| ids.iter().filter(|&&id| id > 0).count();
    let both = prediction.iter().zip(reference).filter(|&(&p, &r)| p > 0 && r > 0).count();
    2.0 * both as f64 / (count(prediction) + count(reference)) as f64
}
