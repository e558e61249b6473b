//! What earlier runs left: their records, which outputs these name, and which inputs need not be segmented again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use unet3p::read_npy_shape;
use unet3p_data::{Preprocessor, Volume, read_mask};
use unet3p_files::read_text_up_to;

use super::inputs::{Input, Kind, kind_of};
use super::plan::{Item, Outputs, real};
use super::record::{Done, Entry, Files, Identity, Options, Stamp, text};
use super::target::{RECORD, Target, record_beside};
use crate::failure::Failure;

/// Most bytes of a record, which has less than a kilobyte for each input: 256 MiB. Longer files are no records.
const MAX_RECORD: u64 = 1 << 28;

/// Reads a record, or a part of it.
///
/// # Errors
/// Why it cannot be read.
pub(crate) fn read<T: DeserializeOwned>(record: &Path) -> Result<T, String> {
    let name = record.display();
    let text = read_text_up_to(record, MAX_RECORD).map_err(|e| format!("{name}: cannot be read: {e}"))?;
    serde_json::from_str(&text).map_err(|e| format!("{name}: is no record of predictions: {e}"))
}

/// `inputs` without those that the records beside them name as outputs. Each record is named in a warning, but for that of
/// `target`, which tells of the user's own folder.
///
/// # Errors
/// Wrong usage: no input remains.
pub(crate) fn without_written(
    inputs: Vec<Input>,
    roots: &[PathBuf],
    target: Option<&Target>,
) -> Result<Vec<Input>, Failure> {
    let listed = inputs.iter().filter(|input| !input.named).map(|input| record_beside(&input.path));
    let records: BTreeSet<PathBuf> =
        roots.iter().map(|root| root.join(RECORD)).chain(listed).filter(|record| record.is_file()).collect();
    if records.is_empty() {
        return Ok(inputs);
    }
    let own = target.map(|target| real(&target.record()));
    let mut rest = inputs;
    for record in &records {
        let made = written(record);
        let (outputs, others): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|input| !input.named && made.contains(&text(&real(&input.path))));
        rest = others;
        if let Some(first) = outputs.first().filter(|_| own.as_ref() != Some(&real(record))) {
            let more = match outputs.len() - 1 {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            log::warn!(
                "{}{more}: passed over, because {} names outputs of an earlier run",
                first.path.display(),
                record.display()
            );
        }
    }
    if rest.is_empty() {
        let records: Vec<_> = records.iter().map(|record| record.display().to_string()).collect();
        return Err(Failure::usage(format!(
            "{}: all files here are outputs of an earlier run; name the images that they were made of",
            records.join(", ")
        )));
    }
    Ok(rest)
}

/// The files that a record names, without links, as records write them.
fn written(record: &Path) -> BTreeSet<String> {
    #[derive(Deserialize)]
    struct Record {
        predictions: Vec<Prediction>,
    }
    #[derive(Deserialize)]
    struct Prediction {
        outputs: Option<Files>,
    }
    let folder = record.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = real(folder.unwrap_or(Path::new(".")));
    // What is no record of ours names no file.
    let predictions = read::<Record>(record).map_or_else(|_| Vec::new(), |record| record.predictions);
    let files = predictions.iter().filter_map(|prediction| prediction.outputs.as_ref());
    files.flat_map(Files::all).map(|file| text(&real(&folder.join(file)))).collect()
}

/// The record of a run that is gone on with.
#[derive(Debug, Deserialize)]
pub(super) struct Earlier {
    // Not flattened into one: serde would read the ids as text.
    labels: BTreeMap<u8, String>,
    /// Older versions did not note them.
    weights: Option<String>,
    #[serde(flatten)]
    options: Options,
    predictions: Vec<Entry>,
}

/// What an earlier run leaves to this one.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Of each of this run's inputs, what is finished: all of it or nothing.
    pub(super) finished: Vec<Vec<Entry>>,
    /// Entries of other inputs.
    pub(super) others: Vec<Entry>,
}

impl Earlier {
    /// Reads the record of `target`; nothing where there is none.
    ///
    /// # Errors
    /// Wrong usage: it cannot be read, or its run had other options.
    pub(super) fn read(target: &Target, now: &Options) -> Result<Option<Self>, Failure> {
        let record = target.record();
        if record.symlink_metadata().is_err() {
            return Ok(None);
        }
        let earlier: Self = read(&record).map_err(|problem| {
            Failure::usage(format!("{problem}; --continue needs it, --overwrite does not"))
        })?;
        earlier.check(&record, &earlier.options.differences(now))?;
        Ok(Some(earlier))
    }

    /// Checks that the model still is the same, by its classes and its weights.
    ///
    /// # Errors
    /// Wrong usage: it is another model.
    pub(super) fn check_model(&self, target: &Target, now: &Identity) -> Result<(), Failure> {
        let earlier = Identity { labels: self.labels.clone(), weights: self.weights.clone() };
        self.check(&target.record(), &earlier.differences(now))
    }

    fn check(&self, record: &Path, differences: &[String]) -> Result<(), Failure> {
        if differences.is_empty() {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "{}: the run that --continue goes on with had {}; use its options, another output folder, or --overwrite",
            record.display(),
            differences.join(", ")
        )))
    }

    /// What is finished of `items`.
    ///
    /// # Errors
    /// Wrong usage: an output of `items` is another input's in the earlier run.
    pub(super) fn kept(self, items: &[Item], target: &Target) -> Result<Kept, Failure> {
        let folder = target.folder();
        let mut by_mask: HashMap<String, Entry> = HashMap::new();
        let mut others = Vec::new();
        let inputs: BTreeSet<String> = items.iter().map(|item| text(&item.input.path)).collect();
        let masks: BTreeSet<String> = items
            .iter()
            .flat_map(|i| &i.outputs)
            .map(|o| Files::relative(o, folder).mask().to_string())
            .collect();
        for entry in self.predictions {
            match &entry {
                Entry::Done(done) if masks.contains(done.outputs.mask()) => {
                    by_mask.insert(done.outputs.mask().to_string(), entry);
                }
                Entry::Done(done) if !folder.join(done.outputs.mask()).is_file() => {}
                entry if inputs.contains(entry.input()) => {}
                _ => others.push(entry),
            }
        }
        let mut finished = Vec::new();
        for item in items {
            let mut entries = Vec::new();
            for outputs in &item.outputs {
                let files = Files::relative(outputs, folder);
                let Some(entry) = by_mask.remove(files.mask()) else { continue };
                let input = Path::new(entry.input());
                if entry.input() != text(&item.input.path) && real(input) != real(&item.input.path) {
                    return Err(Failure::usage(format!(
                        "{}: is the output of {} in the run that --continue goes on with, and would be that of {}; choose \
                         another output folder",
                        outputs.mask.display(),
                        input.display(),
                        item.input.path.display()
                    )));
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
    let now = Stamp::of(&item.input.path);
    entries.len() == item.outputs.len()
        && entries.iter().zip(&item.outputs).all(|(entry, outputs)| {
            matches!(entry, Entry::Done(done) if now.is_some() && done.source == now && are_whole(outputs, done))
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
