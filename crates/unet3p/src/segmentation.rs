//! What comes out: masks with their areas, and how they become files.

use std::path::Path;
use std::sync::Arc;

use unet3p_data::{Image, LabelMap, Orientation, Picture, Volume, VolumeWriter};

use crate::{Result, write_npy};

/// How much of a mask one class takes.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassArea {
    /// The class's id in the mask.
    pub id: u8,
    /// Its name.
    pub label: String,
    /// Pixels, or voxels of a volume.
    pub count: usize,
    /// `count` as a share of all pixels.
    pub fraction: f64,
}

/// The segmentation of one image.
#[derive(Debug, Clone)]
pub struct Segmentation {
    /// Class ids at the input's own size.
    pub mask: LabelMap,
    /// Probabilities `[classes, height, width]` at the input's own size.
    pub probabilities: Image,
    /// The probability that there is an organ at all, from models with a classification guide.
    pub presence: Option<f32>,
    /// The guide's decision, which empties the mask where it is false: whether the organ's presence is more probable
    /// than its absence, which has a probability of its own.
    pub present: Option<bool>,
    /// All classes but the background, by id.
    pub classes: Vec<ClassArea>,
    /// What the reader should know: a dropped alpha channel, colours turned to gray.
    pub warnings: Vec<String>,
    pub(crate) picture: Picture,
    pub(crate) palette: Vec<[u8; 3]>,
}

impl Segmentation {
    /// Writes the mask as an indexed PNG: a pixel's value is its class id, the palette its colour.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_mask(&self, path: impl AsRef<Path>) -> Result<()> {
        Ok(unet3p_data::write_mask(path.as_ref(), &self.mask, &self.palette)?)
    }

    /// The image as a person sees it, in its original size.
    pub fn picture(&self) -> &Picture {
        &self.picture
    }

    /// The mask drawn over the image: tinted and outlined in its classes' colours.
    ///
    /// # Errors
    /// When mask and image have different sizes, because a field was changed.
    pub fn overlay(&self) -> Result<Picture> {
        Ok(self.picture.overlay(&self.mask, &self.palette)?)
    }

    /// Writes the probabilities as `.npy`, float32 `[classes, height, width]`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_probabilities(&self, path: impl AsRef<Path>) -> Result<()> {
        let p = &self.probabilities;
        write_npy(path.as_ref(), &[p.channels, p.height, p.width], &p.data)
    }
}

/// The segmentation of one volume.
#[derive(Debug, Clone)]
pub struct VolumeSegmentation {
    /// Class ids on the volume's own grid, with its geometry.
    pub mask: Volume<u8>,
    /// The volume; of several channels the first.
    pub volume: Volume,
    /// Probabilities `[classes, height, width]` of each slice on the model's grid: from the feet to the head, row 0
    /// at the patient's front, column 0 at the patient's right.
    pub probabilities: Vec<Image>,
    /// The highest slice's probability that there is an organ, from models with a classification guide.
    pub presence: Option<f32>,
    /// Whether the guide finds the organ in any slice.
    pub present: Option<bool>,
    /// All classes but the background, by id.
    pub classes: Vec<ClassArea>,
    /// What was doubtful in the volume's file, and what was made of it.
    pub warnings: Vec<String>,
    pub(crate) window: Option<[f64; 2]>,
    /// Writes the mask as the volume's file was written.
    pub(crate) writer: Arc<dyn VolumeWriter>,
    pub(crate) palette: Vec<[u8; 3]>,
}

impl VolumeSegmentation {
    /// The volume of a voxel in cubic millimetres.
    pub fn voxel_mm3(&self) -> f64 {
        let m = &self.mask.affine;
        let minor = |a: usize, b: usize| m[1][a] * m[2][b] - m[1][b] * m[2][a];
        (m[0][0] * minor(1, 2) - m[0][1] * minor(0, 2) + m[0][2] * minor(0, 1)).abs()
    }

    /// Writes the mask as `.nii`, or `.nii.gz` where the name says so, with the geometry of the volume and, where it came
    /// from a file, in that file's units and form.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_mask(&self, path: impl AsRef<Path>) -> Result<()> {
        Ok(self.writer.write_file(&self.mask, path.as_ref())?)
    }

    /// The axial slice with the most foreground (the middle one where there is none), the mask drawn over it, as a
    /// radiologist sees it: front on top, the patient's right on the left.
    ///
    /// # Errors
    /// When mask and volume have different shapes, because a field was changed.
    pub fn overlay(&self) -> Result<Picture> {
        let orientation = Orientation::of(&self.volume);
        let (mask, volume) = (orientation.to_ras(&self.mask), orientation.to_ras(&self.volume));
        let [width, height, depth] = mask.shape;
        let foreground = |slice: &[u8]| slice.iter().filter(|&&id| id != 0).count();
        let z = mask
            .data
            .chunks(width * height)
            .map(foreground)
            .enumerate()
            .max_by_key(|&(z, count)| (count, std::cmp::Reverse(z.abs_diff(depth / 2))))
            .map_or(0, |(z, _)| z);
        // In RAS both axes of a slice run against the display, so it is the slice read backwards.
        let slice = z * width * height..(z + 1) * width * height;
        let gray: Vec<f32> = volume.data[slice.clone()].iter().rev().copied().collect();
        let ids = mask.data[slice].iter().rev().copied().collect();
        let picture = gray_picture(&gray, height, width, self.window);
        Ok(picture.overlay(&LabelMap::new(height, width, ids)?, &self.palette)?)
    }

    /// Writes the probabilities as `.npy`, float32 `[classes, slices, height, width]` on the model's grid.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_probabilities(&self, path: impl AsRef<Path>) -> Result<()> {
        let Some(first) = self.probabilities.first() else {
            return write_npy(path.as_ref(), &[0, 0, 0, 0], &[]);
        };
        let shape = [first.channels, self.probabilities.len(), first.height, first.width];
        let mut values = Vec::with_capacity(shape.iter().product());
        for class in 0..first.channels {
            for slice in &self.probabilities {
                values.extend_from_slice(slice.plane(class));
            }
        }
        write_npy(path.as_ref(), &shape, &values)
    }
}

