//! A small dataset, a configuration for it, and a run of it.
// Each test file uses some of it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

use candle_core::Device;
use image::{GrayImage, Luma, Rgb, RgbImage};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unet3p_train::{EpochReport, Event, Summary, TrainConfig, Trainer};

/// Noisy slices of two volumes, 8 each, 32 x 32, three quarters of them with a bright disc.
pub(crate) fn write_discs(dir: &Path) {
    for folder in ["images", "masks"] {
        std::fs::create_dir_all(dir.join(folder)).unwrap();
    }
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut slices = Vec::new();
    for volume in ["a", "b"] {
        for i in 0..8 {
            let name = format!("{volume}_{i}");
            let (cy, cx) = (rng.random_range(10.0..22.0), rng.random_range(10.0..22.0));
            let radius: f64 = if i % 4 == 3 { -1.0 } else { rng.random_range(5.0..9.0) };
            let inside = |x: u32, y: u32| (f64::from(y) - cy).hypot(f64::from(x) - cx) < radius;
            let mut noise = || rng.random_range(0..40u8);
            let image = RgbImage::from_fn(32, 32, |x, y| {
                let base = if inside(x, y) { 150 } else { 60 };
                Rgb([base + noise(), base + noise(), base + noise()])
            });
            image.save(dir.join(format!("images/{name}.png"))).unwrap();
            let mask = GrayImage::from_fn(32, 32, |x, y| Luma([u8::from(inside(x, y))]));
            mask.save(dir.join(format!("masks/{name}.png"))).unwrap();
            slices.push(format!(r#"{{"name": "{name}", "volume": "{volume}"}}"#));
        }
    }
    std::fs::write(dir.join("dataset.json"), format!(r#"{{"slices": [{}]}}"#, slices.join(","))).unwrap();
}

pub(crate) fn config(data: &Path, overrides: &[&str]) -> TrainConfig {
    let text = format!(
        "[data]\npaths = [{:?}]\nvalidation_groups = [\"b\"]\nforeground_share = 0.75\n\
         [model]\nfilters = [4, 8, 16, 32, 64]\n\
         [train]\nsteps = 40\nlearning_rate = 0.01\nwarm_up = 5\nema_decay = 0.9\nstatistics_batches = 4\n\
         validate_every = 5\nseed = 3\n\
         [augmentation.elastic]\nmagnitude = 1.0\nspacing = 12.0\n",
        data.display().to_string()
    );
    let overrides: Vec<String> = overrides.iter().map(|s| s.to_string()).collect();
    TrainConfig::from_toml(&text, &overrides).unwrap()
}

pub(crate) fn run(config: TrainConfig, dir: PathBuf) -> (Summary, Vec<EpochReport>) {
    let mut epochs = Vec::new();
    let mut trainer = Trainer::new(config, dir, Device::Cpu).unwrap();
    let watch = &mut |event: &Event| {
        if let Event::Epoch(report) = event {
            epochs.push(report.clone());
        }
    };
    (trainer.run(watch).unwrap(), epochs)
}
