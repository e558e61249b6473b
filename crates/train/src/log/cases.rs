//! The best and the worst cases of a validation.

use std::collections::{BTreeMap, HashMap};

use unet3p_data::{LabelMap, Picture, Sample};
use unet3p_models::UNet3Plus;

use super::gallery;
use crate::evaluate::Validator;
use crate::{Result, Validation};

/// Cases of each kind.
const COUNT: usize = 3;

/// Volumes and their Dice.
type Ranked = Vec<(String, f64)>;

/// The volumes with the highest and the lowest Dice. None is in both.
#[derive(Default)]
pub(crate) struct Cases {
    /// The best first.
    pub(crate) best: Vec<Case>,
    /// The worst first.
    pub(crate) worst: Vec<Case>,
}

/// A volume, shown by the slice that has the most foreground in label and prediction together.
pub(crate) struct Case {
    pub(crate) volume: String,
    /// Mean over the classes.
    pub(crate) dice: f64,
    pub(crate) slice: String,
    /// Input, label and prediction.
    pub(crate) picture: Picture,
}

impl Cases {
    /// The cases of `model` among the volumes of `slices`.
    pub(crate) fn find(validator: &Validator<'_>, model: &UNet3Plus, slices: &[usize]) -> Result<Self> {
        let mut fullest: HashMap<String, (usize, usize)> = HashMap::new();
        let validation = validator.validate(model, slices, &mut |index, sample, prediction| {
            let foreground = |map: &LabelMap| map.data.iter().filter(|&&class| class > 0).count();
            let pixels = foreground(&sample.mask) + foreground(&prediction);
            let shown = fullest.entry(sample.group.clone()).or_insert((index, pixels));
            if pixels > shown.1 {
                *shown = (index, pixels);
            }
            Ok(())
        })?;
        let (best, worst) = extremes(ranked(&validation));
        let shown: Vec<usize> =
            best.iter().chain(&worst).filter_map(|(volume, _)| Some(fullest.get(volume)?.0)).collect();
        if shown.is_empty() {
            return Ok(Self::default());
        }
        // Only these are drawn: all predictions together could be large.
        let layout = validator.dataset.preprocessor().layout;
        let mut pictures: HashMap<String, (String, Picture)> = HashMap::new();
        validator.validate(model, &shown, &mut |_, sample: &Sample, prediction| {
            let picture = gallery::strip(sample, &prediction, layout)?;
            pictures.insert(sample.group.clone(), (sample.name.clone(), picture));
            Ok(())
        })?;
        let mut cases = |ranked: Ranked| {
            let case = |(volume, dice): (String, f64)| {
                let (slice, picture) = pictures.remove(&volume)?;
                Some(Case { volume, dice, slice, picture })
            };
            ranked.into_iter().filter_map(case).collect()
        };
        Ok(Self { best: cases(best), worst: cases(worst) })
    }
}

/// Volumes and their mean Dice over classes, the highest first; without those where it is undefined.
fn ranked(validation: &Validation) -> Ranked {
    let mut volumes: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for score in &validation.scores {
        volumes.entry(&score.group).or_default().extend(score.dice);
    }
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
    let defined = volumes.into_iter().filter(|(_, values)| !values.is_empty());
    let mut ranked: Ranked = defined.map(|(volume, values)| (volume.to_string(), mean(values))).collect();
    ranked.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    ranked
}

/// The first and the last, the latter in reverse; of few, half each.
fn extremes(ranked: Ranked) -> (Ranked, Ranked) {
    let best = COUNT.min(ranked.len().div_ceil(2));
    let worst = COUNT.min(ranked.len() - best);
    (ranked[..best].to_vec(), ranked.iter().rev().take(worst).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VolumeScore;

    #[test]
    fn no_volume_is_among_the_best_and_the_worst() {
        let names = |count: usize| {
            let ranked = (0..count).map(|i| (i.to_string(), 1.0 / (1.0 + i as f64))).collect();
            let (best, worst) = extremes(ranked);
            let join =
                |cases: Vec<(String, f64)>| cases.into_iter().map(|(name, _)| name).collect::<String>();
            (join(best), join(worst))
        };
        for (count, best, worst) in
            [(0, "", ""), (1, "0", ""), (3, "01", "2"), (5, "012", "43"), (9, "012", "876")]
        {
            assert_eq!(names(count), (best.into(), worst.into()));
        }
    }

    #[test]
    fn volumes_are_ranked_by_their_mean_over_classes() {
        let score =
            |group: &str, class, dice| VolumeScore { group: group.into(), class, dice, false_positives: 0 };
        let scores = vec![
            score("a", 1, Some(0.5)),
            score("a", 2, None),
            score("b", 1, Some(1.0)),
            score("b", 2, Some(0.5)),
            score("c", 1, None),
        ];
        let validation = Validation { scores, loss: 0.0, presence_auc: None, seconds: 0.0 };
        assert_eq!(ranked(&validation), [("b".into(), 0.75), ("a".into(), 0.5)]);
    }
}
