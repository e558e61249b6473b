//! Images and label maps at other sizes.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::random;
use unet3p_data::{Image, LabelMap, Resample, resize, resize_labels};

/// Sums of a few dozen f32 products of values below 1.
const ROUNDING: f32 = 1e-5;

/// The definition, one output at a time, in f64: a triangle as wide as the larger of the two pixels.
fn direct(values: &[f32], m: usize) -> Vec<f64> {
    let n = values.len();
    let ratio = n as f64 / m as f64;
    let support = ratio.max(1.0);
    (0..m)
        .map(|o| {
            let center = (o as f64 + 0.5) * ratio;
            let weight = |i: usize| (1.0 - (i as f64 + 0.5 - center).abs() / support).max(0.0);
            let sum: f64 = (0..n).map(weight).sum();
            (0..n).map(|i| weight(i) * f64::from(values[i])).sum::<f64>() / sum
        })
        .collect()
}

#[test]
fn each_axis_follows_the_definition() {
    for n in [1, 2, 3, 7, 16, 33] {
        for m in [1, 2, 3, 5, 8, 16, 33, 100] {
            let values = random(n, (n * 1000 + m) as u64);
            let expected = direct(&values, m);
            let row =
                resize(&Image::new(1, 1, n, values.clone()).unwrap(), 1, m, Resample::Bilinear).unwrap();
            let column = resize(&Image::new(1, n, 1, values).unwrap(), m, 1, Resample::Bilinear).unwrap();
            for ((row, column), expected) in row.data.iter().zip(&column.data).zip(expected) {
                assert!((row - expected as f32).abs() < ROUNDING && (column - row).abs() < ROUNDING);
            }
        }
    }
}

#[test]
fn enlarging_is_half_pixel_linear_interpolation() {
    let image = Image::new(1, 1, 2, vec![-1.0, 3.0]).unwrap();
    // torch.nn.functional.interpolate(..., scale_factor=4, mode="bilinear", align_corners=False).
    let expected = [-1.0, -1.0, -0.5, 0.5, 1.5, 2.5, 3.0, 3.0];
    assert_eq!(resize(&image, 1, 8, Resample::Bilinear).unwrap().data, expected);
    assert_eq!(resize(&image, 1, 4, Resample::Nearest).unwrap().data, [-1.0, -1.0, 3.0, 3.0]);
}

#[test]
fn channels_stay_apart_and_the_same_size_is_the_same_image() {
    let image = Image::new(3, 5, 7, random(105, 5)).unwrap();
    assert_eq!(resize(&image, 5, 7, Resample::Bilinear).unwrap(), image);
    let all = resize(&image, 4, 11, Resample::Bilinear).unwrap();
    for channel in 0..3 {
        let one = Image::new(1, 5, 7, image.plane(channel).to_vec()).unwrap();
        assert_eq!(resize(&one, 4, 11, Resample::Bilinear).unwrap().data, all.plane(channel));
    }
}

#[test]
fn label_maps_keep_their_ids() {
    let labels = LabelMap::new(2, 2, vec![0, 200, 3, 4]).unwrap();
    let larger = resize_labels(&labels, 4, 2).unwrap();
    assert_eq!(larger.data, [0, 200, 0, 200, 3, 4, 3, 4]);
    assert_eq!(resize_labels(&larger, 2, 2).unwrap(), labels);
    assert!(resize_labels(&labels, 0, 2).is_err());
    assert!(resize_labels(&LabelMap::empty(0, 3), 2, 2).is_err());
    assert!(resize(&Image::filled(1, 2, 2, 0.0), 2, 0, Resample::Nearest).is_err());
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    assert!(Image::new(3, 2, 2, vec![0.0; 11]).is_err());
    assert!(Image::new(usize::MAX, 2, 1, vec![]).is_err());
    assert!(LabelMap::new(2, 2, vec![0; 5]).is_err());
}
