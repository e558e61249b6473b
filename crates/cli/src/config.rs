//! The configuration of a training run.

use std::fs::File;
use std::path::Path;

use unet3p_files::read_text_from;
use unet3p_train::{Error, TrainConfig};

use crate::failure::{Failure, describe};

/// The configuration of the file, with the settings of the command line on top. The user names the file, so that it may be
/// a pipe (`-c <(...)`), or /dev/null where the defaults are wanted.
pub(crate) fn read_config(path: &Path, settings: &[String]) -> Result<TrainConfig, Failure> {
    let name = path.display();
    let text = File::open(path)
        .and_then(read_text_from)
        .map_err(|e| Failure::usage(format!("{name}: cannot be read: {e}")))?;
    TrainConfig::from_toml(&text, settings)
        .map_err(|e| Failure::usage(format!("{name}: {}", describe(&e).trim_end())))
}

/// Settings that do not go together or do not fit the data are wrong usage, all else is a failed run.
pub(crate) fn failure(error: Error) -> Failure {
    let text = describe(&error);
    match error {
        Error::Syntax(_)
        | Error::Setting { .. }
        | Error::RunExists(_)
        | Error::RunInUse(_)
        | Error::NoRun { .. }
        | Error::Model(unet3p_models::Error::Config { .. })
        | Error::Data(unet3p_data::Error::Setting { .. }) => Failure::usage(text),
        _ => Failure::run(text),
    }
}
