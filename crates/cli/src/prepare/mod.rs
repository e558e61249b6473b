//! `unet3p prepare`: data to training slices.

mod cut;
mod folder;
mod lits;
mod parse;

use clap::Subcommand;

use crate::failure::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum PrepareCommand {
    /// NIfTI volumes with label maps to 2.5D slices: turned to RAS, resampled, windowed, split by volume
    Folder(Box<folder::FolderArgs>),
    /// The LiTS dataset (volume-N.nii, segmentation-N.nii) to 2.5D slices, split by number
    Lits(lits::LitsArgs),
}

/// Runs `unet3p prepare`.
pub(crate) fn run(command: PrepareCommand) -> Result<(), Failure> {
    match command {
        PrepareCommand::Folder(args) => folder::run(*args),
        PrepareCommand::Lits(args) => lits::run(args),
    }
}
