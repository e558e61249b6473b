//! The learning rate over a run.

use serde::{Deserialize, Serialize};

/// How the learning rate falls after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// It stays.
    Constant,
    /// Half a cosine from 1 to the final part (Loshchilov and Hutter, arXiv:1608.03983, without restarts).
    Cosine,
    /// (1 - t)^0.9, above the final part (the "poly" rule of segmentation networks).
    Polynomial,
}

/// The exponent of [`Decay::Polynomial`].
const POWER: f64 = 0.9;

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
    /// The rate of the last step as a part of the peak (not for [`Decay::Constant`]).
    pub final_part: f64,
}

impl Schedule {
    /// The rate of step `step` (from 0).
    ///
    /// ```
    /// use unet3p_train::{Decay, Schedule};
    ///
    /// let schedule = Schedule { peak: 1e-3, decay: Decay::Cosine, warm_up: 10, steps: 101, final_part: 0.0 };
    /// assert_eq!(schedule.rate(0), 1e-4);
    /// assert_eq!(schedule.rate(9), 1e-3);
    /// assert!(schedule.rate(100) < 1e-9);
    /// ```
    pub fn rate(&self, step: usize) -> f64 {
        if step < self.warm_up {
            return self.peak * (step + 1) as f64 / self.warm_up as f64;
        }
        // From 0 at the first step after the warm-up to 1 at the last step.
        let length = self.steps.saturating_sub(self.warm_up + 1);
        let t = if length == 0 { 0.0 } else { ((step - self.warm_up) as f64 / length as f64).min(1.0) };
        let part = match self.decay {
            Decay::Constant => return self.peak,
            Decay::Cosine => 0.5 + 0.5 * (std::f64::consts::PI * t).cos(),
            Decay::Polynomial => (1.0 - t).powf(POWER),
        };
        self.peak * (self.final_part + (1.0 - self.final_part) * part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(decay: Decay, warm_up: usize) -> Schedule {
        Schedule { peak: 2.0, decay, warm_up, steps: 11, final_part: 0.1 }
    }

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} {b}");
    }

    #[test]
    fn values() {
        let constant = schedule(Decay::Constant, 4);
        assert_eq!((0..6).map(|i| constant.rate(i)).collect::<Vec<_>>(), [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]);
        let cosine = schedule(Decay::Cosine, 0);
        near(cosine.rate(0), 2.0);
        near(cosine.rate(5), 2.0 * (0.1 + 0.9 * 0.5));
        near(cosine.rate(10), 0.2);
        near(cosine.rate(30), 0.2);
        let polynomial = schedule(Decay::Polynomial, 0);
        near(polynomial.rate(0), 2.0);
        near(polynomial.rate(5), 2.0 * (0.1 + 0.9 * 0.5f64.powf(0.9)));
        near(polynomial.rate(10), 0.2);
    }

    #[test]
    fn runs_shorter_than_the_warm_up() {
        for decay in [Decay::Constant, Decay::Cosine, Decay::Polynomial] {
            let short = Schedule { steps: 3, ..schedule(decay, 3) };
            assert_eq!(short.rate(2), 2.0);
            assert!(Schedule { steps: 1, ..schedule(decay, 0) }.rate(0) == 2.0);
        }
    }
}
