//! `unet3p pull`: a model of the Hub into the cache.

use clap::Args;
use unet3p::hub::ModelId;

use crate::args::Global;
use crate::failure::{Failure, describe};
use crate::model::{self, Bars};
use crate::report;

/// Arguments of `unet3p pull`.
#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// The model: ORG/NAME, or ORG/NAME@REVISION with a branch, a tag, a commit or refs/pr/N
    #[arg(value_name = "REPO[@REV]")]
    id: ModelId,
}

/// Runs `unet3p pull`.
pub(crate) fn run(args: PullArgs, global: &Global) -> Result<(), Failure> {
    let mut bars = Bars::default();
    let folder = model::hub(global)
        .pull(&args.id, &mut |progress| bars.show(progress))
        .map_err(|e| Failure::run(describe(&e)))?;
    // What the command is for, also under -q.
    report::output_line(folder.display());
    Ok(())
}
