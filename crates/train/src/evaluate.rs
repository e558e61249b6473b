//! Validation: Dice over whole volumes, and the loss of their slices.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use unet3p_data::{LabelMap, Sample, SliceDataset};
use unet3p_losses::{LabelBatch, Target};
use unet3p_metrics::{Counts, roc_auc};
use unet3p_models::{CompileOptions, Logits, Predictor, UNet3Plus, check_probabilities, class_map};

use crate::objective::Objective;
use crate::{Error, Result, TrainConfig};

/// Probability above which a pixel belongs to a class (sigmoid).
const THRESHOLD: f32 = 0.5;

/// The score of one class in one volume.
#[derive(Debug, Clone, PartialEq)]
pub struct VolumeScore {
    /// The volume.
    pub group: String,
    /// The class id.
    pub class: u8,
    /// 2 |P and R| / (|P| + |R|) over all slices of the volume together; `None` where neither has a pixel.
    pub dice: Option<f64>,
    /// Pixels predicted on slices that hold none of the class.
    pub false_positives: u64,
}

/// The result of a validation.
#[derive(Debug, Clone, PartialEq)]
pub struct Validation {
    /// Scores by volume and class.
    pub scores: Vec<VolumeScore>,
    /// The training loss on whole slices, without augmentation and dropout: the mean over the slices.
    pub loss: f64,
    /// With the classification-guided module: the area under the ROC curve of how far presence is ahead of absence,
    /// against whether a slice's mask has any pixel. `None` without the module, or where all slices are of one kind.
    pub presence_auc: Option<f64>,
    /// Time taken.
    pub seconds: f64,
}

impl Validation {
    /// The mean Dice over volumes and classes, without those where it is undefined.
    pub fn mean_dice(&self) -> Option<f64> {
        mean(self.scores.iter().filter_map(|score| score.dice))
    }

    /// The mean Dice of a class over the volumes.
    pub fn class_dice(&self, class: u8) -> Option<f64> {
        mean(self.scores.iter().filter(|score| score.class == class).filter_map(|score| score.dice))
    }

    /// Pixels of a class predicted on slices without it, over all volumes.
    pub fn class_false_positives(&self, class: u8) -> u64 {
        self.scores.iter().filter(|score| score.class == class).map(|score| score.false_positives).sum()
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

/// Pixel counts of a class in a volume, slice by slice.
#[derive(Debug, Clone, Copy, Default)]
struct VolumeCounts {
    pixels: Counts,
    /// Predicted on slices without the class.
    false_positives: u64,
}

impl VolumeCounts {
    /// Adds a slice, without the pixels that the reference marks as `ignored`.
    fn add(&mut self, class: u8, prediction: &[u8], reference: &[u8], ignored: Option<u8>) {
        let slice = match ignored {
            None => Counts::of_ids(prediction, reference, class),
            Some(ignored) => {
                let pairs = prediction.iter().zip(reference).filter(|&(_, &r)| r != ignored);
                let (prediction, reference): (Vec<u8>, Vec<u8>) = pairs.map(|(&p, &r)| (p, r)).unzip();
                Counts::of_ids(&prediction, &reference, class)
            }
        };
        self.pixels = self.pixels + slice;
        if slice.reference() == 0 {
            self.false_positives += slice.predicted();
        }
    }
}

/// Called with the index, the sample and the predicted class ids of each slice.
pub(crate) type Watch<'a> = &'a mut dyn FnMut(usize, &Sample, LabelMap) -> Result<()>;

/// A network's logits, in evaluation mode.
type Forward<'m> = Box<dyn Fn(&Tensor) -> unet3p_models::Result<Logits> + 'm>;

/// What a network is scored on.
pub(crate) struct Validator<'a> {
    pub(crate) config: &'a TrainConfig,
    pub(crate) dataset: &'a SliceDataset,
    pub(crate) objective: &'a Objective,
    pub(crate) device: &'a Device,
    /// The steps that the network has had, and the learning rate of the last.
    pub(crate) step: usize,
    pub(crate) learning_rate: f64,
}

impl Validator<'_> {
    /// Scores `model` on whole slices of the dataset, one after the other.
    pub(crate) fn validate(
        &self,
        model: &UNet3Plus,
        slices: &[usize],
        watch: Watch<'_>,
    ) -> Result<Validation> {
        let start = std::time::Instant::now();
        let forward = self.compiled(model, slices)?;
        let ids = (1..=u8::MAX).take(self.config.highest_id());
        let mut counts: BTreeMap<(String, u8), VolumeCounts> = BTreeMap::new();
        let mut loss = 0.0;
        let (mut scores, mut labels) = (Vec::new(), Vec::new());
        for &index in slices {
            let sample = self.dataset.sample(index)?;
            let output = forward(&self.input(&sample)?)?;
            let target = self.target(&sample)?;
            loss += self.finite(self.objective.loss(&output, &target)?.to_scalar()?, &sample)?;
            let unsound = |error| self.unsound(index, error);
            if let Some(presence) = &output.presence {
                // What the gate is decided by: how far presence is ahead of absence.
                let logit = |i| presence.flatten_all()?.get(i)?.to_scalar::<f32>();
                let logits = [logit(0)?, logit(1)?];
                check_probabilities(&logits).map_err(unsound)?;
                scores.push(f64::from(logits[1] - logits[0]));
                labels.push(self.dataset.slices()[index].has_foreground());
            }
            let prediction = self.prediction(&output, &target)?.map_err(unsound)?;
            for class in ids.clone() {
                let counts = counts.entry((sample.group.clone(), class)).or_default();
                counts.add(class, &prediction.data, &sample.mask.data, self.dataset.ignored());
            }
            watch(index, &sample, prediction)?;
        }
        let score = |((group, class), counts): ((String, u8), VolumeCounts)| VolumeScore {
            group,
            class,
            dice: counts.pixels.dice(),
            false_positives: counts.false_positives,
        };
        Ok(Validation {
            scores: counts.into_iter().map(score).collect(),
            loss: loss / slices.len() as f64,
            presence_auc: roc_auc(&scores, &labels),
            seconds: start.elapsed().as_secs_f64(),
        })
    }

