//! Images in tiles: what equals the whole image's prediction, and that the gate is one for all tiles.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use candle_core::{DType, Tensor};
use unet3p::models::{CgmGate, CompileOptions, Predictor, Variant};
use unet3p::{Device, Image, Segmenter, UNet3Plus, UNet3PlusConfig};

/// Sums of weighted f32 values below 1, in another order.
const TOLERANCE: f32 = 1e-5;

const TILE: usize = 32;

type Weights = HashMap<String, Tensor>;

fn config(variant: Variant, gate: CgmGate) -> UNet3PlusConfig {
    UNet3PlusConfig::builder().variant(variant).in_channels(1).base_filters(4).cgm_gate(gate).build().unwrap()
}

fn weights(config: &UNet3PlusConfig) -> Weights {
    let model = UNet3Plus::init(config, 3, DType::F32, &Device::Cpu).unwrap();
    let all = model.parameters().all().into_iter();
    all.map(|(name, variable)| (name.to_string(), variable.as_detached_tensor())).collect()
}

fn segmenter(config: &UNet3PlusConfig, weights: Weights) -> Segmenter {
    let model = UNet3Plus::from_tensors(config, weights, DType::F32, &Device::Cpu).unwrap();
    Segmenter::new("test", model, None, &Device::Cpu).unwrap()
}

/// Nothing symmetric, and brighter to the right and downwards.
fn image(height: usize, width: usize) -> Image {
    let value = |i: usize| {
        let (y, x) = (i / width, i % width);
        ((i * i) % 101) as f32 / 50.0 - 1.0 + 3.0 * (y * x) as f32 / (height * width) as f32
    };
    Image::new(1, height, width, (0..height * width).map(value).collect()).unwrap()
}

/// The columns from `start` on, as many as a tile has.
fn part(image: &Image, start: usize) -> Image {
    let rows = image.data.chunks_exact(image.width);
    let data = rows.flat_map(|row| row[start..start + TILE].to_vec()).collect();
    Image::new(1, image.height, TILE, data).unwrap()
}

/// The margin of present over absent when an image is seen whole.
fn margin(config: &UNet3PlusConfig, weights: &Weights, image: &Image) -> f32 {
    let model = UNet3Plus::from_tensors(config, weights.clone(), DType::F32, &Device::Cpu).unwrap();
    let x = Tensor::from_slice(&image.data, (1, 1, image.height, image.width), &Device::Cpu).unwrap();
    let presence = model.predict_before_gate(&x, &[&[]]).unwrap().into_values().unwrap().presence.unwrap();
    presence[1] - presence[0]
}

#[test]
fn a_tile_as_large_as_the_image_changes_nothing() {
    let image = image(37, 50);
    for (variant, gate) in [
        (Variant::Base, CgmGate::Probabilities),
        (Variant::DeepSupervisionCgm, CgmGate::Probabilities),
        (Variant::DeepSupervisionCgm, CgmGate::Logits),
    ] {
        let config = config(variant, gate);
        let weights = weights(&config);
        for (flips, tta) in [(&[&[][..]][..], false), (&[&[], &[3], &[2], &[2, 3]], true)] {
            let model = UNet3Plus::from_tensors(&config, weights.clone(), DType::F32, &Device::Cpu).unwrap();
            let x = Tensor::from_slice(&image.data, (1, 1, 37, 50), &Device::Cpu).unwrap();
            // what the segmenter runs on a CPU
            let engine = model.compile(CompileOptions::default()).unwrap();
            let expected = engine.predict_flips(&x, flips).unwrap();
            let expected_values = expected.probabilities.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for tile in [None, Some(64), Some(1 << 20)] {
                let segmenter = segmenter(&config, weights.clone()).with_tta(tta).with_tile(tile).unwrap();
                let found = segmenter.segment_input(&image).unwrap();
                assert_eq!(found.probabilities.data, expected_values, "{variant} {tta} {tile:?}");
                let presence = expected.presence.as_ref().map(|p| p.to_vec2::<f32>().unwrap()[0][1]);
                assert_eq!(found.presence, presence);
            }
        }
    }
}

#[test]
fn tiles_give_masks_of_the_images_size() {
    let config = config(Variant::Base, CgmGate::Probabilities);
    for (height, width) in [(1, 70), (31, 33), (32, 32), (33, 80)] {
        let image = image(height, width);
        for tta in [false, true] {
            let segmenter = segmenter(&config, weights(&config)).with_tta(tta).with_tile(Some(TILE)).unwrap();
            let found = segmenter.segment_input(&image).unwrap();
            assert_eq!((found.mask.height, found.mask.width), (height, width));
            let probabilities = &found.probabilities;
            assert_eq!(
                (probabilities.channels, probabilities.height, probabilities.width),
                (1, height, width)
            );
            assert!(probabilities.data.iter().all(|p| (0.0..=1.0).contains(p)));
        }
    }
}

#[test]
fn one_gate_is_decided_from_the_tile_that_is_most_sure() {
    let image = image(TILE, 56);
    let gated = config(Variant::DeepSupervisionCgm, CgmGate::Probabilities);
    let open = config(Variant::DeepSupervision, CgmGate::Probabilities);
    let start = weights(&gated);
    let mut without_guide = start.clone();
    without_guide.retain(|name, _| !name.starts_with("cgm."));
    let tiled = |config: &UNet3PlusConfig, weights: Weights| {
        let segmenter = segmenter(config, weights).with_tile(Some(TILE)).unwrap();
        segmenter.segment_input(&image).unwrap()
    };
    let ungated = tiled(&open, without_guide);

    // Two tiles, the columns 0..32 and 24..56, whose margins differ: the bias is moved between them and below both.
    let margins = [0, 24].map(|column| margin(&gated, &start, &part(&image, column)));
    let (low, high) = (margins[0].min(margins[1]), margins[0].max(margins[1]));
    assert!(high - low > 1e-3, "the tiles must differ: {margins:?}");
    for (shift, present) in [((low + high) / 2.0, true), (high + 1.0, false)] {
        let mut moved = start.clone();
        let bias = Tensor::new(&[0.0, -shift], &Device::Cpu).unwrap();
        moved.insert("cgm.bias".into(), (&start["cgm.bias"] + bias).unwrap());
        let found = tiled(&gated, moved);
        assert_eq!(found.present, Some(present));
        let share = if present { 1.0 } else { 0.0 };
        for (got, ungated) in found.probabilities.data.iter().zip(&ungated.probabilities.data) {
            assert!((got - share * ungated).abs() < TOLERANCE, "{got} {ungated}");
        }
    }
}

#[test]
fn gated_logits_are_blended_as_logits() {
    let config = config(Variant::DeepSupervisionCgm, CgmGate::Logits);
    let mut weights = weights(&config);
    // No organ anywhere: the gate makes every logit 0.
    weights.insert("cgm.bias".into(), Tensor::new(&[1e3f32, 0.0], &Device::Cpu).unwrap());
    let segmenter = segmenter(&config, weights).with_tile(Some(TILE)).unwrap();
    let found = segmenter.segment_input(&image(40, 70)).unwrap();
    assert!(found.probabilities.data.iter().all(|&p| p == 0.5));
    assert_eq!(found.present, Some(false));
}

#[test]
fn a_side_that_is_no_multiple_of_16_is_refused_with_the_nearest() {
    let config = config(Variant::Base, CgmGate::Probabilities);
    let segmenter = segmenter(&config, weights(&config));
    let error = segmenter.with_tile(Some(500)).err().unwrap().to_string();
    assert!(error.contains("500") && error.contains("496 or 512"), "{error}");
}
