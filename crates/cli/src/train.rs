//! `unet3p train`: a configuration and data to a model folder.

mod interrupt;
mod outset;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use candle_core::Device;
use clap::Args;
use indicatif::ProgressBar;
use unet3p::ModelSource;
use unet3p_convert::encoder::EncoderWeights;
use unet3p_data::Preprocessor;
use unet3p_train::{Event, TrainConfig, Trainer, Validation};

use unet3p::plan::check_folder;

use crate::args::Global;
use crate::config::{failure, read_config};
use crate::failure::{Failure, describe};
use crate::{model, report};

/// Arguments of `unet3p train`.
#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// The configuration (TOML)
    #[arg(short, long, value_name = "FILE", required_unless_present = "resume")]
    config: Option<PathBuf>,
    /// Change a key of the configuration, e.g. train.steps=1000
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Folder for the run: best/ and last/ (model folders), checkpoint, config.toml and logs
    #[arg(short, long, value_name = "DIR", required_unless_present = "resume")]
    output: Option<PathBuf>,
    /// Go on with the run in this folder from its last checkpoint
    #[arg(long, value_name = "RUN_DIR", conflicts_with_all = ["config", "output", "init_from"])]
    resume: Option<PathBuf>,
    /// Start from the weights of a model: a bundled one's name, a path, or ORG/NAME or ORG/NAME@REV on the Hugging Face Hub (sets model.init_from)
    #[arg(long, value_name = "MODEL")]
    init_from: Option<String>,
}

/// Runs `unet3p train`.
pub(crate) fn run(args: TrainArgs, global: &Global) -> Result<(), Failure> {
    let device = global.device.open()?;
    let (mut trainer, given) = open(args, global, &device)?;
    if let Some(name) = trainer.awaits_encoder().map(String::from) {
        let weights = match given.encoder {
            Some(weights) => weights,
            None => model::encoder(&name, trainer.config().model.encoder, global)?,
        };
        for note in trainer.start_encoder_from(&weights.tensors).map_err(failure)? {
            report::note(format!("{name}: {note}"));
        }
    }
    if let Some(name) = trainer.awaits_model().map(String::from) {
        let source = match given.model {
            Some(source) => source,
            None => model::resolve(&name, global)?,
        };
        let model = source.load_model(&device).map_err(|e| Failure::run(describe(&e)))?;
        for note in trainer.start_from(&model).map_err(failure)? {
            report::note(format!("{name}: {note}"));
        }
    }
    // Before this there is nothing to save: Ctrl-C ends the process as it does elsewhere.
    trainer.stop_on(interrupt::flag()?);
    outset::say(&trainer, &device);
    let mut progress = Progress::new(&trainer);
    let summary = trainer.run(&mut |event: &Event| progress.observe(event)).map_err(failure)?;
    progress.bar.finish_and_clear();
    if summary.interrupted {
        return Err(Failure::Interrupted(format!(
            "stopped after {} of {} steps, the checkpoint is saved; go on with:\n{}",
            summary.steps,
            trainer.plan().steps,
            interrupt::resume_command(trainer.run_dir(), global)
        )));
    }
    if let Some(best) = summary.best {
        let metric = String::from(trainer.monitor().clone());
        report::result_line(format!("best {metric} {:.4}, in epoch {}", best.value, best.epoch));
    }
    let early = if summary.stopped_early { " (stopped early)" } else { "" };
    report::result_line(format!(
        "done: {} steps in {:.0} s ({:.1} s of them waiting for data){early}, the model is in {}",
        summary.steps,
        summary.seconds,
        summary.waited,
        summary.best_model.display()
    ));
    if let Some(path) = summary.report {
        report::result_line(format!("report: {}", path.display()));
    }
    Ok(())
}

/// What a new run begins with, where it was looked at already.
#[derive(Default)]
struct Given {
    encoder: Option<EncoderWeights>,
    model: Option<ModelSource>,
}

/// The run that the arguments name: a new one, or one to go on with.
fn open(args: TrainArgs, global: &Global, device: &Device) -> Result<(Trainer, Given), Failure> {
    if let Some(run_dir) = args.resume {
        let trainer = Trainer::resume(run_dir, &args.settings, device.clone()).map_err(failure)?;
        return Ok((trainer, Given::default()));
    }
    // clap requires both where nothing is resumed
    let (Some(config), Some(output)) = (args.config, args.output) else {
        return Err(Failure::usage("--config and --output are needed, or --resume".to_string()));
    };
    let mut config = read_config(&config, &args.settings)?;
    if args.init_from.is_some() {
        config.model.init_from = args.init_from;
    }
    check_folder(&output)?;
    // before anything is fetched: paths that are none are wrong usage
    let own = config.dataset_options().map_err(failure)?.preprocessor;
    let mut given = Given::default();
    if let Some(name) = &config.model.encoder_weights {
        given.encoder = Some(model::encoder(name, config.model.encoder, global)?);
    }
    if let (Some(weights), None) = (&given.encoder, &config.data.image_mean) {
        config.data.image_mean = Some(per_channel(&weights.mean, config.model.in_channels));
        config.data.image_std = Some(per_channel(&weights.std, config.model.in_channels));
    }
    if let Some(name) = config.model.init_from.clone() {
        let source = model::resolve(&name, global)?;
        if let Some(how) = source.load_preprocessor().map_err(|e| Failure::run(describe(&e)))? {
            prepare_images_as(&mut config, &name, &how, &own);
        }
        given.model = Some(source);
    }
    Ok((Trainer::new(config, output, device.clone()).map_err(failure)?, given))
}

