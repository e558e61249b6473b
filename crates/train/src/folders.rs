//! The folders of slices that a run reads: what they have to agree on.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use unet3p_data::prepare::DatasetIndex;
use unet3p_data::{Layout, Preprocessor, SliceDataset};

use crate::{Error, Result, TrainConfig};

/// The setting that names the folders.
const KEY: &str = "data.paths";

/// Opens the folders. A folder without any image is a wrong setting.
pub(crate) fn open(config: &TrainConfig, preprocessor: Preprocessor) -> Result<SliceDataset> {
    SliceDataset::open(&config.data.paths, config.classes(), preprocessor).map_err(|error| match error {
        // Errors about a file's content name the file; only the lack of any image names a folder.
        unet3p_data::Error::File { path, problem } if path.is_dir() => {
            Error::setting(KEY, path.display(), problem)
        }
        error => error.into(),
    })
}

/// The folders' `preprocessor_config.json`, or else values / 255 in the channels that the network takes.
///
/// # Errors
/// [`Error::Setting`] naming two folders that differ, or channels that are not the network's.
pub(crate) fn preprocessor(config: &TrainConfig) -> Result<Preprocessor> {
    let channels = config.model.in_channels;
    let load = |dir: &Path| -> Result<Option<Preprocessor>> {
        let exists = dir.join(Preprocessor::FILE_NAME).exists();
        Ok(exists.then(|| Preprocessor::load(dir)).transpose()?)
    };
    let preprocessor = match common(&config.data.paths, "preprocessor_config.json", load)? {
        Some(preprocessor) => preprocessor,
        None if channels == 1 => Preprocessor { layout: Layout::Gray, ..Preprocessor::default() },
        None => Preprocessor::default(),
    };
    let expected = preprocessor.layout.channels();
    if expected != channels {
        let allowed = format!("the images give {expected} channels");
        return Err(Error::setting("model.in_channels", channels, allowed));
    }
    Ok(preprocessor)
}

/// Names of the classes in the folders' indices; none where no index names any.
///
/// # Errors
/// [`Error::Setting`] naming two folders that differ, [`Error::Data`] naming an index that cannot be read.
pub(crate) fn class_names(dirs: &[PathBuf]) -> Result<Vec<String>> {
    let load = |dir: &Path| -> Result<Option<Vec<String>>> {
        let path = dir.join(DatasetIndex::FILE_NAME);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io(&path, "read", e)),
        };
        let index: Index = serde_json::from_str(&text)
            .map_err(|e| unet3p_data::Error::file(&path, format!("is no index of slices: {e}")))?;
        let names: Vec<String> = index.classes.into_iter().map(|class| class.name).collect();
        Ok((!names.is_empty()).then_some(names))
    };
    Ok(common(dirs, "classes in dataset.json", load)?.unwrap_or_default())
}

/// The part of `dataset.json` that is read here. An index written by hand may have no classes.
#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    classes: Vec<Class>,
}

#[derive(Deserialize)]
struct Class {
    name: String,
}

/// What all folders that have it hold alike.
fn common<T: PartialEq>(
    dirs: &[PathBuf],
    what: &str,
    load: impl Fn(&Path) -> Result<Option<T>>,
) -> Result<Option<T>> {
    let mut found: Option<(&PathBuf, T)> = None;
    for dir in dirs {
        match (load(dir)?, &found) {
            (Some(value), None) => found = Some((dir, value)),
            (Some(value), Some((first, other))) if value != *other => {
                let value = format!("{}, {}", first.display(), dir.display());
                let allowed = format!("the folders of a run need the same {what}, these two differ");
                return Err(Error::setting(KEY, value, allowed));
            }
            _ => {}
        }
    }
    Ok(found.map(|(_, value)| value))
}
