//! Which classes are scored, and what they are called.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use super::slices::Slices;
use crate::plan::record_beside;
use crate::record::{FILE_NAME, read_part};

/// The classes of an evaluation.
#[derive(Debug)]
pub struct Classes {
    /// Those that are asked for, or that the model has; else all that are found are scored.
    wanted: Option<BTreeSet<u16>>,
    names: BTreeMap<u16, String>,
}

impl Classes {
    /// The classes `asked` for, else the `known` ones where these are `all` there are, else whatever is found.
    pub fn new(asked: &[u16], known: BTreeMap<u16, String>, all: bool) -> Self {
        let wanted = match asked {
            [] => all.then(|| known.keys().copied().collect()),
            asked => Some(asked.iter().copied().collect()),
        };
        Self { wanted, names: known }
    }

    /// Whether an image of 0 and 255 alone can be a mask of the one class there is.
    pub fn may_be_binary(&self) -> bool {
        self.wanted.as_ref().map_or(self.names.len() <= 1, |wanted| wanted.iter().eq([&1]))
    }

    /// Whether a class is scored.
    pub(super) fn wants(&self, class: u16) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.contains(&class))
    }

    /// Those that are scored whether they are found or not; nothing where all that are found are.
    pub(super) fn wanted(&self) -> Option<&BTreeSet<u16>> {
        self.wanted.as_ref()
    }

    /// The name of a class, where it is known.
    pub fn name(&self, class: u16) -> Option<&str> {
        self.names.get(&class).map(String::as_str)
    }

    /// Names of the classes.
    pub fn names(&self) -> &BTreeMap<u16, String> {
        &self.names
    }
}

/// Names of classes as the record beside predictions tells them, else as the index of the references does; none where
/// neither can be read.
pub fn named_in(predictions: &Path, slices: Option<&Slices>) -> BTreeMap<u16, String> {
    #[derive(Deserialize)]
    struct Labels {
        labels: BTreeMap<u16, String>,
    }
    let record = if predictions.is_dir() { predictions.join(FILE_NAME) } else { record_beside(predictions) };
    match read_part::<Labels>(&record) {
        Ok(record) => record.labels,
        Err(_) => (1..).zip(slices.into_iter().flat_map(Slices::class_names).map(str::to_string)).collect(),
    }
}
