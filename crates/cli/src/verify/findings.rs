//! What is wrong with a dataset, and what people should know of it.

use std::collections::BTreeSet;

use unet3p_data::{Inspection, Parts, SliceDataset, Split};

use super::part::Part;
use super::record::Record;
use crate::failure::describe;
use crate::report;

/// Files that a warning names.
const MOST_NAMED: usize = 5;

/// A problem is what training would refuse, a warning what it would accept.
#[derive(Debug)]
pub(super) struct Findings {
    pub(super) problems: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Findings {
    /// What the files tell by themselves.
    pub(super) fn new(
        dataset: &SliceDataset,
        examined: unet3p_data::Findings,
        inspected: &Inspection,
    ) -> Self {
        let undecodable = inspected.problems.iter().map(|(_, problem)| problem);
        let problems = examined.problems.iter().chain(undecodable).map(|problem| describe(problem)).collect();
        let mut warnings = examined.warnings;
        let unused = examined.unused.iter().map(|path| path.display().to_string());
        warnings.extend(named("masks without an image", unused.collect()));
        let images = |indices: &[usize]| indices.iter().map(|&i| image(dataset, i)).collect();
        warnings.extend(named("images with one value everywhere", images(&inspected.constant)));
        warnings
            .extend(named("images with a transparency, which is dropped", images(&inspected.transparent)));
        let twelve =
            "dark images: 16 bits whose values end below 4096, which are 12 bits to be stretched (times 16)";
        warnings.extend(named(twelve, images(&inspected.twelve_bits)));
        let eight = "dark images: 16 bits whose values end below 256, which are 8 bits to be saved as such";
        warnings.extend(named(eight, images(&inspected.eight_bits)));
        Self { problems, warnings }
    }

    /// What the two sides of the split tell beside each other.
    pub(super) fn compare(
        &mut self,
        dataset: &SliceDataset,
        (split, parts): (&Split, &Parts),
        record: &Record,
        inspected: &Inspection,
    ) {
        let validation: BTreeSet<usize> = parts.validation.iter().copied().collect();
        for equal in &inspected.equal {
            let names: Vec<String> = equal.iter().map(|&i| image(dataset, i)).collect();
            let validating = equal.iter().filter(|i| validation.contains(i)).count();
            let leak = if (1..equal.len()).contains(&validating) {
                ", in training and in validation: its score would be too good"
            } else {
                ""
            };
            self.warnings.extend(named(&format!("equal images{leak}"), names));
        }
        self.warnings.extend(missing_classes(&record.training, &record.validation));
        self.warnings.extend(no_validation(split, &record.validation));
    }

    /// Says all of it on stderr.
    pub(super) fn report(&self) {
        for warning in &self.warnings {
            log::warn!("{warning}");
        }
        for problem in &self.problems {
            report::error(problem);
        }
    }
}

/// Classes that no mask of a side of the split holds, one warning each.
pub(crate) fn missing_classes(training: &Part, validation: &Part) -> Vec<String> {
    let mut warnings = Vec::new();
    for (first, second) in training.classes.iter().zip(&validation.classes) {
        let sides = [(first, training, "training"), (second, validation, "validation")];
        for (class, _, side) in
            sides.into_iter().filter(|(class, part, _)| class.slices == 0 && part.slices > 0)
        {
            let (id, label) = (class.id, &class.label);
            let known = if *label == format!("class {id}") { String::new() } else { format!(" ({label})") };
            warnings.push(format!("no mask for {side} holds the class {id}{known}"));
        }
    }
    warnings
}

/// A word on a split that validates on nothing, unless it says so itself.
pub(crate) fn no_validation(split: &Split, validation: &Part) -> Option<String> {
    let is_meant = matches!(split, Split::Groups(groups) if groups.is_empty());
    (validation.slices == 0 && !is_meant).then(|| {
        "no slice is for validation, so that a run has no scores and its best model is the last: set \
         data.validation_fraction or data.validation_groups ([] for none), or mark volumes as `unet3p prepare` does"
            .to_string()
    })
}

/// The file of a slice's image.
fn image(dataset: &SliceDataset, index: usize) -> String {
    let slice = &dataset.slices()[index];
    slice.images.first().map_or_else(|| slice.name.clone(), |path| path.display().to_string())
}

/// "masks without an image (3): a, b, c"; nothing where there are none.
fn named(what: &str, names: Vec<String>) -> Option<String> {
    let more = match names.len() {
        0 => return None,
        n if n > MOST_NAMED => format!(" and {} more", n - MOST_NAMED),
        _ => String::new(),
    };
    let listed = names[..names.len().min(MOST_NAMED)].join(", ");
    Some(format!("{what} ({}): {listed}{more}", names.len()))
}
