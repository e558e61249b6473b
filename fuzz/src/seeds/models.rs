//! A network of few parameters, its configuration, and arrays.

use std::fs;
use std::path::Path;

use candle_core::{DType, Device};
use unet3p::write_npy;
use unet3p_data::Preprocessor;
use unet3p_models::{Activation, UNet3Plus, UNet3PlusConfig, Variant};

use super::{Seed, seed};

/// The smallest network there is.
pub fn network(variant: Variant) -> UNet3Plus {
    let config = UNet3PlusConfig::builder().variant(variant).in_channels(1).filters([1; 5]).build();
    UNet3Plus::init(&config.expect("a sound configuration"), 1, DType::F32, &Device::Cpu).expect("a network")
}

/// Writes a model folder.
pub fn save(folder: &Path) {
    network(Variant::Base).save(folder, DType::F32).expect("a model folder");
    let gray = Preprocessor { layout: unet3p_data::Layout::Gray, ..Preprocessor::default() };
    gray.save(folder).expect("a model folder");
}

/// Weights in each number format.
pub fn weights() -> Vec<Seed> {
    let formats = [
        ("f32", Variant::Base, DType::F32),
        ("f16", Variant::DeepSupervision, DType::F16),
        ("bf16", Variant::DeepSupervisionCgm, DType::BF16),
    ];
    let saved = |(name, variant, dtype)| {
        let folder = tempfile::tempdir().expect("a folder");
        network(variant).save(folder.path(), dtype).expect("a model folder");
        let path = folder.path().join("model.safetensors");
        seed(&format!("{name}.safetensors"), fs::read(path).expect("the file just written"))
    };
    formats.into_iter().map(saved).collect()
}

/// Configurations with few and with many keys.
pub fn configs() -> Vec<Seed> {
    let full = UNet3PlusConfig::builder()
        .variant(Variant::DeepSupervision)
        .filters([4, 8, 16, 32, 64])
        .num_classes(3)
        .activation(Activation::Softmax)
        .label(1, "liver", [255, 0, 0])
        .label(2, "tumour", [0, 255, 0])
        .build();
    let json = |config: UNet3PlusConfig| config.to_json().expect("a sound configuration");
    vec![
        seed("small.json", json(network(Variant::Base).config().clone())),
        seed("gate.json", json(network(Variant::DeepSupervisionCgm).config().clone())),
        seed("full.json", json(full.expect("a sound configuration"))),
        seed("resnet.json", r#"{"model_type": "unet3plus", "encoder": "resnet34", "in_channels": 3}"#),
    ]
}

/// Arrays of one to four axes.
pub fn arrays() -> Vec<Seed> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.npy");
    let written = |shape: &[usize]| {
        let values: Vec<f32> = (0..shape.iter().product()).map(|i| i as f32 - 2.5).collect();
        write_npy(&path, shape, &values).expect("an array");
        seed(&format!("axes_{}.npy", shape.len()), fs::read(&path).expect("the file just written"))
    };
    [&[][..], &[6], &[3, 4, 5], &[2, 3, 2, 2]].map(written).into()
}
