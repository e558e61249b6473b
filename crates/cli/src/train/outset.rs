//! What a run begins with, said before its first step.

use candle_core::Device;
use unet3p_data::{Slice, Split};
use unet3p_models::Activation;
use unet3p_train::Trainer;

use crate::device::DeviceChoice;
use crate::report::{self, counted};
use crate::verify::{Part, missing_classes, no_validation};

/// Says what the run has found, and warns of what one side of the split does not have.
pub(super) fn say(trainer: &Trainer, device: &Device) {
    let [training, validation] = sides(trainer);
    for line in lines(trainer, &training, &validation, device) {
        report::note(line);
    }
    let doubts = missing_classes(&training, &validation).into_iter();
    for warning in doubts.chain(no_validation(trainer.split(), &validation)) {
        log::warn!("{warning}");
    }
    if trainer.steps_done() > 0 {
        let (done, steps) = (trainer.steps_done(), trainer.plan().steps);
        report::note(format!("resumed after {done} of {steps} steps"));
        if done >= steps {
            report::note("nothing is left to train; --set train.steps=N (or train.epochs) trains longer");
        }
    }
    for key in trainer.changed_keys() {
        report::note(format!("the configuration has changed: {key}"));
    }
    for note in trainer.notes() {
        // What the run's result means changes with it.
        log::warn!("{note}");
    }
}

/// What is on both sides of the split.
fn sides(trainer: &Trainer) -> [Part; 2] {
    let (slices, parts, classes) = (trainer.dataset().slices(), trainer.parts(), trainer.classes());
    [&parts.train, &parts.validation].map(|indices| {
        let slices: Vec<&Slice> = indices.iter().map(|&i| &slices[i]).collect();
        Part::new(&slices, classes.count + 1, &classes.names)
    })
}

fn lines(trainer: &Trainer, training: &Part, validation: &Part, device: &Device) -> Vec<String> {
    let (plan, config, classes) = (trainer.plan(), trainer.config(), trainer.classes());
    let side = |part: &Part| {
        format!("{} with {}", counted(part.volumes.len(), "volume"), counted(part.slices, "slice"))
    };
    let chosen = match trainer.split() {
        _ if validation.slices == 0 => "nothing, so that the best model is the last".into(),
        Split::AsPrepared => format!("{}, as the data marks them", side(validation)),
        Split::Groups(_) => format!("{}, named by data.validation_groups", side(validation)),
        Split::Fraction { fraction, seed } => format!(
            "{}, drawn by data.validation_fraction = {fraction} and train.seed = {seed}",
            side(validation)
        ),
    };
    let mut lines = vec![format!("training on {}", side(training)), format!("validating on {chosen}")];
    let named = match &classes.named_by {
        Some(origin) if *origin != classes.counted_by => format!(", named by {origin}"),
        Some(_) => String::new(),
        None => ", without names".into(),
    };
    lines.push(format!(
        "classes beside the background: {}, told by {}{named}; model.num_classes = {} ({})",
        classes.count,
        classes.counted_by,
        config.model.num_classes.unwrap_or_default(),
        match config.model.activation {
            Activation::Sigmoid => "sigmoid",
            Activation::Softmax => "softmax, with the background",
        }
    ));
    for (class, other) in training.classes.iter().zip(&validation.classes) {
        let validated = match validation.slices {
            0 => String::new(),
            _ => format!(", {} of those to validate on", validation.share_of(other)),
        };
        lines.push(format!(
            "  {} {}: {} of the pixels to train on{validated}",
            class.id,
            class.label,
            training.share_of(class)
        ));
    }
    let [height, width] = plan.crop;
    let threads = counted(rayon::current_num_threads(), "thread");
    lines.push(format!(
        "network: {}, encoder {}, {} parameters, on {} ({threads})",
        config.model.variant,
        config.model.encoder,
        plan.parameters,
        DeviceChoice::of(device)
    ));
    let accumulated = match config.train.accumulate {
        1 => String::new(),
        n => format!(", {n} batches a step"),
    };
    lines.push(format!(
        "steps: {}, {} an epoch; batches of {}, cropped to {height} x {width} pixels (height x width){accumulated}",
        plan.steps,
        plan.steps_per_epoch,
        counted(config.train.batch_size, "slice")
    ));
    lines.push(format!("output folder: {}", trainer.run_dir().display()));
    lines
}
