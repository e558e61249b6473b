//! Separable resampling of one axis at a time, shared by images and volumes.
//!
//! Grids of different sizes cover the same extent: output `o` of `m` is centred at input position
//! `(o + 0.5) n / m - 0.5`, as `align_corners = False` in PyTorch. Linear interpolation widens its
//! triangle by `n / m` when it shrinks an axis, so that every input counts and nothing aliases (as Pillow
//! does); when it enlarges one it is plain linear interpolation with the edges clamped.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Error, Image, LabelMap, Result};

/// How pixels between pixels are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Resample {
    /// The closest pixel.
    Nearest,
    /// Linear along each axis, averaging when shrinking.
    #[default]
    Bilinear,
}

/// Values that one task of a parallel pass writes, at least.
const ROW_GRAIN: usize = 1 << 14;

/// For one output: the first input that counts, and the weights from there on (their sum is 1).
pub(crate) struct Taps {
    pub(crate) first: usize,
    pub(crate) weights: Vec<f32>,
}

/// The taps of every output when an axis of `n` values becomes one of `m` (both at least 1).
pub(crate) fn taps(n: usize, m: usize, method: Resample) -> Vec<Taps> {
    let ratio = n as f64 / m as f64;
    (0..m)
        .map(|o| {
            let center = (o as f64 + 0.5) * ratio;
            if n == m || method == Resample::Nearest {
                return Taps { first: (center as usize).min(n - 1), weights: vec![1.0] };
            }
            let support = ratio.max(1.0);
            let first = (center - support).floor().max(0.0) as usize;
            let last = ((center + support).ceil() as usize).min(n);
            let raw: Vec<f64> =
                (first..last).map(|i| (1.0 - (i as f64 + 0.5 - center).abs() / support).max(0.0)).collect();
            let sum: f64 = raw.iter().sum();
            Taps { first, weights: raw.iter().map(|w| (w / sum) as f32).collect() }
        })
        .collect()
}

/// Resamples the middle axis of `[outer, n, inner]` to `taps.len()` values.
pub(crate) fn resample_axis(data: &[f32], n: usize, inner: usize, taps: &[Taps]) -> Vec<f32> {
    let m = taps.len();
    let mut out = vec![0.0f32; data.len() / n * m];
    // Rows of `inner` values are independent; short ones are handed out in bundles.
    let bundle = (ROW_GRAIN / inner).max(1);
    out.par_chunks_mut(bundle * inner).enumerate().for_each(|(chunk, rows)| {
        for (i, row) in rows.chunks_mut(inner).enumerate() {
            let (outer, o) = ((chunk * bundle + i) / m, (chunk * bundle + i) % m);
            let tap = &taps[o];
            let source = &data[(outer * n + tap.first) * inner..];
            for (&weight, input) in tap.weights.iter().zip(source.chunks_exact(inner)) {
                row.iter_mut().zip(input).for_each(|(o, &v)| *o += weight * v);
            }
        }
    });
    out
}

/// An image at another size, channel by channel.
///
/// # Errors
/// [`Error::Shape`] when the image or the new size is empty.
///
/// ```
/// use unet3p_data::{Image, Resample, resize};
/// let image = Image::new(1, 1, 2, vec![0.0, 1.0])?;
/// assert_eq!(resize(&image, 1, 4, Resample::Bilinear)?.data, [0.0, 0.25, 0.75, 1.0]);
/// # Ok::<(), unet3p_data::Error>(())
/// ```
pub fn resize(image: &Image, height: usize, width: usize, method: Resample) -> Result<Image> {
    check_sizes([image.height, image.width], [height, width])?;
    if (image.height, image.width) == (height, width) {
        return Ok(image.clone());
    }
    let rows = resample_axis(&image.data, image.height, image.width, &taps(image.height, height, method));
    let data = resample_axis(&rows, image.width, 1, &taps(image.width, width, method));
    Ok(Image { channels: image.channels, height, width, data })
}

/// A label map at another size: the closest pixel's class.
///
/// # Errors
/// [`Error::Shape`] when the label map or the new size is empty.
pub fn resize_labels(labels: &LabelMap, height: usize, width: usize) -> Result<LabelMap> {
    check_sizes([labels.height, labels.width], [height, width])?;
    let rows = taps(labels.height, height, Resample::Nearest);
    let columns = taps(labels.width, width, Resample::Nearest);
    let row = |y: &Taps| &labels.data[y.first * labels.width..][..labels.width];
    let data = rows.iter().flat_map(|y| columns.iter().map(|x| row(y)[x.first])).collect();
    Ok(LabelMap { height, width, data })
}

fn check_sizes(from: [usize; 2], to: [usize; 2]) -> Result<()> {
    if from.contains(&0) || to.contains(&0) {
        return Err(Error::Shape(format!("cannot resize {from:?} pixels to {to:?}: no side may be 0")));
    }
    Ok(())
}
