//! Ignored pixels, perfect and empty masks, extreme logits, bad shapes.

mod common;

use candle_core::{DType, Tensor};
use common::{flat, gradient, labels, logits, losses, target, value};
use unet3p_losses::{Activation, Error, LossConfig, MsSsim, Target};
use unet3p_tests::device;

const BOTH: [(Activation, usize); 2] = [(Activation::Sigmoid, 1), (Activation::Softmax, 3)];
const SIZES: [DType; 2] = [DType::F32, DType::F64];

/// Sums in f32 over some hundred pixels.
const F32_TOLERANCE: f64 = 1e-5;

#[test]
fn ignored_pixels_have_no_gradient_and_no_influence() {
    for (activation, classes) in BOTH {
        let shape = (2, classes, 16, 24);
        let mut map = labels(shape, activation, 1);
        let ignored: Vec<usize> = (0..map.len()).filter(|i| i % 7 < 2 || i % 24 > 19).collect();
        ignored.iter().for_each(|&i| map[i] = 255);
        let target = target(shape, activation, &map, DType::F64);
        let logits = logits(&target, 2);
        let valid = flat(&target.valid.clone().unwrap().broadcast_as(shape).unwrap());

        // Other logits and other labels at the ignored pixels.
        let other: Vec<f64> =
            flat(&logits).iter().zip(&valid).map(|(x, v)| if *v == 0.0 { 7.0 - x } else { *x }).collect();
        let other = Tensor::from_vec(other, shape, &device()).unwrap();
        let relabelled = Target {
            classes: target
                .classes
                .broadcast_add(&target.valid.as_ref().unwrap().affine(-1.0, 1.0).unwrap())
                .unwrap(),
            valid: target.valid.clone(),
        };
        for config in losses(activation) {
            let loss = config.build(activation).unwrap();
            let (expected, gradient) = gradient(&*loss, &logits, &target);
            assert!(gradient.iter().zip(&valid).all(|(g, v)| *v == 1.0 || *g == 0.0), "{config:?}");
            assert!(gradient.iter().any(|g| *g != 0.0), "{config:?}");
            assert_eq!(value(&*loss, &other, &target), expected, "{config:?}");
            assert_eq!(value(&*loss, &logits, &relabelled), expected, "{config:?}");
        }
    }
}

#[test]
fn a_mean_over_pixels_is_one_over_valid_pixels() {
    let whole = (1, 3, 12, 11);
    let activation = Activation::Softmax;
    let map = labels(whole, activation, 1);
    let full_target = target(whole, activation, &map, DType::F64);
    let full = logits(&full_target, 2);
    // Eleven more ignored columns must change nothing.
    let wide: Vec<u8> = map.chunks(11).flat_map(|row| row.iter().copied().chain([255; 11])).collect();
    let wide_target = target((1, 3, 12, 22), activation, &wide, DType::F64);
    let wide = Tensor::cat(&[&full, &full], 3).unwrap();
    for name in ["focal", "focal_reference", "iou", "dice", "tversky", "cross_entropy", "dice_cross_entropy"]
    {
        let config: LossConfig = serde_json::from_str(&format!("\"{name}\"")).unwrap();
        let loss = config.build(activation).unwrap();
        let (a, b) = (value(&*loss, &full, &full_target), value(&*loss, &wide, &wide_target));
        assert!((a - b).abs() < 1e-12, "{name}: {a} {b}");
    }
}

#[test]
fn everything_ignored_is_finite() {
    for (activation, classes) in BOTH {
        let shape = (1, classes, 12, 12);
        for dtype in SIZES {
            let target = target(shape, activation, &[255; 144], dtype);
            for config in losses(activation) {
                let (value, gradient) =
                    gradient(&*config.build(activation).unwrap(), &logits(&target, 1), &target);
                assert!(value.is_finite() && gradient.iter().all(|g| *g == 0.0), "{config:?}");
            }
        }
    }
}

#[test]
fn perfect_and_opposite_predictions() {
    for (activation, classes) in BOTH {
        let shape = (2, classes, 24, 30);
        for dtype in SIZES {
            let target = target(shape, activation, &labels(shape, activation, 1), dtype);
            for size in [20.0, 100.0, 1000.0] {
                let perfect = target.classes.affine(2.0 * size, -size).unwrap();
                for config in losses(activation) {
                    let loss = config.build(activation).unwrap();
                    let (right, gradient_right) = gradient(&*loss, &perfect, &target);
                    let (wrong, gradient_wrong) = gradient(&*loss, &perfect.neg().unwrap(), &target);
                    assert!(right.abs() < 1e-4, "{config:?} {dtype:?} {size}: {right}");
                    assert!(wrong.is_finite() && wrong > 0.1, "{config:?} {dtype:?} {size}: {wrong}");
                    for g in gradient_right.iter().chain(&gradient_wrong) {
                        assert!(g.is_finite(), "{config:?} {dtype:?} {size}");
                    }
                }
            }
        }
    }
}

