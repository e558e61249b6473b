//! Raw datasets of nnU-Net with 2D images (its `documentation/dataset_format.md`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::source::{EXTENSIONS, Entry, Listing};
use crate::channels::{Cases, in_order, told_apart};
use crate::prepare::DatasetIndex;
use crate::{
    Error, Layout, Preprocessor, Result, Wanted, channel_of, check_class_names, list_files, read_json,
};

/// The folder of images.
pub(super) const IMAGES: &str = "imagesTr";
/// The folder of masks.
const LABELS: &str = "labelsTr";
/// The label whose pixels do not count; it has the highest id.
const IGNORE: &str = "ignore";
/// The label of everything else; it has the id 0.
const BACKGROUND: &str = "background";

/// `dataset.json`, of version 2 or 1.
#[derive(Deserialize)]
struct Dataset {
    #[serde(deserialize_with = "pairs")]
    labels: Vec<(String, Value)>,
    #[serde(alias = "modality")]
    channel_names: BTreeMap<String, String>,
    #[serde(default = "volumes")]
    file_ending: String,
}

/// The keys and values of an object in their order: a key that is there twice is not lost.
fn pairs<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<(String, Value)>, D::Error> {
    struct Pairs;
    impl<'de> Visitor<'de> for Pairs {
        type Value = Vec<(String, Value)>;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("an object of labels")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
            let mut pairs = Vec::new();
            while let Some(pair) = map.next_entry()? {
                pairs.push(pair);
            }
            Ok(pairs)
        }
    }
    deserializer.deserialize_map(Pairs)
}

/// Version 1 knows volumes only.
fn volumes() -> String {
    ".nii.gz".into()
}

/// What mask values mean.
pub(super) struct Labels {
    /// Names of the classes 1, 2, ...
    pub(super) classes: Vec<String>,
    /// The value of pixels that do not count.
    ignore: Option<u16>,
}

/// The labels of the dataset's index.
pub(super) fn read_labels(dir: &Path) -> Result<Labels> {
    labels(dir, &read(dir)?)
}

/// Names of the channels, where cases have a file for each.
pub(super) fn channel_names(dir: &Path) -> Result<Option<Vec<String>>> {
    let dataset = read(dir)?;
    let names = dataset.channels();
    let extension = dataset.extension();
    let files = list_files(&dir.join(IMAGES), Wanted { endings: &[&extension], skip: None, outputs: false })?;
    let has_second = files.files.iter().any(|file| {
        let name = file.stem.to_str().and_then(channel_of);
        name.is_some_and(|(_, channel)| channel > 0)
    });
    Ok((has_second && names.len() > 1).then_some(names))
}

impl Dataset {
    /// The channels by their numbers, which are text in the index.
    fn channels(&self) -> Vec<String> {
        let mut channels: Vec<_> = self.channel_names.iter().collect();
        channels.sort_by_key(|(number, _)| (number.parse::<usize>().unwrap_or(usize::MAX), *number));
        told_apart(channels.into_iter().map(|(_, name)| name.trim().to_owned()).collect())
    }

    fn extension(&self) -> String {
        self.file_ending.trim_start_matches('.').to_lowercase()
    }
}

/// Names of the channels in an nnU-Net dataset's index, by number; nothing where there is no such index.
pub(crate) fn channels_in_index(dir: &Path) -> Option<Vec<String>> {
    read(dir).ok().map(|dataset| dataset.channels()).filter(|names| !names.is_empty())
}

/// What the dataset holds.
pub(super) fn list(dir: &Path, how: &Preprocessor) -> Result<Listing> {
    let dataset = read(dir)?;
    let extension = dataset.extension();
    if !EXTENSIONS.contains(&extension.as_str()) {
        return Err(Error::file(dir, unreadable(dir, &dataset.file_ending)));
    }
    let mut listing = Listing { ignore: labels(dir, &dataset)?.ignore, ..Listing::default() };
    let files = listing.files(&dir.join(IMAGES), &[&extension])?;
    let mut masks = listing.files(&dir.join(LABELS), &[&extension])?;
    let Cases { cases, others } = Cases::of(files);
    for path in others {
        let problem = format!("is not named as a channel of a case: CASE_0000.{extension}");
        listing.problems.push(Error::file(&path, problem));
    }
    if cases.is_empty() {
        let problem = format!("no image found (CASE_0000.{extension})");
        return Err(Error::file(&dir.join(IMAGES), problem));
    }
    for (name, channels) in cases {
        let mask = masks.remove(&name);
        let images = if how.layout == Layout::Channels {
            in_order(&name, &channels, &how.channel_names)
        } else {
            one_or_all(dir, channels, dataset.channel_names.len(), mask.is_some())
        };
        match (images, mask) {
            (Err(problem), _) => listing.problems.push(problem),
            (Ok(images), Some(mask)) => {
                let group = name.clone();
                listing.entries.push(Entry { name, group, split: None, images, mask, regions: None });
            }
            (Ok(images), None) => {
                let Some(first) = images.first() else { continue };
                let wanted = dir.join(LABELS).join(format!("{name}.{extension}"));
                listing.problems.push(Error::file(first, format!("has no counterpart {}", wanted.display())));
            }
        }
    }
    listing.unused = masks.into_values().collect();
    Ok(listing)
}

