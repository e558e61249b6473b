//! Masks from a model.

use std::collections::BTreeMap;
use std::path::PathBuf;

use unet3p_data::{LabelMap, SliceDataset};

use super::mask::{CaseError, Mask, Masks, Reader, named};
use super::pairs::Pair;
use super::progress::Progress;
use crate::Segmenter;
use crate::plan::{Kind, case_files};

/// A model that predicts the images of pairs, as `unet3p predict` does.
pub struct Predictor {
    segmenter: Segmenter,
    /// The masks of the last array: its images come one after the other.
    last: Option<(PathBuf, Vec<LabelMap>)>,
}

impl Predictor {
    /// Runs `segmenter`.
    pub fn new(segmenter: Segmenter) -> Self {
        Self { segmenter, last: None }
    }

    /// The names of the model's classes.
    pub fn labels(&self) -> BTreeMap<u16, String> {
        self.segmenter.labels().into_iter().map(|(id, name)| (u16::from(id), name)).collect()
    }

    /// The mask of a pair's image and the one that is right.
    pub(super) fn against(
        &mut self,
        reader: &Reader,
        pair: &Pair,
        progress: &dyn Progress,
    ) -> Result<Masks, CaseError> {
        reader.beside(self.mask(pair, progress)?, pair)
    }

    /// The mask of a slice of a training run's data and the one that is right, both at the size that the network sees: as
    /// the run validates.
    pub(super) fn of_sample(&self, dataset: &SliceDataset, pair: &Pair) -> Result<Masks, CaseError> {
        let mut sample = dataset.sample(pair.index.unwrap_or(0))?;
        dataset.normalize(&mut sample.image);
        let found = self.segmenter.segment_input(&sample.image);
        let found =
            found.map_err(|source| CaseError::Predicted { path: pair.prediction.path.clone(), source })?;
        Ok(Masks {
            prediction: Mask::Image(found.mask),
            reference: Mask::Image(sample.mask),
            warnings: found.warnings,
        })
    }

    /// The mask of a pair's image, with what is doubtful about the image. Images of one dataset share what is said of them,
    /// volumes do not.
    fn mask(&mut self, pair: &Pair, progress: &dyn Progress) -> Result<(Mask, Vec<String>), CaseError> {
        let path = &pair.prediction.path;
        let files = case_files(&pair.prediction, self.segmenter.preprocessor())?;
        match pair.prediction.kind {
            Kind::Image => {
                let found = self.segmenter.segment_files(&files)?;
                Ok((Mask::Image(found.mask), found.warnings))
            }
            Kind::Volume => {
                let found = self
                    .segmenter
                    .segment_volume_files(&files, |done, slices| progress.slices(done, slices))?;
                Ok((Mask::Volume(found.mask.map(|&id| u16::from(id))), named(path, &found.warnings)))
            }
            Kind::Array => {
                if self.last.as_ref().is_none_or(|(last, _)| last != path) {
                    let found = self.segmenter.segment_npy(path)?;
                    self.last = Some((path.clone(), found.into_iter().map(|found| found.mask).collect()));
                }
                let masks = self.last.as_ref().map(|(_, masks)| masks);
                let mask = masks.and_then(|masks| masks.get(pair.index.unwrap_or(0)));
                let mask = mask.cloned().map(|mask| (Mask::Image(mask), Vec::new()));
                mask.ok_or_else(|| {
                    CaseError::Mismatch(format!(
                        "{}: changed while it was evaluated; run again",
                        path.display()
                    ))
                })
            }
        }
    }
}
