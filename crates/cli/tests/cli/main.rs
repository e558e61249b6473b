//! Drives the built binary the way a user does: exit codes, messages, files.
// Helpers are outside of test functions, where clippy's exception for tests does not reach.
#![allow(clippy::unwrap_used)]

mod bench;
mod channels;
mod convert;
mod convert_goldens;
mod evaluate;
mod evaluate_doubts;
mod evaluate_errors;
mod evaluate_layout;
mod evaluate_run;
mod evaluate_slices;
mod export;
mod hub;
#[path = "../../../hub/tests/hub/server.rs"]
mod hub_server;
mod info;
mod model_errors;
mod model_folders;
mod model_weights;
mod predict;
mod predict_continue;
mod predict_errors;
mod predict_outputs;
mod prepare;
mod resume;
mod support;
mod train;
mod usage;
mod verify;
mod volume;
