//! The learning rate over a run.

use serde::{Deserialize, Serialize};

/// How the learning rate falls after the warm-up, as a configuration names it: the bare name, or a table of `name`
/// and those parameters that differ from their defaults.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Decay {
    /// `constant`: it stays.
    Constant(Constant),
    /// `step`: it is multiplied by a factor every few epochs.
    Step(StepDecay),
    /// `cosine`: half a cosine from 1 to the final part (Loshchilov and Hutter, arXiv:1608.03983, without restarts).
    Cosine(Cosine),
    /// `polynomial`: (1 - t)^power, above the final part (the "poly" rule of segmentation networks).
    Polynomial(Polynomial),
    /// `plateau`: it is multiplied by a factor when validations stop to improve.
    Plateau(Plateau),
}

/// [`Decay::Constant`] has no parameters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constant {}

/// Parameters of [`Decay::Step`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StepDecay {
    /// Epochs between two falls (default 30).
    pub every: usize,
    /// What is left after each (default 0.1).
    pub factor: f64,
}

/// Parameters of [`Decay::Cosine`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cosine {
    /// The last rate as a part of the highest (default 0.01).
    pub final_part: f64,
}

/// Parameters of [`Decay::Polynomial`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Polynomial {
    /// The exponent (default 0.9).
    pub power: f64,
    /// The last rate as a part of the highest (default 0.01).
    pub final_part: f64,
}

/// Parameters of [`Decay::Plateau`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plateau {
    /// The fall comes after this many validations in a row that are no better than the best (default 10).
    pub patience: usize,
    /// What is left after it (default 0.5).
    pub factor: f64,
    /// The lowest rate as a part of the highest (default 0.001).
    pub final_part: f64,
}

impl Default for StepDecay {
    fn default() -> Self {
        Self { every: 30, factor: 0.1 }
    }
}

impl Default for Cosine {
    fn default() -> Self {
        Self { final_part: 0.01 }
    }
}

impl Default for Polynomial {
    fn default() -> Self {
        Self { power: 0.9, final_part: 0.01 }
    }
}

impl Default for Plateau {
    fn default() -> Self {
        Self { patience: 10, factor: 0.5, final_part: 0.001 }
    }
}

impl Default for Decay {
    fn default() -> Self {
        Self::Cosine(Cosine::default())
    }
}

impl Decay {
    /// The first parameter that is not allowed: its key, its value and what is allowed.
    pub(crate) fn wrong(&self) -> Option<(&'static str, f64, &'static str)> {
        let factor = |factor: f64| {
            (!(factor > 0.0 && factor <= 1.0)).then_some(("factor", factor, "above 0, up to 1"))
        };
        let part = |part: f64| (!(0.0..=1.0).contains(&part)).then_some(("final_part", part, "0 to 1"));
        let count = |key, count: usize| (count == 0).then_some((key, count as f64, "1 or more"));
        let power = |power: f64| {
            (!(power.is_finite() && power > 0.0)).then_some(("power", power, "a number above 0"))
        };
        match *self {
            Self::Constant(_) => None,
            Self::Step(step) => count("every", step.every).or(factor(step.factor)),
            Self::Cosine(cosine) => part(cosine.final_part),
            Self::Polynomial(polynomial) => power(polynomial.power).or(part(polynomial.final_part)),
            Self::Plateau(plateau) => {
                count("patience", plateau.patience).or(factor(plateau.factor)).or(part(plateau.final_part))
            }
        }
    }
}

/// The learning rate of each step of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// The highest rate.
    pub peak: f64,
    /// How it falls.
    pub decay: Decay,
    /// Steps over which it rises linearly from 0 to the peak, the last of them at the peak.
    pub warm_up: usize,
    /// Steps of the run.
    pub steps: usize,
    /// Steps of an epoch, for [`Decay::Step`].
    pub steps_per_epoch: usize,
}

