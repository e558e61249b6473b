//! Which prediction belongs to which reference: those of one name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::error::EvaluateError;
use crate::plan::{Input, Kind, discover, grouped, images_of, layout, stems, without_written};

/// So many files are named in a message, of others the number.
const NAMED: usize = 10;

/// What `predict` appends to the name of an image.
const MASK: &str = "_mask";
const OTHERS: [&str; 2] = ["_overlay", "_probabilities"];

/// A prediction and its reference.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The path below the folder without `_mask` and the ending.
    pub name: String,
    /// The mask, or the image that a model makes one of.
    pub prediction: Input,
    /// Whether a model makes the mask.
    pub is_predicted: bool,
    /// Which image of an array, or slice of a dataset.
    pub index: Option<usize>,
    /// The mask that is right.
    pub reference: Input,
}

/// The masks in a folder by their names, or the one file; `outputs` enters folders that `predict` wrote. What else
/// `predict` writes is passed over, and so is an image NAME beside its mask NAME_mask.
///
/// # Errors
/// [`EvaluateError`]: no mask there, or two with one name.
pub fn masks(folder: &Path, outputs: bool) -> Result<BTreeMap<String, Input>, EvaluateError> {
    let inputs: Vec<Input> = discover(&[folder.to_path_buf()], None, outputs)?
        .into_iter()
        .filter(|input| input.kind != Kind::Array)
        .collect();
    let stems: BTreeSet<String> = inputs.iter().map(stem).collect();
    let has_mask = |stem: &str| stems.contains(&format!("{stem}{MASK}"));
    let mut masks: BTreeMap<String, Input> = BTreeMap::new();
    for input in inputs {
        let stem = stem(&input);
        let overlay = OTHERS.iter().any(|suffix| stem.strip_suffix(suffix).is_some_and(has_mask));
        if overlay || has_mask(&stem) {
            continue;
        }
        let name = stem.strip_suffix(MASK).unwrap_or(&stem).to_string();
        insert(&mut masks, name, input, |input| &input.path)?;
    }
    if masks.is_empty() {
        return Err(EvaluateError::NoMask { folder: folder.to_path_buf() });
    }
    Ok(masks)
}

/// The images behind `paths` by their names, each with its number in an array. What `predict` wrote beside an image is
/// passed over.
///
/// # Errors
/// [`EvaluateError`]: no image there, or two with one name.
pub fn images(paths: &[PathBuf]) -> Result<BTreeMap<String, (Input, Option<usize>)>, EvaluateError> {
    let paths: Vec<PathBuf> = paths.iter().map(|path| layout::images(path)).collect();
    let mut inputs = Vec::new();
    for path in &paths {
        let mut found = without_written(discover(std::slice::from_ref(path), None, false)?, &paths, None)?;
        if layout::has_channels(path) {
            found = grouped(found);
        }
        inputs.extend(found);
    }
    let numbered = |input: Input| {
        let count = if input.kind == Kind::Array { images_of(&input.path) } else { None };
        let name = |stem: PathBuf| stem.to_string_lossy().replace('\\', "/");
        let names: Vec<String> = stems(&input.stem, count).map(name).collect();
        names.into_iter().enumerate().map(move |(i, name)| (name, (input.clone(), count.map(|_| i))))
    };
    let found: Vec<_> = inputs.into_iter().flat_map(numbered).collect();
    let names: BTreeSet<String> = found.iter().map(|(name, _)| name.clone()).collect();
    let made = |name: &str| {
        OTHERS
            .iter()
            .chain([&MASK])
            .any(|suffix| name.strip_suffix(suffix).is_some_and(|of| names.contains(of)))
    };
    let mut images = BTreeMap::new();
    let mut outputs = Vec::new();
    for (name, image) in found {
        if !image.0.named && made(&name) {
            outputs.push(image.0.path);
        } else {
            insert(&mut images, name, image, |(input, _)| &input.path)?;
        }
    }
    if let Some(outputs) = list(outputs.iter().map(PathBuf::as_path)) {
        log::warn!("{outputs}: passed over, because images of the same names without the suffix are there");
    }
    Ok(images)
}

/// Pairs and what has no counterpart.
#[derive(Debug)]
pub struct Paired {
    /// What is scored against what.
    pub pairs: Vec<Pair>,
    /// References without a prediction.
    pub missing: Vec<String>,
}

