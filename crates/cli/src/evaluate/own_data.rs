//! The data of a training run as cases.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use unet3p::evaluate::{Case, Content, Pair, Slices};
use unet3p::plan::{Input, Kind};
use unet3p_data::{Slice, SliceDataset};

use super::args::Split;
use super::run_folder::RunFolder;
use crate::config::failure;
use crate::failure::{Failure, describe};
use crate::report;

/// Where a slice lies in its volume, and the distance in mm between slices, rows and columns.
type Place = (usize, [f64; 3]);

/// Opens the data of a run, as the run did, with `ignore` in the place of its own ignore label.
///
/// # Errors
/// Wrong usage or a failed run, as of training: data that are not there any more or cannot be read.
pub(super) fn open(run: &RunFolder, ignore: Option<u16>) -> Result<SliceDataset, Failure> {
    let mut options = run.config.dataset_options().map_err(failure)?;
    options.ignore_label = ignore.or(options.ignore_label);
    let bar = report::bar(0, "masks");
    let examined = SliceDataset::examine(&run.config.data.paths, &options, |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let (dataset, findings) = examined.map_err(|error| failure(error.into()))?;
    findings.warnings.iter().for_each(|warning| log::warn!("{warning}"));
    findings.problems.iter().for_each(|problem| report::error(describe(problem)));
    match findings.problems.len() {
        0 => Ok(dataset),
        n => Err(Failure::run(format!(
            "{n} files of the run's data cannot be used, each is named above; `unet3p verify -c {}` looks at all of them",
            run.config_path().display()
        ))),
    }
}

/// The slices of one side of the run's split, put together to volumes unless `per_slice`. A pair's index is that of its
/// slice in the dataset.
///
/// # Errors
/// Wrong usage: there is no such slice.
pub(super) fn cases(
    run: &RunFolder,
    dataset: &SliceDataset,
    split: Split,
    per_slice: bool,
) -> Result<Vec<Case>, Failure> {
    let parts = dataset.split(&run.config.split()).map_err(|error| failure(error.into()))?;
    let indices = match split {
        Split::Train => parts.train,
        Split::Validation => parts.validation,
    };
    if indices.is_empty() {
        return Err(Failure::usage(format!(
            "{}: the run has no slice for {}; use --split train, or name images by --input and their masks by \
             --references",
            run.config_path().display(),
            split.name()
        )));
    }
    let places = places(run, dataset)?;
    let mut volumes: BTreeMap<&str, Vec<(Option<Place>, Pair)>> = BTreeMap::new();
    let mut cases = Vec::new();
    for index in indices {
        let slice = &dataset.slices()[index];
        let place = places.get(slice.mask.as_path()).copied();
        let pair = pair(index, slice);
        if per_slice {
            let spacing = place.map(|(_, [_, y, x])| [y, x]);
            cases.push(Case::new(pair.name.clone(), Content::Pair { pair, spacing }));
        } else {
            volumes.entry(&slice.group).or_default().push((place, pair));
        }
    }
    cases.extend(volumes.into_iter().map(|(name, slices)| volume(name, slices)));
    Ok(cases)
}

/// One volume. Where an index does not place each of its slices, they are stacked as they come, which is said.
fn volume(name: &str, slices: Vec<(Option<Place>, Pair)>) -> Case {
    let mut placed: Vec<(usize, Pair)> =
        slices.iter().filter_map(|(place, pair)| Some(((*place)?.0, pair.clone()))).collect();
    placed.sort_by_key(|&(position, _)| position);
    let spacing = slices.first().and_then(|(place, _)| Some((*place)?.1));
    if placed.len() == slices.len() && placed.array_windows().all(|[a, b]| a.0 < b.0) {
        return Case::new(name.to_string(), Content::Slices { slices: placed, spacing });
    }
    let mut pairs: Vec<Pair> = slices.into_iter().map(|(_, pair)| pair).collect();
    if pairs.len() == 1 {
        let pair = pairs.swap_remove(0);
        return Case::new(name.to_string(), Content::Pair { pair, spacing: None });
    }
    let slices = pairs.into_iter().enumerate().collect();
    let mut case = Case::new(name.to_string(), Content::Slices { slices, spacing: None });
    case.warnings.push(
        "no index tells where its slices lie: they are stacked in the order of their names, and distances count pixels \
         and slices"
            .to_string(),
    );
    case
}

fn pair(index: usize, slice: &Slice) -> Pair {
    let file = |path: PathBuf| Input::single(path, PathBuf::from(&slice.name), Kind::Image, false);
    Pair {
        name: slice.name.clone(),
        prediction: file(slice.images.first().cloned().unwrap_or_default()),
        is_predicted: true,
        index: Some(index),
        reference: file(slice.mask.clone()),
    }
}

/// The places of slices, by their masks, as the indices of prepared folders tell them.
fn places<'a>(run: &RunFolder, dataset: &'a SliceDataset) -> Result<HashMap<&'a Path, Place>, Failure> {
    let mut places = HashMap::new();
    for path in &run.config.data.paths {
        // An index that people write by hand tells volumes alone.
        let Some(slices) = Slices::beside(path, true).ok().flatten() else { continue };
        let listed = slices.by_name()?;
        for slice in dataset.slices().iter().filter(|slice| slice.mask.starts_with(path)) {
            let Some((indexed, volume)) = listed.get(slice.name.as_str()) else { continue };
            let [x, y, z] = volume.spacing;
            let (rows, columns) = scale(dataset, slice);
            let spacing = [z, y * rows, x * columns];
            if spacing.iter().all(|&distance| distance > 0.0 && distance.is_finite()) {
                places.insert(slice.mask.as_path(), (indexed.index, spacing));
            }
        }
    }
    Ok(places)
}

/// By how much resizing brings a slice's rows and columns further apart.
fn scale(dataset: &SliceDataset, slice: &Slice) -> (f64, f64) {
    let size = dataset.preprocessor().size;
    size.map_or((1.0, 1.0), |size| {
        (slice.height as f64 / size.height as f64, slice.width as f64 / size.width as f64)
    })
}
