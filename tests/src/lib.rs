//! Shared helpers of the golden and end-to-end tests.
