//! Which label map belongs to which volume.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::names::{NamePattern, NamePatterns};
use crate::channels::{Cases, in_order, listed, numbered};
use crate::dataset::channels_in_index;
use crate::listing::{and_more, ending_len};
use crate::{Error, Result, Wanted, channel_of, list_files};

/// The volumes of a folder.
pub(super) const VOLUMES: Wanted<'_> = Wanted { endings: &["nii", "nii.gz"], skip: None, outputs: false };

/// A volume and its label map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumePair {
    /// Name that slices are called by.
    pub name: String,
    /// The image, `.nii` or `.nii.gz`; of several channels one volume for each, in their order and on one grid.
    pub images: Vec<PathBuf>,
    /// The label map on the same grid.
    pub labels: PathBuf,
}

impl VolumePair {
    /// A pair named after the image's file.
    pub fn new(image: impl Into<PathBuf>, labels: impl Into<PathBuf>) -> Self {
        let (image, labels) = (image.into(), labels.into());
        let name = volume_name(&image).unwrap_or_else(|| image.display().to_string());
        Self { name, images: vec![image], labels }
    }

    /// The file that errors of the whole case name: the first channel's.
    pub(super) fn image(&self) -> &Path {
        self.images.first().map_or(Path::new(""), PathBuf::as_path)
    }
}

/// What two folders hold.
#[derive(Debug)]
pub struct Matched {
    /// The volumes with their label maps, by name.
    pub pairs: Vec<VolumePair>,
    /// Names of the channels where cases have several volumes: those of nnU-Net's `dataset.json` above the images, else
    /// the numbers `0000`, `0001`, ... Empty where each case is one volume.
    pub channels: Vec<String>,
    /// A word on each file that has no counterpart, or whose name cannot be used, and on each channel that is missing or
    /// too many.
    pub left_out: Vec<Error>,
}

/// Pairs the volumes below two folders by the names of their cases. What is passed over is logged.
///
/// Without `names`, `images/NAME.nii.gz` belongs to `labels/NAME.nii.gz` (or `.nii`); as in a raw dataset of nnU-Net, the
/// volume may also be called `NAME_0000.nii.gz`, and `NAME_0001.nii.gz`, ... are further channels of its case: as many as
/// `dataset.json` beside `images` names, else as many as any case has. Where that leaves files out, the patterns of
/// well-known data sets are tried, such as `img0001` with `label0001`; the only one by which every file has its partner is
/// taken, and that is logged. Both folders may be the same one. A volume in a folder is called by both names: `day/1` is
/// `day_1`.
///
/// # Errors
/// [`Error::Io`] when a folder cannot be listed; [`Error::File`] when `images` holds no volume, no volume has a label map, two
/// files share a name.
pub fn match_folders(images: &Path, labels: &Path, names: Option<&NamePatterns>) -> Result<Matched> {
    let mut left_out = Vec::new();
    let volumes = list_volumes(images, labels, &mut left_out)?;
    let both =
        fs::canonicalize(images).ok().is_some_and(|path| fs::canonicalize(labels).is_ok_and(|l| l == path));
    let maps = if both { volumes.clone() } else { list_volumes(labels, images, &mut left_out)? };
    let files = Files { images, labels, volumes, maps, both };
    if files.volumes.is_empty() {
        return Err(Error::file(images, "holds no volume (.nii or .nii.gz)"));
    }
    let Paired { pairs, channels, unpaired, rest } = match names {
        Some(names) => files.pair(names)?,
        None => files.pair_unasked()?,
    };
    if let Some(first) = unpaired.first().filter(|_| pairs.is_empty()) {
        if !channels.is_empty() {
            return Err(Error::file(images, format!("holds no case with all channels: {first}")));
        }
        // The names are to blame.
        let problem = format!("has no label map that fits a volume of {}: {first}", images.display());
        return Err(Error::file(labels, problem));
    }
    left_out.extend(unpaired);
    if let (Some(names), Some(first)) = (names, rest.first()) {
        log::warn!(
            "{}: passed over, because the name is not as {} or {}",
            and_more(first, rest.len()),
            names.image,
            names.labels
        );
    }
    Ok(Matched { pairs: flat_names(pairs)?, channels, left_out })
}

/// A volume's path below the listed folder without its ending, with `/` between folders.
type Volumes = Vec<(String, PathBuf)>;

