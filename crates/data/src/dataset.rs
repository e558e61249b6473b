//! Training slices in folders: `images/`, `masks/` and, where organs are known, `regions/`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use image::DynamicImage;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Deserialize;

use crate::{Error, Image, LabelMap, Result};

/// Extensions taken for images, in lower case.
const EXTENSIONS: [&str; 5] = ["png", "jpg", "jpeg", "tif", "tiff"];

/// Decoded slices are kept in memory up to this many bytes; what is beyond is decoded again each time.
const CACHE_BYTES: usize = 1 << 30;

/// One training slice: what augmentation changes and a batch is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The image, values in [0, 1].
    pub image: Image,
    /// Class ids.
    pub mask: LabelMap,
    /// Ids of all organs, for changes of grey values inside each.
    pub regions: Option<LabelMap>,
    /// File name without extension.
    pub name: String,
    /// The volume (person) it belongs to.
    pub group: String,
}

/// What a dataset knows of a slice without decoding it again.
#[derive(Debug, Clone)]
pub struct Slice {
    /// File name without extension.
    pub name: String,
    /// The volume (person) it belongs to: data is split by it.
    pub group: String,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Pixels of each class id, `pixels[id]`, background first.
    pub pixels: Vec<usize>,
    /// The image's file.
    pub image: PathBuf,
    /// The mask's file.
    pub mask: PathBuf,
    /// The organs' file.
    pub regions: Option<PathBuf>,
}

impl Slice {
    /// Whether any pixel is not background.
    pub fn has_foreground(&self) -> bool {
        self.pixels.iter().skip(1).any(|&n| n > 0)
    }
}

/// Which volumes validate.
#[derive(Debug, Clone, PartialEq)]
pub enum Split {
    /// These groups.
    Groups(Vec<String>),
    /// This part of the groups (rounded, at least one of each side), drawn with a seed.
    Fraction {
        /// Between 0 and 1, both excluded.
        fraction: f64,
        /// Seed of the draw.
        seed: u64,
    },
}

/// Indices of the slices on each side of a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// To train on.
    pub train: Vec<usize>,
    /// To validate on.
    pub validation: Vec<usize>,
}

/// Slices of a folder, in the order of their names.
///
/// `images/NAME.png` (or JPEG, TIFF) belongs to `masks/NAME.png` and, if that folder exists, `regions/NAME.png`.
/// `dataset.json`, if there, names each slice's volume: `{"slices": [{"name": "a_000", "volume": "a"}, ...]}`;
/// without it each image is a volume of its own.
#[derive(Debug)]
pub struct SliceDataset {
    slices: Vec<Slice>,
    cache: Vec<OnceLock<Decoded>>,
    cached_bytes: AtomicUsize,
}

/// The files of one slice as they are stored, 8 bits staying 8 bits.
#[derive(Debug, Clone)]
struct Decoded {
    image: DynamicImage,
    mask: LabelMap,
    regions: Option<LabelMap>,
}

/// The part of `dataset.json` that is read here.
#[derive(Deserialize)]
struct Index {
    slices: Vec<IndexEntry>,
}

#[derive(Deserialize)]
struct IndexEntry {
    name: String,
    volume: String,
}

