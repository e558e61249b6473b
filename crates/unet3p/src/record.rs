//! `predictions.json`: what a prediction run did to each of its inputs.
//!
//! ```
//! use unet3p::record::{Entry, FILE_NAME, Record};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join(FILE_NAME);
//! # let head = r#"{"unet3p": "0.1.0", "model": "liver-ct", "labels": {"1": "liver"}, "threshold": 0.5, "tta": false,"#;
//! # let tail = r#""tile": null, "predictions": [{"input": "a.png", "error": "a.png: cannot be read"}]}"#;
//! # std::fs::write(&path, format!("{head}{tail}"))?;
//! let record = Record::read(&path)?;
//! for entry in &record.predictions {
//!     match entry {
//!         Entry::Done(done) => println!("{} -> {}", done.input, done.outputs.mask),
//!         Entry::Failed { error, .. } => println!("{error}"),
//!     }
//! }
//! # assert_eq!((record.labels[&1].as_str(), record.predictions.len()), ("liver", 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use unet3p_files::read_text_up_to;

use crate::ClassArea;

/// The name of a record in an output folder.
pub const FILE_NAME: &str = unet3p_data::OUTPUT_RECORD;

/// Most bytes of a record, which has less than a kilobyte for each input: 256 MiB. Longer files are no records.
const MAX_RECORD: u64 = 1 << 28;

/// Why a record cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// The record.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file is something else.
    #[error("{}: is no record of predictions: {source}", path.display())]
    NoRecord {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The record cannot be put into words.
    #[error("{}: cannot be written: {source}", path.display())]
    Unwritable {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] unet3p_data::Error),
}

/// The record of a run. Its entries are [`Entry`] where it is read, and may be borrowed where it is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record<E = Entry> {
    /// The version of the program.
    #[serde(default)]
    pub unet3p: String,
    /// The bundled model, the model folder or the id.
    pub model: String,
    /// Names of the classes by their ids in the masks.
    pub labels: BTreeMap<u8, String>,
    /// The digest of what decides on the model's masks ([`ModelSource::digest`](crate::ModelSource::digest)); older versions
    /// did not note it.
    pub weights: Option<String>,
    /// Least probability of a class.
    pub threshold: f32,
    /// Whether the image and its flips were averaged.
    pub tta: bool,
    /// The side of tiles, where the run was told one.
    pub tile: Option<usize>,
    /// Whether the run came to its end.
    #[serde(default)]
    pub finished: bool,
    /// What was said of the run as a whole.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// One entry for each mask and for each input that failed, in the order of the inputs.
    pub predictions: Vec<E>,
}

impl<E> Record<E> {
    /// What tells whether another run makes the same masks.
    pub fn options(&self) -> Options {
        Options { model: self.model.clone(), threshold: self.threshold, tta: self.tta, tile: self.tile }
    }

    /// What the model was.
    pub fn identity(&self) -> Identity {
        Identity { labels: self.labels.clone(), weights: self.weights.clone() }
    }
}

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    /// [`RecordError`] that names the file.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        read_part(path)
    }
}

impl<E: Serialize> Record<E> {
    /// Writes the record; the file is the old one or the new one, whatever happens.
    ///
    /// # Errors
    /// [`RecordError`] that names the file.
    pub fn write(&self, path: &Path) -> Result<(), RecordError> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|source| RecordError::Unwritable { path: path.to_path_buf(), source })?;
        Ok(unet3p_data::write_atomically(path, |file| writeln!(file, "{text}"))?)
    }
}

/// Reads what `T` has of a record, also from one of another version.
pub(crate) fn read_part<T: DeserializeOwned>(path: &Path) -> Result<T, RecordError> {
    let text = read_text_up_to(path, MAX_RECORD)
        .map_err(|source| RecordError::Unreadable { path: path.to_path_buf(), source })?;
    serde_json::from_str(&text).map_err(|source| RecordError::NoRecord { path: path.to_path_buf(), source })
}

/// What a model is, whatever it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Names of the classes by their ids in the masks.
    pub labels: BTreeMap<u8, String>,
    /// The digest of what decides on its masks.
    pub weights: Option<String>,
}

impl Identity {
    /// What is different `now`.
    pub(crate) fn differences(&self, now: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        if self.labels != now.labels {
            differences.push(format!("labels = {:?}, now {:?}", self.labels, now.labels));
        }
        if let (Some(earlier), Some(now)) = (&self.weights, &now.weights)
            && earlier != now
        {
            differences.push(format!("other weights of the model (SHA-256 {earlier}, now {now})"));
        }
        differences
    }
}

/// The options that tell whether two runs make the same masks.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The bundled model, the model folder or the id.
    pub model: String,
    /// Least probability of a class.
    pub threshold: f32,
    /// Whether the image and its flips were averaged.
    pub tta: bool,
    /// The side of tiles, where the run was told one.
    pub tile: Option<usize>,
}

