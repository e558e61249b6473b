//! Whether bytes arrive fast enough.

use std::time::{Duration, Instant};

/// How long little may arrive: servers and networks have pauses, which a single read's limit of time bounds.
const WINDOW: Duration = Duration::from_secs(60);
/// What has to arrive in that time: 1 kB a second. At this rate the smallest model takes an hour; a server that sends
/// less keeps the process for nothing.
const LEAST: u64 = 60_000;

/// Counts what arrives, one window after the other.
pub(crate) struct Pace {
    began: Instant,
    bytes: u64,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self { began: now, bytes: 0 }
    }

    /// Counts `bytes` that have arrived by `now`.
    ///
    /// # Errors
    /// How slow it was, at the end of a window in which too little arrived.
    pub(crate) fn add(&mut self, bytes: u64, now: Instant) -> Result<(), String> {
        self.bytes += bytes;
        let taken = now.duration_since(self.began);
        if taken < WINDOW {
            return Ok(());
        }
        if self.bytes < LEAST {
            return Err(format!(
                "too slow: {} bytes arrived in {} s, at least {LEAST} are expected",
                self.bytes,
                taken.as_secs()
            ));
        }
        *self = Self::new(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trickle_ends_after_a_window_and_a_pause_does_not() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        // A byte every ten seconds: no read ever waits for long.
        let mut pace = Pace::new(start);
        for second in [10, 20, 30, 40, 50, 59] {
            assert!(pace.add(1, at(second)).is_ok());
        }
        let problem = pace.add(1, at(61)).unwrap_err();
        assert!(problem.contains("7 bytes arrived in 61 s"), "{problem}");
        // Fast, then silent for most of a window, then as fast as need be: each window counts by itself.
        let mut pace = Pace::new(start);
        assert!(pace.add(1 << 20, at(1)).is_ok());
        assert!(pace.add(1, at(60)).is_ok());
        assert!(pace.add(LEAST, at(119)).is_ok());
        assert!(pace.add(0, at(121)).is_ok());
        assert!(pace.add(LEAST - 1, at(181)).is_err());
    }
}
