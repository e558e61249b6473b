//! Image files to the network's input.

use super::{Normalize, Preprocessor};
use crate::Image;

impl Preprocessor {
    /// Normalises values from 0 to 1 in place.
    pub(crate) fn normalize_unit(&self, image: &mut Image) {
        match self.normalize {
            Normalize::Fixed => {
                let factor = if self.do_rescale { 255.0 * self.rescale_factor } else { 255.0 };
                // 1/255 makes the factor 1 up to rounding: then values stay what they are.
                if (factor - 1.0).abs() > 1e-9 {
                    image.data.iter_mut().for_each(|v| *v *= factor as f32);
                }
                self.standardize(image);
            }
            Normalize::Window => self.standardize(image),
            Normalize::Zscore => {
                let count = image.data.len() as f64;
                let mean = image.data.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
                let variance = image.data.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count;
                shift_and_scale(&mut image.data, mean, variance.sqrt());
            }
            Normalize::Minmax => {
                let (low, high) = image
                    .data
                    .iter()
                    .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)));
                shift_and_scale(&mut image.data, f64::from(low), f64::from(high) - f64::from(low));
            }
        }
    }

    /// `(value - mean) / std` per channel.
    fn standardize(&self, image: &mut Image) {
        if !self.do_normalize {
            return;
        }
        let pick = |values: &[f64], channel: usize| values[if values.len() == 1 { 0 } else { channel }];
        for channel in 0..image.channels {
            let (mean, std) = (pick(&self.image_mean, channel), pick(&self.image_std, channel));
            shift_and_scale(image.plane_mut(channel), mean, std);
        }
    }
}

/// `(value - shift) / scale`; a constant image (scale 0) becomes 0.
fn shift_and_scale(values: &mut [f32], shift: f64, scale: f64) {
    let factor = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    values.iter_mut().for_each(|v| *v = ((f64::from(*v) - shift) * factor) as f32);
}
