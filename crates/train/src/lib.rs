//! Training of UNet 3+: optimizer, schedules, weight averaging, checkpoints and logs.
