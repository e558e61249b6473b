//! What an earlier run has finished, so that it need not be segmented again.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use rayon::prelude::*;
use unet3p_data::{Preprocessor, Volume, read_mask};

use super::error::PlanError;
use super::inputs::{Kind, kind_of, real};
use super::outputs::{Item, Outputs};
use super::target::Target;
use crate::read_npy_shape;
use crate::record::{Done, Entry, Identity, Options, Record, Stamp, text};

/// A run that is gone on with.
#[derive(Debug)]
pub struct Earlier(Record);

/// What an earlier run leaves to this one.
#[derive(Debug, Default)]
pub struct Kept {
    /// Of each of this run's inputs, what is finished: all of it or nothing.
    pub finished: Vec<Vec<Entry>>,
    /// Entries of other inputs.
    pub others: Vec<Entry>,
}

impl Earlier {
    /// Reads the record of `target`; nothing where there is none.
    ///
    /// # Errors
    /// [`PlanError`]: it cannot be read, or its run had other options.
    pub fn read(target: &Target, now: &Options) -> Result<Option<Self>, PlanError> {
        let record = target.record();
        if record.symlink_metadata().is_err() {
            return Ok(None);
        }
        let earlier = Self(Record::read(&record).map_err(PlanError::Earlier)?);
        earlier.check(&record, earlier.0.options().differences(now))?;
        Ok(Some(earlier))
    }

    /// Checks that the model still is the same, by its classes and its weights.
    ///
    /// # Errors
    /// [`PlanError::OtherRun`]: it is another model.
    pub fn check_model(&self, target: &Target, now: &Identity) -> Result<(), PlanError> {
        self.check(&target.record(), self.0.identity().differences(now))
    }

    fn check(&self, record: &Path, differences: Vec<String>) -> Result<(), PlanError> {
        if differences.is_empty() {
            return Ok(());
        }
        Err(PlanError::OtherRun { record: record.to_path_buf(), differences })
    }

    /// What is finished of `items`.
    ///
    /// # Errors
    /// [`PlanError::OtherInput`]: an output of `items` is another input's in the earlier run.
    pub fn kept(self, items: &[Item], target: &Target) -> Result<Kept, PlanError> {
        let folder = target.folder();
        let mut by_mask: HashMap<String, Entry> = HashMap::new();
        let mut others = Vec::new();
        let inputs: BTreeSet<String> = items.iter().map(|item| text(&item.input.path)).collect();
        let masks: BTreeSet<String> =
            items.iter().flat_map(|i| &i.outputs).map(|o| o.relative_to(folder).mask).collect();
        for entry in self.0.predictions {
            match &entry {
                Entry::Done(done) if masks.contains(&done.outputs.mask) => {
                    by_mask.insert(done.outputs.mask.clone(), entry);
                }
                Entry::Done(done) if !folder.join(&done.outputs.mask).is_file() => {}
                entry if inputs.contains(entry.input()) => {}
                _ => others.push(entry),
            }
        }
        let mut finished = Vec::new();
        for item in items {
            let mut entries = Vec::new();
            for outputs in &item.outputs {
                let files = outputs.relative_to(folder);
                let Some(entry) = by_mask.remove(&files.mask) else { continue };
                let input = Path::new(entry.input());
                if entry.input() != text(&item.input.path) && real(input) != real(&item.input.path) {
                    return Err(PlanError::OtherInput {
                        output: outputs.mask.clone(),
                        earlier: input.to_path_buf(),
                        now: item.input.path.clone(),
                    });
                }
                let is_all = |done: &Done| files.all().all(|file| done.outputs.all().any(|f| f == file));
                entries
                    .extend(Some(entry).filter(|entry| matches!(entry, Entry::Done(done) if is_all(done))));
            }
            finished.push(entries);
        }
        // Every mask is read, which takes longer than all else here.
        finished.par_iter_mut().zip(items).for_each(|(entries, item)| {
            if !is_finished(entries, item) {
                entries.clear();
            }
        });
        Ok(Kept { finished, others })
    }
}

/// Whether these are the entries of all outputs of an input, the input is the file that they were made of, and they can be
/// read.
fn is_finished(entries: &[Entry], item: &Item) -> bool {
    let now = Stamp::of(&item.input.files);
    entries.len() == item.outputs.len()
        && entries.iter().zip(&item.outputs).all(|(entry, outputs)| {
            matches!(entry, Entry::Done(done) if !now.is_empty() && done.files == now && are_whole(outputs, done))
        })
}

/// Whether outputs can be read, and the mask has the size that it was written with.
fn are_whole(outputs: &Outputs, done: &Done) -> bool {
    let size = match kind_of(&outputs.mask) {
        Some(Kind::Volume) => Volume::read_labels(&outputs.mask).map(|mask| mask.shape.to_vec()),
        _ => read_mask(&outputs.mask).map(|mask| vec![mask.height, mask.width]),
    };
    size.is_ok_and(|size| size == done.size)
        && outputs.overlay.iter().all(|path| Preprocessor::default().load_image(path).is_ok())
        && outputs.probabilities.iter().all(|path| read_npy_shape(path).is_ok())
}
