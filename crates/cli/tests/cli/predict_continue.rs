//! `predict --continue`, and several processes with one output folder.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use candle_core::{DType, Device};
use serde_json::{Value, json};
use unet3p_models::UNet3Plus;

use crate::support::{Place, slices_preprocessor, tiny};

const RECORD: &str = "out/predictions.json";

fn entries(place: &Place) -> Vec<Value> {
    place.json(RECORD)["predictions"].as_array().unwrap().clone()
}

#[test]
fn failed_inputs_are_retried_and_finished_ones_are_kept() {
    let place = Place::new();
    place.model();
    for name in ["a", "c"] {
        place.gray(&format!("in/{name}.png"), 20, 16);
    }
    place.write("in/b.png", "no image");
    unet3p::write_npy(&place.path("in/d.npy"), &[2, 1, 4, 4], &[0.5; 32]).unwrap();
    place.line("predict -i in -o out -m m --threshold 0.45").ends(3, &["b.png"]);
    let before = entries(&place);
    let mask = fs::metadata(place.path("out/a_mask.png")).unwrap().modified().unwrap();
    place.line("predict -i in -o out -m m --threshold 0.45").ends(2, &["--continue"]);

    place.gray("in/b.png", 9, 9);
    place.gray("in/e.png", 9, 9);
    let run = place.line("predict -i in -o out -m m --threshold 0.45 --continue");
    run.ends(0, &["3 of 5 inputs are finished"]);
    assert!(!run.stdout.contains("a_mask.png") && run.stdout.contains("b_mask.png"), "{}", run.stdout);
    let after = entries(&place);
    let inputs: Vec<_> = after.iter().map(|entry| entry["input"].as_str().unwrap()).collect();
    assert_eq!(inputs, ["in/a.png", "in/b.png", "in/c.png", "in/d.npy", "in/d.npy", "in/e.png"]);
    for (old, new) in [(0, 0), (2, 2), (3, 3), (4, 4)] {
        assert_eq!(before[old], after[new]);
    }
    assert_eq!(fs::metadata(place.path("out/a_mask.png")).unwrap().modified().unwrap(), mask);

    // All is finished; then a mask is lost, and an input changes. An older version of it counts as well.
    place.line("predict -i in -o out -m m --threshold 0.45 --continue").ends(0, &["5 of 5"]);
    let old = fs::File::options().write(true).open(place.path("in/e.png")).unwrap();
    old.set_modified(std::time::SystemTime::UNIX_EPOCH - Duration::from_secs(5)).unwrap();
    place.line("predict -i in -o out -m m --threshold 0.45 --continue").ends(0, &["4 of 5"]);
    place.line("predict -i in -o out -m m --threshold 0.45 --continue").ends(0, &["5 of 5"]);
    fs::remove_file(place.path("out/a_mask.png")).unwrap();
    let later = fs::File::options().write(true).open(place.path("in/c.png")).unwrap();
    later.set_modified(std::time::SystemTime::now() + Duration::from_secs(9)).unwrap();
    place.line("predict -i in -o out -m m --threshold 0.45 --continue").ends(0, &["3 of 5"]);
    assert!(place.path("out/a_mask.png").exists());
    // Outputs that are asked for now, and were not before.
    place.line("predict -i in/a.png -o out -m m --threshold 0.45 --continue --overlay").ends(0, &["0 of 1"]);
    assert!(place.path("out/a_overlay.png").exists());
    // The record goes on to tell of the others.
    assert_eq!(entries(&place).len(), 6);
}

