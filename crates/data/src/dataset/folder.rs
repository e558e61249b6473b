//! A folder of slices: its index, and which files belong together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::MaskName;
use super::mask_name::candidates;
use super::source::{EXTENSIONS, Entry, Listing};
use crate::channels::{Cases, in_order};
use crate::prepare::{DatasetIndex, Split, is_slice_name};
use crate::{Error, Preprocessor, Result, check_class_names, read_json};

/// The part of `dataset.json` that is read here: less than [`prepare`](crate::prepare) writes, so that people can
/// write one by hand.
#[derive(Deserialize)]
pub(super) struct Index {
    slices: Vec<IndexEntry>,
    #[serde(default)]
    volumes: Vec<VolumeEntry>,
    #[serde(default)]
    classes: Vec<ClassEntry>,
}

#[derive(Deserialize)]
struct IndexEntry {
    name: String,
    volume: String,
}

#[derive(Deserialize)]
struct VolumeEntry {
    name: String,
    #[serde(default)]
    split: Option<Split>,
}

#[derive(Deserialize)]
struct ClassEntry {
    name: String,
}

impl Index {
    pub(super) fn class_names(self) -> Vec<String> {
        self.classes.into_iter().map(|class| class.name).collect()
    }
}

/// The volume of each slice, and the side of each volume.
struct Volumes<'a> {
    of_slice: BTreeMap<&'a str, &'a str>,
    split: BTreeMap<&'a str, Split>,
}

impl<'a> Volumes<'a> {
    fn of(index: &'a Index) -> Self {
        let split = |volume: &'a VolumeEntry| Some((volume.name.as_str(), volume.split?));
        Self {
            of_slice: index.slices.iter().map(|s| (s.name.as_str(), s.volume.as_str())).collect(),
            split: index.volumes.iter().filter_map(split).collect(),
        }
    }
}

/// What the folder holds.
pub(super) fn list(dir: &Path, rule: Option<&MaskName>, how: &Preprocessor) -> Result<Listing> {
    let mut listing = Listing::default();
    let images = listing.files(&dir.join("images"), &EXTENSIONS)?;
    if images.is_empty() {
        let problem = format!("no image found ({})", EXTENSIONS.join(", "));
        return Err(Error::file(&dir.join("images"), problem));
    }
    let images = cases(images, how, &mut listing.problems);
    let index_path = dir.join(DatasetIndex::FILE_NAME);
    let index = read_index(&index_path)?;
    if index.is_none()
        && let Some(name) = images.keys().find(|name| is_slice_name(name))
    {
        // Each slice would count as a person, and one person's slices could lie on both sides of a split.
        let problem = format!(
            "does not exist, though {name} looks like a slice of a volume: prepare the folder again, or write one that names each slice's volume"
        );
        return Err(Error::file(&index_path, problem));
    }
    let volumes = index.as_ref().map(Volumes::of);
    let masks = listing.files(&dir.join("masks"), &EXTENSIONS)?;
    let regions_dir = dir.join("regions");
    let regions = regions_dir.is_dir().then(|| listing.files(&regions_dir, &EXTENSIONS)).transpose()?;

    let mut used = BTreeSet::new();
    for (name, files) in images {
        let names = candidates(rule, &name);
        // Claimed also where the image is of no use: its mask is not to blame.
        used.extend(names.iter().cloned());
        let entry = (|| {
            let images = files?;
            let Some(image) = images.first() else { return Ok(None) };
            let (group, split) = match &volumes {
                None => (name.as_str(), None),
                Some(volumes) => {
                    let volume = volumes.of_slice.get(name.as_str()).ok_or_else(|| {
                        Error::file(image, format!("is not listed in {}", index_path.display()))
                    })?;
                    (*volume, volumes.split.get(volume).copied())
                }
            };
            let mask = find(image, &masks, &dir.join("masks"), &names)?;
            let regions = regions.as_ref();
            let own = std::slice::from_ref(&name);
            let regions = regions.map(|files| find(image, files, &regions_dir, own)).transpose()?;
            let group = group.to_string();
            Ok(Some(Entry { name: name.clone(), group, split, images, mask, regions }))
        })();
        match entry {
            Ok(entry) => listing.entries.extend(entry),
            Err(problem) => listing.problems.push(problem),
        }
    }
    listing.unused =
        masks.into_iter().filter(|(name, _)| !used.contains(name)).map(|(_, path)| path).collect();
    Ok(listing)
}

/// The images by name: one file each, or one for each channel.
fn cases(
    images: BTreeMap<String, PathBuf>,
    how: &Preprocessor,
    problems: &mut Vec<Error>,
) -> BTreeMap<String, Result<Vec<PathBuf>>> {
    if how.files_per_case() < 2 {
        return images.into_iter().map(|(name, image)| (name, Ok(vec![image]))).collect();
    }
    let Cases { cases, others } = Cases::of(images);
    problems.extend(others.iter().map(|path| {
        let problem = format!(
            "is not named as a channel of an image: NAME_0000, NAME_0001 and so on are needed for {}",
            how.describe_channels()
        );
        Error::file(path, problem)
    }));
    let ordered = |(name, found): (String, BTreeMap<usize, PathBuf>)| {
        let files = in_order(&name, &found, &how.channel_names);
        (name, files)
    };
    cases.into_iter().map(ordered).collect()
}

/// The file of a folder that has one of `names`.
fn find(image: &Path, files: &BTreeMap<String, PathBuf>, dir: &Path, names: &[String]) -> Result<PathBuf> {
    names.iter().find_map(|name| files.get(name)).cloned().ok_or_else(|| {
        let wanted = names.iter().map(|name| dir.join(format!("{name}.png")).display().to_string());
        Error::file(image, format!("has no counterpart {}", wanted.collect::<Vec<_>>().join(" or ")))
    })
}

/// The folder's index, if there is one.
pub(super) fn read_index(path: &Path) -> Result<Option<Index>> {
    let index: Index = match read_json(path, "index of slices") {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        index => index?,
    };
    let names: Vec<&str> = index.classes.iter().map(|class| class.name.as_str()).collect();
    check_class_names(&names).map_err(|problem| Error::file(path, problem))?;
    Ok(Some(index))
}
