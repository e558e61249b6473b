//! Slices that `unet3p prepare` cut: which volume each belongs to, and where it lies in it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use unet3p_data::prepare::{DatasetIndex, IndexedSlice, IndexedVolume, Split};

use super::error::EvaluateError;
use crate::plan::layout;

/// The index of a folder of prepared slices.
#[derive(Debug)]
pub struct Slices {
    path: PathBuf,
    masks: PathBuf,
    index: DatasetIndex,
}

impl Slices {
    /// The `dataset.json` in the folder of references or in the one above, where it is an index of slices; other
    /// programs have files of this name as well.
    ///
    /// # Errors
    /// [`EvaluateError`]: an index that does not tell where slices lie.
    pub fn beside(references: &Path, per_slice: bool) -> Result<Option<Self>, EvaluateError> {
        for (path, json) in layout::indices(references) {
            if json.get("slices").is_none() {
                continue;
            }
            let index = match serde_json::from_value(json) {
                Ok(index) => index,
                Err(_) if per_slice => continue,
                Err(source) => return Err(EvaluateError::Index { path, source }),
            };
            let inside = references.join("masks");
            let is_inside = path.parent() == Some(references) && inside.is_dir();
            let masks = if is_inside { inside } else { layout::masks(references) };
            return Ok(Some(Self { path, masks, index }));
        }
        Ok(None)
    }

    /// The index.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the references lie.
    pub fn masks(&self) -> &Path {
        &self.masks
    }

    /// Names of the classes; the first has id 1.
    pub fn class_names(&self) -> impl Iterator<Item = &str> {
        self.index.classes.iter().map(|class| class.name.as_str())
    }

    /// Names of the slices of one split.
    pub fn of_split(&self, split: Split) -> impl Iterator<Item = &str> {
        let volumes: Vec<&str> =
            self.index.volumes.iter().filter(|v| v.split == split).map(|v| v.name.as_str()).collect();
        let of_split = move |slice: &&IndexedSlice| volumes.contains(&slice.volume.as_str());
        self.index.slices.iter().filter(of_split).map(|slice| slice.name.as_str())
    }

    /// Slices and their volumes by the slices' names.
    ///
    /// # Errors
    /// [`EvaluateError`]: a slice of a volume that is not described.
    pub fn by_name(&self) -> Result<HashMap<&str, (&IndexedSlice, &IndexedVolume)>, EvaluateError> {
        let volumes: HashMap<&str, &IndexedVolume> =
            self.index.volumes.iter().map(|volume| (volume.name.as_str(), volume)).collect();
        let with_volume = |slice: &'_ IndexedSlice| volumes.get(slice.volume.as_str()).copied();
        let found = self.index.slices.iter().map(|slice| match with_volume(slice) {
            Some(volume) => Ok((slice.name.as_str(), (slice, volume))),
            None => Err(EvaluateError::NoVolume {
                index: self.path.clone(),
                volume: slice.volume.clone(),
                slice: slice.name.clone(),
            }),
        });
        found.collect()
    }
}
