//! The scores of one case.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use unet3p_data::{IGNORED, LabelMap, MAX_VOXELS, Volume};
use unet3p_metrics::{Labels, Scores};

use super::cases::{Case, Content};
use super::classes::Classes;
use super::mask::{CaseError, Mask, Masks, check_grid, check_size};
use super::pairs::Pair;

/// How cases are scored.
#[derive(Debug)]
pub struct Rules<'a> {
    /// The classes.
    pub classes: &'a Classes,
    /// The surface Dice's tolerance.
    pub tolerance: f64,
    /// The value of references whose pixels do not count.
    pub ignore: Option<u16>,
}

impl Rules<'_> {
    /// What pixels of an image that do not count are read as.
    fn mark(&self) -> Option<u16> {
        self.ignore.map(|_| u16::from(IGNORED))
    }
}

/// What was found in one case.
#[derive(Debug)]
pub struct Scored {
    /// Pixels or voxels that count.
    pub samples: u64,
    /// Distance in mm between samples along each axis as the arrays have them, where it is known.
    pub spacing: Option<Vec<f64>>,
    /// The scores of the classes that either mask holds.
    pub scores: BTreeMap<u16, Scores>,
    /// Class ids in the reference that are not asked for.
    pub ignored: BTreeSet<u16>,
    /// What is doubtful about the masks.
    pub warnings: Vec<String>,
}

impl Scored {
    /// The scores of a class.
    pub fn of(&self, class: u16) -> Scores {
        self.scores.get(&class).copied().unwrap_or_else(|| Scores::absent(self.samples))
    }
}