impl SliceDataset {
    /// Opens a folder and checks it: every image has a mask (and regions, if there are any) of its size, and no
    /// mask holds an id above `classes`. Images are decoded later, when they are first asked for.
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::Io`] naming the file that is missing, unreadable, of another size or with an id
    /// out of range.
    pub fn open(dir: &Path, classes: usize) -> Result<Self> {
        let images = files_by_stem(&dir.join("images"))?;
        if images.is_empty() {
            let problem = format!("no image found ({})", EXTENSIONS.join(", "));
            return Err(Error::file(&dir.join("images"), problem));
        }
        let masks = files_by_stem(&dir.join("masks"))?;
        let regions_dir = dir.join("regions");
        let regions = if regions_dir.is_dir() { Some(files_by_stem(&regions_dir)?) } else { None };
        let volumes = read_index(&dir.join("dataset.json"))?;

        let check = |(name, image): (&String, &PathBuf)| {
            let find = |files: &BTreeMap<String, PathBuf>, folder: &str| {
                files.get(name).cloned().ok_or_else(|| {
                    let wanted = dir.join(folder).join(format!("{name}.png"));
                    Error::file(image, format!("has no counterpart {}", wanted.display()))
                })
            };
            let group = match &volumes {
                None => name.clone(),
                Some(volumes) => volumes.get(name).cloned().ok_or_else(|| {
                    let problem = format!("is not listed in {}", dir.join("dataset.json").display());
                    Error::file(image, problem)
                })?,
            };
            let mask = find(&masks, "masks")?;
            let regions = regions.as_ref().map(|files| find(files, "regions")).transpose()?;
            check_slice(name, group, image, mask, regions, classes)
        };
        let slices = images.par_iter().map(check).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            cache: slices.iter().map(|_| OnceLock::new()).collect(),
            slices,
            cached_bytes: AtomicUsize::new(0),
        })
    }

    /// The slices, in the order of their names.
    pub fn slices(&self) -> &[Slice] {
        &self.slices
    }

    /// The groups, in alphabetical order.
    pub fn groups(&self) -> Vec<&str> {
        let groups: BTreeSet<&str> = self.slices.iter().map(|s| s.group.as_str()).collect();
        groups.into_iter().collect()
    }

    /// One slice, decoded (from memory after the first time, while memory lasts).
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::Io`] naming the file that cannot be read.
    ///
    /// # Panics
    /// When `index` is not below the number of slices.
    pub fn sample(&self, index: usize) -> Result<Sample> {
        let slice = &self.slices[index];
        let decoded = match self.cache[index].get() {
            Some(decoded) => decoded.clone(),
            None => {
                let decoded = Decoded::read(slice)?;
                let bytes = decoded.bytes();
                if self.cached_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= CACHE_BYTES {
                    // Another thread may have been first: its copy is the same.
                    let _ = self.cache[index].set(decoded.clone());
                } else {
                    self.cached_bytes.fetch_sub(bytes, Ordering::Relaxed);
                }
                decoded
            }
        };
        Ok(Sample {
            image: planes(&decoded.image),
            mask: decoded.mask,
            regions: decoded.regions,
            name: slice.name.clone(),
            group: slice.group.clone(),
        })
    }

    /// Splits by group: a volume's slices are all on one side.
    ///
    /// # Errors
    /// [`Error::Setting`] for a group that does not exist, a fraction outside (0, 1), or a split that leaves
    /// nothing to train on.
    pub fn split(&self, split: &Split) -> Result<Parts> {
        let groups = self.groups();
        let validation: BTreeSet<&str> = match split {
            Split::Groups(names) => {
                for name in names {
                    if !groups.contains(&name.as_str()) {
                        let allowed = format!("the volumes are {}", groups.join(", "));
                        return Err(Error::setting("validation_groups", name, allowed));
                    }
                }
                names.iter().map(String::as_str).collect()
            }
            Split::Fraction { fraction, seed } => {
                let wrong = |allowed: &str| Err(Error::setting("validation_fraction", fraction, allowed));
                if !(*fraction > 0.0 && *fraction < 1.0) {
                    return wrong("between 0 and 1, both excluded");
                }
                if groups.len() < 2 {
                    return wrong("needs two volumes or more, the dataset has one");
                }
                let count = (fraction * groups.len() as f64).round() as usize;
                let count = count.clamp(1, groups.len() - 1);
                let mut shuffled = groups.clone();
                shuffled.shuffle(&mut ChaCha8Rng::seed_from_u64(*seed));
                shuffled.into_iter().take(count).collect()
            }
        };
        let (validation, train): (Vec<_>, Vec<_>) =
            (0..self.slices.len()).partition(|&i| validation.contains(self.slices[i].group.as_str()));
        if train.is_empty() {
            let allowed = "at least one volume must be left to train on";
            return Err(Error::setting("validation_groups", "every volume", allowed));
        }
        Ok(Parts { train, validation })
    }
}

impl Decoded {
    fn read(slice: &Slice) -> Result<Self> {
        Ok(Self {
            image: read_image(&slice.image)?,
            mask: read_labels(&slice.mask)?,
            regions: slice.regions.as_deref().map(read_labels).transpose()?,
        })
    }

    fn bytes(&self) -> usize {
        let regions = self.regions.as_ref().map_or(0, |map| map.data.len());
        self.image.as_bytes().len() + self.mask.data.len() + regions
    }
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
    let labels = read_labels(&mask)?;
    check_size(image, size, &mask, &labels)?;
    if let Some(path) = &regions {
        check_size(image, size, path, &read_labels(path)?)?;
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

/// Volume names by slice name, if there is an index.
fn read_index(path: &Path) -> Result<Option<BTreeMap<String, String>>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io(path, "read", e)),
    };
    let index: Index = serde_json::from_str(&text).map_err(|e| Error::file(path, e.to_string()))?;
    let pair = |entry: IndexEntry| (entry.name, entry.volume);
    Ok(Some(index.slices.into_iter().map(pair).collect()))
}

/// Height and width from a file's header.
fn image_size(path: &Path) -> Result<(usize, usize)> {
    let (width, height) = image::image_dimensions(path).map_err(|e| Error::file(path, e.to_string()))?;
    Ok((height as usize, width as usize))
}

fn read_image(path: &Path) -> Result<DynamicImage> {
    image::open(path).map_err(|e| Error::file(path, e.to_string()))
}

fn read_labels(path: &Path) -> Result<LabelMap> {
    let picture = read_image(path)?;
    let DynamicImage::ImageLuma8(gray) = picture else {
        let problem = "a mask must hold one 8-bit id per pixel (gray)";
        return Err(Error::file(path, problem));
    };
    LabelMap::new(gray.height() as usize, gray.width() as usize, gray.into_raw())
}

/// Planes in [0, 1]: 8 bits / 255, 16 bits / 65535; gray is one plane, colour three, alpha is left out.
fn planes(picture: &DynamicImage) -> Image {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let color = picture.color();
    let per_pixel = usize::from(color.channel_count());
    let channels = if color.has_color() { 3 } else { 1 };
    let gather = |value: &dyn Fn(usize) -> f32| {
        let planes =
            (0..channels).flat_map(|c| (0..height * width).map(move |i| i * per_pixel + c)).map(value);
        planes.collect::<Vec<f32>>()
    };
    let bytes = picture.as_bytes();
    let data = match color.bytes_per_pixel() / color.channel_count() {
        1 => gather(&|i| f32::from(bytes[i]) / 255.0),
        2 => gather(&|i| f32::from(u16::from_ne_bytes([bytes[2 * i], bytes[2 * i + 1]])) / 65535.0),
        _ => {
            let float = |i: usize| {
                let at = 4 * i;
                f32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
            };
            gather(&float)
        }
    };
    Image { channels, height, width, data }
}

#[cfg(test)]
mod tests;