impl Options {
    /// What is different `now`.
    pub(crate) fn differences(&self, now: &Self) -> Vec<String> {
        let tile = |tile: Option<usize>| tile.map_or("none".to_string(), |tile| tile.to_string());
        let all = [
            ("model", self.model.clone(), now.model.clone()),
            ("threshold", self.threshold.to_string(), now.threshold.to_string()),
            ("tta", self.tta.to_string(), now.tta.to_string()),
            ("tile", tile(self.tile), tile(now.tile)),
        ];
        let different = all.into_iter().filter(|(_, earlier, now)| earlier != now);
        different.map(|(name, earlier, now)| format!("{name} = {earlier}, now {now}")).collect()
    }
}

/// What became of one input, or of one image of an array.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Entry {
    /// Its mask is there.
    Done(Box<Done>),
    /// What was written for this input before it failed is removed.
    Failed {
        /// The input.
        input: String,
        /// Why it has no mask.
        error: String,
    },
}

impl Entry {
    /// The input.
    pub fn input(&self) -> &str {
        match self {
            Self::Done(done) => &done.input,
            Self::Failed { input, .. } => input,
        }
    }
}

/// One mask and what is in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Done {
    /// The input.
    pub input: String,
    /// The input's files as they were when they were read, one for each channel; older versions did not note them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<Stamp>,
    /// Which image of an array with four axes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    /// What was written.
    pub outputs: Files,
    /// [height, width] of an image; [i, j, k] of a volume, as its header counts them.
    pub size: Vec<usize>,
    /// Of a volume: distances between voxels along its axes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spacing_mm: Option<[f64; 3]>,
    /// What is in the mask.
    pub classes: Vec<ClassShare>,
    /// The probability that there is an organ at all, from models that estimate it; of a volume, its highest slice's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence: Option<f32>,
    /// What the model made of it: whether there is an organ. Of a volume, in any slice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub present: Option<bool>,
    /// What is doubtful about the input.
    pub warnings: Vec<String>,
    /// Reading, computing and writing; of an array, its images' mean.
    pub seconds: f64,
}

/// What tells a file from an earlier or a later one of its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    name: String,
    bytes: u64,
    /// When it was changed, in nanoseconds since 1970, where the system tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    modified_ns: Option<i64>,
}

impl Stamp {
    /// Those of an input's files, one for each channel. None where a file cannot be looked at.
    pub fn of(files: &[PathBuf]) -> Vec<Self> {
        files.iter().map(|path| Self::of_file(path)).collect::<Option<_>>().unwrap_or_default()
    }

    fn of_file(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        let modified_ns = metadata.modified().ok().and_then(|time| {
            let nanoseconds = |duration: Duration| i64::try_from(duration.as_nanos()).ok();
            match time.duration_since(UNIX_EPOCH) {
                Ok(since) => nanoseconds(since),
                Err(before) => nanoseconds(before.duration()).map(|before| -before),
            }
        });
        let name = text(Path::new(path.file_name()?));
        Some(Self { name, bytes: metadata.len(), modified_ns })
    }
}

/// Files, relative to the folder of the record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Files {
    /// The mask.
    pub mask: String,
    /// The mask drawn over the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlay: Option<String>,
    /// The probabilities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probabilities: Option<String>,
}

/// How much of a mask one class takes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClassShare {
    /// The class's id in the mask.
    pub id: u8,
    /// Its name.
    pub label: String,
    /// Of an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixels: Option<usize>,
    /// Of a volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voxels: Option<usize>,
    /// Its share of all pixels or voxels.
    pub fraction: f64,
    /// Of a volume, in millilitres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_ml: Option<f64>,
}

impl Files {
    /// Every file.
    pub fn all(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.mask).chain(&self.overlay).chain(&self.probabilities)
    }
}

impl ClassShare {
    /// The shares of an image's classes.
    pub fn of_image(areas: &[ClassArea]) -> Vec<Self> {
        Self::all(areas, |share, area| share.pixels = Some(area.count))
    }

    /// The shares of a volume's classes, whose voxels are `voxel_mm3` large.
    pub fn of_volume(areas: &[ClassArea], voxel_mm3: f64) -> Vec<Self> {
        Self::all(areas, |share, area| {
            share.voxels = Some(area.count);
            share.volume_ml = Some(area.count as f64 * voxel_mm3 / 1000.0);
        })
    }

    fn all(areas: &[ClassArea], fill: impl Fn(&mut Self, &ClassArea)) -> Vec<Self> {
        areas
            .iter()
            .map(|area| {
                let mut share = Self {
                    id: area.id,
                    label: area.label.clone(),
                    pixels: None,
                    voxels: None,
                    fraction: area.fraction,
                    volume_ml: None,
                };
                fill(&mut share, area);
                share
            })
            .collect()
    }
}

/// A path as text. JSON is Unicode, file names need not be: bytes that are none are written as `\xFF`, so that different
/// names stay different.
pub fn text(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02X}")));
    }
    text
}

impl fmt::Display for ClassShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.label)?;
        match self.volume_ml {
            Some(volume) => write!(f, "{volume:.1} ml"),
            None => write!(f, "{:.1} %", 100.0 * self.fraction),
        }
    }
}
