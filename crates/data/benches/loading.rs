//! How many training samples a second one loading thread makes: `cargo bench -p unet3p-data`.
#![allow(clippy::unwrap_used)] // a benchmark fails by panicking

use std::path::Path;

use divan::counter::ItemsCount;
use image::{GrayImage, Luma, Rgb, RgbImage};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unet3p_data::{Augmentation, DatasetOptions, SliceDataset};

/// Sides of the slices.
const SIDES: [u32; 2] = [128, 320];

fn main() {
    divan::main();
}

/// Three noisy slices of a body with an organ as an RGB picture, its mask and its regions.
fn write(dir: &Path, side: u32) {
    for folder in ["images", "masks", "regions"] {
        std::fs::create_dir(dir.join(folder)).unwrap();
    }
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let within = |x: u32, y: u32, part: u32| {
        let distance = |v: u32| i64::from(v) - i64::from(side) / 2;
        distance(x).pow(2) + distance(y).pow(2) < i64::from(side * part / 100).pow(2)
    };
    let image = RgbImage::from_fn(side, side, |x, y| match (within(x, y, 45), within(x, y, 20)) {
        (false, _) => Rgb([0; 3]),
        (_, organ) => Rgb([0; 3].map(|_: u8| if organ { 150 } else { 110 } + rng.random_range(0..20u8))),
    });
    image.save(dir.join("images/a.png")).unwrap();
    let labels = |part| GrayImage::from_fn(side, side, |x, y| Luma([u8::from(within(x, y, part))]));
    labels(20).save(dir.join("masks/a.png")).unwrap();
    labels(45).save(dir.join("regions/a.png")).unwrap();
}

fn open(dir: &Path) -> SliceDataset {
    SliceDataset::open(&[dir.to_path_buf()], &DatasetOptions::default()).unwrap()
}

/// Image, mask and regions from their files: what a run does once for each slice, or each time where its slices do
/// not fit into the loader's memory.
#[divan::bench(args = SIDES)]
fn decode(bencher: divan::Bencher, side: u32) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), side);
    bencher
        .counter(ItemsCount::new(1usize))
        .with_inputs(|| open(dir.path()))
        .bench_values(|dataset| dataset.sample(0).unwrap());
}

/// A slice from memory, every change at its default, normalised.
#[divan::bench(args = SIDES)]
fn augment(bencher: divan::Bencher, side: u32) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), side);
    let (dataset, augmentation) = (open(dir.path()), Augmentation::default());
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| {
        let mut sample = dataset.sample(0).unwrap();
        augmentation.apply_to_size(&mut sample, [side as usize; 2], &mut rng);
        dataset.normalize(&mut sample.image);
        sample
    });
}
