//! Volumes with label maps to training slices.

mod folder;
mod index;
mod pairs;

pub use folder::{ClassLabels, FolderOptions, Validation, folder};
pub use index::{DatasetIndex, IndexedSlice, IndexedVolume, Split};
pub use pairs::{VolumePair, match_folders};
