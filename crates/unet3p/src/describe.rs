//! The text of errors.

use std::error::Error;

/// The text of an error and of what caused it, each said once: many errors already quote their cause.
///
/// ```
/// let error = unet3p::ModelSource::resolve("no-such-model").unwrap_err();
/// assert!(unet3p::describe(&error).starts_with("no-such-model"));
/// ```
pub fn describe(error: &dyn Error) -> String {
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
