//! Where the outputs of a run go, checked before any work.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use unet3p_data::channel_of;

use super::error::PlanError;
use super::inputs::{Input, Kind, images_of, real, stems};
use super::target::{Target, stem};
use crate::record::{Files, text};

/// Which outputs are written besides the mask.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extras {
    /// The mask drawn over the image.
    pub overlay: bool,
    /// The probabilities as an array.
    pub probabilities: bool,
}

/// The files that one segmentation becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outputs {
    /// The mask.
    pub mask: PathBuf,
    /// The mask drawn over the image.
    pub overlay: Option<PathBuf>,
    /// The probabilities.
    pub probabilities: Option<PathBuf>,
}

impl Outputs {
    /// The outputs of the input `stem` of kind `kind`.
    fn new(target: &Target, input: &Path, kind: Kind, extras: Extras) -> Self {
        let (base, mask) = match target {
            Target::Folder(folder) => (folder.join(input), None),
            Target::File(file) => (stem(file), Some(file.clone())),
        };
        let named = |suffix: &str| {
            let mut name = base.clone().into_os_string();
            name.push(suffix);
            PathBuf::from(name)
        };
        let ending = match kind {
            Kind::Volume => "_mask.nii.gz",
            Kind::Image | Kind::Array => "_mask.png",
        };
        Self {
            mask: mask.unwrap_or_else(|| named(ending)),
            overlay: extras.overlay.then(|| named("_overlay.png")),
            probabilities: extras.probabilities.then(|| named("_probabilities.npy")),
        }
    }

    /// The files as a record in `folder` names them.
    pub fn relative_to(&self, folder: &Path) -> Files {
        let relative = |path: &Path| text(path.strip_prefix(folder).unwrap_or(path));
        Files {
            mask: relative(&self.mask),
            overlay: self.overlay.as_deref().map(relative),
            probabilities: self.probabilities.as_deref().map(relative),
        }
    }

    /// Every file.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.mask).chain(&self.overlay).chain(&self.probabilities)
    }
}

/// One input with its outputs: several for an array of several images.
#[derive(Debug)]
pub struct Item {
    /// The input.
    pub input: Input,
    /// Its outputs.
    pub outputs: Vec<Outputs>,
    /// Whether the outputs have numbers: those of an array with four axes, even if it holds a single image.
    pub numbered: bool,
}

/// Plans the outputs of `inputs`.
///
/// Files found in folders that are themselves outputs of other inputs (of an earlier run into the same folder)
/// are no inputs.
///
/// # Errors
/// [`PlanError`]: two inputs with one output, an output that is an input, one file for what becomes several.
pub fn plan(inputs: Vec<Input>, target: &Target, extras: Extras) -> Result<Vec<Item>, PlanError> {
    let counted = inputs.into_iter().map(|input| {
        let count = match input.kind {
            Kind::Array => images_of(&input.path),
            Kind::Image | Kind::Volume => None,
        };
        (input, count)
    });
    let counted: Vec<_> = counted.collect();
    let inputs: Vec<Input> = counted.iter().map(|(input, _)| input.clone()).collect();
    target.check(&inputs, counted.first().map_or(1, |(_, count)| count.unwrap_or(1)))?;
    let items: Vec<Item> = without_outputs(counted, target)
        .into_iter()
        .map(|(input, count)| {
            let outputs = stems(&input.stem, count)
                .map(|stem| Outputs::new(target, &stem, input.kind, extras))
                .collect();
            Item { input, outputs, numbered: count.is_some() }
        })
        .collect();

    let mut owners: HashMap<&Path, &Path> = HashMap::new();
    for item in &items {
        for file in item.outputs.iter().flat_map(Outputs::files) {
            if let Some(other) = owners.insert(file, &item.input.path) {
                let inputs = [other.to_path_buf(), item.input.path.clone()];
                return Err(PlanError::SameOutput { inputs, output: file.clone() });
            }
        }
    }
    let sources = items.iter().flat_map(|item| item.input.files.iter().chain([&item.input.path]));
    let sources: HashMap<PathBuf, &Path> = sources.map(|path| (real(path), path.as_path())).collect();
    for item in &items {
        for file in item.outputs.iter().flat_map(Outputs::files) {
            // A mask with the name of a channel would be read as one from then on.
            let channel = is_channel_of(file, &item.input).then_some(file.as_path());
            if let Some(source) = sources.get(&real(file)).copied().or(channel) {
                let (input, of) = (source.to_path_buf(), item.input.path.clone());
                return Err(PlanError::OutputIsInput { input, of });
            }
        }
    }
    Ok(items)
}

/// Whether a file has the name of a channel of an input of several.
fn is_channel_of(file: &Path, input: &Input) -> bool {
    let stem = stem(file);
    let case = stem.file_name().and_then(|name| channel_of(name.to_str()?)).map(|(case, _)| Path::new(case));
    input.files.len() > 1
        && case.is_some()
        && case == input.stem.file_name().map(Path::new)
        && file.parent().map(real) == input.path.parent().map(real)
}

/// Checks that no output exists.
///
/// # Errors
/// [`PlanError::OutputExists`]: one does.
pub fn check_new(items: &[Item], record: &Path) -> Result<(), PlanError> {
    let files = items.iter().flat_map(|item| item.outputs.iter().flat_map(Outputs::files));
    let exists = |file: &&Path| file.symlink_metadata().is_ok();
    let existing: Vec<&Path> = files.map(PathBuf::as_path).chain([record]).filter(exists).collect();
    let Some(first) = existing.first() else { return Ok(()) };
    Err(PlanError::OutputExists { path: first.to_path_buf(), more: existing.len() - 1 })
}

/// `inputs` without the files found in folders that an earlier run made of the others.
fn without_outputs(inputs: Vec<(Input, Option<usize>)>, target: &Target) -> Vec<(Input, Option<usize>)> {
    let all = Extras { overlay: true, probabilities: true };
    let made: HashSet<PathBuf> = inputs
        .iter()
        .flat_map(|(input, count)| {
            let outputs = stems(&input.stem, *count).map(|stem| Outputs::new(target, &stem, input.kind, all));
            outputs.flat_map(|outputs| outputs.files().map(|file| real(file)).collect::<Vec<_>>())
        })
        .collect();
    inputs.into_iter().filter(|(input, _)| input.named || !made.contains(&real(&input.path))).collect()
}

/// The output folder must be a folder, or a name where one can be made.
///
/// # Errors
/// [`PlanError::NoFolder`] when `folder` or something above it is no folder.
pub fn check_folder(folder: &Path) -> Result<(), PlanError> {
    match folder.ancestors().find(|p| p.symlink_metadata().is_ok()) {
        Some(path) if !path.is_dir() => {
            Err(PlanError::NoFolder { folder: folder.to_path_buf(), file: path.to_path_buf() })
        }
        _ => Ok(()),
    }
}

/// Makes a folder for outputs, with those above it.
///
/// # Errors
/// [`PlanError::CreateFolder`] where the system does not.
pub fn create_folder(folder: &Path) -> Result<(), PlanError> {
    if folder.as_os_str().is_empty() {
        return Ok(());
    }
    std::fs::create_dir_all(folder)
        .map_err(|source| PlanError::CreateFolder { path: folder.to_path_buf(), source })
}
