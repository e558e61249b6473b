//! Masks as they are read or predicted.

use std::path::Path;

use unet3p_data::{LabelMap, Volume, read_mask};

use super::pairs::Pair;
use crate::predict::{Input, Kind};

/// Spacings may differ by this share: single precision, and headers that were rounded.
const SPACING_BUDGET: f64 = 1e-3;

/// Why a case has no scores.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Data(#[from] unet3p_data::Error),
    #[error(transparent)]
    Segment(#[from] unet3p::Error),
    #[error("{}: {source}", path.display())]
    Predicted { path: std::path::PathBuf, source: unet3p::Error },
    #[error("{}: {source}", path.display())]
    Metrics { path: std::path::PathBuf, source: unet3p_metrics::Error },
    /// Masks that do not fit together.
    #[error("{0}")]
    Mismatch(String),
}

/// Class ids of an image or of a volume.
#[derive(Debug)]
pub(super) enum Mask {
    Image(LabelMap),
    Volume(Volume<u16>),
}

/// What a pair is scored by.
#[derive(Debug)]
pub(super) struct Masks {
    pub(super) prediction: Mask,
    pub(super) reference: Mask,
    /// What is doubtful about either.
    pub(super) warnings: Vec<String>,
}

/// Reads mask files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader {
    /// An image of 0 and 255 alone is a mask of 0 and 1.
    pub(super) white_is_one: bool,
}

impl Reader {
    /// Reads a mask, with what is doubtful about it.
    pub(super) fn read(&self, input: &Input) -> Result<(Mask, Vec<String>), Error> {
        if input.kind == Kind::Volume {
            let volume = Volume::read_labels(&input.path)?;
            let warnings = named(&input.path, &volume.warnings);
            return Ok((Mask::Volume(volume), warnings));
        }
        let mut mask = read_mask(&input.path)?;
        if self.white_is_one && mask.data.iter().all(|&id| id == 0 || id == 255) {
            mask.data.iter_mut().for_each(|id| *id = (*id).min(1));
        }
        Ok((Mask::Image(mask), Vec::new()))
    }

    /// Reads both masks of a pair.
    pub(super) fn both(&self, pair: &Pair) -> Result<Masks, Error> {
        let (prediction, mut warnings) = self.read(&pair.prediction)?;
        let (reference, more) = self.read(&pair.reference)?;
        warnings.extend(more);
        Ok(Masks { prediction, reference, warnings })
    }
}

/// Warnings with the file that they are about.
pub(super) fn named(path: &Path, warnings: &[String]) -> Vec<String> {
    warnings.iter().map(|warning| format!("{}: {warning}", path.display())).collect()
}

/// Checks that two images have one size.
pub(super) fn check_size(
    (prediction, a): (&Path, &LabelMap),
    (reference, b): (&Path, &LabelMap),
) -> Result<(), Error> {
    if (a.height, a.width) == (b.height, b.width) {
        return Ok(());
    }
    Err(Error::Mismatch(format!(
        "{} is {} x {} (height x width) and {} is {} x {}: both must have one size",
        prediction.display(),
        a.height,
        a.width,
        reference.display(),
        b.height,
        b.width
    )))
}

/// Checks that two volumes lie on one grid.
pub(super) fn check_grid(
    (prediction, a): (&Path, &Volume<u16>),
    (reference, b): (&Path, &Volume<u16>),
) -> Result<(), Error> {
    let near = |(a, b): (f64, f64)| (a - b).abs() <= SPACING_BUDGET * b;
    let (what, of_a, of_b) = if a.shape != b.shape {
        ("shape", format!("{:?}", a.shape), format!("{:?}", b.shape))
    } else if !a.spacing().into_iter().zip(b.spacing()).all(near) {
        ("spacing", format!("{:?} mm", a.spacing()), format!("{:?} mm", b.spacing()))
    } else if !a.same_grid(b) {
        ("affine", format!("{:?}", a.affine), format!("{:?}", b.affine))
    } else {
        return Ok(());
    };
    Err(Error::Mismatch(format!(
        "{} has the {what} {of_a} and {} {of_b}: both must lie on one grid; resample one to the other's",
        prediction.display(),
        reference.display()
    )))
}