#[test]
fn outputs_that_cannot_be_read_are_made_again() {
    let place = Place::new();
    place.model();
    place.save_model("ct", &tiny(3), &slices_preprocessor());
    place.gray("in/a.png", 20, 16);
    place.volume("in/v.nii.gz", [14, 9, 5]);
    let line = "predict -i in -o out -m ct --overlay --save-probabilities";
    place.line(line).ends(0, &[]);
    let files: Vec<String> = place.files("out").into_iter().filter(|name| !name.ends_with(".json")).collect();
    assert_eq!(files.len(), 6, "{files:?}");
    for name in &files {
        let path = place.path(&format!("out/{name}"));
        let whole = fs::read(&path).unwrap();
        for length in [0, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            place.line(&format!("{line} --continue")).ends(0, &["1 of 2 inputs are finished"]);
            assert!(fs::read(&path).unwrap() == whole, "{name}");
        }
    }
    // A sound mask of another size is another image's.
    place.gray("out/a_mask.png", 5, 5);
    place.line(&format!("{line} --continue")).ends(0, &["1 of 2"]);
    // An older version did not note what an input was like.
    let mut record = place.json(RECORD);
    record["predictions"][0].as_object_mut().unwrap().remove("files").unwrap();
    place.write(RECORD, record.to_string());
    place.line(&format!("{line} --continue")).ends(0, &["1 of 2"]);
    place.line(&format!("{line} --continue")).ends(0, &["2 of 2"]);
}

/// Linux lets names be any bytes.
#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_utf_8_are_gone_on_with() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    place.model();
    place.gray("in/a.png", 20, 16);
    for name in [b"in/\xff.png", b"in/\xfe.png"] {
        fs::copy(place.path("in/a.png"), place.path("").join(OsStr::from_bytes(name))).unwrap();
    }
    place.line("predict -i in -o out -m m").ends(0, &[]);
    let inputs: Vec<_> = entries(&place).iter().map(|entry| entry["input"].clone()).collect();
    assert_eq!(inputs, [r"in/a.png", r"in/\xFE.png", r"in/\xFF.png"]);
    place.line("predict -i in -o out -m m --continue").ends(0, &["3 of 3 inputs are finished"]);
    fs::remove_file(place.path("out").join(OsStr::from_bytes(b"\xff_mask.png"))).unwrap();
    place.line("predict -i in -o out -m m --continue").ends(0, &["2 of 3"]);
    // They are outputs as others are.
    place.line("predict -i out -o again -m m").ends(2, &["all files here are outputs"]);
}

#[test]
fn other_options_are_wrong_usage() {
    let place = Place::new();
    place.model();
    place.gray("a.png", 20, 16);
    place.gray("b/a.png", 20, 16);
    place.line("predict -i a.png -o out -m m").ends(0, &[]);
    let record = fs::read(place.path(RECORD)).unwrap();
    fs::create_dir(place.path("n")).unwrap();
    let cases: [(&str, &[&str]); 6] = [
        ("-i a.png -m n", &["model = m, now n"]),
        ("-i a.png -m m --threshold 0.4", &["threshold = 0.5, now 0.4"]),
        ("-i a.png -m m --tta --tile 32", &["tta = false, now true", "tile = none, now 32"]),
        ("-i b/a.png -m m", &["out/a_mask.png", "the output of a.png", "b/a.png"]),
        ("-i a.png -m m --overwrite", &["cannot be used"]),
        ("-i a.png -m m --threshold 2", &["probability"]),
    ];
    for (line, words) in cases {
        place.line(&format!("predict {line} -o out --continue")).ends(2, words);
        assert_eq!(fs::read(place.path(RECORD)).unwrap(), record, "{line}");
    }
    // The same name, and other weights.
    let config = fs::read(place.path("m/model.safetensors")).unwrap();
    UNet3Plus::init(&tiny(1), 8, DType::F32, &Device::Cpu)
        .unwrap()
        .save(place.path("m"), DType::F32)
        .unwrap();
    place
        .line("predict -i a.png -o out -m m --continue")
        .ends(2, &["other weights of the model", "--overwrite"]);
    assert_eq!(fs::read(place.path(RECORD)).unwrap(), record);
    fs::write(place.path("m/model.safetensors"), config).unwrap();
    place.line("predict -i a.png -o out -m m --continue").ends(0, &["1 of 1"]);
    // Without a record there is nothing to go on with: a new run, which keeps what others wrote.
    place.line("predict -i a.png -o new -m m --continue").ends(0, &["0 of 1"]);
    fs::remove_file(place.path("new/predictions.json")).unwrap();
    place.line("predict -i a.png -o new -m m --continue").ends(2, &["new/a_mask.png", "exists already"]);
    place.write("new/predictions.json", "{}");
    place.line("predict -i a.png -o new -m m --continue").ends(2, &["new/predictions.json", "no record"]);
}

