//! Training of UNet 3+: optimizer, learning-rate schedules, averaged weights, validation, checkpoints and logs.
//!
//! [`TrainConfig`] describes a run as one TOML file, [`Trainer`] runs it, an [`Observer`] watches. The parts below
//! work alone as well: [`Adam`], [`Sgd`], [`Schedule`], [`WeightAverage`], [`Gradients`].
//!
//! ```no_run
//! use unet3p_train::{Event, TrainConfig, Trainer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = TrainConfig::from_toml(&std::fs::read_to_string("train.toml")?, &[])?;
//! let mut trainer = Trainer::new(config, "runs/liver", candle_core::Device::Cpu)?;
//! let summary = trainer.run(&mut |event: &Event| {
//!     if let Event::Epoch(report) = event {
//!         eprintln!("epoch {}: loss {:.4}", report.epoch, report.loss);
//!     }
//! })?;
//! println!("{}", summary.best_model.display());
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod average;
mod card;
mod changes;
mod checkpoint;
mod classes;
mod config;
mod error;
mod evaluate;
mod fine_tune;
mod finite;
mod folders;
mod gradients;
mod loader;
mod log;
mod monitor;
mod objective;
mod observer;
mod optimizer;
mod progress;
mod sampling;
mod schedule;
mod statistics;
mod trainer;

pub use average::WeightAverage;
pub use classes::{ClassOrigin, Classes};
pub use config::{
    DataConfig, LogConfig, ModelConfig, ObjectiveConfig, OptimizationConfig, TrainConfig, TrainingGate,
};
pub use error::{Error, Result};
pub use evaluate::{Validation, VolumeScore};
pub use gradients::{Gradients, clip_factor};
pub use monitor::Monitor;
pub use observer::{Best, EpochReport, Event, Observer, Plan, StepReport, Summary};
pub use optimizer::{Adam, AdamOptions, Optimizer, OptimizerConfig, Sgd, SgdOptions, WeightDecay};
pub use schedule::{Constant, Cosine, Decay, Plateau, Polynomial, Schedule, StepDecay};
pub use trainer::Trainer;
