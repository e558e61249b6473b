//! Validation: Dice over whole volumes.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use unet3p_data::SliceDataset;
use unet3p_models::{UNet3Plus, class_map};

use crate::Result;

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

/// Pixel counts of a class in a volume.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    both: u64,
    predicted: u64,
    reference: u64,
    false_positives: u64,
}

impl Counts {
    /// Adds a slice, without the pixels that the reference marks as `ignored`.
    fn add(&mut self, class: u8, prediction: &[u8], reference: &[u8], ignored: Option<u8>) {
        let mut slice = Self::default();
        for (&p, &r) in prediction.iter().zip(reference).filter(|&(_, &r)| Some(r) != ignored) {
            let (p, r) = (p == class, r == class);
            slice.both += u64::from(p && r);
            slice.predicted += u64::from(p);
            slice.reference += u64::from(r);
        }
        self.both += slice.both;
        self.predicted += slice.predicted;
        self.reference += slice.reference;
        if slice.reference == 0 {
            self.false_positives += slice.predicted;
        }
    }

    fn dice(&self) -> Option<f64> {
        let sum = self.predicted + self.reference;
        (sum > 0).then(|| 2.0 * self.both as f64 / sum as f64)
    }
}

/// Scores `model` on whole slices of the dataset, for the class ids 1 to `classes`.
pub(crate) fn validate(
    model: &UNet3Plus,
    dataset: &SliceDataset,
    slices: &[usize],
    classes: usize,
    device: &Device,
) -> Result<Validation> {
    let start = std::time::Instant::now();
    let ids = (1..=u8::MAX).take(classes);
    let mut counts: BTreeMap<(String, u8), Counts> = BTreeMap::new();
    for &index in slices {
        let mut sample = dataset.sample(index)?;
        dataset.normalize(&mut sample.image);
        let image = &sample.image;
        let shape = (1, image.channels, image.height, image.width);
        let output = model.forward(&Tensor::from_slice(&image.data, shape, device)?)?;
        let map = class_map(&output.probabilities, model.config().activation, THRESHOLD)?;
        let prediction = map.to_dtype(DType::U8)?.flatten_all()?.to_vec1::<u8>()?;
        for class in ids.clone() {
            let counts = counts.entry((sample.group.clone(), class)).or_default();
            counts.add(class, &prediction, &sample.mask.data, dataset.ignored());
        }
    }
    let score = |((group, class), counts): ((String, u8), Counts)| VolumeScore {
        group,
        class,
        dice: counts.dice(),
        false_positives: counts.false_positives,
    };
    Ok(Validation { scores: counts.into_iter().map(score).collect(), seconds: start.elapsed().as_secs_f64() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dice_is_pooled_over_the_slices_of_a_volume() {
        let mut counts = Counts::default();
        counts.add(1, &[1, 1, 0, 2], &[1, 0, 1, 1], None);
        counts.add(1, &[1, 0, 0, 1], &[0, 0, 2, 0], None);
        counts.add(1, &[0; 4], &[0; 4], None);
        // 4 predicted, 3 in the reference, 1 in both; the second slice has no such pixel
        assert_eq!(counts.dice(), Some(2.0 / 7.0));
        assert_eq!(counts.false_positives, 2);
        counts.add(1, &[1, 0], &[255, 255], Some(255));
        assert_eq!((counts.dice(), counts.false_positives), (Some(2.0 / 7.0), 2));
        assert_eq!(Counts::default().dice(), None);
    }

    #[test]
    fn undefined_scores_are_left_out_of_the_mean() {
        let score = |class, dice| VolumeScore { group: "a".into(), class, dice, false_positives: 3 };
        let scores = vec![score(1, Some(0.5)), score(1, Some(1.0)), score(2, None)];
        let validation = Validation { scores, seconds: 0.0 };
        assert_eq!(validation.mean_dice(), Some(0.75));
        assert_eq!(validation.class_dice(2), None);
        assert_eq!(validation.class_false_positives(1), 6);
    }
}
