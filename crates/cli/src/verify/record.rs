//! What a dataset holds, counted: the table and `verify.json`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use unet3p_data::{Parts, Slice, SliceDataset};

use super::part::{Part, percent};
use crate::report::counted;

/// Sizes that the table lists.
const MOST_SIZES: usize = 5;

/// The content of `verify.json`, but for what was found wrong.
#[derive(Debug, Serialize)]
pub(super) struct Record {
    paths: Vec<String>,
    pub(super) training: Part,
    pub(super) validation: Part,
    /// How many slices have a size, the most frequent first.
    sizes: Vec<SizeCount>,
    /// Names of the slices on the contact sheet, row by row.
    pub(super) contact_sheet: Vec<String>,
}

#[derive(Debug, Serialize)]
struct SizeCount {
    height: usize,
    width: usize,
    slices: usize,
}

impl Record {
    /// Counts what both sides of a split hold.
    pub(super) fn new(paths: &[PathBuf], dataset: &SliceDataset, parts: &Parts, names: &[String]) -> Self {
        let classes = dataset.slices().iter().map(|slice| slice.pixels.len()).max().unwrap_or(1);
        let part = |indices: &[usize]| {
            let slices: Vec<&Slice> = indices.iter().map(|&i| &dataset.slices()[i]).collect();
            Part::new(&slices, classes, names)
        };
        let mut sizes: BTreeMap<[usize; 2], usize> = BTreeMap::new();
        for slice in dataset.slices() {
            *sizes.entry([slice.height, slice.width]).or_default() += 1;
        }
        let mut sizes: Vec<SizeCount> =
            sizes.into_iter().map(|([height, width], slices)| SizeCount { height, width, slices }).collect();
        sizes.sort_by_key(|size| std::cmp::Reverse(size.slices));
        Self {
            paths: paths.iter().map(|path| path.display().to_string()).collect(),
            training: part(&parts.train),
            validation: part(&parts.validation),
            sizes,
            contact_sheet: Vec::new(),
        }
    }

    /// The text of `verify.json`, with what was found wrong.
    pub(super) fn json(&self, problems: &[String], warnings: &[String]) -> String {
        #[derive(Serialize)]
        struct Whole<'a> {
            unet3p: &'static str,
            problems: &'a [String],
            warnings: &'a [String],
            #[serde(flatten)]
            record: &'a Record,
        }
        let whole = Whole { unet3p: env!("CARGO_PKG_VERSION"), problems, warnings, record: self };
        // Cannot fail: string keys and finite numbers only.
        serde_json::to_string_pretty(&whole).unwrap_or_default() + "\n"
    }

    /// The lines of the table.
    pub(super) fn table(&self) -> Vec<String> {
        let mut rows = vec![["".to_string(), "training".into(), "validation".into()]];
        let mut row = |name: String, value: &dyn Fn(&Part) -> String| {
            rows.push([name, value(&self.training), value(&self.validation)]);
        };
        row("volumes".into(), &|part| part.volumes.len().to_string());
        row("slices".into(), &|part| part.slices.to_string());
        row("without a class".into(), &|part| part.empty.to_string());
        if self.training.ignored_pixels + self.validation.ignored_pixels > 0 {
            row("ignored pixels".into(), &|part| {
                percent(part.ignored_pixels, part.pixels + part.ignored_pixels)
            });
        }
        for (i, class) in self.training.classes.iter().enumerate() {
            let name = &class.label;
            row(format!("{name}, pixels"), &|part| part.share_of(&part.classes[i]));
            row(format!("{name}, slices"), &|part| part.classes[i].slices.to_string());
            row(format!("{name}, volumes"), &|part| part.classes[i].volumes.to_string());
        }
        let widest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let [name, training, validation] = [0, 1, 2].map(widest);
        let mut lines: Vec<String> =
            rows.iter().map(|[a, b, c]| format!("{a:<name$}  {b:>training$}  {c:>validation$}")).collect();
        lines.extend(self.sizes.iter().take(MOST_SIZES).map(|size| {
            let slices = counted(size.slices, "slice");
            format!("{} x {} pixels (height x width): {slices}", size.height, size.width)
        }));
        if self.sizes.len() > MOST_SIZES {
            lines.push(format!("{} other sizes", self.sizes.len() - MOST_SIZES));
        }
        lines
    }
}
