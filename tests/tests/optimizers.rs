//! Twenty steps of each optimizer against PyTorch's loss curves.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use unet3p_losses::{Bce, Target};
use unet3p_models::{UNet3Plus, UNet3PlusConfig, Variant};
use unet3p_train::{AdamOptions, Gradients, OptimizerConfig, SgdOptions};

/// Relative difference allowed for a loss on the way: rounding differences grow as the weights part.
const BUDGET: f64 = 1e-3;
const STEPS: usize = 20;

#[test]
fn loss_curves_equal_pytorch() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/optimizers/curves.safetensors");
    let golden = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
    let config =
        UNet3PlusConfig::builder().variant(Variant::DeepSupervision).base_filters(4).build().unwrap();
    let sgd = SgdOptions { momentum: 0.9, nesterov: true };
    for (name, optimizer, decay, learning_rate) in [
        ("adam", OptimizerConfig::Adam(AdamOptions::default()), 1e-2, 1e-3),
        ("adamw", OptimizerConfig::Adamw(AdamOptions::default()), 1e-1, 1e-3),
        ("sgd", OptimizerConfig::Sgd(sgd), 1e-2, 2e-3),
    ] {
        let initial = golden.iter().filter_map(|(name, tensor)| {
            Some((name.strip_prefix("model.")?.to_string(), tensor.copy().unwrap()))
        });
        let initial: HashMap<String, Tensor> = initial.collect();
        let model = UNet3Plus::from_tensors(&config, initial, DType::F32, &Device::Cpu).unwrap();
        let mut optimizer = optimizer.build(model.parameters().trainable(), decay).unwrap();
        let target = Target { classes: golden["target"].clone(), valid: None };
        let curve = golden[name].to_vec1::<f32>().unwrap();
        assert_eq!(curve.len(), STEPS);
        let mut worst = 0.0f64;
        for (step, want) in curve.into_iter().enumerate() {
            let output = model.forward_train(&golden["input"], &mut ChaCha8Rng::seed_from_u64(0)).unwrap();
            let losses = output.logits.iter().map(|logits| Bce::default().forward(logits, &target).unwrap());
            let loss = losses.reduce(|a, b| (a + b).unwrap()).unwrap();
            let (got, want) = (f64::from(loss.to_scalar::<f32>().unwrap()), f64::from(want));
            let error = (got - want).abs() / want;
            assert!(error <= BUDGET, "{name}, step {step}: {got} instead of {want}");
            worst = worst.max(error);
            let gradients = Gradients::take(loss.backward().unwrap(), optimizer.parameters()).unwrap();
            optimizer.step(&gradients, learning_rate, 1.0).unwrap();
        }
        println!("{name}: the losses differ by at most {worst:.1e}");
    }
}
