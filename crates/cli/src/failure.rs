//! How a run that is not a success ends.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

pub(crate) use unet3p::describe;
use unet3p::evaluate::EvaluateError;
use unet3p::plan::PlanError;

/// The exit code of a run that Ctrl-C has stopped: 128 and the number of SIGINT, as shells tell it.
pub(crate) const INTERRUPTED: u8 = 130;

/// The end of a run that did not do all of its work. Its text names what is wrong and what would be right, or how the run
/// goes on.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The run failed: exit code 1.
    Run(String),
    /// Wrong usage or configuration, found before any work: exit code 2.
    Usage(String),
    /// Some inputs failed (each has been named), the others are written: exit code 3.
    Partial(String),
    /// The run was stopped and can go on: exit code 130.
    Interrupted(String),
}

impl Failure {
    /// A failed run, exit code 1.
    pub(crate) fn run(message: impl Into<String>) -> Self {
        Self::Run(message.into())
    }

    /// Wrong usage, exit code 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// The exit code that belongs to this end.
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Run(_) => 1,
            Self::Usage(_) => 2,
            Self::Partial(_) => 3,
            Self::Interrupted(_) => INTERRUPTED,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Run(message) | Self::Usage(message) | Self::Partial(message) | Self::Interrupted(message)) =
            self;
        f.write_str(message)
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        if error.is_failure() { Self::run(describe(&error)) } else { Self::usage(describe(&error)) }
    }
}

impl From<EvaluateError> for Failure {
    fn from(error: EvaluateError) -> Self {
        if error.is_failure() { Self::run(describe(&error)) } else { Self::usage(describe(&error)) }
    }
}

/// The result of work on one of several files; nothing where it panics, so that the others are worked on.
pub(crate) fn caught<T>(path: &Path, work: impl FnOnce() -> T) -> Option<T> {
    unet3p_data::guard(path, || Ok::<_, unet3p_data::Error>(work())).ok()
}
