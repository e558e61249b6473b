//! Notices panics and hangs of a reader.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{CURRENT, code, findings};

/// How long a reader may take.
const LIMIT: Duration = Duration::from_secs(10);
/// Nothing is being read.
const IDLE: u64 = u64::MAX;

/// Where and why the last panic happened.
pub(super) struct Panics(Arc<Mutex<String>>);

impl Panics {
    /// Listens to panics of all threads, which are then silent.
    pub(super) fn listen() -> Self {
        let last = Arc::new(Mutex::new(String::new()));
        let heard = last.clone();
        std::panic::set_hook(Box::new(move |info| {
            *heard.lock().unwrap_or_else(PoisonError::into_inner) = info.to_string().replace('\n', " ");
        }));
        Self(last)
    }

    pub(super) fn last(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// When the present file was given to the reader, in milliseconds since the beginning.
#[derive(Clone)]
pub(super) struct Clock {
    start: Instant,
    since: Arc<AtomicU64>,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), since: Arc::new(AtomicU64::new(IDLE)) }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// What `read` gives, and how long it took.
    pub(super) fn time<T>(&self, read: impl FnOnce() -> T) -> (T, Duration) {
        let start = Instant::now();
        self.since.store(self.elapsed().as_millis() as u64, Ordering::Relaxed);
        let result = read();
        self.since.store(IDLE, Ordering::Relaxed);
        (result, start.elapsed())
    }

    /// Ends the process, on a thread of its own, once a file takes too long.
    pub(super) fn watch(&self, target: &'static str, folder: PathBuf) {
        let clock = self.clone();
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(Duration::from_millis(100));
                let since = Duration::from_millis(clock.since.load(Ordering::Relaxed));
                if clock.elapsed().checked_sub(since).is_some_and(|taken| taken > LIMIT) {
                    let bytes = fs::read(folder.join(CURRENT)).unwrap_or_default();
                    findings::report(target, "hang", &bytes, &format!("no answer within {LIMIT:?}"));
                    std::process::exit(code::HANG);
                }
            }
        });
    }
}