/// The files of both folders.
struct Files<'a> {
    images: &'a Path,
    labels: &'a Path,
    volumes: Volumes,
    maps: Volumes,
    /// Whether it is one folder, with the same files on both sides.
    both: bool,
}

/// What the files of both folders become.
struct Paired<'a> {
    pairs: Vec<VolumePair>,
    /// Names of the channels of cases with several.
    channels: Vec<String>,
    /// A word on each file without a counterpart.
    unpaired: Vec<Error>,
    /// The files whose names fit neither pattern.
    rest: Vec<&'a Path>,
}

impl Paired<'_> {
    /// Whether every file has its partner.
    fn is_complete(&self) -> bool {
        self.unpaired.is_empty() && self.rest.is_empty()
    }
}

impl Files<'_> {
    /// The pairs by equal names or, where that leaves files out, by the only usual patterns that leave none.
    fn pair_unasked(&self) -> Result<Paired<'_>> {
        let plain = if self.both {
            Err(Error::file(
                self.images,
                "holds images and label maps, and their names do not tell which is which",
            ))
        } else {
            self.pair_equal()
        };
        if plain.as_ref().is_ok_and(|paired| paired.is_complete()) {
            return plain;
        }
        let complete = |names: NamePatterns| {
            let paired = self.pair(&names).ok().filter(|paired| paired.is_complete())?;
            Some((names, paired))
        };
        let mut fitting: Vec<_> = NamePatterns::common().filter_map(complete).collect();
        match fitting.pop() {
            Some((names, paired)) if fitting.is_empty() => {
                log::warn!("volumes and label maps are paired as {} and {}", names.image, names.labels);
                Ok(paired)
            }
            _ => plain,
        }
    }

    /// The pairs with equal names.
    fn pair_equal(&self) -> Result<Paired<'_>> {
        let (volumes, mut maps) = (by_name(&self.volumes, Some)?, by_name(&self.maps, Some)?);
        // A name that is a label map's as it stands is no channel's.
        let is_channel = |name: &str| {
            let case = channel_of(name).filter(|_| !maps.contains_key(name));
            case.is_some_and(|(case, _)| maps.contains_key(case))
        };
        let (of_channels, plain): (Vec<_>, Vec<_>) =
            volumes.into_iter().partition(|(name, _)| is_channel(name));
        let (mut pairs, mut missing) = (Vec::new(), Vec::new());
        for (name, image) in plain {
            match maps.remove(&name) {
                Some(labels) => pairs.push(VolumePair { name, images: vec![image], labels }),
                None => missing.push((name, image)),
            }
        }
        let cases = Cases::of(of_channels).cases;
        let channels = self.channels_of(&cases);
        let mut incomplete = Vec::new();
        for (name, found) in cases {
            let (Some(labels), files) = (maps.remove(&name), in_order(&name, &found, &channels)) else {
                continue;
            };
            match files {
                Ok(images) => pairs.push(VolumePair { name, images, labels }),
                Err(problem) => incomplete.push(problem),
            }
        }
        let channels = if channels.len() > 1 { channels } else { Vec::new() };
        if let Some(single) =
            pairs.iter().find(|pair| !channels.is_empty() && pair.images.len() < channels.len())
        {
            let problem = format!("is one file, and the other cases have {}", listed(&channels));
            return Err(Error::file(single.image(), problem));
        }
        incomplete.extend(self.unpaired(missing, maps));
        Ok(Paired { pairs, channels, unpaired: incomplete, rest: Vec::new() })
    }

    /// The channels of cases: those of nnU-Net's index, else as many as the case with the most has.
    fn channels_of(&self, cases: &BTreeMap<String, BTreeMap<usize, PathBuf>>) -> Vec<String> {
        let most =
            cases.values().filter_map(|found| found.last_key_value()).map(|(channel, _)| channel + 1).max();
        let Some(most) = most else { return Vec::new() };
        // Made absolute, so that a folder of one name has one above as well.
        let above =
            std::path::absolute(self.images).ok().and_then(|path| path.parent().map(Path::to_path_buf));
        above.and_then(|folder| channels_in_index(&folder)).unwrap_or_else(|| numbered(most))
    }

    /// The pairs whose names fit patterns.
    fn pair(&self, names: &NamePatterns) -> Result<Paired<'_>> {
        // In one folder a file that fits both patterns is what the longer one says.
        let takes = |pattern: &NamePattern, other: &NamePattern, stem: String| {
            let others = self.both && other.literal() > pattern.literal() && other.name_in(&stem).is_some();
            if others { None } else { pattern.name_in(&stem) }
        };
        let image = |stem| takes(&names.image, &names.labels, stem);
        let label = |stem| takes(&names.labels, &names.image, stem);
        let (volumes, mut maps) = (by_name(&self.volumes, image)?, by_name(&self.maps, label)?);
        let mut rest: Vec<&Path> = Vec::new();
        for (side, mine, other) in [(&self.volumes, &volumes, &maps), (&self.maps, &maps, &volumes)] {
            let known =
                |path| mine.values().any(|p| p == path) || (self.both && other.values().any(|p| p == path));
            rest.extend(side.iter().map(|(_, path)| path).filter(|path| !known(*path)).map(PathBuf::as_path));
        }
        if self.both {
            rest.sort();
            rest.dedup();
        }
        if volumes.is_empty() {
            return Err(Error::file(self.images, format!("holds no volume with a name as {}", names.image)));
        }
        let (mut pairs, mut missing) = (Vec::new(), Vec::new());
        for (name, image) in volumes {
            match maps.remove(&name) {
                Some(labels) if labels == image => {
                    return Err(Error::file(
                        &image,
                        "is a volume and a label map by its name: give other patterns",
                    ));
                }
                Some(labels) => pairs.push(VolumePair { name, images: vec![image], labels }),
                None => missing.push((name, image)),
            }
        }
        Ok(Paired { pairs, channels: Vec::new(), unpaired: self.unpaired(missing, maps), rest })
    }

    /// A word on each volume without a label map, and on each label map without a volume.
    fn unpaired(&self, volumes: Vec<(String, PathBuf)>, maps: BTreeMap<String, PathBuf>) -> Vec<Error> {
        let word = |path: &Path, what: &str, name: &str, folder: &Path| {
            let problem = format!("has no {what} named {name} in {}, and is left out", folder.display());
            Error::file(path, problem)
        };
        let volumes = volumes.iter().map(|(name, path)| word(path, "label map", name, self.labels));
        volumes.chain(maps.iter().map(|(name, path)| word(path, "volume", name, self.images))).collect()
    }
}

