//! What a model's name means.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use candle_core::{DType, Device};
use unet3p::{ModelSource, Preprocessor, Segmenter, UNet3Plus, UNet3PlusConfig};

#[test]
fn a_bundled_model_a_folder_and_a_file() {
    let place = tempfile::tempdir().unwrap();
    let config = UNet3PlusConfig::builder().base_filters(4).build().unwrap();
    UNet3Plus::init(&config, 1, DType::F32, &Device::Cpu).unwrap().save(place.path(), DType::F32).unwrap();
    Preprocessor::default().save(place.path()).unwrap();
    let folder = place.path().to_str().unwrap();
    let file = place.path().join("model.safetensors");
    assert!(matches!(ModelSource::resolve("liver-ct").unwrap(), ModelSource::Bundled(_)));
    assert!(matches!(ModelSource::resolve(folder).unwrap(), ModelSource::Folder(_)));
    let source = ModelSource::resolve(file.to_str().unwrap()).unwrap();
    assert!(matches!(source, ModelSource::File(_)));
    assert_eq!(source.weights(), Some(file.clone()));
    std::fs::remove_file(place.path().join("config.json")).unwrap();
    let segmenter = Segmenter::from_pretrained(file.to_str().unwrap()).unwrap();
    assert_eq!(segmenter.config(), &config);
    assert_eq!(segmenter.preprocessor(), Some(&Preprocessor::default()));
}

#[test]
fn what_is_nothing_of_it_is_an_error_that_says_what_would_be_right() {
    for name in ["", "liver", "../x", "./x", "a/b/c", "/nowhere/at/all"] {
        let error = ModelSource::resolve(name).unwrap_err().to_string();
        for word in [name, "liver-ct", "config.json", ".safetensors", "org/name@revision"] {
            assert!(error.contains(word), "{word}: {error}");
        }
    }
}

#[cfg(not(feature = "hub"))]
#[test]
fn an_id_of_the_hub_needs_the_feature() {
    let error = ModelSource::resolve("acme/liver-ct").unwrap_err().to_string();
    assert!(error.contains("acme/liver-ct") && error.contains("feature `hub`"), "{error}");
}

#[cfg(feature = "hub")]
#[test]
fn an_id_of_the_hub_is_looked_for_last() {
    use unet3p::{Error, hub::Hub};

    let place = tempfile::tempdir().unwrap();
    let snapshot = place.path().join("models--acme--tiny/snapshots").join("a".repeat(40));
    std::fs::create_dir_all(&snapshot).unwrap();
    let config = UNet3PlusConfig::builder().base_filters(4).build().unwrap();
    UNet3Plus::init(&config, 1, DType::F32, &Device::Cpu).unwrap().save(&snapshot, DType::F32).unwrap();
    let hub = Hub::new(place.path()).with_offline(true);
    let id = format!("acme/tiny@{}", "a".repeat(40));
    let source = ModelSource::resolve_with(&id, &hub, &mut |_| {}).unwrap();
    assert_eq!(source.name(), id);
    assert_eq!(source.weights(), Some(snapshot.join("model.safetensors")));
    assert_eq!(Segmenter::load(&source, &Device::Cpu).unwrap().config(), &config);
    let error = ModelSource::resolve_with("acme/tiny", &hub, &mut |_| {}).unwrap_err();
    assert!(matches!(error, Error::Hub { .. }), "{error:?}");
}
