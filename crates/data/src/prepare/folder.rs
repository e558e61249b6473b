//! The preparation itself: volume by volume, slices in parallel.

use std::collections::BTreeSet;
use std::path::Path;

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::staging::Staging;
use super::{DatasetIndex, IndexedSlice, IndexedVolume, Split, VolumePair};
use crate::mask::write_gray_png;
use crate::picture::write_rgb_png;
use crate::preprocess::displayed;
use crate::volume::resample_classes;
use crate::{Error, LabelMap, Normalize, Orientation, PreparedVolume, Preprocessor, Result, Size, Volume};

/// A class and the labels that belong to it in the label maps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassLabels {
    /// The class's name.
    pub name: String,
    /// Ids in the label maps.
    pub labels: Vec<u16>,
}

/// Which volumes are kept for validation. A volume is never split.
#[derive(Debug, Clone, PartialEq)]
pub enum Validation {
    /// This share of the volumes (0 to 1), drawn with a seed: at least one, and never all, unless the
    /// share is 0 or there is one volume only, which is then trained on.
    Share {
        /// The share.
        share: f64,
        /// The seed.
        seed: u64,
    },
    /// The volumes of these names.
    Volumes(Vec<String>),
}

/// What [`folder`] does with volumes.
#[derive(Debug, Clone, PartialEq)]
pub struct FolderOptions {
    /// HU values that become 0 and 255; default \[-200, 250\].
    pub window: [f64; 2],
    /// How windowed values reach the network: [`Normalize::Window`] (default) as they are, or as
    /// [`Normalize::Minmax`] and [`Normalize::Zscore`] say. The slices' files hold windowed values in any case.
    pub normalize: Normalize,
    /// Distance in mm between columns, rows and slices; none keeps each volume's own.
    pub spacing: Option<[f64; 3]>,
    /// In-plane size that every slice is resampled to, where there is no `spacing`.
    pub size: Option<Size>,
    /// Size that slices are cropped or padded to, about their centre.
    pub canvas: Option<Size>,
    /// The classes; the first gets id 1.
    pub classes: Vec<ClassLabels>,
    /// Whether all the labels are kept in `regions/` (ids above 255 become 255).
    pub regions: bool,
    /// The volumes kept for validation; default none.
    pub validation: Validation,
    /// Whether slices that an earlier run wrote into the folder are replaced.
    pub overwrite: bool,
}

impl Default for FolderOptions {
    fn default() -> Self {
        Self {
            window: [-200.0, 250.0],
            normalize: Normalize::Window,
            spacing: None,
            size: None,
            canvas: None,
            classes: Vec::new(),
            regions: false,
            validation: Validation::Share { share: 0.0, seed: 0 },
            overwrite: false,
        }
    }
}

