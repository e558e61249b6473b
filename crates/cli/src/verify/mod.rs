//! `unet3p verify`: what is in a dataset, and what is wrong with it.

mod findings;
mod part;
mod record;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use unet3p_data::{
    DatasetOptions, MaskName, Parts, Preprocessor, SliceDataset, Source, Split, write_atomically,
};
use unet3p_train::TrainConfig;

use unet3p::plan::check_folder;

use crate::config::{failure, read_config};
use crate::failure::{Failure, describe};
use crate::report;

use self::findings::Findings;
pub(crate) use self::findings::{missing_classes, no_validation};
pub(crate) use self::part::Part;
use self::record::Record;

/// Slices on the contact sheet.
const SHEET: usize = 25;
/// The files of the output folder.
const SHEET_FILE: &str = "contact_sheet.png";
const RECORD_FILE: &str = "verify.json";

/// Arguments of `unet3p verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Folders with images/ and masks/, CSV lists, nnU-Net datasets
    #[arg(value_name = "PATH", required_unless_present = "config", conflicts_with = "config")]
    paths: Vec<PathBuf>,
    /// Check the data of a training configuration (TOML), as training would read it
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Change a key of the configuration, e.g. data.ignore_label=255
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "config")]
    settings: Vec<String>,
    /// Highest class id [default: what the data's index says, else any]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..), conflicts_with = "config")]
    classes: Option<u8>,
    /// Names of masks in folders, e.g. "{name}_mask" [default: the image's, or mask_ where it says image_]
    #[arg(long, value_name = "NAME", value_parser = parse_name, conflicts_with = "config")]
    mask_name: Option<MaskName>,
    /// Folder for contact_sheet.png and verify.json [default: none are written]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Replace outputs that exist already
    #[arg(long, requires = "output")]
    overwrite: bool,
}

fn parse_name(text: &str) -> Result<MaskName, String> {
    MaskName::try_from(text.to_string())
}

/// What is to be checked.
struct Job {
    paths: Vec<PathBuf>,
    options: DatasetOptions,
    split: Split,
    /// Names of the classes 1, 2, ...
    names: Vec<String>,
    /// The configuration of a run, which has more to say about the data.
    config: Option<TrainConfig>,
}

/// Runs `unet3p verify`.
pub(crate) fn run(args: VerifyArgs) -> Result<(), Failure> {
    if let Some(folder) = &args.output {
        check_folder(folder)?;
        let outputs = [SHEET_FILE, RECORD_FILE].map(|name| folder.join(name));
        if let Some(there) = outputs.iter().find(|path| !args.overwrite && path.exists()) {
            let there = there.display();
            return Err(Failure::usage(format!(
                "{there}: exists already; use --overwrite to replace it, or another folder"
            )));
        }
    }
    let output = args.output.clone();
    let job = Job::new(args)?;

    let bar = report::bar(0, "masks");
    let show = |bar: &indicatif::ProgressBar, done: usize, total: usize| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    };
    let examined = SliceDataset::examine(&job.paths, &job.options, |done, total| show(&bar, done, total));
    bar.finish_and_clear();
    let (dataset, mut examined) = examined.map_err(data_failure)?;
    if let Some(config) = &job.config {
        examined.problems = config.explain_ids(examined.problems).map_err(failure)?;
    }
    let bar = report::bar(0, "images");
    let inspected = dataset.inspect(|done, total| show(&bar, done, total));
    bar.finish_and_clear();

    let mut findings = Findings::new(&dataset, examined, &inspected);
    let parts = match dataset.split(&job.split) {
        Ok(parts) => parts,
        Err(error) if findings.problems.is_empty() => return Err(data_failure(error)),
        // The volumes that it speaks of may be those that cannot be used.
        Err(error) => {
            let all: Vec<usize> = (0..dataset.slices().len()).collect();
            findings.problems.extend((!all.is_empty()).then(|| describe(&error)));
            Parts { train: all, validation: Vec::new() }
        }
    };
    let usable = !dataset.slices().is_empty();
    if let Some(mut config) = job.config.filter(|_| usable) {
        // What training would find once it had read the data.
        findings.problems.extend(config.settle(&dataset, &parts).err().map(|error| describe(&error)));
    }
    let mut record = Record::new(&job.paths, &dataset, &parts, &job.names);
    findings.compare(&dataset, (&job.split, &parts), &record, &inspected);
    if let Some(folder) = &output {
        let broken = |i: &usize| inspected.problems.iter().any(|(index, _)| index == i);
        let usable: Vec<usize> = (0..dataset.slices().len()).filter(|i| !broken(i)).collect();
        let shown = dataset.choose(&usable, SHEET);
        record.contact_sheet = shown.iter().map(|&i| dataset.slices()[i].name.clone()).collect();
        write(folder, &dataset, &shown, &record, &findings)?;
    }
    for line in record.table() {
        report::result_line(line);
    }
    findings.report();
    match findings.problems.len() {
        0 => {
            report::result_line(format!("done: {} slices, no problem found", dataset.slices().len()));
            Ok(())
        }
        n => Err(Failure::Partial(format!(
            "{n} {} found; {} slices are usable",
            if n == 1 { "problem" } else { "problems" },
            dataset.slices().len()
        ))),
    }
}

