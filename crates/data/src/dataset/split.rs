//! Which slices train and which validate.

use std::collections::BTreeSet;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::SliceDataset;
use crate::{Error, Result};

/// Which volumes validate.
#[derive(Debug, Clone, PartialEq)]
pub enum Split {
    /// Those that the source marks (`"split": "validation"` in `dataset.json`, the column `split` of a list); none
    /// where it marks none.
    AsPrepared,
    /// These groups.
    Groups(Vec<String>),
    /// This part of the groups (rounded, at least one of each side), drawn with a seed.
    Fraction {
        /// Between 0 and 1, both excluded.
        fraction: f64,
        /// Seed of the draw.
        seed: u64,
    },
}

/// Indices of the slices on each side of a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// To train on.
    pub train: Vec<usize>,
    /// To validate on.
    pub validation: Vec<usize>,
}

impl SliceDataset {
    /// Splits by group: a volume's slices are all on one side.
    ///
    /// # Errors
    /// [`Error::Setting`] for a group that does not exist, a fraction outside (0, 1), or a split that leaves
    /// nothing to train on.
    pub fn split(&self, split: &Split) -> Result<Parts> {
        let groups = self.groups();
        let validation: BTreeSet<&str> = match split {
            Split::AsPrepared => self.marked.iter().map(String::as_str).collect(),
            Split::Groups(names) => {
                for name in names {
                    if !groups.contains(&name.as_str()) {
                        let allowed = format!("the volumes are {}", groups.join(", "));
                        return Err(Error::setting("validation_groups", name, allowed));
                    }
                }
                names.iter().map(String::as_str).collect()
            }
            Split::Fraction { fraction, seed } => {
                let wrong = |allowed: &str| Err(Error::setting("validation_fraction", fraction, allowed));
                if !(*fraction > 0.0 && *fraction < 1.0) {
                    return wrong("between 0 and 1, both excluded");
                }
                if groups.len() < 2 {
                    return wrong("needs two volumes or more, the dataset has one");
                }
                let count = (fraction * groups.len() as f64).round() as usize;
                let count = count.clamp(1, groups.len() - 1);
                let mut shuffled = groups.clone();
                shuffled.shuffle(&mut ChaCha8Rng::seed_from_u64(*seed));
                shuffled.into_iter().take(count).collect()
            }
        };
        let (validation, train): (Vec<_>, Vec<_>) =
            (0..self.slices.len()).partition(|&i| validation.contains(self.slices[i].group.as_str()));
        if train.is_empty() {
            let allowed = "at least one volume must be left to train on";
            return Err(Error::setting("validation_groups", "every volume", allowed));
        }
        Ok(Parts { train, validation })
    }
}
