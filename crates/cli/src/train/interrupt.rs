//! Ctrl-C: the first asks a run to stop, the second ends the process.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_shutdown};

use crate::args::Global;
use crate::device::DeviceChoice;
use crate::failure::{Failure, INTERRUPTED};

/// What the first SIGINT or SIGTERM from now on sets. The next one ends the process at once.
pub(super) fn flag() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: a signal ends the process only where one before it has set the flag.
        register_conditional_shutdown(signal, i32::from(INTERRUPTED), stop.clone())
            .and_then(|_| register(signal, stop.clone()))
            .map_err(|e| Failure::run(format!("Ctrl-C cannot be waited for: {e}")))?;
    }
    Ok(stop)
}

/// The command that goes on with a run, on as many threads and on the device of this one.
pub(super) fn resume_command(run_dir: &Path, global: &Global) -> String {
    let program = std::env::args().next().unwrap_or_else(|| env!("CARGO_BIN_NAME").into());
    let mut words = vec![program, "train".into(), "--resume".into(), run_dir.display().to_string()];
    if let Some(threads) = global.threads {
        words.extend(["--threads".into(), threads.to_string()]);
    }
    if global.device != DeviceChoice::Auto {
        words.extend(["--device".into(), global.device.to_string()]);
    }
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-./:=+@%,\\".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) && (cfg!(windows) || !word.contains('\\')) {
        word.to_string()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_split_them() {
        for (word, shown) in [
            ("runs/liver-1", "runs/liver-1"),
            ("my run", "'my run'"),
            ("it's", r"'it'\''s'"),
            ("a$b", "'a$b'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), shown);
        }
    }
}