/// Scores a case; `masks` reads or predicts those of a pair.
pub(super) fn score(
    case: &Case,
    rules: &Rules<'_>,
    masks: &mut dyn FnMut(&Pair) -> Result<Masks, CaseError>,
) -> Result<Scored, CaseError> {
    let mut warnings = case.warnings.clone();
    let mut masks = |pair: &Pair| {
        let found = masks(pair)?;
        for warning in found.warnings {
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        Ok((found.prediction, found.reference))
    };
    let scored = match &case.content {
        Content::Pair { pair, spacing } => {
            let (prediction_path, path) = (pair.prediction.path.as_path(), pair.reference.path.as_path());
            match masks(pair)? {
                (Mask::Volume(prediction), Mask::Volume(reference)) => {
                    let reading = check_grid((prediction_path, &prediction), (path, &reference))?;
                    warnings.extend(reading.map(|reading| format!("{}: {reading}", path.display())));
                    let (shape, spacing) = axes(&reference);
                    compare(
                        path,
                        [prediction.data, reference.data],
                        &shape,
                        Some(spacing),
                        rules,
                        rules.ignore,
                    )?
                }
                (prediction, reference) => {
                    let (prediction, reference) = images(pair, prediction, reference)?;
                    let shape = [reference.height, reference.width];
                    let spacing = spacing.map(|spacing| spacing.to_vec());
                    compare(path, [prediction.data, reference.data], &shape, spacing, rules, rules.mark())?
                }
            }
        }
        Content::Slices { slices, spacing } => {
            let read = |pair: &Pair| masks(pair).and_then(|(p, r)| images(pair, p, r));
            stack(case, slices, *spacing, rules, read)?
        }
    };
    Ok(Scored { warnings: [warnings, scored.warnings].concat(), ..scored })
}

/// Scores the slices of a volume as one. Slices that are missing in between are background in both masks.
fn stack(
    case: &Case,
    slices: &[(usize, Pair)],
    spacing: Option<[f64; 3]>,
    rules: &Rules<'_>,
    mut read: impl FnMut(&Pair) -> Result<(LabelMap, LabelMap), CaseError>,
) -> Result<Scored, CaseError> {
    let (Some((low, first)), Some((high, _))) = (slices.first(), slices.last()) else {
        return Err(CaseError::Mismatch(format!("the volume {} has no slices", case.name)));
    };
    let depth = high - low + 1;
    let missing = (depth > slices.len()).then(|| {
        format!(
            "{} of the slices {low} to {high} are missing and count as background in both masks",
            depth - slices.len()
        )
    });
    let (mut predictions, mut references, mut size) = (Vec::new(), Vec::new(), None);
    for (position, pair) in slices {
        let (prediction, reference) = read(pair)?;
        let (height, width) = *size.get_or_insert((reference.height, reference.width));
        if (height, width) != (reference.height, reference.width) {
            return Err(CaseError::Mismatch(format!(
                "{} is {} x {} (height x width) and {} of the same volume is {height} x {width}: slices of a volume \
                 must have one size",
                pair.reference.path.display(),
                reference.height,
                reference.width,
                first.reference.path.display()
            )));
        }
        let area = height * width;
        if depth.checked_mul(area).is_none_or(|voxels| voxels > MAX_VOXELS) {
            return Err(CaseError::Mismatch(format!(
                "the volume {}: {depth} slices of {height} x {width} are more than {MAX_VOXELS} voxels",
                case.name
            )));
        }
        let start = (position - low) * area;
        for (volume, slice) in [(&mut predictions, prediction), (&mut references, reference)] {
            volume.resize(start, 0);
            volume.extend(slice.data);
        }
    }
    let (height, width) = size.unwrap_or_default();
    let path = &first.reference.path;
    let spacing = spacing.map(|spacing| spacing.to_vec());
    let scored =
        compare(path, [predictions, references], &[depth, height, width], spacing, rules, rules.mark())?;
    Ok(Scored { warnings: missing.into_iter().chain(scored.warnings).collect(), ..scored })
}

fn images(pair: &Pair, prediction: Mask, reference: Mask) -> Result<(LabelMap, LabelMap), CaseError> {
    let (Mask::Image(prediction), Mask::Image(reference)) = (prediction, reference) else {
        return Err(CaseError::Mismatch(format!(
            "{} and {}: one is a volume and the other is none",
            pair.prediction.path.display(),
            pair.reference.path.display()
        )));
    };
    check_size((&pair.prediction.path, &prediction), (&pair.reference.path, &reference))?;
    Ok((prediction, reference))
}

/// The axes of a volume in the order of its memory, the slowest first. A volume of one slice is scored as the image
/// that it is.
fn axes(volume: &Volume<u16>) -> (Vec<usize>, Vec<f64>) {
    let mut axes: Vec<_> = volume.shape.into_iter().zip(volume.spacing()).rev().collect();
    if let Some(single) = axes.iter().position(|&(side, _)| side == 1) {
        axes.remove(single);
    }
    axes.into_iter().unzip()
}

/// Scores all classes of two label maps of one shape; without spacing, distances are counted in pixels.
///
/// Samples of which the reference is `mark` do not count. They become background in both maps before surfaces are looked for,
/// so that a structure that reaches into them has a surface at their border in both. They are taken out of the true negatives
/// again.
fn compare<T: Copy + PartialEq + Sync + Into<u16> + TryFrom<u16> + Default>(
    path: &Path,
    [mut prediction, mut reference]: [Vec<T>; 2],
    shape: &[usize],
    spacing: Option<Vec<f64>>,
    rules: &Rules<'_>,
    mark: Option<u16>,
) -> Result<Scored, CaseError> {
    let mut left_out = 0;
    if let (Some(ignored), Some(id)) = (mark, rules.ignore) {
        for (prediction, reference) in prediction.iter_mut().zip(&mut reference) {
            if (*reference).into() == ignored {
                (*prediction, *reference) = (T::default(), T::default());
                left_out += 1;
            }
        }
        if prediction.iter().any(|&value| value.into() == ignored) {
            return Err(CaseError::Mismatch(format!(
                "the prediction for {} holds {id}, which is left out of references and is no class: write predictions \
                 with class ids (0, 1, ...), or name another value by --ignore",
                path.display()
            )));
        }
    }
    let failed = |source| CaseError::Metrics { path: path.to_path_buf(), source };
    let distances = spacing.clone().unwrap_or_else(|| vec![1.0; shape.len()]);
    let (predicted, referred) = (
        Labels::new(&prediction, shape, &distances).map_err(failed)?,
        Labels::new(&reference, shape, &distances).map_err(failed)?,
    );
    let in_reference = ids(&reference);
    let mut scores = BTreeMap::new();
    let wanted = |class: &u16| rules.classes.wants(*class) && mark != Some(*class);
    for &class in in_reference.union(&ids(&prediction)).filter(|class| wanted(class)) {
        if let Ok(id) = T::try_from(class) {
            let mut found = Scores::of_class(&predicted, &referred, id, rules.tolerance).map_err(failed)?;
            found.counts.true_negatives -= left_out;
            scores.insert(class, found);
        }
    }
    let ignored = in_reference.into_iter().filter(|&class| !rules.classes.wants(class)).collect();
    let samples = reference.len() as u64 - left_out;
    let nothing = (samples == 0).then(|| "every pixel of the reference is left out".to_string());
    Ok(Scored { samples, spacing, scores, ignored, warnings: nothing.into_iter().collect() })
}

/// The class ids that occur, without the background.
fn ids<T: Copy + Into<u16>>(ids: &[T]) -> BTreeSet<u16> {
    let mut seen = vec![false; 1 << 16];
    ids.iter().for_each(|&id| seen[usize::from(id.into())] = true);
    (1..=u16::MAX).filter(|&id| seen[usize::from(id)]).collect()
}
