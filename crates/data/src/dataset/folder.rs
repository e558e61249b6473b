//! One folder of slices: its index, and the checks that its files belong together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Deserialize;

use super::Slice;
use crate::prepare::is_slice_name;
use crate::{Error, LabelMap, Result, read_mask};

/// Extensions taken for images, in lower case.
const EXTENSIONS: [&str; 5] = ["png", "jpg", "jpeg", "tif", "tiff"];

/// The part of `dataset.json` that is read here: less than [`prepare`](crate::prepare) writes, so that people can
/// write one by hand.
#[derive(Deserialize)]
pub(super) struct Index {
    slices: Vec<IndexEntry>,
    #[serde(default)]
    pub(super) volumes: Vec<VolumeEntry>,
}

#[derive(Deserialize)]
pub(super) struct VolumeEntry {
    pub(super) name: String,
    #[serde(default)]
    pub(super) split: Option<crate::prepare::Split>,
}

#[derive(Deserialize)]
struct IndexEntry {
    name: String,
    volume: String,
}

/// The checked slices of one folder.
pub(super) fn read_folder(dir: &Path, classes: usize, index: Option<&Index>) -> Result<Vec<Slice>> {
    let images = files_by_stem(&dir.join("images"))?;
    if images.is_empty() {
        let problem = format!("no image found ({})", EXTENSIONS.join(", "));
        return Err(Error::file(&dir.join("images"), problem));
    }
    if index.is_none()
        && let Some(name) = images.keys().find(|name| is_slice_name(name))
    {
        // Each slice would count as a person, and one person's slices could lie on both sides of a split.
        let problem = format!(
            "does not exist, though {name} looks like a slice of a volume: prepare the folder again, or write one that names each slice's volume"
        );
        return Err(Error::file(&dir.join("dataset.json"), problem));
    }
    let masks = files_by_stem(&dir.join("masks"))?;
    let regions_dir = dir.join("regions");
    let regions = regions_dir.is_dir().then(|| files_by_stem(&regions_dir)).transpose()?;
    let volumes: Option<BTreeMap<&str, &str>> =
        index.map(|index| index.slices.iter().map(|s| (s.name.as_str(), s.volume.as_str())).collect());

    let check = |(name, image): (&String, &PathBuf)| {
        let find = |files: &BTreeMap<String, PathBuf>, folder: &str| {
            files.get(name).cloned().ok_or_else(|| {
                let wanted = dir.join(folder).join(format!("{name}.png"));
                Error::file(image, format!("has no counterpart {}", wanted.display()))
            })
        };
        let group = match &volumes {
            None => name.clone(),
            Some(volumes) => {
                volumes.get(name.as_str()).map(|&volume| volume.to_string()).ok_or_else(|| {
                    Error::file(image, format!("is not listed in {}", dir.join("dataset.json").display()))
                })?
            }
        };
        let mask = find(&masks, "masks")?;
        let regions = regions.as_ref().map(|files| find(files, "regions")).transpose()?;
        check_slice(name, group, image, mask, regions, classes)
    };
    images.par_iter().map(check).collect()
}

/// Checks sizes and ids of one slice's files.
fn check_slice(
    name: &str,
    group: String,
    image: &Path,
    mask: PathBuf,
    regions: Option<PathBuf>,
    classes: usize,
) -> Result<Slice> {
    let size = image_size(image)?;
    let labels = read_mask(&mask)?;
    check_size(image, size, &mask, &labels)?;
    if let Some(path) = &regions {
        check_size(image, size, path, &read_mask(path)?)?;
    }
    let mut pixels = vec![0; classes + 1];
    for &id in &labels.data {
        let Some(count) = pixels.get_mut(usize::from(id)) else {
            let problem = format!("holds the class id {id}; ids go from 0 (background) to {classes}");
            return Err(Error::file(&mask, problem));
        };
        *count += 1;
    }
    Ok(Slice {
        name: name.to_string(),
        group,
        height: size.0,
        width: size.1,
        pixels,
        image: image.to_path_buf(),
        mask,
        regions,
    })
}

fn check_size(image: &Path, size: (usize, usize), path: &Path, labels: &LabelMap) -> Result<()> {
    if (labels.height, labels.width) == size {
        return Ok(());
    }
    let problem = format!(
        "is {} x {} (height x width), but its image {} is {} x {}",
        labels.height,
        labels.width,
        image.display(),
        size.0,
        size.1
    );
    Err(Error::file(path, problem))
}

/// The images of a folder by their name without extension; two files of one name are an error.
fn files_by_stem(dir: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).map_err(|e| Error::io(dir, "read the folder", e))? {
        let path = entry.map_err(|e| Error::io(dir, "read the folder", e))?.path();
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        if !extension.is_some_and(|e| EXTENSIONS.contains(&e.as_str())) {
            continue;
        }
        let Some(stem) = path.file_stem().map(|s| s.to_string_lossy().into_owned()) else {
            continue;
        };
        if let Some(other) = files.insert(stem, path.clone()) {
            let problem = format!("has the same name as {}", other.display());
            return Err(Error::file(&path, problem));
        }
    }
    Ok(files)
}

/// The folder's index, if there is one.
pub(super) fn read_index(path: &Path) -> Result<Option<Index>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io(path, "read", e)),
    };
    serde_json::from_str(&text).map(Some).map_err(|e| Error::file(path, e.to_string()))
}

/// Height and width from a file's header.
fn image_size(path: &Path) -> Result<(usize, usize)> {
    let reader = image::ImageReader::open(path).and_then(image::ImageReader::with_guessed_format);
    let reader = reader.map_err(|e| Error::io(path, "open", e))?;
    let (width, height) = reader.into_dimensions().map_err(|e| Error::file(path, e.to_string()))?;
    Ok((height as usize, width as usize))
}
