//! Errors of an evaluation.

use std::path::PathBuf;

use crate::plan::PlanError;

/// Why files cannot be scored against each other. Messages name the options of the command line where these are the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// Files that are not there, or outputs that cannot be written.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A folder without masks.
    #[error("{}: no mask found; use .png, .tif, .nii or .nii.gz", folder.display())]
    NoMask {
        /// The folder.
        folder: PathBuf,
    },
    /// One of several channels of an image.
    #[error(
        "{}: is one of several channels of {case}, which are not put together here; train on them and score the run by \
         `unet3p evaluate -m RUN`", path.display()
    )]
    Channel {
        /// The file.
        path: PathBuf,
        /// The image.
        case: String,
    },
    /// Two files of one name.
    #[error(
        "{} and {} have the same name, so that no counterpart can be told; keep one of them",
        files[0].display(), files[1].display()
    )]
    SameName {
        /// The files.
        files: [PathBuf; 2],
    },
    /// Predictions and references without a counterpart.
    #[error(
        "{lonely}; a prediction and its reference have the same name, but for _mask and the ending; {mend}"
    )]
    Lonely {
        /// The files.
        lonely: String,
        /// What can be done.
        mend: &'static str,
    },
    /// A volume and an image.
    #[error(
        "{} and {}: one is a volume and the other is none, so that they cannot be compared",
        prediction.display(), reference.display()
    )]
    VolumeAndImage {
        /// The prediction.
        prediction: PathBuf,
        /// The reference.
        reference: PathBuf,
    },
    /// An image that is its own reference.
    #[error(
        "{}: is an image and its own reference; name the folder of images by --input and that of masks by --references",
        path.display()
    )]
    OwnReference {
        /// The image.
        path: PathBuf,
    },
    /// An index that does not tell where slices lie.
    #[error(
        "{}: does not tell where the slices lie in their volumes: {source}; prepare the folder with `unet3p prepare`, or \
         score slices one by one (--per-slice)", path.display()
    )]
    Index {
        /// The index.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A slice of a volume that the index does not describe.
    #[error("{}: the volume {volume} of the slice {slice} is not described", index.display())]
    NoVolume {
        /// The index.
        index: PathBuf,
        /// The volume.
        volume: String,
        /// The slice.
        slice: String,
    },
    /// A mask that the index does not list.
    #[error(
        "{}: is not listed in {}, which lists others of these masks; remove it, or list it",
        mask.display(), index.display()
    )]
    NotListed {
        /// The mask.
        mask: PathBuf,
        /// The index.
        index: PathBuf,
    },
    /// Distances that are none.
    #[error(
        "{}: the spacing {spacing:?} of the volume {volume} is none; distances above 0 are needed", index.display()
    )]
    Spacing {
        /// The index.
        index: PathBuf,
        /// The volume.
        volume: String,
        /// Its spacing.
        spacing: [f64; 3],
    },
    /// Two slices at one place.
    #[error(
        "{}: the slices {} and {} both lie at position {position} of the volume {volume}",
        index.display(), slices[0], slices[1]
    )]
    SamePlace {
        /// The index.
        index: PathBuf,
        /// The slices.
        slices: [String; 2],
        /// Their position.
        position: usize,
        /// The volume.
        volume: String,
    },
    /// Options for reading masks that do not go together.
    #[error(transparent)]
    Masks(unet3p_data::Error),
    /// A file for the scores with another ending.
    #[error("-o {}: name a file that ends in .json, e.g. metrics.json", path.display())]
    NotJson {
        /// The file.
        path: PathBuf,
    },
    /// Scores that exist.
    #[error("{}: the output exists already; use --overwrite to replace it, or another name", path.display())]
    ScoresExist {
        /// The file.
        path: PathBuf,
    },
    /// Nothing but background.
    #[error("all masks are empty, so that there is no class to score; name the classes: --classes 1")]
    NoClass,
    /// Scores that cannot be written as a table.
    #[error("{}: cannot be written: {source}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: csv::Error,
    },
    /// Scores that cannot be written.
    #[error(transparent)]
    Write(unet3p_data::Error),
}

impl EvaluateError {
    /// Whether the system or the masks' content is at fault, and not what was asked for.
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Plan(error) => error.is_failure(),
            Self::NoClass | Self::Table { .. } | Self::Write(_) => true,
            _ => false,
        }
    }
}
