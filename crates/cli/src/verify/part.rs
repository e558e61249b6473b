//! What one side of a split holds, counted.

use std::collections::BTreeSet;

use serde::Serialize;
use unet3p_data::Slice;

/// One side of the split.
#[derive(Debug, Serialize)]
pub(crate) struct Part {
    pub(crate) volumes: Vec<String>,
    pub(crate) slices: usize,
    /// Slices without any class.
    pub(super) empty: usize,
    /// Pixels that count.
    pub(super) pixels: u64,
    pub(super) ignored_pixels: u64,
    /// Every class but the background.
    pub(crate) classes: Vec<ClassCount>,
}

/// How much there is of a class.
#[derive(Debug, Serialize)]
pub(crate) struct ClassCount {
    pub(crate) id: usize,
    pub(crate) label: String,
    pixels: u64,
    /// Part of the pixels that count.
    share: f64,
    /// Slices that hold it.
    pub(crate) slices: usize,
    /// Volumes that hold it.
    pub(super) volumes: usize,
}

impl Part {
    /// Counts the ids below `classes` on these slices, the background among them.
    pub(crate) fn new(slices: &[&Slice], classes: usize, names: &[String]) -> Self {
        let pixels_of = |slice: &Slice, id: usize| slice.pixels.get(id).copied().unwrap_or(0) as u64;
        let volumes = |slices: &mut dyn Iterator<Item = &&Slice>| -> BTreeSet<String> {
            slices.map(|slice| slice.group.clone()).collect()
        };
        let pixels = slices.iter().flat_map(|slice| &slice.pixels).map(|&n| n as u64).sum();
        let count = |id: usize| {
            let holders = || slices.iter().filter(|slice| pixels_of(slice, id) > 0);
            let found: u64 = slices.iter().map(|slice| pixels_of(slice, id)).sum();
            ClassCount {
                id,
                label: names.get(id - 1).cloned().unwrap_or_else(|| format!("class {id}")),
                pixels: found,
                share: share(found, pixels),
                slices: holders().count(),
                volumes: volumes(&mut holders()).len(),
            }
        };
        Self {
            volumes: volumes(&mut slices.iter()).into_iter().collect(),
            slices: slices.len(),
            empty: slices.iter().filter(|slice| !slice.has_foreground()).count(),
            pixels,
            ignored_pixels: slices.iter().map(|slice| slice.ignored as u64).sum(),
            classes: (1..classes).map(count).collect(),
        }
    }

    /// How much of the pixels that count a class has.
    pub(crate) fn share_of(&self, class: &ClassCount) -> String {
        percent(class.pixels, self.pixels)
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

pub(super) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "-".into() } else { format!("{:.2} %", 100.0 * share(part, whole)) }
}
