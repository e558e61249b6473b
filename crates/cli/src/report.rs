//! What the user sees: results on stdout, progress, warnings and errors on stderr.
//!
//! Nothing here panics when a stream is closed, as `println!` would under `unet3p info | head -1`.

use std::fmt::Display;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use log::{Level, LevelFilter, Log, Metadata, Record};

/// All bars on the terminal; log lines are printed above them.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Whether progress and results are hidden.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Warnings about the run as a whole, in the order in which they were said.
static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The first line of the result that could not be written.
static OUTPUT_ERROR: OnceLock<std::io::Error> = OnceLock::new();

/// Sends the log of the workspace to stderr.
struct StderrLog;

impl Log for StderrLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // What dependencies have to say is for the second -v.
        metadata.target().starts_with("unet3p") || log::max_level() >= LevelFilter::Debug
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            if record.level() == Level::Warn
                && record.target().starts_with("unet3p")
                && !remember(record.args().to_string())
            {
                return;
            }
            let level = match record.level() {
                Level::Error => "error: ",
                Level::Warn => "warning: ",
                Level::Info => "",
                Level::Debug | Level::Trace => "debug: ",
            };
            stderr_line(&format!("{level}{}", record.args()));
        }
    }

    fn flush(&self) {}
}

/// Keeps a warning for [`warnings`]; false where it was said before.
fn remember(warning: String) -> bool {
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    let is_new = !said.contains(&warning);
    if is_new {
        said.push(warning);
    }
    is_new
}

/// The warnings that were logged so far, each once: what the record of a run says beside what it says of single inputs.
pub(crate) fn warnings() -> Vec<String> {
    SAID.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Sets what is shown: `quiet` leaves warnings and errors, `verbose` counts the `-v`.
pub(crate) fn init(quiet: bool, verbose: u8) {
    let level = match (quiet, verbose) {
        // A warning can change what a result means, so it is always said.
        (true, _) | (false, 0) => LevelFilter::Warn,
        (false, 1) => LevelFilter::Info,
        (false, _) => LevelFilter::Debug,
    };
    QUIET.store(quiet, Ordering::Relaxed);
    if quiet {
        BARS.set_draw_target(ProgressDrawTarget::hidden());
    }
    // A second logger cannot exist: this is called once, first thing in main.
    if log::set_logger(&StderrLog).is_ok() {
        log::set_max_level(level);
    }
}

/// Keeps the default message of a panic away where the panic ends as the error of one file.
pub(crate) fn hide_guarded_panics() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if unet3p_data::is_guarded() {
            log::debug!("{panic}");
        } else {
            default(panic);
        }
    }));
}

/// One line of the result, on stdout; nothing under `-q`.
pub(crate) fn result_line(line: impl Display) {
    if !QUIET.load(Ordering::Relaxed) {
        output_line(line);
    }
}

/// One line that was asked for, on stdout, `-q` or not.
pub(crate) fn output_line(line: impl Display) {
    BARS.suspend(|| {
        if let Err(error) = writeln!(std::io::stdout(), "{line}") {
            let _ = OUTPUT_ERROR.set(error);
        }
    });
}

/// Why lines of the result did not reach stdout, if so. That a reader wanted no more of them, as `head`, is no error.
pub(crate) fn output_error() -> Option<&'static std::io::Error> {
    OUTPUT_ERROR.get().filter(|error| error.kind() != std::io::ErrorKind::BrokenPipe)
}

/// One line about how far the work is, on stderr; nothing under `-q`.
pub(crate) fn note(line: impl Display) {
    if !QUIET.load(Ordering::Relaxed) {
        stderr_line(&line.to_string());
    }
}

/// A warning about the one input or case `of`, which its entry in the record holds, on stderr.
pub(crate) fn warning(of: impl Display, warning: &str) {
    stderr_line(&format!("warning: {of}: {warning}"));
}

/// An error, on stderr.
pub(crate) fn error(error: impl Display) {
    stderr_line(&format!("error: {error}"));
}

/// How a run goes on that was stopped, on stderr, `-q` or not.
pub(crate) fn stopped(how: impl Display) {
    stderr_line(&how.to_string());
}

fn stderr_line(line: &str) {
    BARS.suspend(|| {
        let _ = writeln!(std::io::stderr(), "{line}");
    });
}

/// "1 slice", "2 slices".
pub(crate) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A bar over `total` steps of `unit`. It shows on a terminal only, and not under `-q`.
pub(crate) fn bar(total: u64, unit: &str) -> ProgressBar {
    bar_like(total, &format!("{{wide_bar}} {{pos}}/{{len}} {unit} {{elapsed}}, {{eta}} left {{msg}}"))
}

/// A bar over the `total` bytes of a file that arrives.
pub(crate) fn download_bar(total: u64, file: &str) -> ProgressBar {
    let template = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left";
    bar_like(total, template).with_message(file.to_string())
}

fn bar_like(total: u64, template: &str) -> ProgressBar {
    let bar = BARS.add(ProgressBar::new(total));
    // The template is ours; should it ever be wrong, indicatif's own style is as good.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