#[test]
fn empty_and_full_masks_are_finite() {
    for (activation, classes) in BOTH {
        let shape = (2, classes, 13, 16);
        for (dtype, label) in [(DType::F32, 0u8), (DType::F64, 0), (DType::F32, 1), (DType::F64, 1)] {
            let target = target(shape, activation, &vec![label; 2 * 13 * 16], dtype);
            for constant in [-100.0, -1.0, 0.0, 1.0, 100.0] {
                let logits = (target.classes.zeros_like().unwrap() + constant).unwrap();
                for config in losses(activation) {
                    let (value, gradient) = gradient(&*config.build(activation).unwrap(), &logits, &target);
                    assert!(value.is_finite(), "{config:?} {dtype:?} {constant}");
                    assert!(gradient.iter().all(|g| g.is_finite()), "{config:?} {dtype:?} {constant}");
                }
            }
        }
    }
}

#[test]
fn f32_agrees_with_f64() {
    for (activation, classes) in BOTH {
        let shape = (2, classes, 31, 40);
        let map = labels(shape, activation, 1);
        let (single, double) =
            (target(shape, activation, &map, DType::F32), target(shape, activation, &map, DType::F64));
        let x = logits(&double, 6);
        for config in losses(activation) {
            let loss = config.build(activation).unwrap();
            let (a, da) = gradient(&*loss, &x.to_dtype(DType::F32).unwrap(), &single);
            let (b, db) = gradient(&*loss, &x, &double);
            assert!((a - b).abs() < F32_TOLERANCE, "{config:?}: {a} {b}");
            let error: f64 = da.iter().zip(&db).map(|(a, b)| (a - b).powi(2)).sum();
            let norm: f64 = db.iter().map(|b| b * b).sum();
            assert!(
                error.sqrt() < 10.0 * F32_TOLERANCE * norm.sqrt(),
                "{config:?}: {}",
                (error / norm).sqrt()
            );
            // A target in another dtype is converted.
            assert_eq!(value(&*loss, &x, &single), b);
        }
    }
}

/// An inverted image has negative structure at every scale: the clamp, where 0 to a power under 1 has no derivative.
#[test]
fn ms_ssim_at_its_clamp() {
    let shape = (2, 1, 48, 50);
    let activation = Activation::Sigmoid;
    let mut map = labels(shape, activation, 1);
    let target_one = target(shape, activation, &map, DType::F64);
    let x = logits(&target_one, 2);
    let loss = LossConfig::MsSsim(MsSsim {}).build(activation).unwrap();
    let (both, _) = gradient(&*loss, &x, &target_one);

    // Invert the second image only: its similarity is 0, the first keeps half of its own.
    map[48 * 50..].iter_mut().for_each(|label| *label = 1 - *label);
    let inverted = target(shape, activation, &map, DType::F64);
    let (value, gradient) = gradient(&*loss, &x, &inverted);
    assert!(value > both && value > 0.5);
    assert!(gradient[..48 * 50].iter().any(|g| *g != 0.0));
    assert!(gradient[48 * 50..].iter().all(|g| *g == 0.0));
}

#[test]
fn dropped_scales_keep_identical_images_at_zero() {
    for side in [11, 21, 22, 43, 87, 88, 175, 176] {
        let shape = (1, 1, side, 180);
        let target = target(shape, Activation::Sigmoid, &labels(shape, Activation::Sigmoid, 1), DType::F64);
        let value = MsSsim {}.on_probabilities(&target.classes, &target).unwrap().to_scalar::<f64>().unwrap();
        assert!(value.abs() < 1e-12, "{side}: {value}");
    }
}

#[test]
fn bad_shapes_are_errors() {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &device()).unwrap();
    let target =
        |shape: &[usize], valid: Option<&[usize]>| Target { classes: zeros(shape), valid: valid.map(zeros) };
    for (activation, classes) in BOTH {
        for config in losses(activation) {
            let loss = config.build(activation).unwrap();
            let shape = [2, classes, 12, 12];
            for bad in [
                target(&[2, classes, 12, 13], None),
                target(&[1, classes, 12, 12], None),
                target(&shape, Some(&[2, 1, 12, 13])),
                target(&shape, Some(&[2, 12, 12])),
            ] {
                assert!(matches!(loss.forward(&zeros(&shape), &bad), Err(Error::Shape { .. })), "{config:?}");
            }
            assert!(loss.forward(&zeros(&[2, 12, 12]), &target(&shape, None)).is_err());
        }
    }
    let small = target(&[1, 1, 10, 40], None);
    for name in ["\"ssim\"", "\"ms_ssim\"", "\"hybrid\""] {
        let loss = serde_json::from_str::<LossConfig>(name).unwrap().build(Activation::Sigmoid).unwrap();
        let error = loss.forward(&small.classes, &small).unwrap_err();
        assert!(error.to_string().contains("at least 11 pixels"), "{error}");
    }
    let error = Activation::Softmax.probabilities(&small.classes).unwrap_err();
    assert!(error.to_string().contains("at least 2 channels"), "{error}");
}
