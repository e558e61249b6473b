//! Masks as they are read or predicted.

use std::path::{Path, PathBuf};

use unet3p_data::{LabelMap, MaskOptions, MaskReader, Volume};

use super::cases::Case;
use super::pairs::Pair;
use crate::failure::{Failure, describe};
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
    Predicted { path: PathBuf, source: unet3p::Error },
    #[error("{}: {source}", path.display())]
    Metrics { path: PathBuf, source: unet3p_metrics::Error },
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
#[derive(Debug)]
pub(super) struct Reader(MaskReader);

impl Reader {
    /// A reader that follows `options`. Where one class at most `may_be_binary`, it is decided once what 255 means in the
    /// images that are compared, and said.
    ///
    /// # Errors
    /// Wrong usage: options that do not go together.
    pub(super) fn new(options: MaskOptions, may_be_binary: bool, cases: &[Case]) -> Result<Self, Failure> {
        let mut reader = MaskReader::new(options).map_err(|error| Failure::usage(describe(&error)))?;
        if may_be_binary {
            let pairs = || cases.iter().flat_map(Case::pairs);
            let images = |inputs: &mut dyn Iterator<Item = &Input>| -> Vec<PathBuf> {
                inputs.filter(|input| input.kind == Kind::Image).map(|input| input.path.clone()).collect()
            };
            let predictions =
                images(&mut pairs().filter(|pair| !pair.is_predicted).map(|pair| &pair.prediction));
            let references = images(&mut pairs().map(|pair| &pair.reference));
            if let Some(note) = reader.decide_between([&predictions, &references]) {
                log::warn!("{note}");
            }
        }
        Ok(Self(reader))
    }

    /// Reads a mask, with what is doubtful about it. Ignored pixels of an image are [`IGNORED`](unet3p_data::IGNORED).
    pub(super) fn read(&self, input: &Input) -> Result<(Mask, Vec<String>), Error> {
        if input.kind == Kind::Volume {
            let volume = Volume::read_labels(&input.path)?;
            let warnings = named(&input.path, &volume.warnings);
            return Ok((Mask::Volume(volume), warnings));
        }
        let mask = self.0.read(&input.path)?;
        Ok((Mask::Image(mask.labels), named(&input.path, &mask.warnings)))
    }

    /// Reads both masks of a pair.
    pub(super) fn both(&self, pair: &Pair) -> Result<Masks, Error> {
        self.beside(self.read(&pair.prediction)?, pair)
    }

    /// Reads the reference of a pair whose prediction is there, with what is doubtful about it.
    pub(super) fn beside(
        &self,
        (prediction, mut warnings): (Mask, Vec<String>),
        pair: &Pair,
    ) -> Result<Masks, Error> {
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

/// Checks that two volumes lie on one grid. Where that takes another program's reading of a header, it is returned.
pub(super) fn check_grid(
    (prediction, a): (&Path, &Volume<u16>),
    (reference, b): (&Path, &Volume<u16>),
) -> Result<Option<String>, Error> {
    if let Some(reading) = b.grid_reading(a) {
        return Ok(Some(reading));
    }
    let near = |(a, b): (f64, f64)| (a - b).abs() <= SPACING_BUDGET * b;
    let (what, of_a, of_b) = if a.shape != b.shape {
        ("shape", format!("{:?}", a.shape), format!("{:?}", b.shape))
    } else if !a.spacing().into_iter().zip(b.spacing()).all(near) {
        ("spacing", format!("{:?} mm", a.spacing()), format!("{:?} mm", b.spacing()))
    } else if !a.same_grid(b) {
        ("affine", format!("{:?}", a.affine), format!("{:?}", b.affine))
    } else {
        return Ok(None);
    };
    Err(Error::Mismatch(format!(
        "{} has the {what} {of_a} and {} {of_b}: both must lie on one grid; resample one to the other's",
        prediction.display(),
        reference.display()
    )))
}
