//! Model folders as files: pointers, marks, sizes, and replacing them as a whole.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Place, gray_preprocessor, tiny};

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 27071264\n";

#[test]
fn pointers_of_git_lfs_are_told_from_files() {
    let place = Place::new();
    place.model();
    place.gray("a.png", 16, 16);
    let mend = "is a Git LFS pointer, not the weights: run `git lfs pull`";
    for name in ["a.pth", "a.pt", "pytorch_model.bin", "a.h5", "a.hdf5", "a.keras", "a.safetensors"] {
        place.write(name, POINTER);
        place.line(&format!("convert {name} n")).ends(1, &[name, mend]);
    }
    place.line("info a.safetensors").ends(1, &["a.safetensors", mend]);
    place.write("m/preprocessor_config.json", POINTER);
    place.line("predict -i a.png -o out -m m").ends(1, &["m/preprocessor_config.json", "run `git lfs pull`"]);
    place.write("m/model.safetensors", POINTER);
    for line in ["info m", "predict -i a.png -o out -m m", "export m -o m.onnx"] {
        place.line(line).ends(1, &["m/model.safetensors", mend]);
    }
    place.write("m/config.json", POINTER);
    place.line("info m").ends(1, &["m/config.json", "run `git lfs pull`"]);
}

#[test]
fn a_byte_order_mark_is_passed_over_and_what_is_no_configuration_is_not_read() {
    let place = Place::new();
    place.model();
    place.gray("a.png", 16, 16);
    for file in ["m/config.json", "m/preprocessor_config.json"] {
        let text = fs::read_to_string(place.path(file)).unwrap();
        place.write(file, format!("\u{feff}{text}"));
    }
    place.line("predict -i a.png -o out -m m").ends(0, &[]);
    for file in ["m/preprocessor_config.json", "m/config.json"] {
        fs::File::create(place.path(file)).unwrap().set_len(3 << 30).unwrap();
        let run = place.line("predict -i a.png -o more -m m");
        run.ends(1, &[file, "3221225472 bytes"]);
    }
    place.line("info m").ends(1, &["m/config.json", "3221225472 bytes"]);
}

/// Reading a pipe would wait for ever, and so would this test.
#[cfg(unix)]
#[test]
fn a_pipe_named_like_a_file_is_refused() {
    let place = Place::new();
    place.model();
    for file in ["m/model.safetensors", "m/config.json"] {
        fs::remove_file(place.path(file)).unwrap();
        assert!(Command::new("mkfifo").arg(place.path(file)).status().unwrap().success());
        place.line("info m").ends(1, &[file, "is a pipe, not a file"]);
    }
    place.line("info m/model.safetensors").ends(1, &["m/model.safetensors", "is a pipe, not a file"]);
    place.line("info /dev/zero").ends(1, &["/dev/zero", "is a device, not a file"]);
    place.line("convert m/model.safetensors n").ends(2, &["m/model.safetensors: is a pipe, not a file"]);
}

#[test]
fn a_configuration_of_other_weights_is_refused() {
    let place = Place::new();
    place.model();
    place.gray("a.png", 16, 16);
    let own = fs::read_to_string(place.path("m/config.json")).unwrap();
    let mut json = place.json("m/config.json");
    json["batch_norm_eps"] = 1e-3.into();
    place.write("m/config.json", json.to_string());
    let words =
        ["m/config.json", "batch_norm_eps = 0.001", "m/model.safetensors", "batch_norm_eps = 0.00001"];
    for line in ["info m", "predict -i a.png -o out -m m"] {
        place.line(line).ends(1, &words);
    }
    // What the message says.
    let run = place.line("info m");
    let mend = run.stderr.split("unet3p convert ").nth(1).unwrap().trim();
    place.line(&format!("convert {mend}")).ends(0, &[]);
    place.line("info m").ends(0, &[]);
    assert_eq!(place.json("m/config.json")["batch_norm_eps"], 1e-3);

    // Order, white space and defaults do not matter, nor do names and colours, which people correct.
    place.save_model("m", &tiny(1), &gray_preprocessor());
    let own: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&own).unwrap();
    let mut turned: Vec<_> = own.into_iter().collect();
    turned.reverse();
    turned.retain(|(key, _)| !["cgm_gate", "batch_norm_momentum", "label2color"].contains(&key.as_str()));
    let mut turned: serde_json::Map<_, _> = turned.into_iter().collect();
    turned.insert("id2label".into(), serde_json::json!({"1": "organ"}));
    place.write("m/config.json", serde_json::to_string(&turned).unwrap());
    let run = place.line("info m");
    run.ends(
        0,
        &["m/config.json: id2label = {1: \"organ\"}", "{1: \"liver\"}: those of config.json are used"],
    );
    assert!(run.stdout.contains("organ"));
    let run = place.line("info m/model.safetensors");
    run.ends(0, &["id2label", "those of the weights are used", "label2color"]);
    assert!(run.stdout.contains("liver"));
    place.line("convert m/model.safetensors n").ends(0, &["those of the weights are used"]);
    let run = place.line("convert m/model.safetensors n --config m/config.json --overwrite");
    assert!(run.stderr.is_empty(), "{}", run.stderr);
    place.save_model("m", &tiny(1), &gray_preprocessor());
    let run = place.line("info m");
    assert!(run.stderr.is_empty(), "{}", run.stderr);
}

