//! One training step against the authors' PyTorch code: outputs, loss, every parameter's gradient, running
//! statistics; on the CPU kernels and on Candle's operations, which GPUs run.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use unet3p_convert::names::{Naming, TensorSpec, infer_architecture, tensor_specs};
use unet3p_convert::pytorch::read_state_dict;
use unet3p_core::Backend;
use unet3p_models::{UNet3Plus, UNet3PlusConfig};
use unet3p_tests::{OUTPUT_BUDGET, device_of, load_golden, relative_error};

/// Relative L2 error allowed for a gradient: it has passed the network twice.
const GRADIENT_BUDGET: f64 = 1e-4;
/// Norm allowed for the gradient of a bias that batch normalisation cancels, relative to the gradient of the
/// same convolution's weight: exactly 0 on paper, rounding in practice.
const CANCELLED_BUDGET: f64 = 1e-5;

/// On a GPU f64: f32 adds up in another order there, and of the golden step's values the nearest is 4e-8 away from its
/// ReLU's kink. On the other side of it a pixel's gradient differs as a whole, which says nothing about the formulas.
fn precision_on(device: &Device) -> DType {
    if device.is_cpu() { DType::F32 } else { DType::F64 }
}

fn golden(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "golden", "zju", name].iter().collect()
}

fn load(name: &str, backend: Backend) -> (UNet3Plus, Vec<TensorSpec>) {
    let tensors = read_state_dict(&golden(&format!("{name}.pth"))).unwrap();
    let architecture = infer_architecture(
        Naming::Authors,
        &tensors.iter().map(|(name, tensor)| (name.clone(), tensor.dims().to_vec())).collect(),
    )
    .unwrap();
    let config = UNet3PlusConfig::builder()
        .variant(architecture.variant)
        .in_channels(architecture.in_channels)
        .num_classes(architecture.num_classes)
        .filters(architecture.filters.clone())
        .build()
        .unwrap();
    let device = device_of(backend);
    let specs = tensor_specs(Naming::Authors, &architecture);
    let named: HashMap<_, _> =
        specs.iter().map(|spec| (spec.name.clone(), tensors[&spec.source].clone())).collect();
    let model = UNet3Plus::from_tensors(&config, named, precision_on(&device), &device).unwrap();
    (model.with_backend(backend), specs)
}

/// Mean binary cross-entropy with logits, `max(x, 0) - x t + ln(1 + exp(-|x|))`.
fn binary_cross_entropy(logits: &Tensor, target: &Tensor) -> Tensor {
    let positive = ((logits + logits.abs().unwrap()).unwrap() / 2.0).unwrap();
    let softplus = (logits.abs().unwrap().neg().unwrap().exp().unwrap() + 1.0).unwrap().log().unwrap();
    ((positive - (logits * target).unwrap()).unwrap() + softplus).unwrap().mean_all().unwrap()
}

fn norm(tensor: &Tensor) -> f64 {
    tensor.to_dtype(DType::F64).unwrap().sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap().sqrt()
}

fn step(name: &str, backend: Backend) {
    let (model, specs) = load(name, backend);
    let device = device_of(backend);
    let io = load_golden(golden(&format!("{name}_io.safetensors")), precision_on(&device), &device);
    let output = model.forward_train(&io["input"]).unwrap();
    let mut loss = Tensor::zeros((), precision_on(&device), &device).unwrap();
    for (i, logits) in output.heads.iter().enumerate() {
        let probabilities = unet3p_tests::sigmoid(logits);
        let error = relative_error(&probabilities, &io[&format!("train_output_{}", i + 1)]);
        assert!(error <= OUTPUT_BUDGET, "output {}: {error:e}", i + 1);
        loss = (loss + binary_cross_entropy(logits, &io["target"])).unwrap();
    }
    let error = relative_error(&loss.reshape(1).unwrap(), &io["train_loss"]);
    assert!(error <= OUTPUT_BUDGET, "loss: {error:e}");

    let gradients = loss.backward().unwrap();
    let parameters: HashMap<_, _> = model.parameters().all().into_iter().collect();
    let source: HashMap<&str, &str> = specs.iter().map(|s| (s.name.as_str(), s.source.as_str())).collect();
    let (mut compared, mut worst) = (0, 0.0f64);
    for spec in &specs {
        let variable = &parameters[&spec.name];
        if spec.name.contains(".running_") {
            let error = relative_error(variable.as_tensor(), &io[&format!("after_step.{}", spec.source)]);
            assert!(error <= OUTPUT_BUDGET, "{}: {error:e}", spec.name);
            continue;
        }
        let gradient = gradients.get(variable.as_tensor()).expect("every parameter has a gradient");
        compared += 1;
        let cancelled = spec.name.ends_with(".bias") && spec.name.contains("conv");
        if cancelled {
            let weight = spec.name.replace(".bias", ".weight");
            let weight = norm(&io[&format!("grad.{}", source[weight.as_str()])]);
            assert!(norm(gradient) <= CANCELLED_BUDGET * weight, "{}: {:e}", spec.name, norm(gradient));
        } else {
            let error = relative_error(gradient, &io[&format!("grad.{}", spec.source)]);
            assert!(error <= GRADIENT_BUDGET, "{}: {error:e}", spec.name);
            worst = worst.max(error);
        }
    }
    assert_eq!(compared, model.parameters().trainable().len());
    println!("{name} on {backend:?}: {compared} gradients, the worst off by {worst:.1e}");
}

#[test]
fn base_on_kernels() {
    step("base", Backend::Kernels);
}

#[test]
fn base_on_candle() {
    step("base", Backend::Candle);
}

#[test]
fn deep_supervision_on_kernels() {
    step("deep_supervision", Backend::Kernels);
}

#[test]
fn deep_supervision_on_candle() {
    step("deep_supervision", Backend::Candle);
}