/// Takes over how a model's images were normalised where the data do not say it, and says what else was different.
fn prepare_images_as(config: &mut TrainConfig, name: &str, given: &Preprocessor, own: &Preprocessor) {
    if given.channel_names != own.channel_names && given.files_per_case().max(own.files_per_case()) > 1 {
        log::warn!(
            "{name}: it was trained on {}, and the images give {}; the first weights stay in the order of its channels",
            given.describe_channels(),
            own.describe_channels()
        );
    }
    if given.do_normalize && !own.do_normalize && config.data.image_mean.is_none() {
        let (mean, std) = (&given.image_mean, &given.image_std);
        report::note(format!(
            "{name}: images are normalised as its own, with mean {mean:?} and deviation {std:?}"
        ));
        config.data.image_mean = Some(per_channel(mean, config.model.in_channels));
        config.data.image_std = Some(per_channel(std, config.model.in_channels));
    } else if given.do_normalize != own.do_normalize && config.data.image_mean.is_none() {
        report::note(format!("{name}: its images had no mean and deviation taken off, these have"));
    }
    let differ = |what: &str, its: String, these: String| {
        if its != these {
            report::note(format!("{name}: {what} of its images was {its}, of these it is {these}"));
        }
    };
    let window = |how: &Preprocessor| how.window.as_ref().map_or("none".into(), ToString::to_string);
    differ("normalize", format!("{:?}", given.normalize), format!("{:?}", own.normalize));
    differ("window", window(given), window(own));
    differ("spacing", or_none(given.spacing), or_none(own.spacing));
    let factor = |how: &Preprocessor| if how.do_rescale { how.rescale_factor } else { 1.0 };
    differ("rescale_factor", factor(given).to_string(), factor(own).to_string());
}

fn or_none(value: Option<impl std::fmt::Debug>) -> String {
    value.map_or("none".into(), |value| format!("{value:?}"))
}

/// Values of red, green and blue, or one for all, for the channels of an image: their mean where it has others.
fn per_channel(values: &[f64], channels: usize) -> Vec<f64> {
    if [1, channels].contains(&values.len()) {
        values.to_vec()
    } else {
        vec![values.iter().sum::<f64>() / values.len() as f64]
    }
}

/// Weight of a step in the loss and the speed that the bar shows: about the mean over its last twenty steps.
const SMOOTHING: f64 = 0.05;

/// Without a terminal, and so without a bar, there is a line about the steps so often.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// The bar, and a line for each epoch.
struct Progress {
    bar: ProgressBar,
    /// When there was a line about a step.
    line: Option<Instant>,
    /// Running means, from the first step of the session on.
    loss: Option<f64>,
    images_per_second: Option<f64>,
    validation: String,
}

impl Progress {
    fn new(trainer: &Trainer) -> Self {
        let bar = report::bar(trainer.plan().steps as u64, "steps");
        // The time left is told by what this session does.
        bar.set_position(trainer.steps_done() as u64);
        bar.reset_eta();
        Self { bar, line: None, loss: None, images_per_second: None, validation: String::new() }
    }

    fn observe(&mut self, event: &Event) {
        match event {
            Event::Step(step) => {
                self.bar.set_position(step.step as u64);
                let loss = smooth(&mut self.loss, step.loss);
                let images_per_second = smooth(&mut self.images_per_second, step.images_per_second);
                let how =
                    format!("loss {loss:.4}, lr {:.1e}, {images_per_second:.1} images/s", step.learning_rate);
                if self.bar.is_hidden() && self.line.is_none_or(|line| line.elapsed() >= LINE_EVERY) {
                    self.line = Some(Instant::now());
                    report::note(format!("step {} of {}: {how}", step.step, self.bar.length().unwrap_or(0)));
                }
                self.bar.set_message(how + &self.validation);
            }
            Event::Epoch(epoch) => {
                if let Some(validation) = &epoch.validation {
                    self.validation = describe_validation(validation, epoch.is_best);
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

/// The running mean with `value` taken in.
fn smooth(mean: &mut Option<f64>, value: f64) -> f64 {
    let smoothed = mean.map_or(value, |mean| mean + SMOOTHING * (value - mean));
    *mean = Some(smoothed);
    smoothed
}

fn describe_validation(validation: &Validation, is_best: bool) -> String {
    let mut text = format!(", validation loss {:.4}", validation.loss);
    for (name, value) in [("Dice", validation.mean_dice()), ("presence AUC", validation.presence_auc)] {
        if let Some(value) = value {
            text.push_str(&format!(", {name} {value:.4}"));
        }
    }
    if is_best {
        text.push_str(", best");
    }
    text
}
