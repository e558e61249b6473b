//! What is different in the configuration that a run goes on with.

use std::collections::BTreeSet;

use toml::Value;

use crate::config::make_absolute;
use crate::{Monitor, Result, TrainConfig};

/// Which volumes validate: slices on other sides are refused by their checksum, so how the split is written is no change.
const SPLIT: [&str; 2] = ["data.validation_groups", "data.validation_fraction"];
/// What decides on the reference that every score of a validation compares with.
const REFERENCE: [&str; 3] = ["data.mask_values", "data.ignore_label", "data.resize"];
/// What decides on the batches whose loss an epoch reports.
const BATCHES: [&str; 3] = ["data.crop", "data.foreground_share", "augmentation."];

/// Keys whose values differ.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Changes {
    /// The key, and its former and its present value.
    keys: Vec<(String, String, String)>,
}

impl Changes {
    /// Compares two resolved configurations, key by key.
    pub(crate) fn between(old: &TrainConfig, new: &TrainConfig) -> Result<Self> {
        let [old, new] = [old, new].map(|config| {
            let mut config = config.clone();
            // Older versions wrote paths as they were given.
            config.data.paths.iter_mut().for_each(make_absolute);
            table(&config)
        });
        let mut changes = Self::default();
        changes.compare("", Some(&old?), Some(&new?));
        Ok(changes)
    }

    /// "KEY: OLD -> NEW", one each.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.keys.iter().map(|(key, old, new)| format!("{key}: {old} -> {new}")).collect()
    }

    /// Whether a value of `monitor` before the change says nothing about one after it.
    pub(crate) fn concern(&self, monitor: &Monitor) -> bool {
        let changed = |keys: &[&str]| {
            let is_one =
                |name: &str, key: &&str| name == *key || (key.ends_with('.') && name.starts_with(key));
            self.keys.iter().any(|(name, ..)| keys.iter().any(|key| is_one(name, key)))
        };
        changed(&["train.monitor"])
            || changed(&REFERENCE)
            || match monitor {
                Monitor::Dice => false,
                Monitor::ClassDice(_) => changed(&["model.class_names"]),
                Monitor::ValidationLoss => changed(&["loss."]),
                Monitor::Loss => changed(&["loss."]) || changed(&BATCHES),
            }
    }

    fn compare(&mut self, key: &str, old: Option<&Value>, new: Option<&Value>) {
        if old == new || SPLIT.contains(&key) {
            return;
        }
        let name = |value: Option<&Value>| Some(value?.as_table()?.get("name")?.to_string());
        let (was, is) = (name(old), name(new));
        if was.is_some() && is.is_some() && was != is {
            // Another choice: its parameters are others as well.
            return self.add(key, was, is);
        }
        let keys = |value: Option<&Value>| -> Option<Vec<String>> {
            Some(value?.as_table()?.keys().cloned().collect())
        };
        match (keys(old), keys(new)) {
            (Some(before), Some(after)) => {
                for name in before.into_iter().chain(after).collect::<BTreeSet<String>>() {
                    let of =
                        |value: Option<&Value>| -> Option<Value> { value?.as_table()?.get(&name).cloned() };
                    let inner = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                    self.compare(&inner, of(old).as_ref(), of(new).as_ref());
                }
            }
            _ => self.add(key, old.map(Value::to_string), new.map(Value::to_string)),
        }
    }

    fn add(&mut self, key: &str, old: Option<String>, new: Option<String>) {
        let [old, new] = [old, new].map(|value| value.unwrap_or_else(|| "none".into()));
        self.keys.push((key.to_string(), old, new));
    }
}

fn table(config: &TrainConfig) -> Result<Value> {
    let text = config.to_toml()?;
    let table = text.parse::<toml::Table>().map_err(|e| crate::Error::Syntax(e.to_string()))?;
    Ok(Value::Table(table))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(old: &[&str], new: &[&str]) -> Changes {
        let config = |settings: &[&str]| {
            let settings: Vec<String> = settings.iter().map(|s| s.to_string()).collect();
            TrainConfig::from_toml("[data]\npaths = [\"slices\"]\n", &settings).unwrap()
        };
        Changes::between(&config(old), &config(new)).unwrap()
    }

    #[test]
    fn keys_are_named_with_both_values() {
        assert_eq!(changes(&[], &[]), Changes::default());
        let new = [
            "train.optimizer=sgd",
            "train.batch_size=2",
            "train.schedule={ name = \"cosine\", final_part = 0.5 }",
            "loss.segmentation=dice",
            "data.ignore_label=255",
            "data.validation_fraction=0.5",
            "augmentation.flip.horizontal=0.5",
        ];
        let expected = [
            "augmentation.flip.horizontal: 0.0 -> 0.5",
            "data.ignore_label: none -> 255",
            "loss.segmentation: \"hybrid\" -> \"dice\"",
            "train.batch_size: 4 -> 2",
            "train.optimizer: \"adamw\" -> \"sgd\"",
            "train.schedule.final_part: 0.01 -> 0.5",
        ];
        assert_eq!(changes(&[], &new).lines(), expected);
    }

    #[test]
    fn what_was_measured_in_another_way_is_not_compared() {
        let class = Monitor::ClassDice("a".into());
        let all = [&Monitor::Dice, &class, &Monitor::ValidationLoss, &Monitor::Loss];
        for (setting, concerned) in [
            ("train.batch_size=2", [false, false, false, false]),
            ("train.monitor=loss", [true, true, true, true]),
            ("data.ignore_label=255", [true, true, true, true]),
            ("model.class_names=[\"a\"]", [false, true, false, false]),
            ("loss.segmentation=dice", [false, false, true, true]),
            ("loss.presence=0.5", [false, false, true, true]),
            ("augmentation.noise.std=0.1", [false, false, false, true]),
        ] {
            let changes = changes(&[], &[setting]);
            assert_eq!(all.map(|monitor| changes.concern(monitor)), concerned, "{setting}");
        }
    }
}
