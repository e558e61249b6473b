//! `unet3p convert`.

use std::fs;
use std::path::Path;

use crate::support::{Place, gray_preprocessor, tiny};

const CHECKPOINT: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/zju/deep_supervision_cgm.pth");

#[test]
fn a_checkpoint_becomes_a_model_that_segments() {
    let place = Place::new();
    fs::copy(CHECKPOINT, place.path("a.pth")).unwrap();
    let run = place.line("convert a.pth m");
    run.ends(0, &[]);
    assert!(run.stdout.contains("deep_supervision_cgm"), "{}", run.stdout);
    assert!(run.stdout.contains("[4, 8, 16, 32, 64]"), "{}", run.stdout);
    let info = place.line("info m");
    info.ends(0, &[]);
    assert!(info.stdout.contains("deep_supervision_cgm"), "{}", info.stdout);
    place.gray("x.png", 20, 12);
    place.line("predict -i x.png -o out -m m").ends(0, &[]);

    place.line("convert a.pth m").ends(2, &["m", "--overwrite"]);
    place.line("convert a.pth m --overwrite --format f16").ends(0, &[]);
    assert!(place.line("info m").stdout.contains("float16"));
}

#[test]
fn what_is_no_checkpoint_is_refused() {
    let place = Place::new();
    place.write("text.pth", "this is no checkpoint");
    let whole = fs::read(Path::new(CHECKPOINT)).unwrap();
    place.write("cut.pth", &whole[..whole.len() / 2]);
    place.line("convert nowhere.pth m").ends(2, &["nowhere.pth"]);
    place.line("convert text.pth m").ends(1, &["text.pth"]);
    place.line("convert cut.pth m").ends(1, &["cut.pth"]);
    place.save_model("own", &tiny(1), &gray_preprocessor());
    let whole = fs::read(place.path("own/model.safetensors")).unwrap();
    place.write("cut.safetensors", &whole[..whole.len() / 2]);
    place.line("convert cut.safetensors m").ends(1, &["cut.safetensors", "truncated"]);
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    for name in ["pointer.pth", "pointer.safetensors", "pointer.h5", "own/model.safetensors"] {
        place.write(name, pointer);
        place.line(&format!("convert {name} m")).ends(1, &[name, "Git LFS pointer", "git lfs pull"]);
    }
    place.line("info own").ends(1, &["own/model.safetensors", "Git LFS pointer"]);
    assert!(!place.path("m").exists());
    place.write("file", "in the way");
    fs::copy(CHECKPOINT, place.path("a.pth")).unwrap();
    place.line("convert a.pth file").ends(1, &["file", "not a folder"]);
}

#[test]
fn another_model_in_the_folder_leaves_nothing_that_does_not_fit_and_keeps_what_people_wrote() {
    let place = Place::new();
    for (name, channels) in [("one", 1), ("two", 2)] {
        place.save_model(name, &tiny(channels), &gray_preprocessor());
    }
    place.line("convert one/model.safetensors m").ends(0, &[]);
    assert!(place.path("m/preprocessor_config.json").exists());
    place.line("convert two/model.safetensors m --overwrite").ends(0, &["2"]);
    assert!(!place.path("m/preprocessor_config.json").exists());
    let card = fs::read_to_string(place.path("m/README.md")).unwrap();
    assert!(card.contains("input channels | 2"), "{card}");
    place.write("m/README.md", card.replacen("To be filled in:", "LiTS:", 1));
    place.line("convert one/model.safetensors m --overwrite").ends(0, &["README.md", "kept"]);
    assert!(fs::read_to_string(place.path("m/README.md")).unwrap().contains("LiTS:"));
}