/// Turns volumes with label maps into 2.5D training slices.
///
/// Each volume is turned to RAS, resampled and windowed exactly as [`Preprocessor::prepare_volume`] does
/// for prediction. Slice `z` of volume NAME becomes, with row 0 at the patient's front and column 0 at
/// the patient's right:
///
/// - `images/NAME_z0042.png`: slices `z - 1`, `z`, `z + 1` as red, green, blue;
/// - `masks/NAME_z0042.png`: class ids, 8-bit gray;
/// - `regions/NAME_z0042.png`, if asked for: the original labels, 8-bit gray;
///
/// and the folder gets `preprocessor_config.json` and, last of all, `dataset.json`. None of this changes before every
/// volume has been read and cut: a run that fails leaves what was there. Finished volumes wait in a hidden folder, and
/// the next run with the same options goes on from them. `progress` is called with the volume's name, its position and
/// their number before each volume is read.
///
/// # Errors
/// [`Error::Setting`] for options that cannot be followed, [`Error::File`] or [`Error::Io`] for a volume
/// that cannot be read, a label map on another grid, or a folder that holds slices already.
///
/// ```no_run
/// use unet3p_data::prepare::{ClassLabels, FolderOptions, folder, match_folders};
/// let pairs = match_folders("ct/images".as_ref(), "ct/labels".as_ref())?;
/// let options = FolderOptions {
///     spacing: Some([3.0; 3]),
///     classes: vec![ClassLabels { name: "liver".into(), labels: vec![5] }],
///     ..FolderOptions::default()
/// };
/// let index = folder(&pairs, "slices".as_ref(), &options, |name, i, n| eprintln!("{name} ({} of {n})", i + 1))?;
/// println!("{} slices", index.slices.len());
/// # Ok::<(), unet3p_data::Error>(())
/// ```
pub fn folder(
    pairs: &[VolumePair],
    out: &Path,
    options: &FolderOptions,
    mut progress: impl FnMut(&str, usize, usize),
) -> Result<DatasetIndex> {
    let mut pairs = pairs.to_vec();
    pairs.sort_by(|a, b| a.name.cmp(&b.name));
    let preprocessor = check(&pairs, options)?;
    let validation = draw_validation(&pairs, &options.validation)?;
    let staging = Staging::open(out, options)?;

    let mut index = DatasetIndex {
        classes: options.classes.clone(),
        window: options.window,
        spacing: options.spacing,
        size: options.size,
        canvas: options.canvas,
        regions: options.regions,
        volumes: Vec::new(),
        slices: Vec::new(),
    };
    let mut found = BTreeSet::new();
    for (i, pair) in pairs.iter().enumerate() {
        progress(&pair.name, i, pairs.len());
        let part = match staging.finished(pair)? {
            Some(part) => part,
            None => {
                let split = if validation.contains(&pair.name) { Split::Validation } else { Split::Train };
                let part = prepare_pair(pair, split, staging.path(), &preprocessor, options)?;
                staging.finish(pair, &part)?;
                part
            }
        };
        index.volumes.push(part.volume);
        index.slices.extend(part.slices);
        found.extend(part.labels);
    }
    for class in options.classes.iter().filter(|class| !class.labels.iter().any(|id| found.contains(id))) {
        log::warn!("no volume has a voxel of the class {}, labels {:?}", class.name, class.labels);
    }
    staging.publish()?;
    preprocessor.save(out)?;
    index.save(out)?;
    staging.remove()?;
    Ok(index)
}

/// What one volume became.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Part {
    volume: IndexedVolume,
    slices: Vec<IndexedSlice>,
    /// Every label that its label map holds.
    labels: Vec<u16>,
}

/// Reads, resamples and writes one volume.
fn prepare_pair(
    pair: &VolumePair,
    split: Split,
    out: &Path,
    preprocessor: &Preprocessor,
    options: &FolderOptions,
) -> Result<Part> {
    let image = Volume::read(&pair.image)?;
    let labels = Volume::read_labels(&pair.labels)?;
    if !image.same_grid(&labels) {
        return Err(Error::file(
            &pair.labels,
            format!(
                "is not on the grid of {}: {:?} voxels and affine {:?} instead of {:?} and {:?}",
                pair.image.display(),
                labels.shape,
                labels.affine,
                image.shape,
                image.affine
            ),
        ));
    }
    let orientation = Orientation::of(&image);
    let prepared = preprocessor.prepare_volume(&image)?;
    let volume = IndexedVolume {
        name: pair.name.clone(),
        split,
        shape: [prepared.size().1, prepared.size().0, prepared.len()],
        spacing: prepared.spacing(),
        native_shape: image.shape,
        native_spacing: image.spacing(),
        native_orientation: orientation.code(),
    };
    drop(image);

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
    drop(labels);

    let slices: Result<Vec<IndexedSlice>> = (0..prepared.len())
        .into_par_iter()
        .map(|z| write_slice(pair, z, out, &prepared, &classes, regions.as_ref(), options.canvas))
        .collect();
    Ok(Part { volume, slices: slices?, labels: found })
}

