//! Structural similarity.

use candle_core::{D, Result, Tensor};
use serde::{Deserialize, Serialize};

use crate::backward::with_backward;
use crate::error::{self, Error};
use crate::separable::Separable;
use crate::target::Target;

/// Sides of the Gaussian window.
pub(crate) const WINDOW: usize = 11;
/// Standard deviation of the Gaussian window, in pixels.
const SIGMA: f64 = 1.5;
/// (K1 L)^2 with K1 = 0.01 and the range L = 1.
const C1: f64 = 0.01 * 0.01;
/// (K2 L)^2 with K2 = 0.03.
const C2: f64 = 0.03 * 0.03;

/// The loss `1 - SSIM(p, y)`, Wang et al. 2004 ("Image quality assessment: from error visibility to structural
/// similarity"), of probabilities and target, both with range 1.
///
/// With means `m`, variances `s^2` and the covariance under an 11x11 Gaussian window of sigma 1.5:
/// `SSIM = l cs`, `l = (2 m_p m_y + C1) / (m_p^2 + m_y^2 + C1)`, `cs = (2 s_py + C2) / (s_p^2 + s_y^2 + C2)`,
/// `C1 = 0.01^2`, `C2 = 0.03^2`; the mean over all windows inside the image, over classes and batch, as
/// TensorFlow's `tf.image.ssim`. Needs at least 11x11 pixels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ssim {}

impl Ssim {
    /// The loss of `probabilities` `[batch, classes, height, width]`, a scalar.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the target has another shape or the image is smaller than the window.
    pub fn on_probabilities(&self, probabilities: &Tensor, target: &Target) -> error::Result<Tensor> {
        let target = target.matching(probabilities)?;
        check_size(probabilities)?;
        let x = fold_batch(&target.masked(probabilities)?)?;
        let y = fold_batch(&target.masked(&target.classes)?)?;
        let similarity = mean_similarity(&x, &y, Part::Full)?;
        Ok((1.0 - similarity.mean_all()?)?)
    }
}

/// `[batch, classes, height, width]` to `[batch * classes, height, width]`.
pub(crate) fn fold_batch(x: &Tensor) -> Result<Tensor> {
    x.flatten(0, 1)
}

/// The image must hold one window.
pub(crate) fn check_size(prediction: &Tensor) -> error::Result<()> {
    let (_, _, height, width) = prediction.dims4()?;
    if height < WINDOW || width < WINDOW {
        return Err(Error::Shape {
            what: "the prediction of a structural similarity",
            found: prediction.dims().to_vec(),
            expected: format!("a height and width of at least {WINDOW} pixels"),
        });
    }
    Ok(())
}

/// Which factors of the similarity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Luminance, contrast and structure.
    Full,
    /// Contrast and structure only, as the finer scales of MS-SSIM.
    ContrastStructure,
}

/// The mean similarity of each image of `x` with `y`, `[n, height, width]` to `[n]`, with the gradient for `x`.
///
/// With F the Gaussian filter, `m = F x`, `D1 = m_x^2 + m_y^2 + C1`, `D2 = F(x^2 + y^2) - m_x^2 - m_y^2 + C2`,
/// `u = l / D2` and `k = u cs` (without the luminance: `u = 1 / D2`), the gradient of the sum over the windows is
/// `2 ( F'(t) + y F'(u) - x F'(k) )` with `t = (cs / D1) (m_y - l m_x) - u m_y + k m_x`, where the first term of t
/// is the luminance's and F' the adjoint of F.
pub(crate) fn mean_similarity(x: &Tensor, y: &Tensor, part: Part) -> Result<Tensor> {
    let (_, height, width) = x.dims3()?;
    let filter = Separable::filter(&gaussian(), (height, width));
    let argument = x;
    let (x, y) = (x.detach(), y.clone());

    let (mean_x, mean_y) = (filter.apply(&x)?, filter.apply(&y)?);
    let squares = filter.apply(&(x.sqr()? + y.sqr()?)?)?;
    let product = filter.apply(&(&x * &y)?)?;
    let mean_product = (&mean_x * &mean_y)?;
    let mean_squares = (mean_x.sqr()? + mean_y.sqr()?)?;
    let below = ((squares - &mean_squares)? + C2)?;
    let cs = (product - &mean_product)?.affine(2.0, C2)?.div(&below)?;
    let luminance = match part {
        Part::Full => {
            let below = (mean_squares + C1)?;
            Some((mean_product.affine(2.0, C1)?.div(&below)?, below))
        }
        Part::ContrastStructure => None,
    };
    let map = match &luminance {
        Some((l, _)) => (l * &cs)?,
        None => cs.clone(),
    };
    let windows = (map.dim(1)? * map.dim(2)?) as f64;
    let value = (map.sum(D::Minus1)?.sum(D::Minus1)? / windows)?;

    with_backward(argument, value, move |upstream| {
        let u = match &luminance {
            Some((l, _)) => (l / &below)?,
            None => below.recip()?,
        };
        let k = (&u * &cs)?;
        let mut t = ((&k * &mean_x)? - (&u * &mean_y)?)?;
        if let Some((l, below)) = &luminance {
            t = (t + ((&cs / below)? * (&mean_y - (l * &mean_x)?)?)?)?;
        }
        let adjoint = filter.adjoint();
        let (at_y, at_x) = ((&y * adjoint.apply(&u)?)?, (&x * adjoint.apply(&k)?)?);
        let gradient = ((adjoint.apply(&t)? + at_y)? - at_x)?;
        let scale = (upstream * (2.0 / windows))?.reshape(((), 1, 1))?;
        gradient.broadcast_mul(&scale)
    })
}

/// The window's factor along one side: a sampled Gaussian of sum 1.
fn gaussian() -> [f64; WINDOW] {
    let centre = (WINDOW / 2) as f64;
    let mut taps = std::array::from_fn(|i| (-(i as f64 - centre).powi(2) / (2.0 * SIGMA * SIGMA)).exp());
    let sum: f64 = taps.iter().sum();
    taps.iter_mut().for_each(|tap| *tap /= sum);
    taps
}
