//! How far a run is: all that a checkpoint keeps beside tensors.

use serde::{Deserialize, Serialize};

use crate::sampling::Origin;
use crate::{Best, Decay, Monitor, Plateau};

/// The state of a run between two steps.
///
/// Orders, augmentation and dropout are functions of the seed and the step, so the step stands for the state of
/// every generator and for the position in the epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Steps done.
    pub(crate) step: usize,
    /// Epochs done; unknown in checkpoints of versions that counted them by the step.
    #[serde(default)]
    pub(crate) epochs: Option<usize>,
    /// Where passes over the slices are counted from.
    #[serde(default)]
    pub(crate) origin: Origin,
    /// The best validation so far.
    pub(crate) best: Option<Best>,
    /// The metric that `best`, `stale` and `plateau_stale` speak of; unknown in older checkpoints.
    #[serde(default)]
    pub(crate) monitor: Option<Monitor>,
    /// Validations since the best one.
    pub(crate) stale: usize,
    /// What plateaus have left of the learning rate.
    pub(crate) plateau: f64,
    /// Validations since the best one or the last fall of the learning rate.
    pub(crate) plateau_stale: usize,
    /// Over the present epoch.
    pub(crate) epoch: Sums,
    /// Seconds of training and validation, over all sessions.
    pub(crate) seconds: f64,
    /// Checksum of the names of the slices on both sides of the split.
    pub(crate) data: u32,
    /// What was changed on the way, with the steps.
    #[serde(default)]
    pub(crate) notes: Vec<String>,
}

/// Sums over the steps of an epoch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sums {
    pub(crate) steps: usize,
    pub(crate) loss: f64,
    pub(crate) gradient_norm: f64,
    pub(crate) seconds: f64,
}

impl Progress {
    /// The beginning of a run on data of this checksum.
    pub(crate) fn start(data: u32, monitor: Monitor) -> Self {
        Self {
            step: 0,
            epochs: Some(0),
            origin: Origin::default(),
            best: None,
            monitor: Some(monitor),
            stale: 0,
            plateau: 1.0,
            plateau_stale: 0,
            epoch: Sums::default(),
            seconds: 0.0,
            data,
            notes: Vec::new(),
        }
    }

    /// Epochs done.
    pub(crate) fn epochs(&self) -> usize {
        self.epochs.unwrap_or(0)
    }

    /// Forgets the best and what followed on it, as `monitor` measures another thing; tells what the best was.
    pub(crate) fn start_anew(&mut self, monitor: Monitor) -> Option<Best> {
        self.monitor = Some(monitor);
        (self.stale, self.plateau_stale) = (0, 0);
        self.best.take()
    }

    /// Takes in the monitored value of a validation; tells whether it is the best so far.
    ///
    /// A value that is not defined is never the best. The learning rate falls by `decay`, if that is a plateau.
    pub(crate) fn take_validation(
        &mut self,
        value: Option<f64>,
        epoch: usize,
        monitor: &Monitor,
        decay: &Decay,
    ) -> bool {
        let better = value.filter(|&value| self.best.is_none_or(|best| monitor.improves(value, best.value)));
        if let Some(value) = better {
            self.best = Some(Best { value, epoch });
            (self.stale, self.plateau_stale) = (0, 0);
            return true;
        }
        self.stale += 1;
        self.plateau_stale += 1;
        if let Decay::Plateau(Plateau { patience, factor, final_part }) = *decay
            && self.plateau_stale >= patience
        {
            self.plateau = (self.plateau * factor).max(final_part);
            self.plateau_stale = 0;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_the_stale_and_the_plateau() {
        let decay = Decay::Plateau(Plateau { patience: 2, factor: 0.5, final_part: 0.2 });
        let mut progress = Progress::start(0, Monitor::Dice);
        let values = [Some(0.5), Some(0.4), None, Some(0.5), Some(0.45), Some(0.6), Some(0.1)];
        let mut seen = Vec::new();
        for (value, epoch) in values.into_iter().zip(1..) {
            let best = progress.take_validation(value, epoch, &Monitor::Dice, &decay);
            seen.push((best, progress.stale, progress.plateau));
        }
        let expected = [
            (true, 0, 1.0),
            (false, 1, 1.0),
            (false, 2, 0.5),
            (false, 3, 0.5),
            (false, 4, 0.25),
            (true, 0, 0.25),
            (false, 1, 0.25),
        ];
        assert_eq!(seen, expected);
        assert_eq!(progress.best, Some(Best { value: 0.6, epoch: 6 }));
        for epoch in 0..6 {
            progress.take_validation(None, epoch, &Monitor::Dice, &decay);
        }
        assert_eq!(progress.plateau, 0.2);
    }

    #[test]
    fn losses_are_the_better_the_lower() {
        let mut progress = Progress::start(0, Monitor::Dice);
        let judged = [3.0, 2.0, 2.5].map(|value| {
            progress.take_validation(Some(value), 1, &Monitor::ValidationLoss, &Decay::default())
        });
        assert_eq!(judged, [true, true, false]);
    }

    #[test]
    fn every_bit_survives_a_checkpoint() {
        let mut progress = Progress::start(7, Monitor::ClassDice("a".into()));
        progress.epoch.loss = 0.1 + 0.2;
        progress.plateau = 1.0 / 3.0;
        progress.best = Some(Best { value: 2f64.sqrt() / 2.0, epoch: 3 });
        progress.notes = vec!["step 3: train.steps: 4 -> 12".into()];
        let text = serde_json::to_string(&progress).unwrap();
        assert_eq!(serde_json::from_str::<Progress>(&text).unwrap(), progress);
    }

    /// As version 0.1.0 wrote it before it knew the metric, the epochs and the changes.
    #[test]
    fn older_checkpoints_are_read() {
        let text = r#"{"step":5,"best":{"value":0.25,"epoch":2},"stale":1,"plateau":0.5,"plateau_stale":1,
            "epoch":{"steps":1,"loss":0.5,"gradient_norm":1.0,"seconds":2.0},"seconds":9.0,"data":7}"#;
        let mut progress: Progress = serde_json::from_str(text).unwrap();
        assert_eq!((progress.epochs, &progress.monitor, progress.origin), (None, &None, Origin::default()));
        assert_eq!(progress.start_anew(Monitor::Loss), Some(Best { value: 0.25, epoch: 2 }));
        assert_eq!((progress.best, progress.stale, progress.plateau_stale), (None, 0, 0));
        assert_eq!((progress.monitor, progress.plateau), (Some(Monitor::Loss), 0.5));
    }
}
