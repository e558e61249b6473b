//! A training step in f32, on blocked maps or on a GPU, against the same network in f64 on the CPU, which runs operation
//! by operation: outputs, gradients of all parameters and running statistics, in every variant.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::collections::HashMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unet3p_core::Backend;
use unet3p_models::{Encoder, Logits, UNet3Plus, UNet3PlusConfig, Variant};
use unet3p_tests::{device, device_of};

/// Relative L2 error allowed for logits and statistics: rounding through some twenty layers.
const OUTPUT_BUDGET: f64 = 1e-5;
/// For gradients, which pass the network twice. The seeds are such that no value lies so close to a ReLU's kink that the
/// two precisions fall on different sides of it.
const GRADIENT_BUDGET: f64 = 1e-4;
/// For what is 0 on paper, a bias before batch normalisation: its norm in f64.
const CANCELLED: f64 = 1e-9;
/// For the same in f32, added up pixel by pixel as on a GPU: relative to the gradient of the convolution's weight.
const CANCELLED_IN_SUMS: f64 = 1e-5;

fn noise(rng: &mut ChaCha8Rng, shape: &[usize]) -> Tensor {
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn norm(tensor: &Tensor) -> f64 {
    let squares = tensor.to_dtype(DType::F64).unwrap().sqr().unwrap();
    squares.sum_all().unwrap().to_scalar::<f64>().unwrap().sqrt()
}

#[track_caller]
fn assert_close(what: &str, got: &Tensor, want: &Tensor, budget: f64) {
    let here = |x: &Tensor| x.to_device(&Device::Cpu).unwrap().to_dtype(DType::F64).unwrap();
    let difference = (here(got) - here(want)).unwrap();
    let error = norm(&difference) / norm(want);
    assert!(error <= budget, "{what}: relative error {error:e}");
}

/// A random projection of everything that a step gives.
fn loss(output: &Logits, seed: u64) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let device = output.heads[0].device();
    let mut total = Tensor::zeros((), DType::F64, device).unwrap();
    for part in output.heads.iter().chain(&output.presence) {
        let weights = noise(&mut rng, part.dims()).to_device(device).unwrap();
        let part = part.to_dtype(DType::F64).unwrap();
        total = (total + (part * weights).unwrap().mean_all().unwrap()).unwrap();
    }
    total
}

fn step(
    config: &UNet3PlusConfig,
    x: &Tensor,
    dtype: DType,
    device: &Device,
) -> (UNet3Plus, Logits, GradStore) {
    let model = UNet3Plus::init(config, 3, dtype, device).unwrap().with_seed(1);
    let x = x.to_dtype(dtype).unwrap().to_device(device).unwrap();
    let output = model.forward_train(&x).unwrap();
    let gradients = loss(&output, 2).backward().unwrap();
    (model, output, gradients)
}

#[track_caller]
fn compare(variant: Variant, filters: usize, classes: usize, size: [usize; 4], seed: u64) {
    let config = UNet3PlusConfig::builder().variant(variant).num_classes(classes).base_filters(filters);
    compare_config(&config.in_channels(size[1]).build().unwrap(), size, seed);
}

#[track_caller]
fn compare_config(config: &UNet3PlusConfig, size: [usize; 4], seed: u64) {
    let x = noise(&mut ChaCha8Rng::seed_from_u64(seed), &size);
    let (model, output, gradients) = step(config, &x, DType::F32, &device());
    let (reference, want, wanted) = step(config, &x, DType::F64, &Device::Cpu);
    for (i, (got, want)) in output.heads.iter().zip(&want.heads).enumerate() {
        assert_close(&format!("head {}", i + 1), got, want, OUTPUT_BUDGET);
    }
    assert_eq!(output.presence.is_some(), want.presence.is_some());
    if let (Some(got), Some(want)) = (&output.presence, &want.presence) {
        assert_close("presence", got, want, OUTPUT_BUDGET);
    }
    let reference: HashMap<_, _> = reference.parameters().all().into_iter().collect();
    for (name, variable) in model.parameters().buffers() {
        assert_close(&name, variable.as_tensor(), reference[&name].as_tensor(), OUTPUT_BUDGET);
    }
    for (name, variable) in model.parameters().trainable() {
        let got = gradients.get(variable.as_tensor()).unwrap_or_else(|| panic!("{name} has a gradient"));
        let want = wanted.get(reference[&name].as_tensor()).unwrap();
        if norm(want) > CANCELLED {
            assert_close(&name, got, want, GRADIENT_BUDGET);
        } else if device().is_cpu() {
            assert!(norm(got) <= CANCELLED, "{name}: {:e}", norm(got));
        } else {
            let weight = reference[&name.replace(".bias", ".weight")].as_tensor();
            let scale = norm(wanted.get(weight).unwrap());
            assert!(norm(got) <= CANCELLED_IN_SUMS * scale, "{name}: {:e} of {scale:e}", norm(got));
        }
    }
}

