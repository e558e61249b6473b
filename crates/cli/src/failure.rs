//! How a run that is not a success ends.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::process::ExitCode;

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

/// The text of an error and of what caused it, each said once: many errors already quote their cause.
pub(crate) fn describe(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

/// The result of work on one of several files; nothing where it panics, so that the others are worked on.
pub(crate) fn caught<T>(path: &Path, work: impl FnOnce() -> T) -> Option<T> {
    unet3p_data::guard(path, || Ok::<_, unet3p_data::Error>(work())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }

    #[test]
    fn a_cause_is_said_once() {
        let inner = Box::new(Layer { text: "no such file", source: None });
        let quoting = Layer { text: "a.png: no such file", source: Some(inner) };
        assert_eq!(describe(&quoting), "a.png: no such file");
        let outer = Layer { text: "cannot go on", source: Some(Box::new(quoting)) };
        assert_eq!(describe(&outer), "cannot go on: a.png: no such file");
    }
}
