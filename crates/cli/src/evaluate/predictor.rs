//! Masks from a model.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use unet3p::Segmenter;
use unet3p_data::LabelMap;

use super::mask::{Error, Mask};
use super::pairs::Pair;
use crate::predict::Kind;
use crate::report;

/// A model that predicts the images of pairs, as `unet3p predict` does.
pub(super) struct Predictor {
    segmenter: Segmenter,
    /// The masks of the last array: its images come one after the other.
    last: Option<(PathBuf, Vec<LabelMap>)>,
    /// Warnings that were given: the slices of a dataset have the same ones.
    given: BTreeSet<String>,
}

impl Predictor {
    pub(super) fn new(segmenter: Segmenter) -> Self {
        Self { segmenter, last: None, given: BTreeSet::new() }
    }

    /// The names of the model's classes.
    pub(super) fn labels(&self) -> BTreeMap<u16, String> {
        self.segmenter.labels().into_iter().map(|(id, name)| (u16::from(id), name)).collect()
    }

    /// The mask of a pair's image.
    pub(super) fn mask(&mut self, pair: &Pair) -> Result<Mask, Error> {
        let path = &pair.prediction.path;
        match pair.prediction.kind {
            Kind::Image => {
                let found = self.segmenter.segment(path)?;
                for warning in found.warnings {
                    if self.given.insert(warning.clone()) {
                        log::warn!("{}: {warning} (said once, also of further images)", path.display());
                    }
                }
                Ok(Mask::Image(found.mask))
            }
            Kind::Volume => {
                let bar = report::bar(0, "slices");
                let found = self.segmenter.segment_volume(path, |done, slices| {
                    bar.set_length(slices as u64);
                    bar.set_position(done as u64);
                });
                bar.finish_and_clear();
                Ok(Mask::Volume(found?.mask.map(|&id| u16::from(id))))
            }
            Kind::Array => {
                if self.last.as_ref().is_none_or(|(last, _)| last != path) {
                    let found = self.segmenter.segment_npy(path)?;
                    self.last = Some((path.clone(), found.into_iter().map(|found| found.mask).collect()));
                }
                let masks = self.last.as_ref().map(|(_, masks)| masks);
                let mask = masks.and_then(|masks| masks.get(pair.index.unwrap_or(0)));
                mask.cloned().map(Mask::Image).ok_or_else(|| {
                    Error::Mismatch(format!("{}: changed while it was evaluated; run again", path.display()))
                })
            }
        }
    }
}