impl Job {
    fn new(args: VerifyArgs) -> Result<Self, Failure> {
        if let Some(path) = args.config {
            let config = read_config(&path, &args.settings)?;
            let options = config.dataset_options().map_err(failure)?;
            let names = config.classes().map_err(failure)?.map(|classes| classes.names).unwrap_or_default();
            let (split, paths) = (config.split(), config.data.paths.clone());
            return Ok(Self { paths, options, split, names, config: Some(config) });
        }
        // clap asks for --config beside --set only where nothing excludes it.
        if let Some(setting) = args.settings.first() {
            return Err(Failure::usage(format!(
                "--set {setting}: changes a configuration; name it by -c (-c /dev/null with --set data.paths=[...] needs \
                 none)"
            )));
        }
        let sources: Vec<Source> =
            args.paths.iter().map(|path| Source::at(path).map_err(data_failure)).collect::<Result<_, _>>()?;
        let (mut names, mut preprocessor) = (Vec::new(), None);
        for source in &sources {
            if names.is_empty() {
                names = source.class_names().map_err(data_failure)?;
            }
            if preprocessor.is_none() {
                preprocessor = source.preprocessor().map_err(data_failure)?;
            }
            if preprocessor.is_none() {
                // What is wrong with a list is found below, with all else.
                let names = source.channel_names().ok().flatten();
                preprocessor = names.map(Preprocessor::for_channels);
            }
        }
        let options = DatasetOptions {
            classes: args.classes.map(usize::from).or((!names.is_empty()).then_some(names.len())),
            preprocessor: preprocessor.unwrap_or_default(),
            mask_name: args.mask_name,
            ..DatasetOptions::default()
        };
        Ok(Self { paths: args.paths, options, split: Split::AsPrepared, names, config: None })
    }
}

/// Settings that cannot be followed are wrong usage, files that cannot be read a failed run.
fn data_failure(error: unet3p_data::Error) -> Failure {
    failure(error.into())
}

fn write(
    folder: &Path,
    dataset: &SliceDataset,
    shown: &[usize],
    record: &Record,
    findings: &Findings,
) -> Result<(), Failure> {
    fs::create_dir_all(folder)
        .map_err(|e| Failure::run(format!("{}: cannot be made: {e}", folder.display())))?;
    let failed = |e: unet3p_data::Error| Failure::run(describe(&e));
    if !shown.is_empty() {
        let sheet = dataset.contact_sheet(shown, &[]).map_err(failed)?;
        sheet.write_png(&folder.join(SHEET_FILE)).map_err(failed)?;
    }
    let text = record.json(&findings.problems, &findings.warnings);
    write_atomically(&folder.join(RECORD_FILE), |file| std::io::Write::write_all(file, text.as_bytes()))
        .map_err(failed)
}