fn write_slice(
    pair: &VolumePair,
    z: usize,
    out: &Path,
    prepared: &PreparedVolume,
    classes: &Volume<u8>,
    regions: Option<&Volume<u16>>,
    canvas: Option<Size>,
) -> Result<IndexedSlice> {
    let name = format!("{}_z{z:04}", pair.name);
    let (height, width) = prepared.size();
    let size = Size { height, width };
    let canvas = canvas.unwrap_or(size);

    let planes = prepared.values(z)?;
    let area = height * width;
    let rgb: Vec<[u8; 3]> = (0..area)
        .map(|pixel| [0, 1, 2].map(|c| (planes.data[c * area + pixel] * 255.0).round() as u8))
        .collect();
    write_rgb_png(&out.join("images").join(format!("{name}.png")), canvas, &fit(&rgb, size, canvas))?;

    let mask: Vec<u8> = displayed(classes, z).collect();
    let mask = fit(&mask, size, canvas);
    let foreground = mask.iter().any(|&id| id != 0);
    let write = |folder: &str, data: Vec<u8>| {
        let labels = LabelMap { height: canvas.height, width: canvas.width, data };
        write_gray_png(&out.join(folder).join(format!("{name}.png")), &labels)
    };
    write("masks", mask)?;
    if let Some(regions) = regions {
        let ids: Vec<u8> = displayed(regions, z).map(|id| id.min(255) as u8).collect();
        write("regions", fit(&ids, size, canvas))?;
    }
    Ok(IndexedSlice { name, volume: pair.name.clone(), index: z, foreground })
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

fn check(pairs: &[VolumePair], options: &FolderOptions) -> Result<Preprocessor> {
    if pairs.is_empty() {
        return Err(Error::setting("volumes", 0, "at least one volume is needed"));
    }
    if let Some(twice) = pairs.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(Error::file(
            &twice[1].image,
            format!("has the same name as {}", twice[0].image.display()),
        ));
    }
    if options.classes.is_empty() || options.classes.len() > 255 {
        return Err(Error::setting("classes", options.classes.len(), "from 1 to 255 classes are allowed"));
    }
    let mut owner = BTreeSet::new();
    for class in &options.classes {
        if class.labels.is_empty() {
            return Err(Error::setting(&class.name, "[]", "a class needs at least one label"));
        }
        if let Some(label) = class.labels.iter().find(|&&label| label == 0 || !owner.insert(label)) {
            return Err(Error::setting(
                &class.name,
                label,
                "labels are above 0 and belong to one class each",
            ));
        }
    }
    if let Some(canvas) = options.canvas
        && ![canvas.height, canvas.width].iter().all(|side| (1..=Preprocessor::MAX_SIDE).contains(side))
    {
        return Err(Error::setting(
            "canvas",
            format!("{} x {}", canvas.height, canvas.width),
            format!("height and width from 1 to {} are allowed", Preprocessor::MAX_SIDE),
        ));
    }
    let preprocessor = Preprocessor {
        size: options.size,
        normalize: options.normalize,
        ..Preprocessor::for_slices(options.window, options.spacing)
    };
    preprocessor.validate()?;
    Ok(preprocessor)
}

fn draw_validation(pairs: &[VolumePair], validation: &Validation) -> Result<BTreeSet<String>> {
    let mut names: Vec<&String> = pairs.iter().map(|pair| &pair.name).collect();
    match validation {
        Validation::Volumes(wanted) => {
            if let Some(unknown) = wanted.iter().find(|name| !names.contains(name)) {
                return Err(Error::setting("validation volumes", unknown, "no volume has this name"));
            }
            Ok(wanted.iter().cloned().collect())
        }
        &Validation::Share { share, seed } => {
            if !(0.0..1.0).contains(&share) {
                return Err(Error::setting(
                    "validation share",
                    share,
                    "a number from 0 to below 1 is needed",
                ));
            }
            let count = match share {
                0.0 => 0,
                share => ((share * names.len() as f64).round() as usize).max(1).min(names.len() - 1),
            };
            names.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
            Ok(names.into_iter().take(count).cloned().collect())
        }
    }
}
