//! Random problems and finite differences for the loss tests.
#![allow(dead_code, clippy::unwrap_used)] // each test binary uses a part; a failure is a failed test

use candle_core::{DType, Tensor, Var};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unet3p_losses::{
    Activation, Bce, Classes, CrossEntropy, Dice, DiceCrossEntropy, Focal, FocalReference, Hybrid,
};
use unet3p_losses::{
    HybridPreset, Iou, LabelBatch, LossConfig, MsSsim, SegmentationLoss, Ssim, Target, Tversky,
};
use unet3p_tests::device;

pub(crate) type Shape = (usize, usize, usize, usize);

/// Every loss that is defined for the activation, with odd parameters besides the defaults.
pub(crate) fn losses(activation: Activation) -> Vec<LossConfig> {
    let mut all = vec![
        LossConfig::Focal(Focal::default()),
        LossConfig::Focal(Focal { alpha: 0.6, gamma: 0.5 }),
        LossConfig::FocalReference(FocalReference::default()),
        LossConfig::FocalReference(FocalReference { alpha: 1.5, gamma: 0.7 }),
        LossConfig::Ssim(Ssim {}),
        LossConfig::MsSsim(MsSsim {}),
        LossConfig::Iou(Iou::default()),
        LossConfig::Iou(Iou { smooth: 0.3, classes: Classes::Each }),
        LossConfig::Dice(Dice::default()),
        LossConfig::Dice(Dice { smooth: 0.2, classes: Classes::Each }),
        LossConfig::Tversky(Tversky::default()),
        LossConfig::Tversky(Tversky { alpha: 0.9, beta: 0.4, smooth: 0.5, classes: Classes::Each }),
        LossConfig::DiceCrossEntropy(DiceCrossEntropy::default()),
        LossConfig::DiceCrossEntropy(DiceCrossEntropy {
            dice_weight: 0.3,
            cross_entropy_weight: 2.0,
            ..Default::default()
        }),
        LossConfig::Hybrid(Hybrid::default()),
        LossConfig::Hybrid(Hybrid { preset: HybridPreset::Reference, weights: [0.5, 2.0, 1.5] }),
        LossConfig::Hybrid(Hybrid { preset: HybridPreset::Paper, weights: [1.0, 0.0, 0.0] }),
    ];
    match activation {
        Activation::Sigmoid => all.push(LossConfig::Bce(Bce {})),
        Activation::Softmax => {
            all.push(LossConfig::CrossEntropy(CrossEntropy {}));
            all.push(LossConfig::Dice(Dice { smooth: 0.4, classes: Classes::Foreground }));
        }
    }
    all
}

/// Blobs of every class, so that the structural terms are those of a segmentation; 255 marks ignored pixels.
pub(crate) fn labels((batch, classes, height, width): Shape, activation: Activation, seed: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let ids = classes + usize::from(activation == Activation::Sigmoid);
    let mut labels = vec![0u8; batch * height * width];
    for image in labels.chunks_mut(height * width) {
        for id in 1..ids {
            let (y, x): (f64, f64) =
                (rng.random_range(0.0..height as f64), rng.random_range(0.0..width as f64));
            let radius = rng.random_range(0.2..0.5) * height.min(width) as f64;
            for (pixel, label) in image.iter_mut().enumerate() {
                let distance = ((pixel / width) as f64 - y).hypot((pixel % width) as f64 - x);
                if distance < radius {
                    *label = id as u8;
                }
            }
        }
    }
    labels
}

pub(crate) fn target(shape: Shape, activation: Activation, labels: &[u8], dtype: DType) -> Target {
    let (batch, classes, height, width) = shape;
    let labels = LabelBatch { ids: labels, shape: (batch, height, width), ignored: Some(255) };
    Target::from_labels(&labels, classes, activation, &device()).unwrap().to_dtype(dtype).unwrap()
}

/// Signed logits that follow the target loosely: with no correlation at all MS-SSIM is at its clamp.
pub(crate) fn logits(target: &Target, seed: u64) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let noise: Vec<f64> = (0..target.classes.elem_count()).map(|_| rng.random_range(-2.0..2.0)).collect();
    let noise = Tensor::from_vec(noise, target.classes.shape(), &device()).unwrap();
    let signal = target.classes.to_dtype(DType::F64).unwrap().affine(4.0, -2.0).unwrap();
    (noise + signal).unwrap().to_dtype(target.classes.dtype()).unwrap()
}

pub(crate) fn value(loss: &dyn SegmentationLoss, logits: &Tensor, target: &Target) -> f64 {
    let value = loss.forward(logits, target).unwrap();
    assert_eq!(value.rank(), 0, "{loss:?}");
    assert_eq!(value.dtype(), logits.dtype(), "{loss:?}");
    value.to_dtype(DType::F64).unwrap().to_scalar().unwrap()
}

/// The value and its gradient as a flat list.
pub(crate) fn gradient(loss: &dyn SegmentationLoss, logits: &Tensor, target: &Target) -> (f64, Vec<f64>) {
    let variable = Var::from_tensor(logits).unwrap();
    let value = loss.forward(&variable, target).unwrap();
    let gradient = value.backward().unwrap().remove(&variable).unwrap();
    assert_eq!(gradient.dims(), logits.dims());
    (value.to_dtype(DType::F64).unwrap().to_scalar().unwrap(), flat(&gradient))
}

pub(crate) fn flat(x: &Tensor) -> Vec<f64> {
    x.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}
