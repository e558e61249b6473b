//! Losses and their gradients against the TensorFlow implementation's (`tests/golden/losses`).

#![allow(clippy::unwrap_used)] // in helpers of tests

use std::collections::HashMap;

use candle_core::{DType, Tensor, Var};
use unet3p_losses::{Dice, FocalReference, Hybrid, HybridPreset, Iou, MsSsim, Result, Ssim, Target};
use unet3p_tests::device;

/// Relative L2 error of values. Found at most 1.7e-6, the same in f32 and in f64: TensorFlow's own f32 rounding.
const VALUE: f64 = 3e-6;
/// Relative L2 error of gradients. SSIM has 3.1e-5, the same in f32 and in f64: TensorFlow subtracts nearly equal means
/// of squares in f32. Those without SSIM are below 3e-7.
const GRADIENT: f64 = 5e-5;

type Loss = fn(&Tensor, &Target) -> Result<Tensor>;

const LOSSES: [(&str, Loss); 6] = [
    ("focal_reference", |p, t| FocalReference::default().on_probabilities(p, t)),
    ("ssim_loss", |p, t| Ssim {}.on_probabilities(p, t)),
    ("ms_ssim_loss", |p, t| MsSsim {}.on_probabilities(p, t)),
    ("iou_loss", |p, t| Iou::default().on_probabilities(p, t)),
    // The golden file has the coefficient, which is 1 - the loss.
    ("dice_coef", |p, t| {
        let loss = Dice { smooth: 1e-9, ..Dice::default() }.on_probabilities(p, t)?;
        Ok((1.0 - loss)?)
    }),
    ("hybrid_reference", |p, t| {
        Hybrid { preset: HybridPreset::Reference, ..Hybrid::default() }.on_probabilities(p, t)
    }),
];

fn golden() -> HashMap<String, Tensor> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/losses/losses_tf.safetensors");
    candle_core::safetensors::load(path, &device()).unwrap()
}

/// NHWC, as stored, to NCHW.
fn planar(x: &Tensor) -> Tensor {
    x.permute((0, 3, 1, 2)).unwrap().contiguous().unwrap()
}

fn relative_error(found: &Tensor, expected: &Tensor) -> f64 {
    let flat = |x: &Tensor| -> Vec<f64> {
        x.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
    };
    let (found, expected) = (flat(found), flat(expected));
    assert_eq!(found.len(), expected.len());
    let error: f64 = found.iter().zip(&expected).map(|(a, b)| (a - b).powi(2)).sum();
    let norm: f64 = expected.iter().map(|b| b * b).sum();
    (error / norm).sqrt()
}

fn check(dtype: DType) {
    let golden = golden();
    let mut checked = 0;
    for case in 0..3 {
        let tensor = |name: &str| golden.get(&format!("case{case}.{name}"));
        let classes = planar(tensor("y_true").unwrap()).to_dtype(dtype).unwrap();
        let probabilities = planar(tensor("y_pred").unwrap()).to_dtype(dtype).unwrap();
        let target = Target { classes, valid: None };
        for (name, loss) in LOSSES {
            let Some(expected) = tensor(name) else { continue };
            let p = Var::from_tensor(&probabilities).unwrap();
            let value = loss(&p, &target).unwrap();
            let gradient = value.backward().unwrap().remove(&p).unwrap();
            let error = relative_error(&value, expected);
            assert!(error <= VALUE, "case {case} {name} {dtype:?}: value {error:e}");
            let error_gradient = relative_error(&gradient, &planar(tensor(&format!("{name}.grad")).unwrap()));
            assert!(error_gradient <= GRADIENT, "case {case} {name} {dtype:?}: gradient {error_gradient:e}");
            println!("case {case} {name} {dtype:?}: value {error:.1e}, gradient {error_gradient:.1e}");
            checked += 1;
        }
    }
    // Five losses in each case, MS-SSIM where the image is large enough.
    assert_eq!(checked, 16);
}

#[test]
fn parity_in_f32() {
    check(DType::F32);
}

#[test]
fn parity_in_f64() {
    check(DType::F64);
}
