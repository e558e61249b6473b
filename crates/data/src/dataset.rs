//! Training slices: images with masks and, where organs are known, regions.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;

use crate::decode::{Raster, decode};
use crate::mask::White;
use crate::preprocess::{luma, unit_planes};
use crate::{
    Error, IGNORED, Image, LabelMap, MaskColors, MaskOptions, MaskReader, MaskValues, Preprocessor, Result,
    read_mask, resize, resize_labels,
};

mod check;
mod folder;
mod inspect;
mod list;
mod mask_name;
mod nnunet;
mod sheet;
mod source;
mod split;
#[cfg(test)]
mod tests;

pub(crate) use nnunet::channels_in_index;

pub use inspect::Inspection;
pub use mask_name::MaskName;
pub use source::Source;
pub use split::{Parts, Split};

/// Decoded slices are kept in memory up to this many bytes; what is beyond is decoded again each time.
const CACHE_BYTES: usize = 1 << 30;

/// One training slice: what augmentation changes and a batch is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The image, values in [0, 1].
    pub image: Image,
    /// Class ids; [`SliceDataset::ignored`] where a pixel does not count.
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
    /// Pixels that do not count.
    pub ignored: usize,
    /// The image's file, or one for each channel.
    pub images: Vec<PathBuf>,
    /// The mask's file.
    pub mask: PathBuf,
    /// The organs' file.
    pub regions: Option<PathBuf>,
    reader: Arc<MaskReader>,
}

impl Slice {
    /// Whether any pixel is not background.
    pub fn has_foreground(&self) -> bool {
        self.pixels.iter().skip(1).any(|&n| n > 0)
    }
}

/// How files become samples.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DatasetOptions {
    /// The highest class id; `None`: whatever the masks hold, up to 254.
    pub classes: Option<usize>,
    /// The channels and the size that images are brought to, and their normalisation.
    pub preprocessor: Preprocessor,
    /// The names of masks in folders; `None`: those of the images, or `mask_` where they say `image_`.
    pub mask_name: Option<MaskName>,
    /// The class ids of the values in masks; `None`: values are ids, and with one class masks that hold 0 and 255 alone,
    /// all of them, are masks of 0 and 1.
    pub mask_values: Option<MaskValues>,
    /// The class ids of the colours in masks; `None`: masks of colours are refused.
    pub mask_colors: Option<MaskColors>,
    /// The value of mask pixels that do not count; `None`: the source's own, where it has one.
    pub ignore_label: Option<u16>,
}

impl DatasetOptions {
    /// The reader of a source's masks; `ignore` is the source's own value of pixels that do not count.
    fn reader(&self, ignore: Option<u16>) -> Result<MaskReader> {
        let reader = MaskReader::new(MaskOptions {
            classes: self.classes,
            values: self.mask_values.clone(),
            colors: self.mask_colors.clone(),
            ignore: self.ignore_label.or(ignore),
        })?;
        // Ignored pixels of any source have the last one in samples.
        let most = usize::from(IGNORED) - 1;
        Ok(if self.classes.is_none() { reader.up_to(most) } else { reader })
    }
}

/// What is wrong with a dataset's files.
#[derive(Debug, Default)]
pub struct Findings {
    /// What keeps slices from being used, each naming its file.
    pub problems: Vec<Error>,
    /// Masks that belong to no image.
    pub unused: Vec<PathBuf>,
    /// What was passed over or guessed, each naming its file or folder.
    pub warnings: Vec<String>,
}

/// Slices of one or more [sources](Source), in their order and, in folders, of their names. Volumes of one name in
/// several sources are one volume.
#[derive(Debug)]
pub struct SliceDataset {
    preprocessor: Preprocessor,
    slices: Vec<Slice>,
    /// Groups that a source marks for validation.
    marked: BTreeSet<String>,
    ignores: bool,
    cache: Vec<OnceLock<Decoded>>,
    cached_bytes: AtomicUsize,
}

/// The files of one slice as they are stored, 8 bits staying 8 bits.
#[derive(Debug, Clone)]
struct Decoded {
    images: Vec<Raster>,
    mask: LabelMap,
    regions: Option<LabelMap>,
}

