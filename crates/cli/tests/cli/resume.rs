//! `unet3p train --resume`: runs that were killed.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::Place;
use crate::train::{CONFIG, slices};

/// What a run ends with.
const RESULTS: [&str; 4] =
    ["last/model.safetensors", "best/model.safetensors", "last/README.md", "checkpoint.safetensors"];

fn start(place: &Place, args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_unet3p"))
        .arg("train")
        .args(args)
        .current_dir(place.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Columns of metrics.csv that do not depend on the time.
fn metrics(place: &Place, run: &str) -> Vec<String> {
    let text = fs::read_to_string(place.path(&format!("{run}/metrics.csv"))).unwrap();
    let timed = text.lines().next().unwrap().split(',').position(|name| name == "images_per_second").unwrap();
    let keep = |line: &str| {
        let columns = line.split(',').enumerate().filter(|&(i, _)| i != timed);
        columns.map(|(_, text)| text).collect::<Vec<_>>().join(",")
    };
    text.lines().map(keep).collect()
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_as_one_that_never_was() {
    let place = Place::new();
    slices(&place);
    let variant = "variant = \"deep_supervision_cgm\"\nclass_names";
    let config = CONFIG.replace("class_names", variant).replace(
        "steps = 4",
        "steps = 60\ncheckpoint_every = 3\nvalidate_every = 2\nschedule = \"plateau\"\naccumulate = 2",
    );
    place.write("c.toml", config.replace("batch_size = 2", "batch_size = 1"));
    let begin = Instant::now();
    place.line("train -c c.toml -o whole --threads 2").ends(0, &[]);
    let whole = begin.elapsed();

    let mut rng = ChaCha8Rng::seed_from_u64(u64::from(std::process::id()));
    let mut killed = 0;
    let mut child = start(&place, &["-c", "c.toml", "-o", "killed", "--threads", "2"]);
    while killed < 5 {
        sleep(whole.mul_f64(rng.random_range(0.0..0.35)));
        // SIGKILL on Unix.
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            break;
        }
        killed += 1;
        // Killed before it had told what it trains, it is simply begun again.
        let begun = place.path("killed/config.toml").exists();
        let again = ["-c", "c.toml", "-o", "killed", "--threads", "2"];
        let go_on = ["--resume", "killed", "--threads", "2"];
        child = start(&place, if begun { &go_on } else { &again });
    }
    assert!(child.wait().unwrap().success());
    println!("killed {killed} times in a run of {whole:?}");
    for file in RESULTS {
        let read = |run: &str| fs::read(place.path(&format!("{run}/{file}"))).unwrap();
        let without_time = |bytes: Vec<u8>| {
            // The seconds taken stand in the checkpoint's header alone.
            let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            bytes[8 + header..].to_vec()
        };
        let (a, b) = (read("whole"), read("killed"));
        let same = if file.starts_with("checkpoint") { without_time(a) == without_time(b) } else { a == b };
        assert!(same, "{file} differs after {killed} kills");
    }
    assert_eq!(metrics(&place, "whole"), metrics(&place, "killed"));
}

#[test]
fn what_cannot_be_resumed_says_why() {
    let place = Place::new();
    slices(&place);
    place.line("train --resume nowhere").ends(2, &["nowhere", "no run to resume"]);
    place.line("train --resume run -o other").ends(2, &["--resume"]);
    place.line("train -o run").ends(2, &["--config"]);
    place.line("train -c c.toml -o run").ends(0, &[]);
    place.line("train -c c.toml -o run").ends(2, &["run", "--resume"]);

    let checkpoint = place.path("run/checkpoint.safetensors");
    let (whole, best) =
        (fs::read(&checkpoint).unwrap(), fs::read(place.path("run/best/config.json")).unwrap());
    fs::write(&checkpoint, &whole[..whole.len() - 7]).unwrap();
    place
        .line("train --resume run")
        .ends(1, &["checkpoint.safetensors", "damaged", "checkpoint.previous.safetensors"]);
    assert_eq!(fs::read(place.path("run/best/config.json")).unwrap(), best);
    fs::write(&checkpoint, &whole).unwrap();
    place
        .line("train --resume run --set model.filters=[4,8,16,32,64]")
        .ends(1, &["the configuration has changed"]);
    fs::remove_file(place.path("slices/images/0.png")).unwrap();
    place
        .line("train --resume run")
        .ends(1, &["checkpoint.safetensors", "other training or validation slices"]);
}

#[test]
fn one_process_trains_in_a_folder() {
    let place = Place::new();
    slices(&place);
    let mut child = start(&place, &["-c", "c.toml", "-o", "run", "--set", "train.steps=100000"]);
    let begin = Instant::now();
    while !place.path("run/config.toml").exists() && begin.elapsed() < Duration::from_secs(60) {
        sleep(Duration::from_millis(20));
    }
    let second = place.line("train --resume run");
    child.kill().unwrap();
    child.wait().unwrap();
    second.ends(2, &["run", "another process is training"]);
}

/// A disk that is full, played by a limit on the size of files.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_what_was_there() {
    let place = Place::new();
    slices(&place);
    place.line("train -c c.toml -o run").ends(0, &[]);
    let before = fs::read(place.path("run/checkpoint.safetensors")).unwrap();
    let script = format!(
        "ulimit -f 8; trap '' XFSZ; exec {} train --resume run --set train.steps=8",
        env!("CARGO_BIN_EXE_unet3p")
    );
    let output = Command::new("bash").args(["-c", &script]).current_dir(place.path("")).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("run") && stderr.contains("too large"), "{stderr}");
    assert!(fs::read(place.path("run/checkpoint.safetensors")).unwrap() == before);
    place.line("predict -i slices/images -o out -m run/best").ends(0, &[]);
    place.line("train --resume run --set train.steps=8").ends(0, &[]);
}
