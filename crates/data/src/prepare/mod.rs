//! Volumes with label maps to training slices.

mod cut;
mod folder;
mod index;
mod lits;
mod names;
mod pairs;
mod staging;

pub use folder::{ClassLabels, FolderOptions, LabelGrid, Validation, folder};
pub use index::{DatasetIndex, FailedVolume, IndexedSlice, IndexedVolume, Split};
pub use lits::{Lits, Tumors};
pub use names::{NamePattern, NamePatterns};
pub use pairs::{Matched, VolumePair, match_folders};
pub use staging::check_output;

pub(crate) use staging::is_slice_name;
