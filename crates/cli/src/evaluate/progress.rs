//! What is said while cases are scored.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;
use unet3p::evaluate::{Case, Outcome, Progress, Scored};

use crate::failure::describe;
use crate::report;

/// A bar over all cases, and one over the slices of a volume. A case that fails is named at once.
pub(super) struct Bar {
    bar: ProgressBar,
    slices: Mutex<Option<ProgressBar>>,
    cases: usize,
    said: Mutex<BTreeSet<String>>,
}

impl Bar {
    pub(super) fn new(cases: usize) -> Self {
        Self {
            bar: report::bar(cases as u64, "cases"),
            slices: Mutex::default(),
            cases,
            said: Mutex::default(),
        }
    }

    /// Says the warnings of a case that no case before it had; the scores name them all.
    fn say_new(&self, case: &Case, scored: &Scored) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let others = if self.cases > 1 { " (said once, also of further cases)" } else { "" };
        for warning in &scored.warnings {
            if said.insert(warning.clone()) {
                report::warning(&case.name, &format!("{warning}{others}"));
            }
        }
    }

    fn slices_end(&self) {
        let mut slices = self.slices.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = slices.take() {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Bar {
    fn begins(&self, case: &Case) {
        self.bar.set_message(case.name.clone());
    }

    fn slices(&self, done: usize, all: usize) {
        let mut slices = self.slices.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = slices.get_or_insert_with(|| report::bar(all as u64, "slices"));
        bar.set_position(done as u64);
    }

    fn ends(&self, outcome: &Outcome<'_>) {
        self.slices_end();
        match &outcome.scored {
            Ok(scored) => self.say_new(outcome.case, scored),
            Err(error) => report::error(describe(error)),
        }
        self.bar.inc(1);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.slices_end();
        self.bar.finish_and_clear();
    }
}
