//! `unet3p train`: a configuration and data to a model folder.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use indicatif::ProgressBar;
use unet3p_train::{Error, Event, Plan, TrainConfig, Trainer, Validation};

use crate::args::Global;
use crate::failure::{Failure, describe};
use crate::predict::check_folder;
use crate::report;

/// Arguments of `unet3p train`.
#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// The configuration (TOML)
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Change a key of the configuration, e.g. train.steps=1000
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Folder for the run: best/ and last/ (model folders), config.toml and metrics.csv
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

/// Runs `unet3p train`.
pub(crate) fn run(args: TrainArgs, global: &Global) -> Result<(), Failure> {
    let config = read_config(&args)?;
    check_folder(&args.output)?;
    let device = global.device.open()?;
    let mut trainer = Trainer::new(config, &args.output, device).map_err(failure)?;
    let mut progress = Progress::new(trainer.plan());
    let summary = trainer.run(&mut |event: &Event| progress.observe(event)).map_err(failure)?;
    progress.bar.finish_and_clear();
    if let Some((dice, epoch)) = summary.best {
        report::result_line(format!("best validation Dice {dice:.4}, in epoch {epoch}"));
    }
    report::result_line(format!(
        "done: {} steps in {:.0} s, the model is in {}",
        summary.steps,
        summary.seconds,
        summary.best_model.display()
    ));
    Ok(())
}

/// The configuration of the file, with the settings of the command line on top.
fn read_config(args: &TrainArgs) -> Result<TrainConfig, Failure> {
    let name = args.config.display();
    let text = fs::read_to_string(&args.config)
        .map_err(|e| Failure::usage(format!("{name}: cannot be read: {e}")))?;
    let config = TrainConfig::from_toml(&text, &args.settings)
        .map_err(|e| Failure::usage(format!("{name}: {}", describe(&e).trim_end())))?;
    for path in &config.data.paths {
        let images = path.join("images");
        if !images.is_dir() {
            return Err(Failure::usage(format!(
                "{name}: data.paths: {}: no such folder; folders with images/ and masks/ are needed, \
                 as `unet3p prepare` writes them",
                images.display()
            )));
        }
    }
    Ok(config)
}

/// Settings that do not go together or do not fit the data are wrong usage, all else is a failed run.
fn failure(error: Error) -> Failure {
    let text = describe(&error);
    match error {
        Error::Syntax(_)
        | Error::Setting { .. }
        | Error::RunExists(_)
        | Error::Model(unet3p_models::Error::Config { .. })
        | Error::Data(unet3p_data::Error::Setting { .. }) => Failure::usage(text),
        _ => Failure::run(text),
    }
}

/// The bar, and a line for each epoch.
struct Progress {
    bar: ProgressBar,
    validation: String,
}

impl Progress {
    fn new(plan: &Plan) -> Self {
        let [height, width] = plan.crop;
        log::info!(
            "{} parameters, {} slices to train on at {height}x{width}, {} to validate on, {} steps",
            plan.parameters,
            plan.training_slices,
            plan.validation_slices,
            plan.steps
        );
        Self { bar: report::bar(plan.steps as u64, "steps"), validation: String::new() }
    }

    fn observe(&mut self, event: &Event) {
        match event {
            Event::Step(step) => {
                self.bar.set_position(step.step as u64);
                self.bar.set_message(format!(
                    "loss {:.4}, lr {:.1e}, {:.1} images/s{}",
                    step.loss, step.learning_rate, step.images_per_second, self.validation
                ));
            }
            Event::Epoch(epoch) => {
                if let Some(dice) = epoch.validation.as_ref().and_then(Validation::mean_dice) {
                    let best = if epoch.is_best { ", best" } else { "" };
                    self.validation = format!(", validation Dice {dice:.4}{best}");
                }
                // Those of an epoch without validation are repeated in the bar only.
                let validation = if epoch.validation.is_some() { self.validation.as_str() } else { "" };
                report::note(format!(
                    "epoch {}: loss {:.4}, lr {:.1e}, {:.1} images/s{validation}",
                    epoch.epoch, epoch.loss, epoch.learning_rate, epoch.images_per_second
                ));
            }
            _ => {}
        }
    }
}
