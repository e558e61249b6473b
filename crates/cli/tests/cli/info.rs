//! `unet3p info`.

use crate::support::Place;

#[test]
fn parameters_of_the_published_networks() {
    let place = Place::new();
    for (variant, filters, count) in [
        ("base", 64, "26,971,777"),
        ("deep_supervision", 64, "26,989,637"),
        ("deep_supervision_cgm", 64, "26,991,687"),
        ("base", 16, "1,690,273"),
    ] {
        let run = place.line(&format!("info --variant {variant} --filters {filters}"));
        run.ends(0, &[]);
        assert!(run.stdout.contains(count), "{}", run.stdout);
    }
    place.line("info --variant unet4").ends(2, &["deep_supervision_cgm"]);
    place.line("info --variant base --filters 0").ends(2, &["filters"]);
    let run = place.line("info --encoder resnet34");
    run.ends(0, &[]);
    assert!(run.stdout.contains("27,820,161"), "{}", run.stdout);
    place.line("info liver-ct --encoder plain").ends(2, &["--encoder"]);
    place.line("info").ends(2, &["MODEL"]);
}

#[test]
fn multiply_adds_of_the_published_network() {
    let place = Place::new();
    let run = place.line("info --variant base --size 320x320 --json");
    run.ends(0, &[]);
    let info: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let giga = info["multiply_adds"].as_u64().unwrap() as f64 / 1e9;
    // 308.54 without the head, whose convolution from 320 channels to 1 takes 0.295.
    assert!((giga - 308.83).abs() < 0.01, "{giga}");
    assert_eq!(info["inference_multiply_adds"], info["multiply_adds"]);
    let run = place.line("info --variant deep_supervision --json");
    let supervised: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(supervised["inference_multiply_adds"], info["multiply_adds"]);
    assert!(supervised["multiply_adds"].as_u64() > info["multiply_adds"].as_u64());
}

#[test]
fn a_folder_and_the_bundled_model_are_described() {
    let place = Place::new();
    place.model();
    let run = place.line("info m -q");
    run.ends(0, &[]);
    for word in ["m\n", "base", "liver", "float32", "4, 8, 16, 32, 64", "encoder.1", "total"] {
        assert!(run.stdout.contains(word), "{word}: {}", run.stdout);
    }
    let run = place.line("info liver-ct");
    run.ends(0, &[]);
    for word in ["deep_supervision", "float16", "head.5"] {
        assert!(run.stdout.contains(word), "{word}: {}", run.stdout);
    }
}

#[test]
fn the_table_is_aligned_and_huge_networks_are_counted() {
    let place = Place::new();
    let run = place.line("info --variant deep_supervision");
    let rows: Vec<_> = run.stdout.lines().skip_while(|line| !line.starts_with("part")).collect();
    assert!(rows.last().unwrap().starts_with("of it for a mask"), "{}", run.stdout);
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{}", run.stdout);
    place.line("info --variant base --filters 4096 --size 65536").ends(0, &[]);
    place.line("info --variant base --size 65537").ends(2, &["65536"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_result_that_cannot_be_written_is_a_failed_run() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_unet3p"))
        .args(["info", "--variant", "base"])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("stdout"));
}
