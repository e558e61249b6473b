//! Every loss's gradient against central differences in f64, through the activation.

#![allow(clippy::unwrap_used)] // in helpers of tests

mod common;

use candle_core::{DType, Tensor, Var};
use common::{Shape, flat, gradient, labels, logits, losses, target, value};
use rand::seq::index::sample;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unet3p_losses::{Activation, DeepSupervision, LossConfig, SegmentationLoss, Target, presence_loss};
use unet3p_tests::device;

/// Step of the differences.
const STEP: f64 = 1e-5;
/// Allowed error against the largest entry of the gradient: STEP^2 times the third derivative over the first (some
/// tens at these logits), and the rounding of values around 1, 1e-16 / STEP over a gradient of at least 1e-5.
const TOLERANCE: f64 = 1e-5;

fn check(loss: &dyn SegmentationLoss, logits: &Tensor, target: &Target, entries: usize) {
    let (_, gradient) = gradient(loss, logits, target);
    let largest = gradient.iter().fold(0.0f64, |a, g| a.max(g.abs()));
    assert!(largest > 0.0, "{loss:?} has no gradient");
    let values = flat(logits);
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for index in sample(&mut rng, values.len(), entries.min(values.len())) {
        let at = |offset: f64| {
            let mut moved = values.clone();
            moved[index] += offset;
            value(loss, &Tensor::from_vec(moved, logits.shape(), &device()).unwrap(), target)
        };
        let difference = (at(STEP) - at(-STEP)) / (2.0 * STEP);
        let error = (difference - gradient[index]).abs() / largest;
        assert!(error < TOLERANCE, "{loss:?} entry {index}: {difference} against {}", gradient[index]);
    }
}

fn check_all(shape: Shape, activation: Activation, ignored: bool, entries: usize) {
    let mut map = labels(shape, activation, 1);
    if ignored {
        let width = shape.3;
        (0..map.len()).filter(|i| i % width < width / 4).for_each(|i| map[i] = 255);
    }
    let target = target(shape, activation, &map, DType::F64);
    assert_eq!(target.valid.is_some(), ignored);
    let logits = logits(&target, 2);
    for config in losses(activation) {
        check(&*config.build(activation).unwrap(), &logits, &target, entries);
    }
}

#[test]
fn one_class() {
    check_all((2, 1, 12, 17), Activation::Sigmoid, false, 40);
}

#[test]
fn several_sigmoid_classes() {
    check_all((2, 3, 15, 11), Activation::Sigmoid, false, 40);
}

#[test]
fn softmax() {
    check_all((2, 3, 13, 14), Activation::Softmax, false, 40);
}

#[test]
fn ignored_pixels() {
    check_all((2, 1, 12, 17), Activation::Sigmoid, true, 40);
    check_all((2, 3, 13, 14), Activation::Softmax, true, 40);
}

#[test]
fn scales_with_odd_sides() {
    check_all((2, 2, 47, 63), Activation::Softmax, false, 12);
}

#[test]
fn all_five_scales() {
    let shape = (1, 1, 181, 178);
    let target = target(shape, Activation::Sigmoid, &labels(shape, Activation::Sigmoid, 3), DType::F64);
    let loss = LossConfig::MsSsim(Default::default()).build(Activation::Sigmoid).unwrap();
    check(&*loss, &logits(&target, 4), &target, 8);
}

/// Labels that several classes share: the reference's maximum has more than one candidate.
#[test]
fn overlapping_classes() {
    let shape = (2, 3, 12, 13);
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let classes: Vec<f64> = (0..2 * 3 * 12 * 13).map(|_| f64::from(rng.random_range(0..2u8))).collect();
    let target = Target { classes: Tensor::from_vec(classes, shape, &device()).unwrap(), valid: None };
    let logits = logits(&target, 9);
    for config in losses(Activation::Sigmoid) {
        check(&*config.build(Activation::Sigmoid).unwrap(), &logits, &target, 40);
    }
}

#[test]
fn deep_supervision_is_the_weighted_sum() {
    let shape = (2, 1, 12, 17);
    let target = target(shape, Activation::Sigmoid, &labels(shape, Activation::Sigmoid, 1), DType::F64);
    let loss = || LossConfig::default().build(Activation::Sigmoid).unwrap();
    let heads: Vec<Var> = (0..3).map(|seed| Var::from_tensor(&logits(&target, seed)).unwrap()).collect();
    let tensors: Vec<Tensor> = heads.iter().map(|head| head.as_tensor().clone()).collect();
    let weights = [1.0, 0.0, 0.25];
    let total = DeepSupervision::new(loss(), weights.to_vec()).unwrap().forward(&tensors, &target).unwrap();
    let gradients = total.backward().unwrap();

    let mut expected = 0.0;
    for (head, weight) in heads.iter().zip(weights) {
        let (value, alone) = gradient(&*loss(), head, &target);
        expected += weight * value;
        match gradients.get(head) {
            None => assert_eq!(weight, 0.0),
            Some(together) => {
                for (a, b) in flat(together).into_iter().zip(alone) {
                    assert!((a - weight * b).abs() < 1e-15);
                }
            }
        }
    }
    assert!((total.to_scalar::<f64>().unwrap() - expected).abs() < 1e-14);
    let error = DeepSupervision::new(loss(), vec![1.0; 5]).unwrap().forward(&tensors, &target).unwrap_err();
    assert_eq!(error.to_string(), "deep supervision has 5 weights but the network has 3 heads");
    assert!(DeepSupervision::new(loss(), vec![]).is_err());
    assert!(DeepSupervision::new(loss(), vec![1.0, -1.0]).is_err());
}

#[test]
fn presence() {
    let mut classes = vec![0.0; 3 * 4];
    classes[5] = 1.0; // the second image
    classes[9] = 1.0; // the third, where it is ignored
    let mut valid = vec![1.0; 3 * 4];
    valid[9] = 0.0;
    let tensor = |values: &[f64], shape: &[usize]| Tensor::from_slice(values, shape, &device()).unwrap();
    let target =
        Target { classes: tensor(&classes, &[3, 1, 2, 2]), valid: Some(tensor(&valid, &[3, 1, 2, 2])) };
    let x = [0.3, -1.2, 2.0, 0.5, -0.7, 100.0];
    let y = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0];
    let variable = Var::from_tensor(&tensor(&x, &[3, 2])).unwrap();
    let loss = presence_loss(&variable, &target).unwrap();
    let expected: f64 =
        x.iter().zip(y).map(|(x, y)| x.max(0.0) + (-x.abs()).exp().ln_1p() - x * y).sum::<f64>() / 6.0;
    assert!((loss.to_scalar::<f64>().unwrap() - expected).abs() < 1e-13);
    let gradient = loss.backward().unwrap().remove(&variable).unwrap();
    for ((g, x), y) in flat(&gradient).into_iter().zip(x).zip(y) {
        assert!((g - (1.0 / (1.0 + (-x).exp()) - y) / 6.0).abs() < 1e-15);
    }
    assert!(presence_loss(&variable.narrow(1, 0, 1).unwrap(), &target).is_err());
}