    /// The loss of a slice, if it is a number.
    fn finite(&self, loss: f32, sample: &Sample) -> Result<f64> {
        let (value, step, learning_rate) = (f64::from(loss), self.step, self.learning_rate);
        if value.is_finite() {
            return Ok(value);
        }
        let files = vec![sample.name.clone()];
        Err(Error::NotFinite { what: "loss of a validation", value, step, learning_rate, files })
    }

    /// The network's forward pass; on the CPU that of its weights of this moment, compiled.
    fn compiled<'m>(&self, model: &'m UNet3Plus, slices: &[usize]) -> Result<Forward<'m>> {
        if !self.device.is_cpu() {
            return Ok(Box::new(|x| model.all_logits(x)));
        }
        let size = self.dataset.preprocessor().size.map(|size| [size.height, size.width]);
        let first = slices.first().map(|&i| &self.dataset.slices()[i]);
        let default = CompileOptions::default();
        let size = size.or(first.map(|slice| [slice.height, slice.width])).unwrap_or(default.size);
        let engine = model.clone().compile(CompileOptions { size, ..default })?;
        Ok(Box::new(move |x| engine.all_logits(x)))
    }

    fn input(&self, sample: &Sample) -> Result<Tensor> {
        let mut image = sample.image.clone();
        self.dataset.normalize(&mut image);
        let shape = (1, image.channels, image.height, image.width);
        Ok(Tensor::from_vec(image.data, shape, self.device)?)
    }

    fn target(&self, sample: &Sample) -> Result<Target> {
        let mask = &sample.mask;
        let shape = (1, mask.height, mask.width);
        let labels = LabelBatch { ids: &mask.data, shape, ignored: self.dataset.ignored() };
        let (classes, activation) = (self.config.outputs(), self.config.model.activation);
        Ok(Target::from_labels(&labels, classes, activation, self.device)?)
    }

    /// The predicted class ids, unless the probabilities are no numbers.
    fn prediction(&self, output: &Logits, target: &Target) -> Result<Result<LabelMap, unet3p_models::Error>> {
        let logits = self.objective.prediction(output, target)?;
        let probabilities = self.config.model.activation.probabilities(&logits)?;
        let map = match class_map(&probabilities, self.config.model.activation, THRESHOLD) {
            Ok(map) => map,
            Err(error) => return Ok(Err(error)),
        };
        let (_, height, width) = map.dims3()?;
        Ok(Ok(LabelMap::new(height, width, map.flatten_all()?.to_vec1()?)?))
    }

    fn unsound(&self, index: usize, source: unet3p_models::Error) -> Error {
        let slice = &self.dataset.slices()[index];
        Error::Prediction { slice: format!("{}/{}", slice.group, slice.name), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dice_is_pooled_over_the_slices_of_a_volume() {
        let mut counts = VolumeCounts::default();
        counts.add(1, &[1, 1, 0, 2], &[1, 0, 1, 1], None);
        counts.add(1, &[1, 0, 0, 1], &[0, 0, 2, 0], None);
        counts.add(1, &[0; 4], &[0; 4], None);
        // 4 predicted, 3 in the reference, 1 in both; the second slice has no such pixel
        assert_eq!(counts.pixels.dice(), Some(2.0 / 7.0));
        assert_eq!(counts.false_positives, 2);
        counts.add(1, &[1, 0], &[255, 255], Some(255));
        assert_eq!((counts.pixels.dice(), counts.false_positives), (Some(2.0 / 7.0), 2));
        assert_eq!(VolumeCounts::default().pixels.dice(), None);
    }

    #[test]
    fn undefined_scores_are_left_out_of_the_mean() {
        let score = |class, dice| VolumeScore { group: "a".into(), class, dice, false_positives: 3 };
        let scores = vec![score(1, Some(0.5)), score(1, Some(1.0)), score(2, None)];
        let validation = Validation { scores, loss: 1.0, presence_auc: None, seconds: 0.0 };
        assert_eq!(validation.mean_dice(), Some(0.75));
        assert_eq!(validation.class_dice(2), None);
        assert_eq!(validation.class_false_positives(1), 6);
    }
}
