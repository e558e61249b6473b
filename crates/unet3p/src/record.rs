//! `predictions.json`: what a run did to each of its inputs.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use unet3p::ClassArea;

use super::plan::Outputs;

/// The record of a run.
#[derive(Debug, Serialize)]
pub(super) struct Record<'a> {
    /// The version of this program.
    pub(super) unet3p: &'static str,
    /// The bundled model or the model folder.
    pub(super) model: &'a str,
    #[serde(flatten)]
    pub(super) identity: &'a Identity,
    pub(super) threshold: f32,
    pub(super) tta: bool,
    /// The side of tiles, where the run was told one.
    pub(super) tile: Option<usize>,
    /// Whether the run came to its end.
    pub(super) finished: bool,
    /// What was said of the run as a whole.
    pub(super) warnings: Vec<String>,
    /// One entry for each mask and for each input that failed, in the order of the inputs.
    pub(super) predictions: Vec<&'a Entry>,
}

/// What a model is, whatever it is called.
#[derive(Debug, Serialize)]
pub(super) struct Identity {
    /// Names of the classes by their ids in the masks.
    pub(super) labels: BTreeMap<u8, String>,
    /// The digest of what decides on its masks.
    pub(super) weights: Option<String>,
}

impl Identity {
    /// What is different `now`.
    pub(super) fn differences(&self, now: &Self) -> Vec<String> {
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
#[derive(Debug, Deserialize)]
pub(super) struct Options {
    pub(super) model: String,
    pub(super) threshold: f32,
    pub(super) tta: bool,
    pub(super) tile: Option<usize>,
}

impl Options {
    /// What is different `now`.
    pub(super) fn differences(&self, now: &Self) -> Vec<String> {
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
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Entry {
    Done(Box<Done>),
    /// What was written for this input before it failed is removed.
    Failed {
        input: String,
        error: String,
    },
}

impl Entry {
    /// The input.
    pub(super) fn input(&self) -> &str {
        match self {
            Self::Done(done) => &done.input,
            Self::Failed { input, .. } => input,
        }
    }
}

/// One mask and what is in it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) input: String,
    /// The input as it was when it was read; older versions did not note it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<Stamp>,
    /// Which image of an array with four axes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) index: Option<usize>,
    pub(crate) outputs: Files,
    /// [height, width] of an image; [i, j, k] of a volume, as its header counts them.
    pub(crate) size: Vec<usize>,
    /// Of a volume: distances between voxels along its axes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) spacing_mm: Option<[f64; 3]>,
    pub(crate) classes: Vec<ClassShare>,
    /// The probability that there is an organ at all, from models that estimate it; of a volume, its highest slice's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) presence: Option<f32>,
    /// What the model made of it: whether there is an organ. Of a volume, in any slice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) present: Option<bool>,
    pub(crate) warnings: Vec<String>,
    /// Reading, computing and writing; of an array, its images' mean.
    pub(crate) seconds: f64,
}

/// What tells a file from an earlier or a later one of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    bytes: u64,
    /// When it was changed, in nanoseconds since 1970, where the system tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    modified_ns: Option<i64>,
}

impl Stamp {
    /// That of a file; nothing where it cannot be looked at.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        let modified_ns = metadata.modified().ok().and_then(|time| {
            let nanoseconds = |duration: Duration| i64::try_from(duration.as_nanos()).ok();
            match time.duration_since(UNIX_EPOCH) {
                Ok(since) => nanoseconds(since),
                Err(before) => nanoseconds(before.duration()).map(|before| -before),
            }
        });
        Some(Self { bytes: metadata.len(), modified_ns })
    }
}

/// Files, relative to the folder of the record.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Files {
    mask: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    overlay: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probabilities: Option<String>,
}

/// How much of a mask one class takes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ClassShare {
    id: u8,
    label: String,
    /// Of an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pixels: Option<usize>,
    /// Of a volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    voxels: Option<usize>,
    fraction: f64,
    /// Of a volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    volume_ml: Option<f64>,
}

impl Files {
    /// `outputs` as seen from `folder`.
    pub(crate) fn relative(outputs: &Outputs, folder: &Path) -> Self {
        let relative = |path: &Path| text(path.strip_prefix(folder).unwrap_or(path));
        Self {
            mask: relative(&outputs.mask),
            overlay: outputs.overlay.as_deref().map(relative),
            probabilities: outputs.probabilities.as_deref().map(relative),
        }
    }

    /// The mask.
    pub(crate) fn mask(&self) -> &str {
        &self.mask
    }

    /// Every file.
    pub(crate) fn all(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.mask).chain(&self.overlay).chain(&self.probabilities)
    }
}

impl ClassShare {
    /// The shares of an image's classes.
    pub(crate) fn of_image(areas: &[ClassArea]) -> Vec<Self> {
        Self::all(areas, |share, area| share.pixels = Some(area.count))
    }

    /// The shares of a volume's classes, whose voxels are `voxel_mm3` large.
    pub(crate) fn of_volume(areas: &[ClassArea], voxel_mm3: f64) -> Vec<Self> {
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
pub(crate) fn text(path: &Path) -> String {
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
