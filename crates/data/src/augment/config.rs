//! Ranges and probabilities of the augmentation, as a training configuration spells them.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Factors of size and gray values go from a tenth to tenfold.
const LEAST_FACTOR: f64 = 0.1;
const MOST_FACTOR: f64 = 10.0;
/// The widest Gaussian in pixels: its cost grows with it.
const MOST_SIGMA: f64 = 32.0;

/// A table of settings with a default for each key.
macro_rules! settings {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

settings! {
    /// What is drawn for each training sample. Lengths are pixels, angles degrees, grey values parts of the
    /// window [0, 1]. A step whose probability is 0 is off. The defaults suit CT slices: left and right matter, so
    /// flips are off. Added values (offsets, noise) fade out below 0.05: what the window cut off stays 0.
    Augmentation {
        /// One slice in all channels.
        single_slice: SingleSlice = SingleSlice::default(),
        /// Mirror images.
        flip: Flip = Flip::default(),
        /// Rotation about the middle.
        rotation: Rotation = Rotation::default(),
        /// Larger and smaller, wider and taller.
        scale: Scale = Scale::default(),
        /// Translation.
        shift: Shift = Shift::default(),
        /// Smooth random deformation.
        elastic: Elastic = Elastic::default(),
        /// Grey values of each organ on its own; needs a `regions` folder.
        region_intensity: RegionIntensity = RegionIntensity::default(),
        /// A value added everywhere.
        brightness: Brightness = Brightness::default(),
        /// Stretch about the mean.
        contrast: Contrast = Contrast::default(),
        /// v^gamma.
        gamma: Gamma = Gamma::default(),
        /// Gaussian blur.
        blur: Blur = Blur::default(),
        /// Gaussian noise.
        noise: Noise = Noise::default(),
    }
}

settings! {
    /// One slice alone: every channel shows the middle one, as where a user has a single gray picture. For images
    /// whose channels are neighbouring slices.
    SingleSlice {
        /// Probability.
        probability: f64 = 0.0,
    }
}

settings! {
    /// Mirror images, each axis with its own probability.
    Flip {
        /// Probability of swapping left and right (default 0).
        horizontal: f64 = 0.0,
        /// Probability of swapping top and bottom (default 0).
        vertical: f64 = 0.0,
    }
}

settings! {
    /// Rotation about the middle of the image.
    Rotation {
        /// How often (default 0.8).
        probability: f64 = 0.8,
        /// Uniform in plus or minus this many degrees (default 15).
        degrees: f64 = 15.0,
    }
}

settings! {
    /// A change of size.
    Scale {
        /// How often (default 0.9).
        probability: f64 = 0.9,
        /// Size of an object relative to the original, log-uniform (default [0.75, 1.3]).
        range: [f64; 2] = [0.75, 1.3],
        /// The ratio of height to width changes by up to this part, log-uniform both ways (default 0.15).
        aspect: f64 = 0.15,
    }
}

settings! {
    /// Translation.
    Shift {
        /// How often (default 0.5).
        probability: f64 = 0.5,
        /// Uniform in plus or minus this part of the image's side (default 0.06).
        fraction: f64 = 0.06,
    }
}

settings! {
    /// Smooth deformation: a cubic B-spline through normally distributed displacements of a coarse grid, limited
    /// to 0.48 of the grid's spacing, so that nothing folds over.
    Elastic {
        /// How often (default 0.7).
        probability: f64 = 0.7,
        /// Distance of control points in pixels (default 24).
        spacing: f64 = 24.0,
        /// Standard deviation of a control point's displacement in pixels, per axis (default 4).
        magnitude: f64 = 4.0,
    }
}

settings! {
    /// Grey values inside labelled regions (organs), each drawn on its own: a stand-in for the contrast phases
    /// that the training volumes do not show. Region r with mean m turns v into v + offset + gain (v - m).
    RegionIntensity {
        /// How often (default 0.8).
        probability: f64 = 0.8,
        /// Standard deviation of each region's own offset (default 0.08; one window [-200, 250] HU is 450 HU wide,
        /// so 36 HU).
        offset_std: f64 = 0.08,
        /// Standard deviation of the offset that all regions of a slice share (default 0.06).
        shared_std: f64 = 0.06,
        /// Standard deviation of each region's gain (default 0.15).
        gain_std: f64 = 0.15,
        /// How often a region takes the mean of another one on the slice, of similar brightness, before its own
        /// offset (default 0): organs that look alike can then be told apart by place and shape alone.
        alike: f64 = 0.0,
        /// The change fades over the region's edge with a Gaussian of this many pixels (default 0.7).
        edge: f64 = 0.7,
    }
}

settings! {
    /// A value added to the whole image.
    Brightness {
        /// How often (default 0.3).
        probability: f64 = 0.3,
        /// Standard deviation (default 0.04).
        std: f64 = 0.04,
    }
}

settings! {
    /// Stretch about the mean of the visible pixels.
    Contrast {
        /// How often (default 0.3).
        probability: f64 = 0.3,
        /// Factor, log-uniform (default [0.8, 1.25]).
        range: [f64; 2] = [0.8, 1.25],
    }
}

settings! {
    /// v^gamma on [0, 1].
    Gamma {
        /// How often (default 0.4).
        probability: f64 = 0.4,
        /// Exponent, log-uniform (default [0.75, 1.4]).
        range: [f64; 2] = [0.75, 1.4],
    }
}

settings! {
    /// Gaussian blur.
    Blur {
        /// How often (default 0.3).
        probability: f64 = 0.3,
        /// Standard deviation in pixels, uniform (default [0.3, 0.9]).
        sigma: [f64; 2] = [0.3, 0.9],
    }
}

settings! {
    /// Gaussian noise, independent in each pixel and channel.
    Noise {
        /// How often (default 0.5).
        probability: f64 = 0.5,
        /// The standard deviation is uniform between 0 and this (default 0.05).
        std: f64 = 0.05,
    }
}

impl Augmentation {
    /// Nothing at all: every probability is 0.
    pub fn none() -> Self {
        let mut none = Self::default();
        for (_, probability) in none.probabilities() {
            *probability = 0.0;
        }
        none
    }

    /// Every probability with its key.
    fn probabilities(&mut self) -> [(&'static str, &mut f64); 14] {
        [
            ("single_slice.probability", &mut self.single_slice.probability),
            ("flip.horizontal", &mut self.flip.horizontal),
            ("flip.vertical", &mut self.flip.vertical),
            ("rotation.probability", &mut self.rotation.probability),
            ("scale.probability", &mut self.scale.probability),
            ("shift.probability", &mut self.shift.probability),
            ("elastic.probability", &mut self.elastic.probability),
            ("region_intensity.probability", &mut self.region_intensity.probability),
            ("region_intensity.alike", &mut self.region_intensity.alike),
            ("brightness.probability", &mut self.brightness.probability),
            ("contrast.probability", &mut self.contrast.probability),
            ("gamma.probability", &mut self.gamma.probability),
            ("blur.probability", &mut self.blur.probability),
            ("noise.probability", &mut self.noise.probability),
        ]
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Setting`] with the first key whose value makes no sense, and what is allowed.
    pub fn validate(&self) -> Result<()> {
        for (key, &mut p) in self.clone().probabilities() {
            check(key, p, (0.0..=1.0).contains(&p), "a probability, 0 to 1")?;
        }
        let numbers = [
            ("rotation.degrees", self.rotation.degrees, 0.0, 180.0),
            ("scale.aspect", self.scale.aspect, 0.0, 3.0),
            ("shift.fraction", self.shift.fraction, 0.0, 1.0),
            ("elastic.spacing", self.elastic.spacing, 2.0, 8192.0),
            ("elastic.magnitude", self.elastic.magnitude, 0.0, 4096.0),
            ("region_intensity.offset_std", self.region_intensity.offset_std, 0.0, 1.0),
            ("region_intensity.shared_std", self.region_intensity.shared_std, 0.0, 1.0),
            ("region_intensity.gain_std", self.region_intensity.gain_std, 0.0, 1.0),
            ("region_intensity.edge", self.region_intensity.edge, 0.0, MOST_SIGMA),
            ("brightness.std", self.brightness.std, 0.0, 1.0),
            ("noise.std", self.noise.std, 0.0, 1.0),
        ];
        for (key, value, least, most) in numbers {
            check(key, value, (least..=most).contains(&value), &format!("{least} to {most}"))?;
        }
        for (key, range, least, most) in [
            ("scale.range", self.scale.range, LEAST_FACTOR, MOST_FACTOR),
            ("contrast.range", self.contrast.range, LEAST_FACTOR, MOST_FACTOR),
            ("gamma.range", self.gamma.range, LEAST_FACTOR, MOST_FACTOR),
            ("blur.sigma", self.blur.sigma, 0.0, MOST_SIGMA),
        ] {
            let fine = least <= range[0] && range[0] <= range[1] && range[1] <= most;
            let allowed = format!("[low, high] with {least} <= low <= high <= {most}");
            check(key, format!("{range:?}"), fine, &allowed)?;
        }
        Ok(())
    }
}

/// An error that names `key` unless its value is fine.
fn check(key: &str, value: impl ToString, fine: bool, allowed: &str) -> Result<()> {
    if fine {
        return Ok(());
    }
    let key = format!("augmentation.{key}");
    Err(Error::setting(key, value, allowed))
}
