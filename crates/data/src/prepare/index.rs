//! `dataset.json`: what a folder of prepared slices holds.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::ClassLabels;
use crate::{Result, Size, Window, read_json, write_atomically};

/// Which part of the data a volume belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Trained on.
    Train,
    /// Only measured on.
    Validation,
}

/// A volume that was cut into slices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IndexedVolume {
    /// The file's name without `.nii.gz`; the slices' names begin with it.
    pub name: String,
    /// Train or validation: all of a volume's slices together.
    pub split: Split,
    /// Columns, rows and slices on the model's grid, before a canvas crops or pads them.
    pub shape: [usize; 3],
    /// Distance in mm between columns, rows and slices of that grid.
    pub spacing: [f64; 3],
    /// Shape of the volume as it was read.
    pub native_shape: [usize; 3],
    /// Voxel size in mm as it was read.
    pub native_spacing: [f64; 3],
    /// The axes' directions as it was read, such as "LAS".
    pub native_orientation: String,
    /// What was doubtful in its files, and what was made of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A volume that could not be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedVolume {
    /// The name that it would have.
    pub name: String,
    /// What is wrong with it, with the name of the file.
    pub error: String,
}

/// A slice: `images/NAME.png` (or `images/NAME_0000.png`, ... for each channel), `masks/NAME.png` and, where kept,
/// `regions/NAME.png`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexedSlice {
    /// File name without the extension.
    pub name: String,
    /// Name of its volume.
    pub volume: String,
    /// Position in the volume, from the feet upwards.
    pub index: usize,
    /// Whether any pixel belongs to a class.
    pub foreground: bool,
}

/// The content of `dataset.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetIndex {
    /// The classes; the first has id 1.
    pub classes: Vec<ClassLabels>,
    /// Names of the channels, where each has a file of its own; else empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<String>,
    /// HU values that became black and white; none where the ends of each channel's values did.
    pub window: Option<Window>,
    /// Wanted distance in mm between columns, rows and slices.
    pub spacing: Option<[f64; 3]>,
    /// In-plane size that slices were resampled to.
    pub size: Option<Size>,
    /// Size that slices were cropped or padded to.
    pub canvas: Option<Size>,
    /// Whether `regions/` holds all the original labels.
    pub regions: bool,
    /// The volumes, by name.
    pub volumes: Vec<IndexedVolume>,
    /// The slices, by volume and position.
    pub slices: Vec<IndexedSlice>,
    /// The volumes that could not be used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedVolume>,
    /// What is doubtful about all of them together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl DatasetIndex {
    /// The file's name in a folder of slices.
    pub const FILE_NAME: &'static str = "dataset.json";

    /// Reads `dataset.json` from a folder of slices.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when it cannot be read, [`Error::File`](crate::Error::File) when its content is not what
    /// [`DatasetIndex::save`] writes.
    pub fn load(folder: &Path) -> Result<Self> {
        read_json(&folder.join(Self::FILE_NAME), "index of slices")
    }

    /// Writes `dataset.json` into a folder of slices, atomically.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when it cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        write_atomically(&folder.join(Self::FILE_NAME), |file| {
            serde_json::to_writer_pretty(&mut *file, self)?;
            std::io::Write::write_all(file, b"\n")
        })
    }
}
