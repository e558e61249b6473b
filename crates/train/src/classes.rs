//! How many classes a run has, what they are called, and who says so.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use unet3p_data::{DatasetOptions, Error as DataError, MaskValues, SliceDataset};
use unet3p_models::Activation;

use crate::{Error, Result, TrainConfig};

/// The setting that every conflict is about.
const KEY: &str = "model.num_classes";

/// The classes of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classes {
    /// Classes without the background: the highest id of a mask.
    pub count: usize,
    /// Names of the classes 1, 2, ...; empty where nothing tells them.
    pub names: Vec<String>,
    /// Who tells how many there are.
    pub counted_by: ClassOrigin,
    /// Who tells the names; nobody where there are none.
    pub named_by: Option<ClassOrigin>,
}

/// Where a run's classes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClassOrigin {
    /// `model.num_classes`.
    NumClasses,
    /// `model.class_names`.
    ClassNames,
    /// The `dataset.json` of this source.
    Index(PathBuf),
    /// `data.mask_values`.
    MaskValues,
    /// The values of the masks.
    Masks,
}

impl fmt::Display for ClassOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NumClasses => f.write_str(KEY),
            Self::ClassNames => f.write_str("model.class_names"),
            Self::Index(source) => write!(f, "{}", source.join("dataset.json").display()),
            Self::MaskValues => f.write_str("data.mask_values"),
            Self::Masks => f.write_str("the values of the masks"),
        }
    }
}

impl TrainConfig {
    /// The classes as far as they are known before masks are read: those of `model.num_classes`, else of
    /// `model.class_names`, of a `dataset.json`, or of `data.mask_values`. Nothing where the masks have to tell.
    ///
    /// # Errors
    /// [`Error::Setting`] naming `model.num_classes` and the value to set where a `dataset.json` names more or fewer
    /// classes, or naming two sources whose names differ; [`Error::Data`] for an index that cannot be read.
    pub fn classes(&self) -> Result<Option<Classes>> {
        let own = &self.model.class_names;
        let (names, named_by) = if own.is_empty() {
            match self.index_names()? {
                Some((source, names)) => (names, Some(ClassOrigin::Index(source))),
                None => (Vec::new(), None),
            }
        } else {
            (own.clone(), Some(ClassOrigin::ClassNames))
        };
        let found = |count, counted_by| Classes {
            count,
            names: names.clone(),
            counted_by,
            named_by: named_by.clone(),
        };
        if let Some(outputs) = self.model.num_classes {
            let classes = found(self.highest_id(), ClassOrigin::NumClasses);
            return match &named_by {
                Some(origin @ ClassOrigin::Index(_)) if names.len() != classes.count => {
                    let allowed = format!(
                        "{origin} names {} ({}); {}, or name the run's own by model.class_names",
                        if names.len() == 1 { "1 class".into() } else { format!("{} classes", names.len()) },
                        names.join(", "),
                        self.to_count(names.len())
                    );
                    Err(Error::setting(KEY, outputs, allowed))
                }
                _ => Ok(Some(classes)),
            };
        }
        Ok(match (named_by.clone(), &self.data.mask_values) {
            (Some(origin), _) => Some(found(names.len(), origin)),
            (None, Some(values)) => {
                self.highest_mapped(values)?.map(|highest| found(highest, ClassOrigin::MaskValues))
            }
            (None, None) => None,
        })
    }

    /// The highest id that mask values stand for; nothing where all of them are background.
    fn highest_mapped(&self, values: &MaskValues) -> Result<Option<usize>> {
        let table: BTreeMap<String, u8> = values.clone().into();
        let ids: BTreeSet<u8> = table.values().copied().filter(|&id| id > 0).collect();
        let highest = ids.last().copied().map(usize::from);
        match table.iter().find(|&(_, &id)| id > 1 && !ids.contains(&(id - 1))) {
            None => Ok(highest),
            Some((value, &id)) => {
                let allowed = format!(
                    "no value stands for the class {}, so that the classes cannot be counted; {}",
                    id - 1,
                    self.to_count(highest.unwrap_or_default())
                );
                Err(Error::setting(format!("data.mask_values.{value}"), id, allowed))
            }
        }
    }

    /// The classes of a run on `dataset`, counted in its masks where nothing else tells them.
    ///
    /// # Errors
    /// As [`TrainConfig::classes`]; [`Error::Setting`] for masks that do not tell it: without any class, or with ids
    /// that leave some out.
    pub(crate) fn classes_of(&self, dataset: &SliceDataset) -> Result<Classes> {
        if let Some(classes) = self.classes()? {
            return Ok(classes);
        }
        let unset = |allowed: String| Err(Error::setting(KEY, "none", allowed));
        let ids = ids(dataset);
        let Some(&count) = ids.last() else {
            return unset(
                "no mask holds any class, so that they cannot be counted; set it to the number of classes \
                 (softmax counts the background too)"
                    .into(),
            );
        };
        if ids.len() < count {
            let listed: Vec<String> = ids.iter().map(usize::to_string).collect();
            return unset(format!(
                "the masks hold the ids {} and leave others out, so that the classes cannot be counted; if these are \
                 class ids, {}; if they are other values, data.mask_values maps them to ids",
                listed.join(", "),
                self.to_count(count)
            ));
        }
        Ok(Classes { count, names: Vec::new(), counted_by: ClassOrigin::Masks, named_by: None })
    }

    /// Adds to those problems that are ids above the number of classes what `model.num_classes` would have to be. The
    /// problems are those of the dataset that [`TrainConfig::dataset_options`] describes.
    ///
    /// # Errors
    /// As [`TrainConfig::dataset_options`].
    pub fn explain_ids(&self, problems: Vec<DataError>) -> Result<Vec<DataError>> {
        let options = self.dataset_options()?;
        let Some(count) = options.classes.filter(|_| !problems.is_empty() && options.mask_values.is_none())
        else {
            return Ok(problems);
        };
        let any = DatasetOptions { classes: None, ..options };
        let (dataset, _) = SliceDataset::examine(&self.data.paths, &any, |_, _| {})?;
        let Some(&highest) = ids(&dataset).last().filter(|&&highest| highest > count) else {
            return Ok(problems);
        };
        let above: BTreeSet<&PathBuf> = dataset
            .slices()
            .iter()
            .filter(|slice| slice.pixels.len() > count + 1)
            .map(|slice| &slice.mask)
            .collect();
        let explained = |problem| match problem {
            DataError::File { path, problem } if above.contains(&path) => {
                let problem = format!(
                    "{problem}; for masks with class ids up to {highest}, {}",
                    self.to_count(highest)
                );
                DataError::File { path, problem }
            }
            other => other,
        };
        Ok(problems.into_iter().map(explained).collect())
    }

    /// What to set for `count` classes beside the background.
    pub(crate) fn to_count(&self, count: usize) -> String {
        let outputs = self.outputs_for(count);
        match self.model.activation {
            Activation::Sigmoid => format!(
                "set {KEY} = {outputs} (sigmoid counts the classes without the background; softmax would count \
                 the background too: {})",
                count + 1
            ),
            Activation::Softmax => format!(
                "set {KEY} = {outputs} (softmax counts the background too; sigmoid would count the classes alone: \
                 {count})"
            ),
        }
    }
}

/// The ids of the classes that masks hold.
fn ids(dataset: &SliceDataset) -> BTreeSet<usize> {
    let held = dataset.slices().iter().flat_map(|slice| slice.pixels.iter().enumerate().skip(1));
    held.filter(|&(_, &pixels)| pixels > 0).map(|(id, _)| id).collect()
}