impl Schedule {
    /// The rate of step `step` (from 0). With [`Decay::Plateau`] it is the peak after the warm-up: what validations
    /// take off it is not known here.
    ///
    /// ```
    /// use unet3p_train::{Cosine, Decay, Schedule};
    ///
    /// let decay = Decay::Cosine(Cosine { final_part: 0.0 });
    /// let schedule = Schedule { peak: 1e-3, decay, warm_up: 10, steps: 101, steps_per_epoch: 20 };
    /// assert_eq!(schedule.rate(0), 1e-4);
    /// assert_eq!(schedule.rate(9), 1e-3);
    /// assert!(schedule.rate(100) < 1e-9);
    /// ```
    pub fn rate(&self, step: usize) -> f64 {
        self.rate_in(step, step / self.steps_per_epoch.max(1))
    }

    /// The rate of step `step` in epoch `epoch` (both from 0), where earlier epochs may have had other lengths.
    pub(crate) fn rate_in(&self, step: usize, epoch: usize) -> f64 {
        if step < self.warm_up {
            return self.peak * (step + 1) as f64 / self.warm_up as f64;
        }
        // From 0 at the first step after the warm-up to 1 at the last step.
        let length = self.steps.saturating_sub(self.warm_up + 1);
        let t = if length == 0 { 0.0 } else { ((step - self.warm_up) as f64 / length as f64).min(1.0) };
        let above = |final_part: f64, part: f64| final_part + (1.0 - final_part) * part;
        self.peak
            * match self.decay {
                Decay::Constant(_) | Decay::Plateau(_) => 1.0,
                Decay::Step(StepDecay { every, factor }) => {
                    let falls = epoch / every.max(1);
                    factor.powi(i32::try_from(falls).unwrap_or(i32::MAX))
                }
                Decay::Cosine(Cosine { final_part }) => {
                    above(final_part, 0.5 + 0.5 * (std::f64::consts::PI * t).cos())
                }
                Decay::Polynomial(Polynomial { power, final_part }) => {
                    above(final_part, (1.0 - t).powf(power))
                }
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(decay: Decay, warm_up: usize) -> Schedule {
        Schedule { peak: 2.0, decay, warm_up, steps: 11, steps_per_epoch: 2 }
    }

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} {b}");
    }

    #[test]
    fn values() {
        let constant = schedule(Decay::Constant(Constant {}), 4);
        assert_eq!((0..6).map(|i| constant.rate(i)).collect::<Vec<_>>(), [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]);
        let cosine = schedule(Decay::Cosine(Cosine { final_part: 0.1 }), 0);
        near(cosine.rate(0), 2.0);
        near(cosine.rate(5), 2.0 * (0.1 + 0.9 * 0.5));
        near(cosine.rate(10), 0.2);
        near(cosine.rate(30), 0.2);
        let polynomial = schedule(Decay::Polynomial(Polynomial { power: 0.9, final_part: 0.1 }), 0);
        near(polynomial.rate(0), 2.0);
        near(polynomial.rate(5), 2.0 * (0.1 + 0.9 * 0.5f64.powf(0.9)));
        near(polynomial.rate(10), 0.2);
        let step = schedule(Decay::Step(StepDecay { every: 2, factor: 0.5 }), 1);
        let rates = [0, 1, 3, 4, 7, 8].map(|i| step.rate(i));
        assert_eq!(rates, [2.0, 2.0, 2.0, 1.0, 1.0, 0.5]);
        // Epochs that were longer before count as epochs.
        assert_eq!([3, 4, 6].map(|epoch| step.rate_in(40, epoch)), [1.0, 0.5, 0.25]);
        assert_eq!(schedule(Decay::Plateau(Plateau::default()), 0).rate(9), 2.0);
    }

    #[test]
    fn runs_shorter_than_the_warm_up() {
        for decay in
            [Decay::Constant(Constant {}), Decay::default(), Decay::Polynomial(Polynomial::default())]
        {
            let short = Schedule { steps: 3, ..schedule(decay, 3) };
            assert_eq!(short.rate(2), 2.0);
            assert!(Schedule { steps: 1, ..schedule(decay, 0) }.rate(0) == 2.0);
        }
    }
}