/// The files of a colour image: one, or one for each of the index's channels.
fn one_or_all(
    dir: &Path,
    channels: BTreeMap<usize, PathBuf>,
    named: usize,
    has_mask: bool,
) -> Result<Vec<PathBuf>> {
    if let Some((_, (_, path))) = (0..).zip(&channels).find(|(wanted, (channel, _))| wanted != *channel) {
        return Err(Error::file(path, "is a channel whose predecessor is missing"));
    }
    let images: Vec<PathBuf> = channels.into_values().collect();
    // red, green and blue, perhaps with a fourth for opacity, or what an index without channels leaves open
    let is_colour = [0, 1, 3, 4].contains(&named);
    match images.first() {
        Some(first) if has_mask && images.len() != named && !(images.len() == 1 && is_colour) => {
            let problem = format!(
                "has {} files, but {} names {named} channels: a file for each, or one for all, is needed",
                images.len(),
                dir.join(DatasetIndex::FILE_NAME).display()
            );
            Err(Error::file(first, problem))
        }
        _ => Ok(images),
    }
}

/// What to do with volumes, and what is allowed instead of other files.
fn unreadable(dir: &Path, ending: &str) -> String {
    if [".nii", ".nii.gz"].contains(&ending) {
        let (images, labels) = (dir.join(IMAGES), dir.join(LABELS));
        return format!(
            "holds volumes ({ending}), which are trained on as slices: make them by `unet3p prepare folder --images {} --labels {} --class NAME=ID -o SLICES`",
            images.display(),
            labels.display()
        );
    }
    format!("holds files that cannot be read (file_ending is {ending}): {} are", EXTENSIONS.join(", "))
}

fn read(dir: &Path) -> Result<Dataset> {
    read_json(&dir.join(DatasetIndex::FILE_NAME), "index of an nnU-Net dataset")
}

/// Names of the classes, whose ids must be 0, 1, 2, ... without gaps: first the background, last the ignore label, in
/// upper or lower case.
fn labels(dir: &Path, dataset: &Dataset) -> Result<Labels> {
    let path = dir.join(DatasetIndex::FILE_NAME);
    let wrong = |problem: String| Error::file(&path, problem);
    let mut names: BTreeMap<u16, &str> = BTreeMap::new();
    for (key, value) in &dataset.labels {
        let (id, name) = match value {
            // Version 1 writes {"1": "liver"}, version 2 {"liver": 1}.
            Value::String(name) => (key.parse().ok(), name),
            value => (value.as_u64().and_then(|id| u16::try_from(id).ok()), key),
        };
        let Some(id) = id else {
            return Err(wrong(format!(
                "has the label {key} = {value}; one id a label is needed, not regions"
            )));
        };
        if let Some(other) = names.insert(id, name.trim()) {
            return Err(wrong(format!(
                "has the labels {other:?} and {name:?} of the id {id}: each needs its own"
            )));
        }
    }
    let classes: Vec<&str> = names.values().skip(1).copied().collect();
    check_class_names(&classes).map_err(wrong)?;
    if let Some(gap) = (0..).zip(names.keys()).find_map(|(wanted, &id)| (wanted != id).then_some(wanted)) {
        let ids: Vec<String> = names.keys().map(u16::to_string).collect();
        return Err(wrong(format!(
            "has labels with the ids {}, and none with {gap}, though ids are 0, 1, 2, ... without gaps: number the \
             labels anew and map the values of the masks by data.mask_values (OLD = NEW), or name a label {gap} that no \
             mask holds",
            ids.join(", ")
        )));
    }
    let is = |name: &str, other: &str| name.eq_ignore_ascii_case(other);
    let highest = names.len().saturating_sub(1);
    for (&id, &name) in &names {
        if is(name, BACKGROUND) && id != 0 {
            let problem = format!(
                "has the label {name:?} with the id {id}: the background must be 0; give masks and labels other ids"
            );
            return Err(wrong(problem));
        }
        if is(name, IGNORE) && usize::from(id) != highest {
            return Err(wrong(format!(
                "has the label {name:?} with the id {id}: ignore must be the highest id, here {highest}; give masks and labels other ids, or another name where its pixels are to count"
            )));
        }
    }
    if let Some(name) = names.get(&0).filter(|name| !is(name, BACKGROUND)) {
        let problem = format!(
            "has the label {name:?} with the id 0, which is the background: call it {BACKGROUND:?}, or give the class \
             and the masks another id"
        );
        return Err(wrong(problem));
    }
    let ignore = names.last_key_value().filter(|(_, name)| is(name, IGNORE)).map(|(&id, _)| id);
    let classes = names.into_iter().filter(|&(id, _)| id > 0 && Some(id) != ignore);
    Ok(Labels { classes: classes.map(|(_, name)| name.to_string()).collect(), ignore })
}
