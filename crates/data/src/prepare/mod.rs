//! Volumes with label maps to training slices.

mod folder;
mod index;
mod lits;
mod pairs;
mod staging;

pub use folder::{ClassLabels, FolderOptions, Validation, folder};
pub use index::{DatasetIndex, IndexedSlice, IndexedVolume, Split};
pub use lits::{Lits, Tumors};
pub use pairs::{VolumePair, match_folders};
pub use staging::check_output;

pub(crate) use staging::is_slice_name;
