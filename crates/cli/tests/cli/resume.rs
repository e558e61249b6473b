//! `unet3p train --resume`: runs that were killed.

use std::fs;
use std::io::{BufRead, BufReader};
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
        .ends(1, &["checkpoint.safetensors", "damaged", "truncated", "checkpoint.previous.safetensors"]);
    place.write(
        "run/checkpoint.safetensors",
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 9\n",
    );
    place.line("train --resume run").ends(1, &["checkpoint.safetensors", "Git LFS pointer", "git lfs pull"]);
    assert_eq!(fs::read(place.path("run/best/config.json")).unwrap(), best);
    fs::write(&checkpoint, &whole).unwrap();
    place.line("train --resume run --set model.filters=[4,8,16,32,64]").ends(
        1,
        &["the configuration has changed", "model.filters: [2, 4, 8, 16, 32] -> [4, 8, 16, 32, 64]"],
    );
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

/// The cells of a column of metrics.csv.
fn column(place: &Place, run: &str, name: &str) -> Vec<String> {
    let text = fs::read_to_string(place.path(&format!("{run}/metrics.csv"))).unwrap();
    let index = text.lines().next().unwrap().split(',').position(|column| column == name).unwrap();
    text.lines().skip(1).map(|line| line.split(',').nth(index).unwrap().to_string()).collect()
}

/// The progress in a checkpoint's header.
fn progress(place: &Place, run: &str) -> serde_json::Value {
    let bytes = fs::read(place.path(&format!("{run}/checkpoint.safetensors"))).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    serde_json::from_str(header["__metadata__"]["progress"].as_str().unwrap()).unwrap()
}

