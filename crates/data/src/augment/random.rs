//! Draws that the augmentation steps share.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Uniform in `[low, high)`; `low` where the range is empty.
pub(super) fn uniform(rng: &mut ChaCha8Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

/// Uniform on a logarithmic axis, so that a factor and its inverse are equally likely.
pub(super) fn log_uniform(rng: &mut ChaCha8Rng, low: f64, high: f64) -> f64 {
    uniform(rng, low.ln(), high.ln()).exp()
}

/// True with the given probability.
pub(super) fn chance(rng: &mut ChaCha8Rng, probability: f64) -> bool {
    rng.random::<f64>() < probability
}

/// Two independent standard normal values (Box-Muller).
pub(super) fn normal_pair(rng: &mut ChaCha8Rng) -> (f32, f32) {
    // 1 - u lies in (0, 1], so the logarithm is finite.
    let radius = (-2.0 * (1.0 - rng.random::<f32>()).ln()).sqrt();
    let (sin, cos) = (std::f32::consts::TAU * rng.random::<f32>()).sin_cos();
    (radius * cos, radius * sin)
}

/// A standard normal value.
pub(super) fn normal(rng: &mut ChaCha8Rng) -> f64 {
    f64::from(normal_pair(rng).0)
}
