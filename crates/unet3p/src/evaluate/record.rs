//! The scores as files: JSON in the shape of nnU-Net's `summary.json`, with more beside it, and CSV.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use unet3p_data::write_atomically;
use unet3p_files::Lock;
use unet3p_metrics::{Bootstrap, Metric, Scores, Summary};

use super::cases::Case;
use super::classes::Classes;
use super::error::EvaluateError;
use super::outcome::Outcome;
use super::pairs::Pair;
use super::score::Rules;
use super::summary::{COUNTS, Total, Totals};
use crate::describe;
use crate::plan::{check_folder, create_folder, lock_file};
use crate::record::text;

/// Where the cases come from.
#[derive(Debug, Default)]
pub struct Origin<'a> {
    /// What `-m` named.
    pub model: Option<&'a str>,
    /// The part of the dataset, where one is asked for.
    pub split: Option<String>,
    /// Names of references without a prediction.
    pub missing: Vec<String>,
    /// What was said of the evaluation as a whole.
    pub warnings: Vec<String>,
}

/// The two files of an evaluation.
#[derive(Debug)]
pub struct Files {
    json: PathBuf,
    csv: PathBuf,
    overwrite: bool,
    /// Keeps other processes away, once there is a folder.
    lock: Option<Lock>,
}

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {}", self.json.display(), self.csv.display())
    }
}

impl Files {
    /// The JSON file of `-o`, and the CSV file beside it.
    ///
    /// # Errors
    /// [`EvaluateError`]: another ending, a file that exists unless `overwrite`, one that another process writes, or a place
    /// where no folder can be made.
    pub fn new(json: &Path, overwrite: bool) -> Result<Self, EvaluateError> {
        if json.is_dir() || !json.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json")) {
            return Err(EvaluateError::NotJson { path: json.to_path_buf() });
        }
        let mut files =
            Self { json: json.to_path_buf(), csv: json.with_extension("csv"), overwrite, lock: None };
        check_folder(files.folder())?;
        files.lock()?;
        Ok(files)
    }

    /// Keeps other processes from writing the same files, and checks that none has done so before.
    fn lock(&mut self) -> Result<(), EvaluateError> {
        self.lock = lock_file(&self.json, &self.json)?;
        if !self.overwrite
            && let Some(path) = [&self.json, &self.csv].into_iter().find(|p| p.symlink_metadata().is_ok())
        {
            return Err(EvaluateError::ScoresExist { path: path.clone() });
        }
        Ok(())
    }

    fn folder(&self) -> &Path {
        self.json.parent().unwrap_or(Path::new(""))
    }

    /// Writes both.
    ///
    /// # Errors
    /// [`EvaluateError`] where they cannot be written, or exist by now.
    pub fn write(
        &mut self,
        outcomes: &[Outcome<'_>],
        totals: &Totals,
        rules: &Rules<'_>,
        origin: &Origin<'_>,
    ) -> Result<(), EvaluateError> {
        create_folder(self.folder())?;
        if self.lock.is_none() {
            // Another process may have made the folder, and filled it.
            self.lock()?;
        }
        let classes = rules.classes;
        let record = json(outcomes, totals, rules, origin);
        let rows = csv(outcomes, totals, classes)
            .map_err(|source| EvaluateError::Table { path: self.csv.clone(), source })?;
        write_atomically(&self.json, |file| {
            serde_json::to_writer_pretty(&mut *file, &record)?;
            file.write_all(b"\n")
        })
        .and_then(|()| write_atomically(&self.csv, |file| file.write_all(&rows)))
        .map_err(EvaluateError::Write)
    }
}