#[test]
fn base_with_channels_that_fill_no_block() {
    compare(Variant::Base, 4, 3, [2, 1, 16, 32], 1);
}

#[test]
fn deep_supervision_with_winograd() {
    compare(Variant::DeepSupervision, 16, 1, [2, 3, 48, 32], 2);
}

#[test]
fn deep_supervision_of_several_classes() {
    compare(Variant::DeepSupervision, 6, 5, [3, 3, 32, 32], 1);
}

#[test]
fn classification_guided() {
    compare(Variant::DeepSupervisionCgm, 5, 1, [2, 3, 32, 32], 1);
}

#[test]
fn other_depths_and_many_channels() {
    for variant in [Variant::Base, Variant::DeepSupervision, Variant::DeepSupervisionCgm] {
        for filters in [vec![4, 8, 16, 20], vec![4, 6, 8], vec![2, 4, 4, 8, 8, 16]] {
            let config = UNet3PlusConfig::builder().variant(variant).filters(filters).in_channels(4);
            compare_config(&config.build().unwrap(), [2, 4, 64, 32], 2);
        }
    }
    let config = UNet3PlusConfig::builder().filters([4, 8, 8]).in_channels(64).build().unwrap();
    compare_config(&config, [1, 64, 16, 16], 1);
}

#[test]
fn other_encoders() {
    for (encoder, side, seed) in [(Encoder::Vgg11Bn, 32, 1), (Encoder::Resnet34, 64, 6)] {
        let config = UNet3PlusConfig::builder().encoder(encoder).base_filters(4);
        let config = config.variant(Variant::DeepSupervision).build().unwrap();
        compare_config(&config, [2, 3, side, side], seed);
    }
}

/// Fifty layers in f32 differ from f64 by more than a budget tells; in f64 the two implementations of every operation do
/// not.
#[test]
fn a_deep_encoder_in_f64_on_both_implementations() {
    let config = UNet3PlusConfig::builder().encoder(Encoder::Resnet50).base_filters(4).build().unwrap();
    let x = noise(&mut ChaCha8Rng::seed_from_u64(1), &[2, 3, 64, 64]);
    let [one, two] = [Backend::Kernels, Backend::Candle].map(|backend| {
        let device = device_of(backend);
        let model = UNet3Plus::init(&config, 3, DType::F64, &device).unwrap();
        let model = model.with_backend(backend);
        let output = model.forward_train(&x.to_device(&device).unwrap()).unwrap();
        let gradients = loss(&output, 2).backward().unwrap();
        (model, output, gradients)
    });
    // rounding, through fifty normalisations that magnify it
    let budget = 1e-8;
    assert_close("head 1", &one.1.heads[0], &two.1.heads[0], budget);
    let reference: HashMap<_, _> = two.0.parameters().all().into_iter().collect();
    for (name, variable) in one.0.parameters().trainable() {
        let want = two.2.get(reference[&name].as_tensor()).unwrap();
        if norm(want) > CANCELLED {
            assert_close(&name, one.2.get(variable.as_tensor()).unwrap(), want, budget);
        }
    }
}

/// Memory of one step serves the next, of any size, and nothing of it shows.
#[test]
fn a_second_step_is_as_the_first() {
    let config = UNet3PlusConfig::builder().base_filters(4).build().unwrap();
    let model = UNet3Plus::init(&config, 3, DType::F32, &Device::Cpu).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let [small, large] =
        [16, 32].map(|side| noise(&mut rng, &[2, 3, side, side]).to_dtype(DType::F32).unwrap());
    let run = |x: &Tensor| {
        let output = model.forward_train(x).unwrap();
        let gradients = loss(&output, 2).backward().unwrap();
        let (_, first) = &model.parameters().trainable()[0];
        let gradient = gradients.get(first.as_tensor()).unwrap().flatten_all().unwrap();
        (output.heads[0].flatten_all().unwrap().to_vec1::<f32>().unwrap(), gradient.to_vec1::<f32>().unwrap())
    };
    let first = run(&small);
    assert_eq!(run(&small), first);
    run(&large);
    assert_eq!(run(&small), first);
}

/// The maps are given back on the way: a second way back has nothing to go on, and says so.
#[test]
fn a_pass_goes_backward_once() {
    let config = UNet3PlusConfig::builder().base_filters(4).build().unwrap();
    let model = UNet3Plus::init(&config, 3, DType::F32, &Device::Cpu).unwrap();
    let x = noise(&mut ChaCha8Rng::seed_from_u64(5), &[1, 3, 16, 16]).to_dtype(DType::F32).unwrap();
    let loss = loss(&model.forward_train(&x).unwrap(), 2);
    loss.backward().unwrap();
    let error = loss.backward().unwrap_err().to_string();
    assert!(error.contains("backward once"), "{error}");
}
