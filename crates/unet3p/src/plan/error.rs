//! Errors of a run's plan.

use std::io;
use std::path::{Path, PathBuf};

use crate::record::RecordError;

/// Why a run cannot begin as it is planned. Messages name the options of the command line where these are the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// An input that is not there.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// The input.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A folder that cannot be listed.
    #[error(transparent)]
    Listing(unet3p_data::Error),
    /// A named file of a kind that is not read.
    #[error("{}: this kind of file is not read; use {}", path.display(), super::inputs::ENDINGS_TEXT)]
    UnknownKind {
        /// The file.
        path: PathBuf,
    },
    /// A list without a case.
    #[error("{}: lists no image", list.display())]
    EmptyList {
        /// The list.
        list: PathBuf,
    },
    /// A list that names a file of a kind that is not read.
    #[error("{}: lists {}, and this kind of file is not read; use images or volumes", list.display(), path.display())]
    ListedKind {
        /// The list.
        list: PathBuf,
        /// The file.
        path: PathBuf,
    },
    /// Folders without an input.
    #[error(
        "{}: no input found; a folder needs files that end in {}",
        list(paths),
        super::inputs::ENDINGS_TEXT
    )]
    NoInput {
        /// The folders.
        paths: Vec<PathBuf>,
    },
    /// Folders with outputs of earlier runs alone.
    #[error(
        "{}: all files here are outputs of an earlier run; name the images that they were made of",
        list(records)
    )]
    OutputsAlone {
        /// The records that name them.
        records: Vec<PathBuf>,
    },
    /// An ending with which masks are not written.
    #[error(
        "-o {}: masks are not written as .{ending}; name a .png for an image, a .nii.gz or .nii for a volume, or a folder",
        output.display()
    )]
    MaskEnding {
        /// What was named for the outputs.
        output: PathBuf,
        /// Its ending.
        ending: String,
    },
    /// A file for the mask of one input, and inputs that do not become it.
    #[error(
        "-o {} names the mask of one input, and {problem}; name a folder for the outputs, such as -o {}",
        file.display(), folder.display()
    )]
    OneMask {
        /// The file.
        file: PathBuf,
        /// What the inputs are.
        problem: String,
        /// A name for a folder.
        folder: PathBuf,
    },
    /// Two inputs with one output.
    #[error(
        "{} and {} would both be written to {}; rename one of them or segment them into different folders",
        inputs[0].display(), inputs[1].display(), output.display()
    )]
    SameOutput {
        /// The inputs.
        inputs: [PathBuf; 2],
        /// The output.
        output: PathBuf,
    },
    /// An output that is an input.
    #[error("{} is an input, and the output of {}; choose another output folder", input.display(), of.display())]
    OutputIsInput {
        /// The file.
        input: PathBuf,
        /// The input that it is the output of.
        of: PathBuf,
    },
    /// Outputs that exist.
    #[error(
        "{}{}: the output exists already; use --overwrite to replace it, --continue to go on with a run that did not \
         finish, or another output folder", path.display(), and_more(*more)
    )]
    OutputExists {
        /// The first of them.
        path: PathBuf,
        /// How many others there are.
        more: usize,
    },
    /// An output folder that cannot be one.
    #[error("{}: outputs cannot be written there: {} is not a folder", folder.display(), file.display())]
    NoFolder {
        /// The folder.
        folder: PathBuf,
        /// What is in its place, or above it.
        file: PathBuf,
    },
    /// An output folder that cannot be made.
    #[error("{}: cannot create the folder: {source}", path.display())]
    CreateFolder {
        /// The folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A folder that another process writes into.
    #[error(
        "{}: another process writes its outputs there; wait for it, or choose another output folder", path.display()
    )]
    FolderInUse {
        /// The folder.
        path: PathBuf,
    },
    /// A file that another process writes.
    #[error(
        "{}: another process writes it, or what belongs to it; wait for it, or choose another name", path.display()
    )]
    FileInUse {
        /// The file.
        path: PathBuf,
    },
    /// The record of a run to go on with that cannot be read.
    #[error("{0}; --continue needs it, --overwrite does not")]
    Earlier(RecordError),
    /// A run to go on with that had another model or other options.
    #[error(
        "{}: the run that --continue goes on with had {}; use its options, another output folder, or --overwrite",
        record.display(), differences.join(", ")
    )]
    OtherRun {
        /// Its record.
        record: PathBuf,
        /// What was different, and is now.
        differences: Vec<String>,
    },
    /// A run to go on with in which an output is another input's.
    #[error(
        "{}: is the output of {} in the run that --continue goes on with, and would be that of {}; choose another output \
         folder", output.display(), earlier.display(), now.display()
    )]
    OtherInput {
        /// The output.
        output: PathBuf,
        /// The input of the earlier run.
        earlier: PathBuf,
        /// The input of this run.
        now: PathBuf,
    },
}

impl PlanError {
    /// Whether the system is at fault, and not what was asked for.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::NoFolder { .. } | Self::CreateFolder { .. })
    }
}

fn list(paths: &[impl AsRef<Path>]) -> String {
    paths.iter().map(|path| path.as_ref().display().to_string()).collect::<Vec<_>>().join(", ")
}

fn and_more(count: usize) -> String {
    if count == 0 { String::new() } else { format!(" (and {count} more)") }
}
