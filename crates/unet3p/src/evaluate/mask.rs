//! Masks as they are read or predicted.

use std::path::{Path, PathBuf};

use unet3p_data::{LabelMap, MaskOptions, MaskReader, Volume};

use super::cases::Case;
use super::error::EvaluateError;
use super::pairs::Pair;
use crate::plan::{Input, Kind};

/// Spacings may differ by this share: single precision, and headers that were rounded.
const SPACING_BUDGET: f64 = 1e-3;

/// Why a case has no scores.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaseError {
    /// A mask that cannot be read.
    #[error(transparent)]
    Data(#[from] unet3p_data::Error),
    /// An image of which the model makes no mask.
    #[error(transparent)]
    Segment(#[from] crate::Error),
    /// A slice of a dataset of which the model makes no mask.
    #[error("{}: {source}", path.display())]
    Predicted {
        /// The image.
        path: PathBuf,
        /// What went wrong.
        source: crate::Error,
    },
    /// Masks that cannot be measured.
    #[error("{}: {source}", path.display())]
    Metrics {
        /// The reference.
        path: PathBuf,
        /// What is wrong with it.
        source: unet3p_metrics::Error,
    },
    /// Masks that do not fit together.
    #[error("{0}")]
    Mismatch(String),
    /// A fault of this program.
    #[error(
        "{case}: the program stopped at this case, which is a fault of the program; please report it with the files"
    )]
    Stopped {
        /// The case.
        case: String,
    },
}

/// Class ids of an image or of a volume.
#[derive(Debug)]
pub enum Mask {
    /// Of an image.
    Image(LabelMap),
    /// Of a volume.
    Volume(Volume<u16>),
}

/// What a pair is scored by.
#[derive(Debug)]
pub struct Masks {
    /// What was found.
    pub prediction: Mask,
    /// What is right.
    pub reference: Mask,
    /// What is doubtful about either.
    pub warnings: Vec<String>,
}

/// Reads mask files.
#[derive(Debug)]
pub struct Reader(MaskReader);

impl Reader {
    /// A reader that follows `options`. Where one class at most `may_be_binary`, it is decided once what 255 means in the
    /// images that are compared, and said.
    ///
    /// # Errors
    /// [`EvaluateError::Masks`]: options that do not go together.
    pub fn new(options: MaskOptions, may_be_binary: bool, cases: &[Case]) -> Result<Self, EvaluateError> {
        let mut reader = MaskReader::new(options).map_err(EvaluateError::Masks)?;
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
    pub(super) fn read(&self, input: &Input) -> Result<(Mask, Vec<String>), CaseError> {
        if input.kind == Kind::Volume {
            let volume = Volume::read_labels(&input.path)?;
            let warnings = named(&input.path, &volume.warnings);
            return Ok((Mask::Volume(volume), warnings));
        }
        let mask = self.0.read(&input.path)?;
        Ok((Mask::Image(mask.labels), named(&input.path, &mask.warnings)))
    }

    /// Reads both masks of a pair.
    pub(super) fn both(&self, pair: &Pair) -> Result<Masks, CaseError> {
        self.beside(self.read(&pair.prediction)?, pair)
    }

    /// Reads the reference of a pair whose prediction is there, with what is doubtful about it.
    pub(super) fn beside(
        &self,
        (prediction, mut warnings): (Mask, Vec<String>),
        pair: &Pair,
    ) -> Result<Masks, CaseError> {
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
) -> Result<(), CaseError> {
    if (a.height, a.width) == (b.height, b.width) {
        return Ok(());
    }
    Err(CaseError::Mismatch(format!(
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
) -> Result<Option<String>, CaseError> {
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
    Err(CaseError::Mismatch(format!(
        "{} has the {what} {of_a} and {} {of_b}: both must lie on one grid; resample one to the other's",
        prediction.display(),
        reference.display()
    )))
}
