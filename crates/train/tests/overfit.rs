//! A network of each variant learns one batch by heart.
#![allow(missing_docs, clippy::unwrap_used)] // a test fails by panicking

use std::path::Path;

use image::{GrayImage, Luma, Rgb, RgbImage};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unet3p_tests::device;
use unet3p_train::{Event, TrainConfig, Trainer};

/// Dice that the batch must be known to.
const DICE: f64 = 0.99;
const SIDE: u32 = 48;

/// The same four slices twice, as the volume that is trained on and the one that is validated on: rectangles and
/// discs in noise, and a slice without any.
fn write_batch(dir: &Path) {
    for folder in ["images", "masks"] {
        std::fs::create_dir_all(dir.join(folder)).unwrap();
    }
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let mut slices = Vec::new();
    for i in 0..4 {
        let (cy, cx) = (rng.random_range(16.0..32.0), rng.random_range(16.0..32.0));
        let size: f64 = rng.random_range(7.0..12.0);
        let inside = |x: u32, y: u32| {
            let (dy, dx) = ((f64::from(y) - cy).abs(), (f64::from(x) - cx).abs());
            match i {
                0 | 1 => dy.hypot(dx) < size,
                2 => dy.max(dx) < size,
                _ => false,
            }
        };
        let mut noise = || rng.random_range(0..90u8);
        let image = RgbImage::from_fn(SIDE, SIDE, |x, y| {
            let base = if inside(x, y) { 110 } else { 60 };
            Rgb([base + noise(), base + noise(), base + noise()])
        });
        let mask = GrayImage::from_fn(SIDE, SIDE, |x, y| Luma([u8::from(inside(x, y))]));
        for volume in ["learnt", "asked"] {
            let name = format!("{volume}_{i}");
            image.save(dir.join(format!("images/{name}.png"))).unwrap();
            mask.save(dir.join(format!("masks/{name}.png"))).unwrap();
            slices.push(format!(r#"{{"name": "{name}", "volume": "{volume}"}}"#));
        }
    }
    std::fs::write(dir.join("dataset.json"), format!(r#"{{"slices": [{}]}}"#, slices.join(","))).unwrap();
}

#[test]
fn every_variant_learns_one_batch_by_heart() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    write_batch(&data);
    for variant in ["base", "deep_supervision", "deep_supervision_cgm"] {
        let steps =
            ["rotation", "scale", "shift", "elastic", "brightness", "contrast", "gamma", "blur", "noise"];
        let still: String =
            steps.iter().map(|step| format!("[augmentation.{step}]\nprobability = 0.0\n")).collect();
        let text = format!(
            "[data]\npaths = [{:?}]\nvalidation_groups = [\"asked\"]\n\
             [model]\nvariant = {variant:?}\nfilters = [8, 16, 16, 16, 32]\n\
             [train]\nsteps = 150\nbatch_size = 4\nlearning_rate = 0.005\nwarm_up = 10\nweight_decay = 0.0\n\
             ema_decay = 0.9\nstatistics_batches = 4\nvalidate_every = 150\nseed = 1\n{still}",
            data.display().to_string()
        );
        let config = TrainConfig::from_toml(&text, &[]).unwrap();
        let mut trainer = Trainer::new(config, dir.path().join(variant), device()).unwrap();
        let mut validation = None;
        let watch = &mut |event: &Event| {
            if let Event::Epoch(epoch) = event {
                validation = epoch.validation.clone();
            }
        };
        trainer.run(watch).unwrap();
        let validation = validation.unwrap();
        let dice = validation.mean_dice().unwrap();
        println!("{variant}: Dice {dice:.4}");
        assert!(dice >= DICE, "{variant}: Dice {dice}");
        assert_eq!(validation.class_false_positives(1), 0, "{variant}");
    }
}
