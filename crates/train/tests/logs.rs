//! What a run writes about itself, and the metrics that are in it.
// Helpers beside the tests unwrap as the tests do.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use candle_core::Device;
use common::{config, run, write_discs};
use unet3p_train::{Error, Event, Trainer};

const CGM: &str = "model.variant=deep_supervision_cgm";

/// The names of the files of a run, sorted; of event files what they begin with.
fn files(run_dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(run_dir).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

fn events(run_dir: &Path) -> usize {
    files(run_dir).iter().filter(|name| name.starts_with("events.out.tfevents.")).count()
}

#[test]
fn the_loss_of_a_validation_monitors() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    write_discs(&data);
    let settings = [CGM, "train.monitor=validation_loss", "train.validate_every=1", "train.steps=30"];
    let (summary, epochs) = run(config(&data, &settings), dir.path().join("run"));
    let losses: Vec<f64> = epochs.iter().map(|e| e.validation.as_ref().unwrap().loss).collect();
    let lowest = losses.iter().copied().fold(f64::INFINITY, f64::min);
    let best = summary.best.unwrap();
    assert_eq!((best.value, losses[best.epoch - 1]), (lowest, lowest));
    assert!(lowest < 0.7 * losses[0], "{losses:?}");
    // Slices with and without a disc are told apart in the end.
    let area = |epoch: usize| epochs[epoch].validation.as_ref().unwrap().presence_auc.unwrap();
    assert!(area(epochs.len() - 1) > 0.75, "{}", area(epochs.len() - 1));

    // A rate so small that no bit of the loss changes: the plateau and early stopping count.
    let settings = [
        "train.monitor=validation_loss",
        "train.validate_every=1",
        "train.learning_rate=1e-30",
        "train.schedule={ name = \"plateau\", patience = 1, factor = 0.5 }",
        "train.warm_up=0",
        "train.patience=3",
    ];
    let (summary, epochs) = run(config(&data, &settings), dir.path().join("still"));
    assert!(summary.stopped_early, "{summary:?}");
    let best = summary.best.unwrap().epoch;
    assert_eq!(epochs.len(), best + 3);
    assert!(epochs[best + 2].learning_rate < 0.5 * epochs[0].learning_rate);
    assert_eq!(epochs[0].validation.as_ref().unwrap().presence_auc, None);
}

#[test]
fn a_resumed_run_loses_no_line_and_doubles_none() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("run"));
    write_discs(&data);
    let settings = ["train.validate_every=2", "train.steps=8"];
    run(config(&data, &settings), dir.path().join("whole"));
    // Ends after an epoch that no checkpoint knows of.
    let mut trainer = Trainer::new(config(&data, &settings), &out, Device::Cpu).unwrap();
    let stop = std::panic::AssertUnwindSafe(|| {
        trainer.run(&mut |event: &Event| {
            let third = matches!(event, Event::Epoch(report) if report.epoch == 3);
            assert!(!third, "killed");
        })
    });
    assert!(std::panic::catch_unwind(stop).is_err());
    drop(trainer);
    let metrics = |run: &str| {
        let text = std::fs::read_to_string(dir.path().join(run).join("metrics.csv")).unwrap();
        let timed = text.lines().next().unwrap().split(',').position(|c| c == "images_per_second").unwrap();
        let untimed = |line: &str| {
            let cells = line.split(',').enumerate().filter(|(i, _)| *i != timed);
            cells.map(|(_, cell)| cell.to_string()).collect::<Vec<_>>()
        };
        text.lines().map(untimed).collect::<Vec<_>>()
    };
    assert_eq!(metrics("run").len(), 1 + 3);
    let mut trainer = Trainer::resume(&out, &[], Device::Cpu).unwrap();
    assert_eq!(trainer.steps_done(), 4);
    trainer.run(&mut |_: &Event| {}).unwrap();
    assert_eq!(metrics("run"), metrics("whole"));
    assert_eq!((events(&out), events(&dir.path().join("whole"))), (2, 1));
    drop(trainer);

    let renamed = ["model.class_names=[\"ring\"]".to_string()];
    let mut trainer = Trainer::resume(&out, &renamed, Device::Cpu).unwrap();
    let error = trainer.run(&mut |_: &Event| {}).unwrap_err();
    assert!(matches!(&error, Error::Log { .. }) && error.to_string().contains("dice_ring"), "{error}");
}

#[test]
fn the_report_is_one_page_in_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("a <run>"));
    write_discs(&data);
    // Each slice a volume of its own: eight to choose cases from.
    std::fs::remove_file(data.join("dataset.json")).unwrap();
    let settings = [
        "train.steps=16",
        "train.validate_every=1",
        "data.validation_groups=[\"b_0\", \"b_1\", \"b_2\", \"b_3\", \"b_4\", \"b_5\", \"b_6\", \"b_7\"]",
        "model.class_names=[\"disc & <ring>\"]",
    ];
    let (summary, _) = run(config(&data, &settings), out.clone());
    assert_eq!(summary.report, Some(out.join("report.html")));
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(
        page.contains("<h1>a &lt;run&gt;</h1>") && page.contains("dice_disc &amp; &lt;ring&gt;"),
        "{page}"
    );
    assert!(!page.contains("<run>") && !page.contains("<ring>"), "{page}");
    // Curves, cases and style are in the page; nothing is fetched.
    assert!(page.contains("<svg") && page.contains("<style>"));
    assert!(page.matches("src=\"data:image/png;base64,").count() == 6, "{page}");
    assert!(!page.contains("href=") && page.matches("src=").count() == 6);
    let best = summary.best.unwrap();
    assert!(page.contains(&format!("<td class=\"number\">{}</td>", best.epoch)), "{page}");
    let dice: Vec<f64> = page.split("<b>Dice ").skip(1).map(|text| text[..6].parse().unwrap()).collect();
    let (first, last) = dice.split_at(3);
    assert!(first.is_sorted_by(|a, b| a >= b) && last.is_sorted() && first[2] >= last[2], "{dice:?}");
    assert!(page.contains("steps = 16"), "the configuration");
}

#[test]
fn logs_that_are_off_are_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("run"));
    write_discs(&data);
    run(config(&data, &["train.steps=2"]), out.clone());
    assert!(
        ["metrics.csv", "progress.png", "report.html"]
            .iter()
            .all(|log| files(&out).contains(&log.to_string()))
    );
    assert_eq!(events(&out), 1);
    let settings = ["log.csv=false", "log.tensorboard=false", "log.plot=false", "log.report=false"];
    let off = dir.path().join("off");
    run(config(&data, &[&["train.steps=2"][..], &settings].concat()), off.clone());
    assert_eq!(files(&off), [".lock", "best", "checkpoint.safetensors", "config.toml", "last"]);
}