/// The files of a folder with their bytes, hidden ones too.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect()
}

/// Two models of one shape: a mixture of their files would load.
fn two_models(place: &Place) -> [BTreeMap<String, Vec<u8>>; 2] {
    let mut config = tiny(1);
    ["one", "two"].map(|name| {
        place.save_model(name, &config, &gray_preprocessor());
        config.batch_norm_eps = 1e-2;
        place.line(&format!("convert {name}/model.safetensors m --overwrite")).ends(0, &[]);
        files(&place.path("m"))
    })
}

#[test]
fn a_folder_is_old_or_new_whenever_the_process_is_killed() {
    let place = Place::new();
    let models = two_models(&place);
    place.write("m/notes.txt", "mine");
    let start = Instant::now();
    place.line("convert one/model.safetensors m --overwrite").ends(0, &[]);
    let whole = start.elapsed();
    let (mut seen, mut killed) = ([0, 0], 0);
    for i in 0..24u32 {
        let source = ["two/model.safetensors", "one/model.safetensors"][i as usize % 2];
        let mut child = Command::new(env!("CARGO_BIN_EXE_unet3p"))
            .args(["convert", source, "m", "--overwrite", "-q"])
            .current_dir(place.path("."))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Mostly towards the end, where the writing is.
        std::thread::sleep(whole.mul_f64(0.5 + 0.6 * f64::from(i) / 24.0));
        killed += i32::from(child.kill().is_ok() && !child.wait().unwrap().success());
        let mut found = files(&place.path("m"));
        assert_eq!(found.remove("notes.txt").as_deref(), Some(&b"mine"[..]));
        let which = models.iter().position(|model| *model == found);
        seen[which.unwrap_or_else(|| panic!("a mixture after {i}"))] += 1;
    }
    assert!(killed > 0, "every process was done before it was killed: {seen:?}");
    place.line("convert one/model.safetensors m --overwrite").ends(0, &[]);
    let left = fs::read_dir(place.path(".")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = left.filter(|name| name.starts_with('.')).collect();
    assert_eq!(left, [""; 0]);
}

#[test]
fn of_several_processes_each_writes_the_folder_whole_or_says_that_it_did_not() {
    let place = Place::new();
    let models = two_models(&place);
    let spawn = |i: usize| {
        Command::new(env!("CARGO_BIN_EXE_unet3p"))
            .args(["convert", ["one/model.safetensors", "two/model.safetensors"][i % 2], "m", "--overwrite"])
            .current_dir(place.path("."))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    let ends: Vec<_> = (0..8)
        .map(spawn)
        .collect::<Vec<_>>()
        .into_iter()
        .map(|child| child.wait_with_output().unwrap())
        .collect();
    assert!(Instant::now() < deadline);
    assert!(ends.iter().any(|end| end.status.success()));
    for end in ends.iter().filter(|end| !end.status.success()) {
        let text = String::from_utf8_lossy(&end.stderr);
        assert!(
            end.status.code() == Some(1) && text.contains("another process is writing this folder"),
            "{text}"
        );
    }
    assert!(models.contains(&files(&place.path("m"))));
}
