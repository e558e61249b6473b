//! A folder for the Hub.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use unet3p::data::Layout;
use unet3p::{
    CardResult, DType, Device, ModelCard, Preprocessor, Segmenter, UNet3Plus, UNet3PlusConfig,
    save_pretrained,
};

#[test]
fn a_folder_for_the_hub_is_complete_and_opens_again() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("new/liver");
    let config = UNet3PlusConfig::builder().in_channels(1).base_filters(4).build().unwrap();
    let model = UNet3Plus::init(&config, 1, DType::F32, &Device::Cpu).unwrap();
    let gray = Preprocessor { layout: Layout::Gray, ..Preprocessor::default() };
    let card = ModelCard {
        license: Some("mit".into()),
        results: vec![CardResult { dataset: "LiTS".into(), metric: "Dice".into(), value: 0.95 }],
        ..ModelCard::default()
    };
    save_pretrained(&folder, &model, Some(&gray), &card, DType::F16).unwrap();
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files, ["README.md", "config.json", "model.safetensors", "preprocessor_config.json"]);
    let text = std::fs::read_to_string(folder.join("README.md")).unwrap();
    assert!(text.contains("license: \"mit\"\n") && text.contains("      value: 0.95\n"), "{text}");
    let open = || Segmenter::from_pretrained(folder.to_str().unwrap()).unwrap();
    assert_eq!((open().config(), open().preprocessor()), (&config, Some(&gray)));

    // A model that says nothing of images does not keep what the one before it said.
    save_pretrained(&folder, &model, None, &card, DType::F32).unwrap();
    assert_eq!(open().preprocessor(), None);
    let error =
        save_pretrained(&folder, &model, Some(&Preprocessor::default()), &card, DType::F32).unwrap_err();
    assert!(error.to_string().contains("makes 3 channels, and the network takes 1"), "{error}");
}
