//! Every file of the corpus, and every file that was a finding once, through its reader.

use std::process::Command;

use unet3p_fuzz::{TARGETS, files_of};

/// In processes of their own, within the limits of time and memory.
#[test]
fn no_file_is_a_finding() {
    let runner = Command::new(env!("CARGO_BIN_EXE_unet3p-fuzz")).args(["--inputs", "0"]).output().unwrap();
    let said = String::from_utf8_lossy(&runner.stdout).into_owned();
    assert!(runner.status.success(), "{said}{}", String::from_utf8_lossy(&runner.stderr));
    for target in &TARGETS {
        let line = said.lines().find(|line| line.split_whitespace().next() == Some(target.name));
        assert!(line.is_some_and(|line| line.ends_with(" 0 findings")), "{}: {said}", target.name);
    }
}

/// Damage to what is refused anyhow would find nothing.
#[test]
fn each_reader_accepts_some_of_its_corpus() {
    for target in &TARGETS {
        let files = files_of(target).unwrap();
        let refused: Vec<_> =
            files.iter().filter_map(|(path, bytes)| Some((path, (target.run)(bytes).err()?))).collect();
        assert!(refused.len() < files.len(), "{}: {refused:#?}", target.name);
    }
}

/// Damage depends on the seed alone.
#[test]
fn a_seed_repeats_itself() {
    for target in &TARGETS {
        let files = files_of(target).unwrap();
        let damage = |seed| {
            let mut random = unet3p_fuzz::Random::new(seed, target.name);
            let mut all = Vec::new();
            for (_, bytes) in files.iter().cycle().take(20) {
                let mut bytes = bytes.clone();
                (target.mutate)(&mut random, &mut bytes, &files[0].1);
                all.push(bytes);
            }
            all
        };
        assert!(damage(1) == damage(1) && damage(1) != damage(2), "{}", target.name);
    }
}
