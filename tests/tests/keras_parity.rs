//! The Keras implementation's outputs from its own weights, every head and the guide's decision, on the CPU kernels
//! and on the composition that GPUs run.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use candle_core::{D, DType, Device, Tensor};
use unet3p_core::Execution;
use unet3p_models::{Activation, CgmGate, UNet3Plus, UNet3PlusConfig, Variant};
use unet3p_tests::{OUTPUT_BUDGET, keras, relative_error};

fn golden(file: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "golden", "keras", file].iter().collect()
}

fn config(variant: Variant) -> UNet3PlusConfig {
    let (classes, activation) = match variant {
        Variant::DeepSupervisionCgm => (1, Activation::Sigmoid),
        Variant::Base | Variant::DeepSupervision => (2, Activation::Softmax),
    };
    UNet3PlusConfig::builder()
        .variant(variant)
        .num_classes(classes)
        .filters([4, 8, 16, 32, 64])
        .activation(activation)
        .batch_norm_eps(1e-3)
        .cgm_gate(CgmGate::Logits)
        .build()
        .unwrap()
}

/// Keras has its channels last.
fn channels_first(x: &Tensor) -> Tensor {
    x.permute((0, 3, 1, 2)).unwrap().contiguous().unwrap()
}

fn predicts_as_keras(variant: Variant, execution: Execution) {
    let name = variant.to_string();
    let weights = keras::read_weights(&golden(&format!("{name}.hdf5")));
    let model = UNet3Plus::from_tensors(&config(variant), weights, DType::F32, &Device::Cpu).unwrap();
    let model = model.with_execution(execution).unwrap();
    let io = golden(&format!("{name}_io.safetensors"));
    let io = candle_core::safetensors::load(io, &Device::Cpu).unwrap();

    let output = model.forward_all(&channels_first(&io["input"])).unwrap();
    let heads = io.keys().filter(|key| key.starts_with("eval_output_")).count();
    assert_eq!(output.probabilities.len(), heads, "{name}");
    for (index, got) in output.probabilities.iter().enumerate() {
        let want = channels_first(&io[&format!("eval_output_{}", index + 1)]);
        let error = relative_error(got, &want);
        println!("{name}, {execution:?}, head {}: {error:.1e}", index + 1);
        assert!(error <= OUTPUT_BUDGET, "{name}, head {}: {error:e}", index + 1);
    }
    // The guide's decision is the larger of [absent, present].
    let decision =
        |presence: Tensor| presence.argmax_keepdim(D::Minus1).unwrap().to_dtype(DType::F32).unwrap();
    let got = output.presence.map(decision).map(|gate| gate.to_vec2::<f32>().unwrap());
    let want = io.get("cgm_class").map(|class| class.to_vec2::<f32>().unwrap());
    assert_eq!(got, want, "{name}");
}

#[test]
fn kernels_predict_as_keras() {
    for variant in [Variant::Base, Variant::DeepSupervision, Variant::DeepSupervisionCgm] {
        predicts_as_keras(variant, Execution::Kernels);
    }
}

#[test]
fn the_composition_predicts_as_keras() {
    for variant in [Variant::Base, Variant::DeepSupervision, Variant::DeepSupervisionCgm] {
        predicts_as_keras(variant, Execution::Composition);
    }
}
