//! A closer look at a dataset's images: what training would accept, and people should know.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::SliceDataset;
use crate::decode::{Dark, Raster, Samples, decode};
use crate::{Error, Result};

/// What decoding every image tells. Slices are given by their indices.
#[derive(Debug, Default)]
pub struct Inspection {
    /// Slices with an image that cannot be decoded, and why.
    pub problems: Vec<(usize, Error)>,
    /// Slices whose image has one value everywhere.
    pub constant: Vec<usize>,
    /// Slices whose images are equal, two or more each; without the constant ones.
    pub equal: Vec<Vec<usize>>,
    /// Slices whose image has a transparency, which is dropped.
    pub transparent: Vec<usize>,
    /// Slices whose image has 16 bits a sample, but values of 12 bits: it is dark.
    pub twelve_bits: Vec<usize>,
    /// Slices whose image has 16 bits a sample, but values of 8 bits: it is black.
    pub eight_bits: Vec<usize>,
}

/// One image.
struct Look {
    constant: bool,
    transparent: bool,
    dark: Option<Dark>,
    hash: u64,
}

impl SliceDataset {
    /// Decodes the images of every slice; the masks were decoded when the dataset was opened. `progress` hears of slices
    /// that are done and of how many there are, on any thread.
    pub fn inspect(&self, progress: impl Fn(usize, usize) + Sync) -> Inspection {
        let (done, total) = (AtomicUsize::new(0), self.slices.len());
        let looks: Vec<Result<Look>> = self
            .slices
            .par_iter()
            .map(|slice| {
                let images: Result<Vec<_>> = slice.images.iter().map(|path| decode(path)).collect();
                let look = images.map(|images| Look::at(&images));
                progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
                look
            })
            .collect();
        let mut found = Inspection::default();
        let mut by_content: HashMap<u64, Vec<usize>> = HashMap::new();
        for (index, look) in looks.into_iter().enumerate() {
            match look {
                Err(problem) => found.problems.push((index, problem)),
                Ok(look) => {
                    if look.transparent {
                        found.transparent.push(index);
                    }
                    match look.dark.filter(|_| !self.preprocessor.stretches()) {
                        Some(Dark::TwelveBits { .. }) => found.twelve_bits.push(index),
                        Some(Dark::EightBits { .. }) => found.eight_bits.push(index),
                        None => {}
                    }
                    if look.constant {
                        found.constant.push(index);
                    } else {
                        by_content.entry(look.hash).or_default().push(index);
                    }
                }
            }
        }
        found.equal = by_content.into_values().filter(|slices| slices.len() > 1).collect();
        found.equal.sort();
        found
    }
}

impl Look {
    fn at(images: &[Raster]) -> Self {
        let mut hasher = DefaultHasher::new();
        for image in images {
            (image.width, image.height, image.channels).hash(&mut hasher);
            match &image.samples {
                Samples::Eight(samples) => samples.hash(&mut hasher),
                Samples::Sixteen(samples) => samples.hash(&mut hasher),
            }
        }
        Self {
            constant: images.iter().all(Raster::is_constant),
            transparent: images.iter().any(|image| image.had_alpha),
            dark: images.iter().find_map(Raster::dark),
            hash: hasher.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, GrayImage, ImageBuffer, Luma, LumaA};

    use super::*;
    use crate::DatasetOptions;

    #[test]
    fn images_that_people_should_know_of_are_found() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["images", "masks"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let gradient = |shift: u32| GrayImage::from_fn(5, 4, |x, y| Luma([(x + y + shift) as u8]));
        let pictures: [DynamicImage; 8] = [
            gradient(0).into(),
            GrayImage::from_pixel(5, 4, Luma([3])).into(),
            gradient(1).into(),
            gradient(0).into(),
            GrayImage::from_pixel(5, 4, Luma([3])).into(),
            image::GrayAlphaImage::from_fn(5, 4, |x, _| LumaA([x as u8, 9])).into(),
            ImageBuffer::from_fn(5, 4, |x, _| Luma([x as u16 * 1023])).into(),
            ImageBuffer::from_fn(5, 4, |x, _| Luma([x as u16 * 63])).into(),
        ];
        for (i, picture) in pictures.iter().enumerate() {
            picture.save(dir.path().join(format!("images/{i}.png"))).unwrap();
            GrayImage::new(5, 4).save(dir.path().join(format!("masks/{i}.png"))).unwrap();
        }
        let path = dir.path().join("images/2.png");
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.len() - 20;
        bytes[at] ^= 0xff;
        std::fs::write(&path, bytes).unwrap();
        let dataset = SliceDataset::open(&[dir.path().to_path_buf()], &DatasetOptions::default()).unwrap();
        let found = dataset.inspect(|_, _| {});
        assert_eq!((found.constant, found.equal, found.transparent), (vec![1, 4], vec![vec![0, 3]], vec![5]));
        assert_eq!((found.twelve_bits, found.eight_bits), (vec![6], vec![7]));
        let (index, problem) = &found.problems[0];
        assert_eq!((found.problems.len(), *index), (1, 2));
        assert!(problem.to_string().contains("images/2.png"));
    }
}
