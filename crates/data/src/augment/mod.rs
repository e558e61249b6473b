//! Random changes of training slices that keep image and mask together.
//!
//! Everything that moves pixels (flips, rotation, scaling, shift, elastic deformation, the training crop) is
//! composed into one warp, so that an image is interpolated once: bilinear for the image, nearest for mask and
//! regions. Grey values are changed afterwards. All of it is a function of the generator that is passed in.

mod config;
mod elastic;
mod filter;
mod intensity;
mod random;
mod reduce;
mod regions;
mod spatial;
#[cfg(test)]
mod tests;

pub use config::{
    Augmentation, Blur, Brightness, Contrast, Elastic, Flip, Gamma, Noise, RegionIntensity, Rotation, Scale,
    Shift, SingleSlice,
};

use rand_chacha::ChaCha8Rng;

use crate::{Image, Sample};

impl Augmentation {
    /// Changes a sample in place, keeping its size.
    ///
    /// The image's values are taken to lie in [0, 1] (before any mean and deviation are applied) and lie there
    /// afterwards, if any change of grey values is switched on.
    pub fn apply(&self, sample: &mut Sample, rng: &mut ChaCha8Rng) {
        let size = [sample.image.height, sample.image.width];
        self.apply_to_size(sample, size, rng);
    }

    /// Changes a sample in place and brings it to `size` = `[height, width]`: a random window of a larger image,
    /// a smaller one at a random place in a frame of the image's minimum (mask and regions: 0).
    ///
    /// [`Augmentation::none`] with this method is a plain random crop.
    ///
    /// ```
    /// use rand::SeedableRng;
    /// use rand_chacha::ChaCha8Rng;
    /// use unet3p_data::{Augmentation, Image, LabelMap, Sample};
    ///
    /// let mut sample = Sample {
    ///     image: Image::filled(3, 100, 120, 0.5),
    ///     mask: LabelMap::empty(100, 120),
    ///     regions: None,
    ///     name: "slice".into(),
    ///     group: "person".into(),
    /// };
    /// let mut rng = ChaCha8Rng::seed_from_u64(1);
    /// Augmentation::default().apply_to_size(&mut sample, [128, 112], &mut rng);
    /// assert_eq!((sample.image.height, sample.mask.width), (128, 112));
    /// ```
    pub fn apply_to_size(&self, sample: &mut Sample, size: [usize; 2], rng: &mut ChaCha8Rng) {
        if random::chance(rng, self.single_slice.probability) {
            repeat_middle_channel(&mut sample.image);
        }
        let input = (sample.image.height, sample.image.width);
        spatial::Warp::draw(self, rng, input, (size[0], size[1])).apply(sample);
        if let Some(map) = &sample.regions {
            regions::apply(&self.region_intensity, &mut sample.image, map, rng);
        }
        if self.changes_intensity() {
            intensity::apply(self, &mut sample.image, rng);
        }
    }

    /// Whether any step changes grey values.
    fn changes_intensity(&self) -> bool {
        [
            self.region_intensity.probability,
            self.brightness.probability,
            self.contrast.probability,
            self.gamma.probability,
            self.blur.probability,
            self.noise.probability,
        ]
        .iter()
        .any(|&p| p > 0.0)
    }
}

fn repeat_middle_channel(image: &mut Image) {
    let middle = image.plane(image.channels / 2).to_vec();
    for channel in 0..image.channels {
        image.plane_mut(channel).copy_from_slice(&middle);
    }
}
