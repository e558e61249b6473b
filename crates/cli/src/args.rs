//! What can be said on the command line, for all subcommands.

use std::num::NonZeroUsize;

use clap::{ArgAction, Args, Parser, Subcommand};

use crate::device::DeviceChoice;

/// UNet 3+ for medical images: outline organs on images and CT volumes, train and inspect models.
#[derive(Debug, Parser)]
#[command(
    name = "unet3p",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done; 1 failed; 2 wrong usage or configuration, nothing was done; \
                  3 some inputs failed, the others are written; 130 training stopped by Ctrl-C."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every subcommand.
#[derive(Debug, Args)]
#[command(next_help_heading = "General options")]
pub(crate) struct Global {
    /// Where to compute: auto, cpu, cuda, cuda:N or metal
    #[arg(long, global = true, default_value = "auto", value_name = "DEVICE")]
    pub(crate) device: DeviceChoice,
    /// Number of CPU threads [default: all cores]
    #[arg(long, global = true, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Use only the cache for models of the Hugging Face Hub, as with HF_HUB_OFFLINE=1
    #[arg(long, global = true)]
    pub(crate) offline: bool,
    /// Print nothing but warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Print more about what is done; twice for still more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Segment images, folders of images, arrays and volumes
    Predict(crate::predict::PredictArgs),
    /// Score a model on a dataset, or masks against masks
    Evaluate(crate::evaluate::EvaluateArgs),
    /// Train a model from a configuration file
    Train(crate::train::TrainArgs),
    /// Turn data into training slices
    Prepare {
        #[command(subcommand)]
        what: crate::prepare::PrepareCommand,
    },
    /// Check training data: pairs, sizes, class ids, balance; draw a contact sheet
    Verify(crate::verify::VerifyArgs),
    /// Turn a checkpoint from elsewhere into a model folder
    Convert(crate::convert::ConvertArgs),
    /// Write a model as an ONNX file for other runtimes
    Export(crate::export::ExportArgs),
    /// Fetch a model of the Hugging Face Hub into the cache and print its folder
    Pull(crate::pull::PullArgs),
    /// Describe a model: variant, parameters, multiply-adds, size
    Info(crate::info::InfoArgs),
    /// Measure how fast the network runs on this machine
    Bench(crate::bench::BenchArgs),
}

/// A size in pixels: `N` for both sides, or `HEIGHTxWIDTH`.
pub(crate) fn parse_size(text: &str) -> Result<(usize, usize), String> {
    let (height, width) = text.split_once('x').unwrap_or((text, text));
    let side = |text: &str| text.parse().ok().filter(|n| (1..=65536).contains(n));
    match (side(height), side(width)) {
        (Some(height), Some(width)) => Ok((height, width)),
        _ => Err("use N or HEIGHTxWIDTH, sides from 1 to 65536".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(parse_size("320"), Ok((320, 320)));
        assert_eq!(parse_size("64x96"), Ok((64, 96)));
        for wrong in ["", "0", "x", "64x", "-1", "1x2x3"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