fn json(outcomes: &[Outcome<'_>], totals: &Totals, rules: &Rules<'_>, origin: &Origin<'_>) -> Value {
    let by_class = |value: &dyn Fn(&Total) -> Value| -> Map<String, Value> {
        totals.classes.iter().map(|(id, total)| (id.to_string(), value(total))).collect()
    };
    let (mut cases, mut failed) = (Vec::new(), Vec::new());
    for Outcome { case, scored } in outcomes {
        let files = case_files(case);
        match scored {
            Err(error) => failed.push(json!({
                "case": case.name,
                "reference_file": files.reference,
                "prediction_file": files.prediction,
                "error": describe(error),
            })),
            Ok(scored) => {
                let metrics: Map<String, Value> = totals
                    .classes
                    .keys()
                    .map(|&id| (id.to_string(), class_metrics(&scored.of(id))))
                    .collect();
                let mut entry = json!({
                    "case": case.name,
                    "reference_file": files.reference,
                    "prediction_file": files.prediction,
                    "spacing": scored.spacing,
                    "metrics": metrics,
                    "warnings": scored.warnings,
                });
                if let Some(slices) = case.slices() {
                    entry["slices"] = json!(slices);
                }
                cases.push(entry);
            }
        }
    }
    let bootstrap = Bootstrap::default();
    json!({
        "unet3p": env!("CARGO_PKG_VERSION"),
        "model": origin.model,
        "split": origin.split,
        "labels": rules.classes.names(),
        "nsd_tolerance": rules.tolerance,
        "ignore": rules.ignore,
        "foreground_mean": means(&totals.foreground),
        "mean": by_class(&means),
        "statistics": {
            "confidence": bootstrap.confidence,
            "resamples": bootstrap.resamples,
            "cases": totals.cases,
            "foreground": statistics(&totals.foreground),
            "classes": by_class(&statistics),
        },
        "metric_per_case": cases,
        "failed": failed,
        "missing": origin.missing,
        "warnings": origin.warnings,
    })
}

/// The files of a case; of slices, the folder that they lie in with the volume's name.
struct CaseFiles {
    reference: String,
    prediction: String,
}

fn case_files(case: &Case) -> CaseFiles {
    let named = |path: &Path| match case.slices() {
        None => text(path),
        Some(_) => text(&path.with_file_name(&case.name)),
    };
    let of_first =
        |path: fn(&Pair) -> &PathBuf| case.pairs().next().map(|pair| named(path(pair))).unwrap_or_default();
    CaseFiles {
        reference: of_first(|pair| &pair.reference.path),
        prediction: of_first(|pair| &pair.prediction.path),
    }
}

fn class_metrics(scores: &Scores) -> Value {
    let metrics = Metric::ALL.map(|metric| (metric.name().to_string(), number(scores.get(metric))));
    let counts = COUNTS.map(|(name, count)| (name.to_string(), json!(count(scores))));
    metrics.into_iter().chain(counts).collect::<Map<_, _>>().into()
}

fn means(total: &Total) -> Value {
    let metrics = total.metrics.iter().map(|(metric, s)| (metric.name().to_string(), number(s.mean)));
    let counts = COUNTS.iter().zip(&total.counts).map(|((name, _), mean)| (name.to_string(), json!(mean)));
    metrics.chain(counts).collect::<Map<_, _>>().into()
}

fn statistics(total: &Total) -> Value {
    let of = |summary: &Summary| {
        json!({
            "mean": number(summary.mean),
            "interval": summary.interval,
            "finite": summary.finite,
            "undefined": summary.undefined,
            "infinite": summary.infinite,
        })
    };
    total.metrics.iter().map(|(metric, s)| (metric.name().to_string(), of(s))).collect::<Map<_, _>>().into()
}

/// A number that may be undefined (null) or infinite, which JSON has no number for.
fn number(value: Option<f64>) -> Value {
    match value {
        Some(value) if value.is_infinite() => json!("inf"),
        value => json!(value),
    }
}

/// A row for each case and class. What is undefined is empty.
fn csv(outcomes: &[Outcome<'_>], totals: &Totals, classes: &Classes) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let metrics = Metric::ALL.map(Metric::name);
    let counts = COUNTS.map(|(name, _)| name);
    let head = ["case", "class", "label"].into_iter().chain(metrics).chain(counts);
    writer.write_record(head.chain(["reference_file", "prediction_file"]))?;
    for Outcome { case, scored } in outcomes {
        let Ok(scored) = scored else { continue };
        let files = case_files(case);
        for &id in totals.classes.keys() {
            let scores = scored.of(id);
            let value = |metric: Metric| scores.get(metric).map_or(String::new(), |value| value.to_string());
            let name = classes.name(id).unwrap_or_default().to_string();
            let row = [case.name.clone(), id.to_string(), name]
                .into_iter()
                .chain(Metric::ALL.map(value))
                .chain(COUNTS.map(|(_, count)| count(&scores).to_string()));
            writer.write_record(row.chain([files.reference.clone(), files.prediction.clone()]))?;
        }
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}
