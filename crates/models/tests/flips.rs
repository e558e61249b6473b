//! Averaging over flips: what is averaged, and that the gate is decided once.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use candle_core::{DType, Tensor};
use unet3p_models::{CgmGate, Predictor, UNet3Plus, UNet3PlusConfig, Variant};
use unet3p_tests::device;

const FLIPS: [&[usize]; 4] = [&[], &[3], &[2], &[2, 3]];

/// Sums of four f32 values below 1, in another order.
const TOLERANCE: f32 = 1e-5;

fn tensors(model: &UNet3Plus) -> HashMap<String, Tensor> {
    let all = model.parameters().all().into_iter();
    all.map(|(name, variable)| (name.to_string(), variable.as_detached_tensor())).collect()
}

fn build(config: &UNet3PlusConfig, tensors: HashMap<String, Tensor>) -> UNet3Plus {
    UNet3Plus::from_tensors(config, tensors, DType::F32, &device()).unwrap()
}

fn config(variant: Variant, gate: CgmGate) -> UNet3PlusConfig {
    UNet3PlusConfig::builder().variant(variant).in_channels(1).base_filters(4).cgm_gate(gate).build().unwrap()
}

/// Odd sides, which are padded, and nothing symmetric.
fn image() -> Tensor {
    let values: Vec<f32> = (0..37 * 50).map(|i| ((i * i) % 101) as f32 / 50.0 - 1.0).collect();
    Tensor::from_vec(values, (1, 1, 37, 50), &device()).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn logit(p: f32) -> f32 {
    (p / (1.0 - p)).ln()
}

/// The model, with the guide's bias moved so that by itself at least one flip has no organ, and their mean has.
fn torn(gate: CgmGate) -> UNet3Plus {
    let config = config(Variant::DeepSupervisionCgm, gate);
    let mut tensors = tensors(&UNet3Plus::init(&config, 3, DType::F32, &device()).unwrap());
    let model = build(&config, tensors.clone());
    let margins = FLIPS.map(|axes| {
        let output = model.predict(&image().flip(axes).unwrap().contiguous().unwrap()).unwrap();
        let presence = values(&output.presence.unwrap());
        logit(presence[1]) - logit(presence[0])
    });
    let lowest = margins.iter().copied().reduce(f32::min).unwrap();
    let mean = margins.iter().sum::<f32>() / 4.0;
    assert!(mean - lowest > 1e-3, "the flips must differ: {margins:?}");
    let shift = Tensor::new(&[0.0, -(lowest + mean) / 2.0], &device()).unwrap();
    let bias = (&tensors["cgm.bias"] + shift).unwrap();
    tensors.insert("cgm.bias".into(), bias);
    build(&config, tensors)
}

#[test]
fn one_gate_is_decided_from_the_mean_over_the_flips() {
    let model = torn(CgmGate::Probabilities);
    let mut ungated = tensors(&model);
    ungated.retain(|name, _| !name.starts_with("cgm."));
    let ungated = build(&config(Variant::DeepSupervision, CgmGate::Probabilities), ungated);
    let x = image();
    let (mut expected, mut gates) = (vec![0.0; 37 * 50], Vec::new());
    for axes in FLIPS {
        let flipped = x.flip(axes).unwrap().contiguous().unwrap();
        gates.push(values(&model.predict(&flipped).unwrap().present.unwrap())[0]);
        let one = ungated.predict(&flipped).unwrap().probabilities.flip(axes).unwrap();
        expected.iter_mut().zip(values(&one)).for_each(|(sum, p)| *sum += p / 4.0);
    }
    assert!(gates.contains(&0.0) && gates.contains(&1.0), "{gates:?}");
    let output = model.predict_flips(&x, &FLIPS).unwrap();
    assert_eq!(values(&output.present.unwrap()), [1.0]);
    for (got, expected) in values(&output.probabilities).iter().zip(&expected) {
        assert!((got - expected).abs() < TOLERANCE, "{got} {expected}");
    }
}

#[test]
fn gated_logits_are_averaged_as_logits() {
    let model = torn(CgmGate::Logits);
    let mut ungated = tensors(&model);
    ungated.retain(|name, _| !name.starts_with("cgm."));
    let ungated = build(&config(Variant::DeepSupervision, CgmGate::Logits), ungated);
    let x = image();
    let mut expected = vec![0.0; 37 * 50];
    for axes in FLIPS {
        let flipped = x.flip(axes).unwrap().contiguous().unwrap();
        let one = ungated.predict(&flipped).unwrap().probabilities.flip(axes).unwrap();
        expected.iter_mut().zip(values(&one)).for_each(|(sum, p)| *sum += logit(p) / 4.0);
    }
    let output = model.predict_flips(&x, &FLIPS).unwrap();
    for (got, expected) in values(&output.probabilities).iter().zip(&expected) {
        let expected = 1.0 / (1.0 + (-expected).exp());
        // through the inverse of the sigmoid and back
        assert!((got - expected).abs() < 10.0 * TOLERANCE, "{got} {expected}");
    }
}

#[test]
fn flips_of_other_axes_are_refused() {
    let config = config(Variant::Base, CgmGate::Probabilities);
    let model = UNet3Plus::init(&config, 3, DType::F32, &device()).unwrap();
    for flips in [&[][..], &[&[1][..]]] {
        assert!(model.predict_flips(&image(), flips).is_err(), "{flips:?}");
    }
}
