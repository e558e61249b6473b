//! Help, versions and wrong usage.

use crate::support::Place;

#[test]
fn help_names_every_command_and_the_exit_codes() {
    let place = Place::new();
    let run = place.line("--help");
    run.ends(0, &[]);
    for word in [
        "predict",
        "evaluate",
        "train",
        "prepare",
        "verify",
        "convert",
        "pull",
        "info",
        "--device",
        "--offline",
        "Exit codes",
    ] {
        assert!(run.stdout.contains(word), "{word}: {}", run.stdout);
    }
    for command in [
        "predict",
        "evaluate",
        "train",
        "prepare folder",
        "prepare lits",
        "verify",
        "convert",
        "pull",
        "info",
    ] {
        let run = place.line(&format!("{command} --help"));
        run.ends(0, &[]);
        assert!(run.stdout.contains("Usage: unet3p"), "{}", run.stdout);
    }
    place.line("--version").ends(0, &[]);
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let place = Place::new();
    place.model();
    place.gray("a.png", 4, 4);
    let cases: [(&str, &str); 17] = [
        ("", "Usage"),
        ("segment", "segment"),
        ("predict", "--input"),
        ("predict -i a.png", "--output"),
        ("predict -i a.png -o out --treshold 0.4", "--threshold"),
        ("predict -i a.png -o out --threshold 1.5", "probability"),
        ("predict -i a.png -o out --threshold nan", "probability"),
        ("predict -i a.png -o out --tile 100", "'100' for '--tile <N>'"),
        ("predict -i a.png -o out --tile 100", "use 96 or 112"),
        ("predict -i a.png -o out --tile 0", "use 16"),
        ("predict -i a.png -o out --tile 64x64", "use a multiple of 16"),
        ("predict -i a.png -o out --device gpu", "cuda:N"),
        ("predict -i a.png -o out --threads 0", "--threads"),
        ("predict -i a.png -o out -q -v", "cannot be used"),
        ("info", "MODEL"),
        ("info m --size 0", "HEIGHTxWIDTH"),
        ("convert only-one", "DST"),
    ];
    for (line, word) in cases {
        place.line(line).ends(2, &[word]);
    }
    assert!(!place.path("out").exists());
}

#[cfg(not(feature = "cuda"))]
#[test]
fn a_device_that_was_not_built_in_is_wrong_usage() {
    let place = Place::new();
    place.model();
    place.gray("a.png", 4, 4);
    place.line("predict -i a.png -o out -m m --device cuda").ends(2, &["--device cuda:0", "--features cuda"]);
    assert!(!place.path("out").exists());
}
