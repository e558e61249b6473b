//! Masks as they are read or predicted.

use std::path::Path;

use unet3p_data::{LabelMap, Volume, read_mask};

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

impl Mask {
    /// Reads a mask file. An image of 0 and 255 alone is a mask of 0 and 1 where `white_is_one`.
    pub(super) fn read(input: &Input, white_is_one: bool) -> Result<Self, Error> {
        if input.kind == Kind::Volume {
            return Ok(Self::Volume(Volume::read_labels(&input.path)?));
        }
        let mut mask = read_mask(&input.path)?;
        if white_is_one && mask.data.iter().all(|&id| id == 0 || id == 255) {
            mask.data.iter_mut().for_each(|id| *id = (*id).min(1));
        }
        Ok(Self::Image(mask))
    }
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
