//! `preprocessor_config.json`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Mutex;

use unet3p_data::{Error, Layout, Normalize, Preprocessor, Resample, Size};

/// Keeps what is logged.
struct Messages(Mutex<Vec<String>>);

impl log::Log for Messages {
    fn enabled(&self, _: &log::Metadata) -> bool {
        true
    }
    fn log(&self, record: &log::Record) {
        self.0.lock().expect("no holder panics").push(record.args().to_string());
    }
    fn flush(&self) {}
}

static MESSAGES: Messages = Messages(Mutex::new(Vec::new()));

#[test]
fn a_full_configuration_is_read_and_written() {
    let text = r#"{
        "layout": "slices", "size": {"height": 320, "width": 256}, "resample": "nearest", "do_rescale": false,
        "rescale_factor": 0.5, "do_normalize": true, "image_mean": [0.1, 0.2, 0.3], "image_std": [1, 2, 3],
        "normalize": "window", "window": [-200, 250], "spacing": [1, 1, 3], "orientation": "RAS",
        "keep_largest_component": true
    }"#;
    let expected = Preprocessor {
        layout: Layout::Slices,
        channel_names: Vec::new(),
        size: Some(Size { height: 320, width: 256 }),
        resample: Resample::Nearest,
        do_rescale: false,
        rescale_factor: 0.5,
        do_normalize: true,
        image_mean: vec![0.1, 0.2, 0.3],
        image_std: vec![1.0, 2.0, 3.0],
        normalize: Normalize::Window,
        window: Some([-200.0, 250.0].into()),
        spacing: Some([1.0, 1.0, 3.0]),
        orientation: "RAS".into(),
        keep_largest_component: true,
    };
    let found = Preprocessor::from_json(text).unwrap();
    assert_eq!(found, expected);
    assert_eq!(Preprocessor::from_json(&found.to_json()).unwrap(), expected);
    assert_eq!(Preprocessor::from_json("{}").unwrap(), Preprocessor::default());
    assert_eq!(Preprocessor::from_json(r#"{"resample": 0}"#).unwrap().resample, Resample::Nearest);

    // The size is for whoever switches it on again.
    for (resizes, size) in [("true", Some(Size { height: 8, width: 9 })), ("false", None)] {
        let text = format!(r#"{{"do_resize": {resizes}, "size": {{"height": 8, "width": 9}}}}"#);
        assert_eq!(Preprocessor::from_json(&text).unwrap().size, size);
    }

    let folder = tempfile::tempdir().unwrap();
    expected.save(folder.path()).unwrap();
    assert_eq!(Preprocessor::load(folder.path()).unwrap(), expected);
}

#[test]
fn what_is_not_allowed_is_named_with_what_is() {
    let cases = [
        (r#"{"layout": "bgr"}"#, "bgr", "slices"),
        (r#"{"resample": "cubic"}"#, "cubic", "bilinear"),
        (r#"{"resample": 3}"#, "3", "bilinear"),
        (r#"{"normalize": "mean"}"#, "mean", "zscore"),
        (r#"{"size": {"height": 0, "width": 5}}"#, "0 x 5", "size"),
        (r#"{"size": {"height": 40000, "width": 5}}"#, "40000 x 5", "32768"),
        (r#"{"size": 320}"#, "320", "Size"),
        (r#"{"image_mean": [1, 2]}"#, "image_mean", "1 or 3"),
        (r#"{"layout": "gray", "image_std": [1, 2, 3]}"#, "image_std", "1 or 1"),
        (r#"{"image_std": [0]}"#, "image_std", "positive"),
        (r#"{"rescale_factor": 0}"#, "rescale_factor", "other than 0"),
        (r#"{"window": [250, -200]}"#, "[250, -200]", "lower"),
        (r#"{"window": [[0, 1], [0, 1], [0, 1]]}"#, "[[0, 1], [0, 1], [0, 1]]", "each of 1 channels"),
        (r#"{"layout": "channels"}"#, "channel_names = []", "1 to 64 names"),
        (r#"{"layout": "channels", "channel_names": ["a", "a"]}"#, "[\"a\", \"a\"]", "a name of its own"),
        (r#"{"layout": "channels", "channel_names": ["a", " "]}"#, "channel_names", "a name of its own"),
        (
            r#"{"layout": "channels", "channel_names": ["a", "b"], "image_std": [1, 1, 1]}"#,
            "image_std",
            "1 or 2",
        ),
        (r#"{"channel_names": ["a"]}"#, "channel_names", "3 names"),
        (r#"{"normalize": "window"}"#, "window", "two HU values"),
        (r#"{"spacing": [1, -1, 1]}"#, "spacing", "positive"),
        (r#"{"spacing": [1, 1]}"#, "invalid length 2", ""),
        (r#"{"orientation": "LPS"}"#, "LPS", "RAS"),
        (r#"{"do_rescale": "yes"}"#, "yes", ""),
        (r#"{"do_resize": "yes"}"#, "do_resize = \"yes\"", "true or false"),
        ("[]", "", "object"),
        ("{", "", "object"),
    ];
    for (text, found, allowed) in cases {
        let error = Preprocessor::from_json(text).unwrap_err();
        assert!(matches!(error, Error::Setting { .. }), "{text}: {error:?}");
        let message = error.to_string();
        assert!(message.contains(found) && message.contains(allowed), "{text}: {message}");
    }
    let folder = tempfile::tempdir().unwrap();
    let missing = Preprocessor::load(folder.path()).unwrap_err().to_string();
    assert!(missing.contains("preprocessor_config.json"), "{missing}");
    std::fs::write(folder.path().join(Preprocessor::FILE_NAME), r#"{"orientation": "LPS"}"#).unwrap();
    let wrong = Preprocessor::load(folder.path()).unwrap_err().to_string();
    assert!(wrong.contains("preprocessor_config.json") && wrong.contains("LPS"), "{wrong}");
}

#[test]
fn unknown_keys_are_a_warning_that_names_them() {
    log::set_logger(&MESSAGES).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let text = r#"{"do_resize": true, "image_processor_type": "X", "layout": "gray"}"#;
    assert_eq!(Preprocessor::from_json(text).unwrap().layout, Layout::Gray);
    let messages = MESSAGES.0.lock().unwrap();
    assert!(messages.iter().any(|m| m.contains("ignored: image_processor_type")), "{messages:?}");
    assert!(messages.iter().any(|m| m.contains("do_resize has no effect")), "{messages:?}");
}