/// Gray values as a picture: black to white over the window, or over what is there.
pub(crate) fn gray_picture(values: &[f32], height: usize, width: usize, window: Option<[f64; 2]>) -> Picture {
    let (low, high) = match window {
        Some([low, high]) => (low as f32, high as f32),
        None => values
            .iter()
            .filter(|v| v.is_finite())
            .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v))),
    };
    // A constant image is black; the cast takes what is outside to the ends.
    let scale = if high > low { 255.0 / (high - low) } else { 0.0 };
    let pixels = values.iter().map(|&v| [((v - low) * scale).round() as u8; 3]).collect();
    Picture { height, width, pixels }
}

/// The areas of `classes` (id and name) in `ids`.
pub(crate) fn class_areas(ids: &[u8], classes: &[(u8, String)]) -> Vec<ClassArea> {
    let mut counts = [0usize; 256];
    for &id in ids {
        counts[usize::from(id)] += 1;
    }
    classes
        .iter()
        .map(|(id, label)| {
            let count = counts[usize::from(*id)];
            ClassArea {
                id: *id,
                label: label.clone(),
                count,
                fraction: count as f64 / ids.len().max(1) as f64,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A volume of 2 x 1 x 3 voxels whose class lies in the middle slice, in a sheared, scaled grid.
    fn volume() -> VolumeSegmentation {
        let affine = [[2.0, 0.5, 0.0, 7.0], [0.0, 3.0, 0.0, 0.0], [0.0, 0.0, 4.0, 0.0], [0.0, 0.0, 0.0, 1.0]];
        let values = vec![0.0, 0.0, 50.0, 100.0, 0.0, 0.0];
        let mask = vec![0, 0, 1, 0, 0, 0];
        let slice = |p: f32| Image::new(2, 1, 1, vec![p, 1.0 - p]).unwrap();
        VolumeSegmentation {
            mask: Volume::new(mask, [2, 1, 3], affine).unwrap(),
            volume: Volume::new(values, [2, 1, 3], affine).unwrap(),
            probabilities: vec![slice(0.25), slice(0.75)],
            presence: None,
            present: None,
            classes: Vec::new(),
            warnings: Vec::new(),
            window: Some([0.0, 100.0]),
            writer: Arc::new(unet3p_data::Nifti::default()),
            palette: vec![[0; 3], [255, 0, 0]],
        }
    }

    #[test]
    fn a_voxel_is_as_large_as_its_determinant() {
        assert!((volume().voxel_mm3() - 24.0).abs() < 1e-12);
    }

    #[test]
    fn the_overlay_shows_the_slice_with_the_class_as_a_radiologist_sees_it() {
        let picture = volume().overlay().unwrap();
        assert_eq!((picture.height, picture.width), (1, 2));
        // x grows to the patient's right in RAS... and to the left of the picture: the class, at i = 0, is on the right.
        assert_eq!(picture.pixels, [[255; 3], [255, 0, 0]]);
    }

    #[test]
    fn probabilities_are_written_class_by_class() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.npy");
        volume().write_probabilities(&path).unwrap();
        let (shape, values) = crate::read_npy(&path).unwrap();
        assert_eq!(shape, [2, 2, 1, 1]);
        assert_eq!(values, [0.25, 0.75, 0.75, 0.25]);
    }

    #[test]
    fn areas_count_every_class_that_is_asked_for() {
        let classes = [(1, "liver".to_string()), (2, "tumour".to_string())];
        let areas = class_areas(&[0, 1, 1, 0], &classes);
        assert_eq!((areas[0].count, areas[0].fraction), (2, 0.5));
        assert_eq!((areas[1].count, areas[1].fraction), (0, 0.0));
    }

    #[test]
    fn constant_and_non_finite_values_make_a_picture() {
        let picture = gray_picture(&[1.0, 1.0], 1, 2, None);
        assert_eq!(picture.pixels, [[0; 3]; 2]);
        let picture = gray_picture(&[f32::NAN, 0.0, 2.0], 1, 3, None);
        assert_eq!(picture.pixels, [[0; 3], [0; 3], [255; 3]]);
    }
}
