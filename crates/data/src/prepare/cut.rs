//! One volume and its label map to slices.

use std::fs;
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::staging::slice_file;
use super::{FolderOptions, IndexedSlice, IndexedVolume, LabelGrid, Split, VolumePair};
use crate::picture::{encode_gray16, encode_png};
use crate::preprocess::displayed;
use crate::volume::{listed, resample_classes};
use crate::{Error, Layout, Orientation, PreparedVolume, Preprocessor, Result, Size, Volume};

/// What one volume became.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) volume: IndexedVolume,
    pub(super) slices: Vec<IndexedSlice>,
    /// Every label that its label map holds.
    pub(super) labels: Vec<u16>,
}

/// A volume on the model's grid with its classes, before its slices are written.
pub(super) struct Cut {
    volume: IndexedVolume,
    prepared: PreparedVolume,
    /// The values that are black and white in each channel's file; empty where all channels are in one.
    ranges: Vec<[f32; 2]>,
    classes: Volume<u8>,
    regions: Option<Volume<u16>>,
    labels: Vec<u16>,
    canvas: Size,
}

impl Cut {
    /// Reads a pair and resamples it.
    ///
    /// # Errors
    /// What is wrong with one of the two files, or with both together.
    pub(super) fn new(
        pair: &VolumePair,
        split: Split,
        preprocessor: &Preprocessor,
        options: &FolderOptions,
    ) -> Result<Self> {
        let images: Vec<Volume> = pair.images.iter().map(|path| Volume::read(path)).collect::<Result<_>>()?;
        let labels = Volume::read_labels(&pair.labels)?;
        let mut warnings: Vec<String> = Vec::new();
        let of_images = images.iter().flat_map(|image| &image.warnings);
        of_images.for_each(|warning| {
            if !warnings.contains(warning) {
                warnings.push(warning.clone());
            }
        });
        let of_labels = labels.warnings.iter().filter(|warning| !warnings.contains(warning));
        let of_labels: Vec<String> = of_labels.map(|warning| format!("label map: {warning}")).collect();
        warnings.extend(of_labels);
        let prepared = preprocessor
            .prepare_channels(&images)
            .map_err(|problem| Error::file(pair.image(), format!("cannot be prepared: {problem}")))?;
        // Never fails: what was prepared has a first channel.
        let image = images.first().ok_or_else(|| Error::Shape("a case has no volume".into()))?;
        warnings.extend(check_grid(pair, image, &labels, options.grid)?);

        let orientation = Orientation::of(image);
        warnings.extend_from_slice(prepared.warnings());
        let (height, width) = prepared.size();
        let volume = IndexedVolume {
            name: pair.name.clone(),
            split,
            shape: [width, height, prepared.len()],
            spacing: prepared.spacing(),
            native_shape: image.shape,
            native_spacing: image.spacing(),
            native_orientation: orientation.code(),
            warnings,
        };
        drop(images);
        let ranges = Self::ranges(&prepared, preprocessor);

        let labels = orientation.to_ras(&labels);
        let mut class_of = vec![0u8; 1 << 16];
        for (class, id) in options.classes.iter().zip(1..) {
            class.labels.iter().for_each(|&label| class_of[usize::from(label)] = id);
        }
        let mut seen = vec![false; 1 << 16];
        labels.data.iter().for_each(|&label| seen[usize::from(label)] = true);
        let found = (0..=u16::MAX).filter(|&label| seen[usize::from(label)]).collect();
        let classes = resample_classes(&labels.map(|&label| class_of[usize::from(label)]), volume.shape);
        let regions = options.regions.then(|| labels.resample_nearest(volume.shape));
        let canvas = options.canvas.unwrap_or(Size { height, width });
        Ok(Self { volume, prepared, ranges, classes, regions, labels: found, canvas })
    }

    /// What black and white stand for in the files of each channel, where channels have files of their own.
    fn ranges(prepared: &PreparedVolume, preprocessor: &Preprocessor) -> Vec<[f32; 2]> {
        if preprocessor.layout != Layout::Channels {
            return Vec::new();
        }
        let ends = |volume: &Volume| {
            let start = [f32::INFINITY, f32::NEG_INFINITY];
            volume.data.iter().fold(start, |[low, high], &v| [low.min(v), high.max(v)])
        };
        let windowed = preprocessor.window.is_some();
        prepared.channels().iter().map(|volume| if windowed { [0.0, 1.0] } else { ends(volume) }).collect()
    }

    /// Writes the slices into the folders of `out`.
    ///
    /// # Errors
    /// [`Error::Io`] when a slice cannot be written.
    pub(super) fn write(self, out: &Path) -> Result<Part> {
        let slices: Result<Vec<IndexedSlice>> =
            (0..self.prepared.len()).into_par_iter().map(|z| self.write_slice(z, out)).collect();
        Ok(Part { slices: slices?, volume: self.volume, labels: self.labels })
    }

