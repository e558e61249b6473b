//! Models of the Hub, pulled from a server on this machine.
// Helpers are outside of test functions, where clippy's exception for tests does not reach.
#![allow(clippy::unwrap_used)]

mod damage;
mod faults;
mod pull;
mod server;
mod support;
