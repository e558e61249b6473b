//! Training slices in folders: `images/`, `masks/` and, where organs are known, `regions/`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use image::DynamicImage;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use self::folder::{VolumeEntry, read_folder, read_index};
use crate::decode::decode;
use crate::preprocess::{luma, unit_planes};
use crate::{Error, Image, LabelMap, Layout, Preprocessor, Result, read_mask, resize, resize_labels};

mod folder;
#[cfg(test)]
mod tests;

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
    /// Those that `dataset.json` marks with `"split": "validation"`; none without it.
    AsPrepared,
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

/// Slices of one or more folders, in the order of the folders and of their names.
///
/// In a folder, `images/NAME.png` (or JPEG, TIFF) belongs to `masks/NAME.png` and, if that folder exists, `regions/NAME.png`.
/// `dataset.json`, if there, names each slice's volume: `{"slices": [{"name": "a_000", "volume": "a"}, ...]}`;
/// without it each image is a volume of its own. Volumes of one name in several folders are one volume.
#[derive(Debug)]
pub struct SliceDataset {
    preprocessor: Preprocessor,
    slices: Vec<Slice>,
    /// Groups that an index marks for validation.
    marked: BTreeSet<String>,
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

impl SliceDataset {
    /// Opens folders and checks them: every image has a mask (and regions, if there are any) of its size, and no
    /// mask holds an id above `classes`. Images are decoded later, when they are first asked for, and brought to the
    /// channels and the size of `preprocessor`.
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::Io`] naming the file that is missing, unreadable, of another size or with an id
    /// out of range.
    pub fn open(dirs: &[PathBuf], classes: usize, preprocessor: Preprocessor) -> Result<Self> {
        let mut slices = Vec::new();
        let mut marked = BTreeSet::new();
        for dir in dirs {
            let index = read_index(&dir.join("dataset.json"))?;
            slices.extend(read_folder(dir, classes, index.as_ref())?);
            let volumes = index.map(|index| index.volumes).unwrap_or_default();
            let validates = |volume: &VolumeEntry| volume.split == Some(crate::prepare::Split::Validation);
            marked.extend(volumes.into_iter().filter(validates).map(|volume| volume.name));
        }
        Ok(Self {
            preprocessor,
            cache: slices.iter().map(|_| OnceLock::new()).collect(),
            slices,
            marked,
            cached_bytes: AtomicUsize::new(0),
        })
    }

    /// The slices.
    pub fn slices(&self) -> &[Slice] {
        &self.slices
    }

    /// The groups, in alphabetical order.
    pub fn groups(&self) -> Vec<&str> {
        let groups: BTreeSet<&str> = self.slices.iter().map(|s| s.group.as_str()).collect();
        groups.into_iter().collect()
    }

    /// One slice with values in [0, 1], for augmentation (from memory after the first time, while memory lasts).
    /// What the network takes is made of it by [`SliceDataset::normalize`].
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
        let mut sample = Sample {
            image: planes(&slice.image, decoded.image, self.preprocessor.layout)?,
            mask: decoded.mask,
            regions: decoded.regions,
            name: slice.name.clone(),
            group: slice.group.clone(),
        };
        if let Some(size) = self.preprocessor.size {
            let (height, width) = (size.height, size.width);
            sample.image = resize(&sample.image, height, width, self.preprocessor.resample)?;
            sample.mask = resize_labels(&sample.mask, height, width)?;
            let regions = sample.regions.as_ref();
            sample.regions = regions.map(|map| resize_labels(map, height, width)).transpose()?;
        }
        Ok(sample)
    }

    /// Brings an image from [0, 1] to the network's input, as prediction does.
    pub fn normalize(&self, image: &mut Image) {
        self.preprocessor.normalize_unit(image);
    }

    /// How files become the network's input.
    pub fn preprocessor(&self) -> &Preprocessor {
        &self.preprocessor
    }

    /// Splits by group: a volume's slices are all on one side.
    ///
    /// # Errors
    /// [`Error::Setting`] for a group that does not exist, a fraction outside (0, 1), or a split that leaves
    /// nothing to train on.
    pub fn split(&self, split: &Split) -> Result<Parts> {
        let groups = self.groups();
        let validation: BTreeSet<&str> = match split {
            Split::AsPrepared => self.marked.iter().map(String::as_str).collect(),
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
            image: decode(&slice.image)?,
            mask: read_mask(&slice.mask)?,
            regions: slice.regions.as_deref().map(read_mask).transpose()?,
        })
    }

    fn bytes(&self) -> usize {
        let regions = self.regions.as_ref().map_or(0, |map| map.data.len());
        self.image.as_bytes().len() + self.mask.data.len() + regions
    }
}

/// Planes in [0, 1] in the channels of `layout`, as prediction makes them.
fn planes(path: &Path, picture: DynamicImage, layout: Layout) -> Result<Image> {
    let planes = unit_planes(path, picture)?;
    Ok(match (layout.channels(), planes.channels) {
        (1, 3) => luma(&planes),
        (3, 1) => Image { channels: 3, data: planes.data.repeat(3), ..planes },
        _ => planes,
    })
}