/// Pairs predictions, or images of which a model makes them, with references by name; two single files belong together
/// whatever their names.
///
/// Files without a counterpart are left out where that is allowed, which a warning says.
///
/// # Errors
/// [`EvaluateError`]: files without a counterpart, all of them at once, where that is not allowed or no pair remains; an image
/// whose counterpart is a volume.
pub fn pair(
    predictions: BTreeMap<String, (Input, Option<usize>)>,
    mut references: BTreeMap<String, Input>,
    is_predicted: bool,
    allow_missing: bool,
) -> Result<Paired, EvaluateError> {
    let single = predictions.len() == 1 && references.len() == 1;
    let named = predictions.values().all(|(input, _)| input.named) && references.values().all(|r| r.named);
    if single && named {
        references = predictions.keys().cloned().zip(references.into_values()).collect();
    }
    let lonely: Vec<_> = predictions.iter().filter(|(name, _)| !references.contains_key(*name)).collect();
    let missing: Vec<_> = references.iter().filter(|(name, _)| !predictions.contains_key(*name)).collect();
    if !lonely.is_empty() || !missing.is_empty() {
        let without_reference = lonely.iter().map(|(_, (input, _))| input.path.as_path());
        let without_prediction = missing.iter().map(|(_, input)| input.path.as_path());
        let parts = [("reference", list(without_reference)), ("prediction", list(without_prediction))]
            .into_iter()
            .filter_map(|(of, files)| files.map(|files| format!("without a {of}: {files}")));
        let parts = parts.collect::<Vec<_>>().join("; ");
        if !allow_missing || missing.len() == references.len() {
            let mend =
                if allow_missing { "none is left to score" } else { "--allow-missing scores the others" };
            return Err(EvaluateError::Lonely { lonely: parts, mend });
        }
        let (lonely, missing) = (lonely.len(), missing.len());
        log::warn!(
            "{missing} of {} references have no prediction and {lonely} predictions no reference; they are not scored: \
             {parts}",
            references.len()
        );
    }
    let missing: Vec<String> =
        references.keys().filter(|name| !predictions.contains_key(*name)).cloned().collect();
    let mut pairs = Vec::new();
    for (name, (prediction, index)) in predictions {
        let Some(reference) = references.remove(&name) else { continue };
        if (prediction.kind == Kind::Volume) != (reference.kind == Kind::Volume) {
            let (prediction, reference) = (prediction.path, reference.path);
            return Err(EvaluateError::VolumeAndImage { prediction, reference });
        }
        pairs.push(Pair { name, prediction, is_predicted, index, reference });
    }
    Ok(Paired { pairs, missing })
}

/// Checks that no image is its own reference, as where one folder is named for both and holds no masks.
///
/// # Errors
/// [`EvaluateError`]: one is.
pub fn check_distinct(pairs: &[Pair]) -> Result<(), EvaluateError> {
    match pairs.iter().find(|pair| is_one_file(pair)) {
        Some(pair) => Err(EvaluateError::OwnReference { path: pair.prediction.path.clone() }),
        None => Ok(()),
    }
}

/// Warns of masks that are compared with themselves.
pub fn warn_of_same(pairs: &[Pair]) {
    let same = list(pairs.iter().filter(|pair| is_one_file(pair)).map(|pair| pair.prediction.path.as_path()));
    if let Some(same) = same {
        log::warn!("{same}: compared with itself, prediction and reference are one file");
    }
}

fn is_one_file(pair: &Pair) -> bool {
    let real = |input: &Input| input.path.canonicalize().ok();
    real(&pair.prediction).is_some_and(|path| real(&pair.reference) == Some(path))
}

fn stem(input: &Input) -> String {
    input.stem.to_string_lossy().replace('\\', "/")
}

fn insert<V>(
    files: &mut BTreeMap<String, V>,
    name: String,
    file: V,
    path: impl Fn(&V) -> &PathBuf,
) -> Result<(), EvaluateError> {
    if let Some(other) = files.get(&name) {
        return Err(EvaluateError::SameName { files: [path(other).clone(), path(&file).clone()] });
    }
    files.insert(name, file);
    Ok(())
}

/// The first of `paths` and the number of the others; nothing where there is none.
fn list<'a>(paths: impl Iterator<Item = &'a Path>) -> Option<String> {
    let paths: Vec<String> = paths.map(|path| path.display().to_string()).collect();
    let named = paths.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match paths.len() {
        0 => None,
        count if count <= NAMED => Some(named),
        count => Some(format!("{named} and {} more", count - NAMED)),
    }
}
