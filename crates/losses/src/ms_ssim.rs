//! Multi-scale structural similarity.

use std::sync::Once;

use candle_core::{Device, Result, Tensor};
use serde::{Deserialize, Serialize};

use crate::backward::with_backward;
use crate::error;
use crate::separable::Separable;
use crate::ssim::{Part, WINDOW, check_size, fold_batch, mean_similarity};
use crate::target::Target;

/// Exponents of the scales, finest first (Wang et al. 2003).
const WEIGHTS: [f64; 5] = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333];

/// The loss `1 - MS-SSIM(p, y)`, Wang et al. 2003 ("Multiscale structural similarity for image quality assessment").
///
/// `MS-SSIM = SSIM_M^w_M  prod_{j < M} CS_j^w_j`, where `CS_j` is the mean of the contrast-structure term at scale j
/// and `SSIM_M` the mean of the whole similarity at the coarsest; each scale is the 2x2 mean of the one before (an odd
/// side repeats its last row or column), terms under 0 count as 0; for each class, then the mean over classes and
/// batch, as TensorFlow's `tf.image.ssim_multiscale`. Weights 0.0448, 0.2856, 0.3001, 0.2363, 0.1333.
///
/// Five scales need sides of at least 176 pixels (11 * 2^4). A smaller image has fewer scales, the first ones, with
/// their weights divided by their sum; this is logged once as a warning. At least 11x11 pixels are needed.
///
/// A term at or under 0 makes its image's similarity 0 and gives no gradient.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MsSsim {}

impl MsSsim {
    /// The loss of `probabilities` `[batch, classes, height, width]`, a scalar.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`](crate::Error::Shape) if the target has another shape or the image is smaller than the window.
    pub fn on_probabilities(&self, probabilities: &Tensor, target: &Target) -> error::Result<Tensor> {
        let target = target.matching(probabilities)?;
        check_size(probabilities)?;
        let (_, _, height, width) = probabilities.dims4()?;
        let weights = scale_weights(height.min(width));
        if weights.len() < WEIGHTS.len() {
            warn_once(height, width, weights.len());
        }

        let mut x = fold_batch(&target.masked(probabilities)?)?;
        let mut y = fold_batch(&target.masked(&target.classes)?)?;
        let mut terms = Vec::with_capacity(weights.len());
        for scale in 1..=weights.len() {
            if scale == weights.len() {
                terms.push(mean_similarity(&x, &y, Part::Full)?);
            } else {
                terms.push(mean_similarity(&x, &y, Part::ContrastStructure)?);
                (x, y) = (halve(&x)?, halve(&y)?);
            }
        }
        let similarity = weighted_product(&Tensor::stack(&terms, 0)?, &weights)?;
        Ok((1.0 - similarity.mean_all()?)?)
    }
}

/// The exponents of the scales that an image with this shorter side has.
fn scale_weights(side: usize) -> Vec<f64> {
    let scales = (1..WEIGHTS.len()).take_while(|&scale| side >= WINDOW << scale).count() + 1;
    if scales == WEIGHTS.len() {
        // As published: their sum is 1.0001, and every implementation takes them as they are.
        return WEIGHTS.to_vec();
    }
    let sum: f64 = WEIGHTS[..scales].iter().sum();
    WEIGHTS[..scales].iter().map(|weight| weight / sum).collect()
}

fn warn_once(height: usize, width: usize, scales: usize) {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        log::warn!(
            "MS-SSIM: images of {height}x{width} pixels have {scales} of 5 scales (5 need 176 pixels); \
             the weights of the others are renormalised"
        );
    });
}

/// 2x2 means of `[n, height, width]`, with the gradient.
fn halve(x: &Tensor) -> Result<Tensor> {
    let (_, height, width) = x.dims3()?;
    let pooling = Separable::halve((height, width));
    let adjoint = pooling.adjoint();
    with_backward(x, pooling.apply(&x.detach())?, move |g| adjoint.apply(g))
}

/// `prod_j max(term_j, 0)^weight_j`, `[scales, n]` to `[n]`; gradient `product weight_j / term_j`, 0 for a product of 0.
fn weighted_product(terms: &Tensor, weights: &[f64]) -> Result<Tensor> {
    let t = terms.detach();
    // Cast on the host: Metal has no f64.
    let weights = Tensor::from_slice(weights, (weights.len(), 1), &Device::Cpu)?.to_dtype(t.dtype())?;
    let weights = weights.to_device(t.device())?;
    let positive = t.gt(0.0)?;
    // 1 stands for the terms without a logarithm; the product over them is set to 0 below.
    let safe = positive.where_cond(&t, &t.ones_like()?)?;
    let all_positive = positive.min(0)?.to_dtype(t.dtype())?;
    let product = (safe.log()?.broadcast_mul(&weights)?.sum(0)?.exp()? * all_positive)?;
    with_backward(terms, product.clone(), move |g| {
        safe.recip()?.broadcast_mul(&weights)?.broadcast_mul(&(g * &product)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_by_side() {
        for (side, scales) in
            [(11, 1), (21, 1), (22, 2), (43, 2), (44, 3), (88, 4), (175, 4), (176, 5), (900, 5)]
        {
            let weights = scale_weights(side);
            assert_eq!(weights.len(), scales, "{side}");
            let sum: f64 = weights.iter().sum();
            let expected = if scales == 5 { 1.0001 } else { 1.0 };
            assert!((sum - expected).abs() < 1e-12, "{side}: {sum}");
        }
    }
}