/// A killed run leaves a record of nearly all that it did, and no lock.
#[test]
fn a_killed_run_is_gone_on_with() {
    let place = Place::new();
    place.model();
    for i in 0..400 {
        place.gray(&format!("in/{i:03}.png"), 64, 64);
    }
    let command = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unet3p"));
        command
            .args("predict -i in -o out -m m -q".split(' '))
            .current_dir(place.path(""))
            .stderr(Stdio::null());
        command
    };
    let mut child = command().spawn().unwrap();
    let start = Instant::now();
    let recorded = || {
        let text = fs::read_to_string(place.path(RECORD)).unwrap_or_default();
        serde_json::from_str::<Value>(&text).is_ok_and(|record| record["predictions"] != json!([]))
    };
    while !recorded() {
        assert!(start.elapsed() < Duration::from_secs(120) && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let record = place.json(RECORD);
    assert_eq!(record["finished"], false);
    let done = record["predictions"].as_array().unwrap().len();
    assert!((1..400).contains(&done), "{done}");

    place
        .line("predict -i in -o out -m m --continue")
        .ends(0, &[&format!("{done} of 400 inputs are finished")]);
    assert_eq!(place.json(RECORD)["finished"], true);
    assert_eq!(entries(&place).len(), 400);
    assert_eq!(entries(&place)[..done], record["predictions"].as_array().unwrap()[..]);
    place.line("predict -i in -o whole -m m").ends(0, &[]);
    for name in place.files("whole").iter().filter(|name| name.ends_with(".png")) {
        let read = |folder: &str| fs::read(place.path(&format!("{folder}/{name}"))).unwrap();
        assert!(read("out") == read("whole"), "{name}");
    }
}

/// The system's lock on the folder, as the program takes it.
#[cfg(unix)]
#[test]
fn a_folder_that_another_process_writes_is_wrong_usage() {
    let place = Place::new();
    place.model();
    place.gray("a.png", 20, 16);
    fs::create_dir(place.path("out")).unwrap();
    let held = fs::File::open(place.path("out")).unwrap();
    held.lock().unwrap();
    for flags in ["", "--overwrite", "--continue"] {
        place.line(&format!("predict -i a.png -o out -m m {flags}")).ends(2, &["out", "another process"]);
        assert!(place.files("out").is_empty());
    }
    drop(held);
    place.line("predict -i a.png -o out -m m").ends(0, &[]);
    assert_eq!(place.json(RECORD)["predictions"][0]["warnings"], json!([]));
}

#[test]
fn a_mask_that_another_process_writes_is_wrong_usage() {
    let place = Place::new();
    place.model();
    place.gray("a.png", 20, 16);
    let held = unet3p_files::Lock::take(&place.path("out/.unet3p-x.predictions.json.lock")).unwrap();
    for flags in ["", "--overwrite", "--continue"] {
        let run = place.line(&format!("predict -i a.png -o out/x.png -m m {flags}"));
        run.ends(2, &["out/x.png", "another process"]);
    }
    place.line("predict -i a.png -o out/y.png -m m").ends(0, &[]);
    drop(held);
    place.line("predict -i a.png -o out/x.png -m m").ends(0, &[]);
    assert_eq!(place.files("out"), ["x.png", "x.predictions.json", "y.png", "y.predictions.json"]);
}

/// A mask of another image under an input's name would pass for its own.
#[test]
fn an_input_that_fails_leaves_no_mask_of_an_earlier_run() {
    let place = Place::new();
    place.model();
    place.gray("in/a.png", 20, 16);
    place.gray("in/b.png", 20, 16);
    place.line("predict -i in -o out -m m --overlay").ends(0, &[]);
    place.write("in/b.png", "no image any more");
    place.line("predict -i in -o out -m m --overlay --overwrite").ends(3, &["b.png"]);
    assert_eq!(place.files("out"), ["a_mask.png", "a_overlay.png", "predictions.json"]);
}
