//! Where the outputs of a run go, checked before any work.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::inputs::{Input, Kind};
use super::target::{Target, stem};
use crate::failure::Failure;

/// Which outputs are written besides the mask.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Extras {
    pub(crate) overlay: bool,
    pub(crate) probabilities: bool,
}

/// The files that one segmentation becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outputs {
    pub(crate) mask: PathBuf,
    pub(crate) overlay: Option<PathBuf>,
    pub(crate) probabilities: Option<PathBuf>,
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

    /// Every file.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.mask).chain(&self.overlay).chain(&self.probabilities)
    }
}

/// One input with its outputs: several for an array of several images.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) input: Input,
    pub(crate) outputs: Vec<Outputs>,
    /// Whether the outputs have numbers: those of an array with four axes, even if it holds a single image.
    pub(crate) numbered: bool,
}

/// Plans the outputs of `inputs`. `images` tells how many images an array holds, `None` when it is
/// a single one without a number of its own.
///
/// Files found in folders that are themselves outputs of other inputs (of an earlier run into the same folder)
/// are no inputs.
///
/// # Errors
/// Wrong usage: two inputs with one output, an output that is an input, one file for what becomes several.
pub(crate) fn plan(
    inputs: Vec<Input>,
    target: &Target,
    extras: Extras,
    images: impl Fn(&Path) -> Option<usize>,
) -> Result<Vec<Item>, Failure> {
    let counted = inputs.into_iter().map(|input| {
        let count = match input.kind {
            Kind::Array => images(&input.path),
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
                return Err(Failure::usage(format!(
                    "{} and {} would both be written to {}; rename one of them or segment them \
                     into different folders",
                    other.display(),
                    item.input.path.display(),
                    file.display()
                )));
            }
        }
    }
    let sources: HashMap<PathBuf, &Path> =
        items.iter().map(|item| (real(&item.input.path), &*item.input.path)).collect();
    for item in &items {
        for file in item.outputs.iter().flat_map(Outputs::files) {
            if let Some(source) = sources.get(&real(file)) {
                return Err(Failure::usage(format!(
                    "{} is an input, and the output of {}; choose another output folder",
                    source.display(),
                    item.input.path.display()
                )));
            }
        }
    }
    Ok(items)
}

/// Checks that no output exists.
///
/// # Errors
/// Wrong usage: one does.
pub(crate) fn check_new(items: &[Item], record: &Path) -> Result<(), Failure> {
    let files = items.iter().flat_map(|item| item.outputs.iter().flat_map(Outputs::files));
    let exists = |file: &&Path| file.symlink_metadata().is_ok();
    let existing: Vec<&Path> = files.map(PathBuf::as_path).chain([record]).filter(exists).collect();
    let Some(first) = existing.first() else { return Ok(()) };
    let more = match existing.len() - 1 {
        0 => String::new(),
        n => format!(" (and {n} more)"),
    };
    Err(Failure::usage(format!(
        "{}{more}: the output exists already; use --overwrite to replace it, --continue to go on with a run that did not \
         finish, or another output folder",
        first.display()
    )))
}

/// `stem` itself, or `stem_0`, `stem_1`, ... with as many digits as the last one has.
pub(crate) fn stems(stem: &Path, count: Option<usize>) -> impl Iterator<Item = PathBuf> {
    let digits = count.unwrap_or(0).saturating_sub(1).to_string().len();
    (0..count.unwrap_or(1)).map(move |index| match count {
        None => stem.to_path_buf(),
        Some(_) => {
            let mut name = stem.as_os_str().to_os_string();
            name.push(format!("_{index:0digits$}"));
            name.into()
        }
    })
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

/// A path in the one spelling that all paths to the same file share, as far as the file exists.
pub(super) fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

/// The output folder must be a folder, or a name where one can be made.
///
/// # Errors
/// A failed run when `folder` or something above it is no folder.
pub(crate) fn check_folder(folder: &Path) -> Result<(), Failure> {
    match folder.ancestors().find(|p| p.symlink_metadata().is_ok()) {
        Some(path) if !path.is_dir() => Err(Failure::run(format!(
            "{}: outputs cannot be written there: {} is not a folder",
            folder.display(),
            path.display()
        ))),
        _ => Ok(()),
    }
}