impl SliceDataset {
    /// Opens sources, checks that every image has a mask (and regions, if there are any) of its size and that every mask
    /// holds class ids, and logs [`Findings::warnings`]. Images are decoded later, when they are first asked for.
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::Io`] naming the first file that is missing, unreadable, of another size or with an
    /// id out of range; [`Error::Setting`] for a path that is no source, or options that do not go together.
    pub fn open(paths: &[PathBuf], options: &DatasetOptions) -> Result<Self> {
        let (dataset, findings) = Self::examine(paths, options, |_, _| {})?;
        findings.warnings.iter().for_each(|warning| log::warn!("{warning}"));
        match findings.problems.into_iter().next() {
            Some(problem) => Err(problem),
            None => Ok(dataset),
        }
    }

    /// Opens what can be used of sources, and tells all that is wrong with the rest. `progress` hears of slices that
    /// are checked and of how many there are, on any thread.
    ///
    /// # Errors
    /// [`Error::Setting`] for a path that is no source or is there twice, or options that do not go together.
    pub fn examine(
        paths: &[PathBuf],
        options: &DatasetOptions,
        progress: impl Fn(usize, usize) + Sync,
    ) -> Result<(Self, Findings)> {
        options.preprocessor.validate()?;
        let mut findings = Findings::default();
        let mut readers = Vec::new();
        let mut entries = Vec::new();
        for source in source::distinct(paths)? {
            match source.list(options.mask_name.as_ref(), &options.preprocessor) {
                Ok(listing) => {
                    readers.push(options.reader(listing.ignore)?);
                    let reader = readers.len() - 1;
                    entries.extend(listing.entries.into_iter().map(|entry| (entry, reader)));
                    findings.problems.extend(listing.problems);
                    findings.unused.extend(listing.unused);
                    findings.warnings.extend(listing.warnings);
                }
                Err(problem) => findings.problems.push(problem),
            }
        }
        let marked = entries.iter().filter(|(e, _)| e.split == Some(crate::prepare::Split::Validation));
        let marked = marked.map(|(entry, _)| entry.group.clone()).collect();
        let ignores = entries.iter().any(|&(_, reader)| readers[reader].ignores());
        findings.warnings.extend(source::shared(entries.iter().map(|(entry, _)| entry)));
        let (done, total) = (AtomicUsize::new(0), entries.len());
        let looks: Vec<_> = entries
            .into_par_iter()
            .map(|(entry, reader)| {
                let look = check::Look::at(entry, &readers[reader], &options.preprocessor);
                progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
                (look, reader)
            })
            .collect();
        let masks = looks.iter().filter_map(|(look, reader)| {
            let (path, tally) = look.mask()?;
            Some((path, tally, &readers[*reader]))
        });
        let white = White::of(&readers, masks);
        // A class id of 255 is an error, which says so.
        findings.warnings.extend(if white == White::IsOne { white.note() } else { None });
        readers.iter_mut().for_each(|reader| reader.settle(&white));
        let readers: Vec<Arc<MaskReader>> = readers.into_iter().map(Arc::new).collect();
        findings.warnings.extend(check::warnings(looks.iter().map(|(look, _)| look)));
        let mut slices = Vec::new();
        for (look, reader) in looks {
            match look.slice(&readers[reader]) {
                Ok(slice) => slices.push(slice),
                Err(problems) => findings.problems.extend(problems),
            }
        }
        let dataset = Self {
            preprocessor: options.preprocessor.clone(),
            cache: slices.iter().map(|_| OnceLock::new()).collect(),
            slices,
            marked,
            ignores,
            cached_bytes: AtomicUsize::new(0),
        };
        Ok((dataset, findings))
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

    /// What pixels that do not count are marked with in samples' masks: [`IGNORED`], or nothing where all count.
    pub fn ignored(&self) -> Option<u8> {
        self.ignores.then_some(IGNORED)
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
        let read;
        let decoded = match self.cache[index].get() {
            Some(decoded) => decoded,
            None => {
                read = Decoded::read(slice)?;
                let bytes = read.bytes();
                if self.cached_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= CACHE_BYTES {
                    // Another thread may have been first: its copy is the same.
                    let _ = self.cache[index].set(read.clone());
                } else {
                    self.cached_bytes.fetch_sub(bytes, Ordering::Relaxed);
                }
                &read
            }
        };
        let mut sample = Sample {
            image: planes(slice, &decoded.images, self.preprocessor.channels())?,
            mask: decoded.mask.clone(),
            regions: decoded.regions.clone(),
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
}

impl Decoded {
    fn read(slice: &Slice) -> Result<Self> {
        Ok(Self {
            images: slice.images.iter().map(|path| decode(path)).collect::<Result<_>>()?,
            mask: slice.reader.read(&slice.mask)?.labels,
            regions: slice.regions.as_deref().map(read_mask).transpose()?,
        })
    }

    fn bytes(&self) -> usize {
        let regions = self.regions.as_ref().map_or(0, |map| map.data.len());
        let images: usize = self.images.iter().map(Raster::bytes).sum();
        images + self.mask.data.len() + regions
    }
}

/// Planes in [0, 1] in as many channels as the network takes: of one file as prediction makes them, of several the
/// intensity of each.
fn planes(slice: &Slice, rasters: &[Raster], channels: usize) -> Result<Image> {
    let several = rasters.len() > 1;
    let mut image = Image::new(0, slice.height, slice.width, Vec::new())?;
    for raster in rasters {
        let planes = one_file(raster, if several { 1 } else { channels })?;
        image.channels += planes.channels;
        image.data.extend(planes.data);
    }
    Ok(image)
}

fn one_file(raster: &Raster, channels: usize) -> Result<Image> {
    let planes = unit_planes(raster)?;
    Ok(match (channels, planes.channels) {
        (1, 3) => luma(&planes),
        (3, 1) => Image { channels: 3, data: planes.data.repeat(3), ..planes },
        _ => planes,
    })
}
