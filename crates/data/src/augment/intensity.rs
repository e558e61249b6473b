//! Changes of grey values that leave every pixel where it is.

use rand_chacha::ChaCha8Rng;

use super::Augmentation;
use super::filter::gaussian_blur;
use super::random::{chance, log_uniform, normal, uniform};
use super::reduce::sum;
use crate::Image;

/// Below this value a pixel counts as partly cut off by the window.
const CUT_OFF: f32 = 0.05;

/// How much of an added value a pixel shows, 0 to 1. A window cuts air, at -1000 HU, to 0: neither another contrast
/// phase nor noise brings it back.
pub(super) fn visible(value: f32) -> f32 {
    (value / CUT_OFF).clamp(0.0, 1.0)
}

/// Brightness, contrast, gamma, blur and noise, in this order; the result is clamped to [0, 1].
pub(super) fn apply(settings: &Augmentation, image: &mut Image, rng: &mut ChaCha8Rng) {
    if chance(rng, settings.brightness.probability) {
        let offset = (normal(rng) * settings.brightness.std) as f32;
        image.data.iter_mut().for_each(|v| *v += offset * visible(*v));
    }
    if chance(rng, settings.contrast.probability) {
        let [low, high] = settings.contrast.range;
        let factor = log_uniform(rng, low, high) as f32;
        let shown = sum(&image.data, visible);
        let mean = (sum(&image.data, |v| v * visible(v)) / shown.max(1.0)) as f32;
        let stretch = |v: &mut f32| *v += (factor - 1.0) * (*v - mean) * visible(*v);
        image.data.iter_mut().for_each(stretch);
    }
    if chance(rng, settings.gamma.probability) {
        let [low, high] = settings.gamma.range;
        let gamma = log_uniform(rng, low, high) as f32;
        let bend = |v: &mut f32| *v = v.clamp(0.0, 1.0).powf(gamma);
        image.data.iter_mut().for_each(bend);
    }
    if chance(rng, settings.blur.probability) {
        let [low, high] = settings.blur.sigma;
        let sigma = uniform(rng, low, high);
        let (height, width) = (image.height, image.width);
        for channel in 0..image.channels {
            gaussian_blur(image.plane_mut(channel), height, width, sigma);
        }
    }
    if chance(rng, settings.noise.probability) {
        let std = uniform(rng, 0.0, settings.noise.std) as f32;
        image.data.iter_mut().for_each(|v| *v += normal(rng) as f32 * std * visible(*v));
    }
    image.data.iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0));
}
