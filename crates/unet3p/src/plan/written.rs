//! Which files are outputs of earlier runs, as the records beside them tell.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::PlanError;
use super::inputs::{Input, real};
use super::target::Target;
use super::target::record_beside;
use crate::record::{FILE_NAME, Files, read_part, text};

/// `inputs` without those that the records beside them name as outputs. Each record is named in a warning, but for that of
/// `target`, which tells of the user's own folder.
///
/// # Errors
/// [`PlanError::OutputsAlone`]: no input remains.
pub fn without_written(
    inputs: Vec<Input>,
    roots: &[PathBuf],
    target: Option<&Target>,
) -> Result<Vec<Input>, PlanError> {
    let listed = inputs.iter().filter(|input| !input.named).map(|input| record_beside(&input.path));
    let records: BTreeSet<PathBuf> = roots
        .iter()
        .map(|root| root.join(FILE_NAME))
        .chain(listed)
        .filter(|record| record.is_file())
        .collect();
    if records.is_empty() {
        return Ok(inputs);
    }
    let own = target.map(|target| real(&target.record()));
    let mut rest = inputs;
    for record in &records {
        let made = written(record);
        let (outputs, others): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|input| !input.named && made.contains(&text(&real(&input.path))));
        rest = others;
        if let Some(first) = outputs.first().filter(|_| own.as_ref() != Some(&real(record))) {
            let more = match outputs.len() - 1 {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            log::warn!(
                "{}{more}: passed over, because {} names outputs of an earlier run",
                first.path.display(),
                record.display()
            );
        }
    }
    if rest.is_empty() {
        return Err(PlanError::OutputsAlone { records: records.into_iter().collect() });
    }
    Ok(rest)
}

/// The files that a record names, without links, as records write them.
fn written(record: &Path) -> BTreeSet<String> {
    #[derive(Deserialize)]
    struct Outputs {
        predictions: Vec<Prediction>,
    }
    #[derive(Deserialize)]
    struct Prediction {
        outputs: Option<Files>,
    }
    let folder = record.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = real(folder.unwrap_or(Path::new(".")));
    // What is no record of ours names no file.
    let predictions = read_part::<Outputs>(record).map_or_else(|_| Vec::new(), |record| record.predictions);
    let files = predictions.iter().filter_map(|prediction| prediction.outputs.as_ref());
    files.flat_map(Files::all).map(|file| text(&real(&folder.join(file)))).collect()
}