/// The files that have a name, by it.
fn by_name(files: &Volumes, name: impl Fn(String) -> Option<String>) -> Result<BTreeMap<String, PathBuf>> {
    let mut named: BTreeMap<String, PathBuf> = BTreeMap::new();
    for (stem, path) in files {
        let Some(name) = name(stem.clone()) else { continue };
        if let Some(other) = named.insert(name, path.clone()) {
            return Err(Error::file(path, format!("has the same name as {}", other.display())));
        }
    }
    Ok(named)
}

/// Names that are names of files: slices of all volumes lie in one folder.
fn flat_names(mut pairs: Vec<VolumePair>) -> Result<Vec<VolumePair>> {
    let mut taken: BTreeMap<String, PathBuf> = BTreeMap::new();
    for pair in &mut pairs {
        pair.name = pair.name.replace('/', "_");
        if let Some(other) = taken.insert(pair.name.clone(), pair.image().to_path_buf()) {
            let problem = format!("and {} would both be called {}: rename one", other.display(), pair.name);
            return Err(Error::file(pair.image(), problem));
        }
    }
    pairs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(pairs)
}

/// The volumes below a folder without those of the other one, which may lie in it; what is passed over is logged.
fn list_volumes(folder: &Path, other: &Path, left_out: &mut Vec<Error>) -> Result<Volumes> {
    let listing = list_files(folder, Wanted { skip: Some(other), ..VOLUMES })?;
    listing.warnings.iter().for_each(|warning| log::warn!("{warning}"));
    let mut volumes = Vec::new();
    for file in listing.files {
        match file.name() {
            Ok(name) => volumes.push((name, file.path)),
            Err(problem) => left_out.push(problem),
        }
    }
    Ok(volumes)
}

/// The file's name without `.nii` or `.nii.gz`; nothing for other files.
pub(super) fn volume_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let stem = &name[..name.len() - ending_len(name, VOLUMES.endings)?];
    (!stem.starts_with('.')).then(|| stem.to_owned())
}