#[test]
fn a_run_goes_on_from_any_folder_and_by_steps_where_it_counted_epochs() {
    let place = Place::new();
    slices(&place);
    place.line("train -c c.toml -o run --set train.epochs=1").ends(0, &["steps: 2"]);
    let config = fs::read_to_string(place.path("run/config.toml")).unwrap();
    let folder = fs::canonicalize(place.path("slices")).unwrap();
    assert!(config.contains(&format!("{folder:?}")) && config.contains("epochs = 1"), "{config}");
    let run = place.line("train --resume run --set train.steps=5");
    run.ends(0, &["train.epochs: 1 -> none", "train.steps: none -> 5"]);
    assert!(run.stdout.contains("done: 5 steps") && !run.stderr.contains("data.paths"), "{run:#?}");
    // As if from another folder: what is here now is another's.
    fs::create_dir(place.path("elsewhere")).unwrap();
    for line in ["train --resume ../run --set train.epochs=4", "evaluate -m ../run --overwrite"] {
        let output = Command::new(env!("CARGO_BIN_EXE_unet3p"))
            .args(line.split(' '))
            .current_dir(place.path("elsewhere"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
    }
}

#[test]
fn another_monitor_finds_its_own_best() {
    let place = Place::new();
    slices(&place);
    place.line("train -c c.toml -o run").ends(0, &[]);
    assert_eq!(progress(&place, "run")["monitor"], "dice");
    let before = fs::read(place.path("run/best/model.safetensors")).unwrap();
    let changes = "--set train.monitor=validation_loss --set train.steps=10 --set train.learning_rate=0.01";
    let run = place.line(&format!("train --resume run {changes}"));
    run.ends(0, &["the best starts anew: dice", "train.monitor: \"dice\" -> \"validation_loss\""]);
    run.ends(0, &["train.learning_rate: 0.001 -> 0.01", "train.steps: 4 -> 10"]);
    let losses: Vec<f64> =
        column(&place, "run", "validation_loss").iter().map(|v| v.parse().unwrap()).collect();
    // Two epochs were before the change.
    let lowest = losses[2..].iter().copied().fold(f64::INFINITY, f64::min);
    assert!(run.stdout.contains(&format!("best validation_loss {lowest:.4}")), "{losses:?} {}", run.stdout);
    assert!(fs::read(place.path("run/best/model.safetensors")).unwrap() != before);
    assert_eq!(progress(&place, "run")["monitor"], "validation_loss");
    let page = fs::read_to_string(place.path("run/report.html")).unwrap();
    assert!(page.contains("after step 4: the best starts anew"), "{page}");
    // The same monitor again: nothing to say, and the best stays.
    let again = place.line("train --resume run");
    again.ends(0, &[]);
    assert!(!again.stderr.contains("anew") && !again.stderr.contains("has changed"), "{}", again.stderr);
    assert!(again.stdout.contains(&format!("best validation_loss {lowest:.4}")), "{}", again.stdout);
    // Another loss is another measure.
    place
        .line("train --resume run --set loss.segmentation=bce --set train.steps=12")
        .ends(0, &["the best starts anew: validation_loss", "loss.segmentation: \"dice\" -> \"bce\""]);
}

#[test]
fn epochs_go_on_whatever_the_size_of_a_step() {
    let place = Place::new();
    slices(&place);
    // Four slices to train on, two steps an epoch; the third epoch is cut short by the end of the run.
    place.line("train -c c.toml -o run --set train.steps=5").ends(0, &[]);
    for (change, steps) in
        [("batch_size=1", 14), ("batch_size=4", 17), ("accumulate=3", 19), ("batch_size=2", 25)]
    {
        place
            .line(&format!("train -q --resume run --set train.{change} --set train.steps={steps}"))
            .ends(0, &[]);
        let epochs: Vec<usize> =
            column(&place, "run", "epoch").iter().map(|cell| cell.parse().unwrap()).collect();
        assert!(epochs.iter().copied().eq(1..=epochs.len()), "{change}: {epochs:?}");
        let steps: Vec<usize> =
            column(&place, "run", "step").iter().map(|cell| cell.parse().unwrap()).collect();
        assert!(steps.is_sorted_by(|a, b| a < b), "{change}: {steps:?}");
    }
    // By epochs: the two that are left have as many steps as they need now.
    let epochs = CONFIG.replace("steps = 4", "epochs = 4");
    place.write("c.toml", epochs);
    place.line("train -q -c c.toml -o epochs --set train.epochs=2").ends(0, &[]);
    place.line("train -q --resume epochs --set train.epochs=4 --set train.batch_size=1").ends(0, &[]);
    assert_eq!(column(&place, "epochs", "epoch"), ["1", "2", "3", "4"]);
    assert_eq!(column(&place, "epochs", "step"), ["2", "4", "8", "12"]);
}

#[test]
fn another_optimizer_and_an_average_begin_anew() {
    let place = Place::new();
    slices(&place);
    place.line("train -c c.toml -o run --set train.ema_decay=0.0").ends(0, &[]);
    place
        .line("train --resume run --set train.steps=6 --set train.optimizer=sgd --set train.ema_decay=0.9")
        .ends(
            0,
            &[
                "train.optimizer: \"adamw\" -> \"sgd\"",
                "the optimizer begins anew",
                "average of the weights begins anew",
            ],
        );
    place.line("train --resume run --set train.steps=8").ends(0, &["resumed after 6 of 8 steps"]);
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_what_the_run_goes_on_from() {
    let place = Place::new();
    slices(&place);
    let config = CONFIG.replace("steps = 4", "steps = 40\nvalidate_every = 3");
    place.write("c.toml", config);
    place.line("train -c c.toml -o whole --threads 2").ends(0, &[]);
    for (signal, run) in [("-INT", "my run"), ("-TERM", "stopped")] {
        let mut args: Vec<String> = ["-c", "c.toml", "-o", run, "--threads", "2"].map(String::from).to_vec();
        let mut stops = 0;
        loop {
            let mut child = Command::new(env!("CARGO_BIN_EXE_unet3p"))
                .arg("train")
                .args(&args)
                .current_dir(place.path(""))
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            // The first epoch of the session is done: the run is under way.
            let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
            let begun = lines.any(|line| line.starts_with("epoch "));
            if begun && stops < 2 {
                let id = child.id().to_string();
                assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
            }
            let rest: Vec<String> = lines.collect();
            let code = child.wait().unwrap().code();
            if code == Some(0) {
                break;
            }
            assert_eq!(code, Some(130), "{rest:#?}");
            stops += 1;
            let shown = if run.contains(' ') { format!("'{run}'") } else { run.to_string() };
            let command = format!("train --resume {shown} --threads 2");
            assert!(rest.iter().any(|line| line.ends_with(&command)), "{rest:#?}");
            assert!(
                rest.iter().any(|line| line.contains("of 40 steps, the checkpoint is saved")),
                "{rest:#?}"
            );
            args = ["--resume", run, "--threads", "2"].map(String::from).to_vec();
        }
        assert!(stops > 0, "the run was done before it could be stopped");
        for file in ["last/model.safetensors", "best/model.safetensors", "last/README.md"] {
            let read = |run: &str| fs::read(place.path(&format!("{run}/{file}"))).unwrap();
            assert!(read("whole") == read(run), "{file} differs after {stops} stops");
        }
        assert_eq!(metrics(&place, "whole"), metrics(&place, run));
    }
}

/// A step that takes long is not waited for when Ctrl-C comes twice.
#[cfg(unix)]
#[test]
fn a_second_ctrl_c_ends_at_once() {
    let place = Place::new();
    slices(&place);
    // A minute a step.
    let settings = "train -c c.toml -o run --threads 1 --set train.accumulate=100 --set data.crop=[128,128] \
                    --set model.filters=[32,64,128,256,512] --set data.workers=0";
    let mut child = Command::new(env!("CARGO_BIN_EXE_unet3p"))
        .args(settings.split_whitespace())
        .current_dir(place.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("output folder: run")));
    let id = child.id().to_string();
    let begin = Instant::now();
    let mut code = None;
    while code.is_none() && begin.elapsed() < Duration::from_secs(60) {
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        sleep(Duration::from_millis(200));
        code = child.try_wait().unwrap().map(|status| status.code());
    }
    // Of no effect on a process that has ended.
    let _ = child.kill();
    child.wait().unwrap();
    assert_eq!(code.flatten(), Some(130));
}
