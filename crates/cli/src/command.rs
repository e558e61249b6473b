//! The subcommands.

use clap::{Parser, Subcommand};

use crate::args::Global;
use crate::{bench, convert, evaluate, export, info, predict, prepare, pull, train, verify};

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

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Segment images, folders of images, arrays and volumes
    Predict(predict::PredictArgs),
    /// Score a model on a dataset, or masks against masks
    Evaluate(evaluate::EvaluateArgs),
    /// Train a model from a configuration file
    Train(train::TrainArgs),
    /// Turn data into training slices
    Prepare {
        #[command(subcommand)]
        what: prepare::PrepareCommand,
    },
    /// Check training data: pairs, sizes, class ids, balance; draw a contact sheet
    Verify(verify::VerifyArgs),
    /// Turn a checkpoint from elsewhere into a model folder
    Convert(convert::ConvertArgs),
    /// Write a model as an ONNX file for other runtimes
    Export(export::ExportArgs),
    /// Fetch a model of the Hugging Face Hub into the cache and print its folder
    Pull(pull::PullArgs),
    /// Describe a model: variant, parameters, multiply-adds, size
    Info(info::InfoArgs),
    /// Measure how fast the network runs on this machine
    Bench(bench::BenchArgs),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