    fn write_slice(&self, z: usize, out: &Path) -> Result<IndexedSlice> {
        let name = format!("{}_z{z:04}", self.volume.name);
        let (height, width) = self.prepared.size();
        let (size, canvas) = (Size { height, width }, self.canvas);
        let write = |folder: &str, color: png::ColorType, data: &[u8]| {
            let path = out.join(folder).join(slice_file(&name, None));
            write_file(&path, |file| encode_png(file, canvas, color, None, data))
        };

        let planes = self.prepared.values(z)?;
        let area = height * width;
        if self.ranges.is_empty() {
            let rgb: Vec<[u8; 3]> = (0..area)
                .map(|pixel| [0, 1, 2].map(|c| (planes.data[c * area + pixel] * 255.0).round() as u8))
                .collect();
            write("images", png::ColorType::Rgb, fit(&rgb, size, canvas).as_flattened())?;
        }
        for (channel, &range) in self.ranges.iter().enumerate() {
            let values: Vec<u16> = planes.plane(channel).iter().map(|&value| level(value, range)).collect();
            let path = out.join("images").join(slice_file(&name, Some(channel)));
            write_file(&path, |file| encode_gray16(file, canvas, &fit(&values, size, canvas)))?;
        }

        let mask: Vec<u8> = displayed(&self.classes, z).collect();
        let mask = fit(&mask, size, canvas);
        write("masks", png::ColorType::Grayscale, &mask)?;
        if let Some(regions) = &self.regions {
            let ids: Vec<u8> = displayed(regions, z).map(|id| id.min(255) as u8).collect();
            write("regions", png::ColorType::Grayscale, &fit(&ids, size, canvas))?;
        }
        let foreground = mask.iter().any(|&id| id != 0);
        Ok(IndexedSlice { name, volume: self.volume.name.clone(), index: z, foreground })
    }
}

/// Writes a slice where it waits. Neither a temporary name nor a sync is needed there: a slice counts when its volume is
/// noted as done, and is on the disk before it gets to the output.
fn write_file(path: &Path, encode: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> Result<()> {
    let failed = |source| Error::io(path, "write", source);
    let mut file = Vec::new();
    encode(&mut file).map_err(failed)?;
    fs::write(path, file).map_err(failed)
}

/// A value on the 65536 levels between black and white; where these are equal, black.
fn level(value: f32, [low, high]: [f32; 2]) -> u16 {
    let (value, low, high) = (f64::from(value), f64::from(low), f64::from(high));
    let share = if high > low { (value - low) / (high - low) } else { 0.0 };
    (share * f64::from(u16::MAX)).round() as u16
}

/// Checks that a label map belongs to its image, and tells what was assumed for that.
fn check_grid(
    pair: &VolumePair,
    image: &Volume,
    labels: &Volume<u16>,
    grid: LabelGrid,
) -> Result<Option<String>> {
    if image.shape != labels.shape {
        return Err(Error::file(
            &pair.labels,
            format!(
                "is not on the grid of {}: {:?} voxels instead of {:?}",
                pair.image().display(),
                labels.shape,
                image.shape
            ),
        ));
    }
    if let Some(reading) = labels.grid_reading(image) {
        return Ok(Some(format!("label map: {reading}; the image's grid is taken")));
    }
    if image.same_grid(labels) {
        return Ok(None);
    }
    let place = |affine: &[[f64; 4]; 4], spacing, code: String| {
        let origin = [0, 1, 2].map(|row| affine[row][3]);
        format!("voxels of {} mm, {code}, from {origin:.1?}", listed(spacing))
    };
    let of_labels = place(&labels.affine, labels.spacing(), Orientation::of(labels).code());
    let of_image = place(&image.affine, image.spacing(), Orientation::of(image).code());
    match grid {
        LabelGrid::Image => Ok(Some(format!(
            "label map: its affine ({of_labels}) is not the image's ({of_image}); the image's grid is taken"
        ))),
        LabelGrid::Refuse => Err(Error::file(
            &pair.labels,
            format!(
                "has the shape of {}, but is not on its grid: {of_labels} instead of {of_image}. Where its voxels belong \
                 to the image's one by one, ask for the image's grid (--grid image)",
                pair.image().display()
            ),
        )),
    }
}

/// Crops or pads (with the default value) about the centre.
fn fit<T: Copy + Default>(pixels: &[T], from: Size, to: Size) -> Vec<T> {
    let source = |o: usize, from: usize, to: usize| {
        let shifted = o as isize + (from as isize - to as isize).div_euclid(2);
        usize::try_from(shifted).ok().filter(|&i| i < from)
    };
    let mut out = Vec::with_capacity(to.height * to.width);
    for y in 0..to.height {
        let row = source(y, from.height, to.height);
        out.extend((0..to.width).map(|x| match (row, source(x, from.width, to.width)) {
            (Some(row), Some(column)) => pixels[row * from.width + column],
            _ => T::default(),
        }));
    }
    out
}
