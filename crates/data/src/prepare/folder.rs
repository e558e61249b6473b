//! The preparation itself: volume by volume, slices in parallel.

use std::collections::BTreeSet;
use std::path::Path;

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::cut::Cut;
use super::staging::Staging;
use super::{DatasetIndex, FailedVolume, Split, VolumePair};
use crate::{Error, Layout, Normalize, Preprocessor, Result, Size, Window, check_class_names};

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

/// What becomes of a label map with the shape of its image and another affine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelGrid {
    /// It is refused, unless its affine is another program's reading of the image's header.
    Refuse,
    /// It lies on the image's grid, which is noted among the volume's warnings. Some data sets have label maps whose
    /// affine was lost.
    Image,
}

/// What [`folder`] does with volumes.
#[derive(Debug, Clone, PartialEq)]
pub struct FolderOptions {
    /// Names of the channels where each case has several volumes ([`Matched::channels`](super::Matched::channels));
    /// default none: each case is one volume.
    pub channels: Vec<String>,
    /// HU values that become 0 and 255; default \[-200, 250\]. With several channels it may be one for each, or none:
    /// then the ends of each channel's values in its volume become black and white.
    pub window: Option<Window>,
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
    /// What becomes of label maps with another affine than their image's; default [`LabelGrid::Refuse`].
    pub grid: LabelGrid,
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
            channels: Vec::new(),
            window: Some([-200.0, 250.0].into()),
            normalize: Normalize::Window,
            spacing: None,
            size: None,
            canvas: None,
            classes: Vec::new(),
            grid: LabelGrid::Refuse,
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
///   of several channels `images/NAME_z0042_0000.png`, `images/NAME_z0042_0001.png`, ..., the slice of each as 16-bit gray,
///   which tells whole numbers apart over a range of 65535;
/// - `masks/NAME_z0042.png`: class ids, 8-bit gray;
/// - `regions/NAME_z0042.png`, if asked for: the original labels, 8-bit gray;
///
/// and the folder gets `preprocessor_config.json` and, last of all, `dataset.json`. None of this changes before every
/// volume has been read and cut. Finished volumes wait in a hidden folder, and the next run with the same options goes on
/// from them. `progress` is called with the volume's name, its position and their number before each volume is read.
///
/// A volume or label map that cannot be used does not keep the others from being written: it is among
/// [`DatasetIndex::failed`], and a later run with the same options prepares what failed and what has changed alone.
///
/// # Errors
/// [`Error::Setting`] for options that cannot be followed, [`Error::File`] or [`Error::Io`] where not one volume could be
/// used, the output cannot be written, or the folder holds slices already.
///
/// ```no_run
/// use unet3p_data::prepare::{ClassLabels, FolderOptions, folder, match_folders};
/// let pairs = match_folders("ct/images".as_ref(), "ct/labels".as_ref(), None)?.pairs;
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
        channels: options.channels.clone(),
        window: options.window.clone(),
        spacing: options.spacing,
        size: options.size,
        canvas: options.canvas,
        regions: options.regions,
        volumes: Vec::new(),
        slices: Vec::new(),
        failed: Vec::new(),
        warnings: Vec::new(),
    };
    let mut found = BTreeSet::new();
    let mut problems = Vec::new();
    for (i, pair) in pairs.iter().enumerate() {
        progress(&pair.name, i, pairs.len());
        let split = if validation.contains(&pair.name) { Split::Validation } else { Split::Train };
        let part = match staging.finished(pair)? {
            Some(mut part) => {
                // With other volumes beside it the draw may differ.
                part.volume.split = split;
                part
            }
            None => match Cut::new(pair, split, &preprocessor, options) {
                Ok(cut) => {
                    let part = cut.write(staging.path())?;
                    staging.finish(pair, &part)?;
                    part
                }
                Err(problem) => {
                    index.failed.push(FailedVolume { name: pair.name.clone(), error: problem.to_string() });
                    problems.push(problem);
                    continue;
                }
            },
        };
        index.volumes.push(part.volume);
        index.slices.extend(part.slices);
        found.extend(part.labels);
    }
    if index.volumes.is_empty() {
        staging.remove()?;
        return Err(nothing_prepared(out, problems));
    }
    for class in options.classes.iter().filter(|class| !class.labels.iter().any(|id| found.contains(id))) {
        index
            .warnings
            .push(format!("no volume has a voxel of the class {}, labels {:?}", class.name, class.labels));
    }
    for (split, wanted) in
        [(Split::Validation, !validation.is_empty()), (Split::Train, validation.len() < pairs.len())]
    {
        if wanted && index.volumes.iter().all(|volume| volume.split != split) {
            index.warnings.push(format!("every volume of the {split:?} split failed").to_lowercase());
        }
    }
    staging.publish(&index)?;
    preprocessor.save(out)?;
    index.save(out)?;
    if index.failed.is_empty() {
        staging.remove()?;
    }
    Ok(index)
}

/// The error of a run in which every volume failed.
fn nothing_prepared(out: &Path, mut problems: Vec<Error>) -> Error {
    if problems.len() == 1 {
        return problems.remove(0);
    }
    let all: Vec<String> = problems.iter().map(Error::to_string).collect();
    Error::file(out, format!("gets no slices, because every volume failed:\n  {}", all.join("\n  ")))
}

fn check(pairs: &[VolumePair], options: &FolderOptions) -> Result<Preprocessor> {
    if pairs.is_empty() {
        return Err(Error::setting("volumes", 0, "at least one volume is needed"));
    }
    if let Some(twice) = pairs.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(Error::file(
            twice[1].image(),
            format!("has the same name as {}", twice[0].image().display()),
        ));
    }
    if options.classes.is_empty() || options.classes.len() > 255 {
        return Err(Error::setting("classes", options.classes.len(), "from 1 to 255 classes are allowed"));
    }
    let names: Vec<&str> = options.classes.iter().map(|class| class.name.as_str()).collect();
    check_class_names(&names).map_err(|problem| Error::setting("classes", format!("{names:?}"), problem))?;
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
    let several = !options.channels.is_empty();
    let preprocessor = Preprocessor {
        layout: if several { Layout::Channels } else { Layout::Slices },
        channel_names: options.channels.clone(),
        size: options.size,
        spacing: options.spacing,
        normalize: options.normalize,
        window: options.window.clone(),
        ..Preprocessor::default()
    };
    preprocessor.validate()?;
    if !several && options.window.is_none() {
        return Err(Error::setting(
            "window",
            "null",
            "slices of one channel have 8 bits, and need two values",
        ));
    }
    pairs.iter().try_for_each(|pair| preprocessor.check_files(&pair.images))?;
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
