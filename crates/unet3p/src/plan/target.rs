//! What `-o` names: a folder for outputs, or the one file that the mask becomes.

use std::path::{Path, PathBuf};

use super::error::PlanError;
use super::inputs::{Input, Kind, kind_of};
use crate::record::FILE_NAME;

/// Endings of images and volumes in which no mask is written. A folder is hardly ever called so.
const OTHERS: [&str; 7] = ["bmp", "dcm", "gz", "mha", "mhd", "nrrd", "webp"];

/// Where the outputs of a run go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// NAME_mask.png and its like, below a folder.
    Folder(PathBuf),
    /// The mask of one input under a name of its own.
    File(PathBuf),
}

impl Target {
    /// What `output` names: a file where it ends as a mask does and is no folder that exists.
    ///
    /// # Errors
    /// [`PlanError::MaskEnding`]: the ending of a kind of file that masks are not written as.
    pub fn at(output: &Path) -> Result<Self, PlanError> {
        let is_folder = output.is_dir() || output.as_os_str().to_string_lossy().ends_with(['/', '\\']);
        if is_folder {
            return Ok(Self::Folder(output.to_path_buf()));
        }
        let ending = output.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        match kind_of(output) {
            Some(Kind::Volume) => Ok(Self::File(output.to_path_buf())),
            Some(Kind::Image) if ending == "png" => Ok(Self::File(output.to_path_buf())),
            None if !OTHERS.contains(&ending.as_str()) => Ok(Self::Folder(output.to_path_buf())),
            _ => Err(PlanError::MaskEnding { output: output.to_path_buf(), ending }),
        }
    }

    /// The folder that outputs are named from.
    pub fn folder(&self) -> &Path {
        match self {
            Self::Folder(folder) => folder,
            Self::File(file) => file.parent().unwrap_or(Path::new("")),
        }
    }

    /// The record of the run.
    pub fn record(&self) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.join(FILE_NAME),
            Self::File(file) => record_beside(file),
        }
    }

    /// Whether the input may become these outputs: one file is the mask of one image, of its kind.
    ///
    /// # Errors
    /// [`PlanError::OneMask`], with the mend.
    pub(super) fn check(&self, inputs: &[Input], images: usize) -> Result<(), PlanError> {
        let Self::File(file) = self else { return Ok(()) };
        let wrong =
            |problem: String| Err(PlanError::OneMask { file: file.clone(), problem, folder: stem(file) });
        match inputs {
            [input] if !input.named => wrong(format!("{} was found in a folder", input.path.display())),
            [input] if images != 1 => wrong(format!("{} holds {images} images", input.path.display())),
            [input] => {
                let wanted = if input.kind == Kind::Volume { Kind::Volume } else { Kind::Image };
                match (wanted, kind_of(file) == Some(wanted)) {
                    (_, true) => Ok(()),
                    (Kind::Volume, false) => wrong(format!(
                        "{} is a volume, whose mask ends in .nii.gz or .nii",
                        input.path.display()
                    )),
                    (_, false) => {
                        wrong(format!("{} is an image, whose mask ends in .png", input.path.display()))
                    }
                }
            }
            inputs => wrong(format!("there are {} inputs", inputs.len())),
        }
    }
}

/// A file's path without the ending that tells its kind.
pub(super) fn stem(file: &Path) -> PathBuf {
    Input::new(file.to_path_buf(), file, true).map_or_else(|| file.to_path_buf(), |input| input.stem)
}

/// The record of a run that wrote the one mask `file`.
pub(crate) fn record_beside(file: &Path) -> PathBuf {
    let mut name = stem(file).into_os_string();
    name.push(".");
    name.push(FILE_NAME);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_tell_files_from_folders() {
        let file = |name: &str| Target::File(name.into());
        for (name, record) in [
            ("a/x.png", "a/x.predictions.json"),
            ("x.nii.gz", "x.predictions.json"),
            ("v1.NII", "v1.predictions.json"),
        ] {
            let target = Target::at(name.as_ref()).unwrap();
            assert_eq!((&target, target.record()), (&file(name), record.into()));
        }
        for name in ["out", "a/v1.2", "x.png/", "nii", ".png"] {
            let target = Target::at(name.as_ref()).unwrap();
            assert_eq!(target, Target::Folder(name.into()));
            assert_eq!(target.record(), Path::new(name).join("predictions.json"));
        }
        for name in ["x.tif", "x.jpg", "x.npy", "x.nrrd", "x.json.gz"] {
            assert!(matches!(Target::at(name.as_ref()), Err(PlanError::MaskEnding { .. })), "{name}");
        }
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("x.png");
        std::fs::create_dir(&folder).unwrap();
        assert_eq!(Target::at(&folder).unwrap(), Target::Folder(folder));
    }
}
