//! Inputs of several channels, each a file of its own: by their names, and by lists.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use unet3p_data::{Preprocessor, channel_of};

use super::error::PlanError;
use super::inputs::{Input, Kind, kind_of};

/// Whether a path is a list of cases.
pub fn is_list(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv")) && path.is_file()
}

/// Whether an input may be a channel by its name.
pub fn may_be_channel(input: &Input) -> bool {
    input.kind != Kind::Array && input.stem.to_str().and_then(channel_of).is_some()
}

/// One input for each case, where a case has several files: `CASE_0000`, `CASE_0001`, ... become the files of CASE, and a
/// channel that was named alone stands for all that lie beside it. What is wrong with them is told when they are read.
pub fn by_case(inputs: Vec<Input>, how: &Preprocessor) -> Vec<Input> {
    let needed = how.files_per_case();
    if needed <= 1 {
        return inputs;
    }
    let mut cases = grouped(inputs);
    // Only where some are missing: each look reads the whole folder.
    for case in cases.iter_mut().filter(|case| case.files.len() < needed) {
        if let Ok(files) = case_files(case, Some(how)) {
            case.files = files;
        }
    }
    cases
}

/// The inputs with those that are channels of one case by their names put together.
pub(crate) fn grouped(inputs: Vec<Input>) -> Vec<Input> {
    let mut places: HashMap<(PathBuf, PathBuf), usize> = HashMap::new();
    let mut cases: Vec<Input> = Vec::new();
    for mut input in inputs {
        let case = input.stem.to_str().and_then(channel_of).filter(|_| input.kind != Kind::Array);
        let Some(case) = case.map(|(case, _)| PathBuf::from(case)) else {
            cases.push(input);
            continue;
        };
        let folder = input.path.parent().unwrap_or(Path::new("")).to_path_buf();
        let place = *places.entry((folder, case.clone())).or_insert(cases.len());
        match cases.get_mut(place) {
            Some(first) => {
                first.files.append(&mut input.files);
                first.files.sort();
                first.files.dedup();
                first.path.clone_from(&first.files[0]);
            }
            None => {
                input.stem = case;
                cases.push(input);
            }
        }
    }
    cases
}

/// The files of an input's case: of several channels, those that lie beside it, unless a list says which they are.
///
/// # Errors
/// A channel is missing or too many.
pub fn case_files(input: &Input, how: Option<&Preprocessor>) -> Result<Vec<PathBuf>, unet3p_data::Error> {
    match how {
        Some(how) if !input.is_listed && input.kind != Kind::Array && how.files_per_case() > 1 => {
            how.case_files(&input.path)
        }
        _ => Ok(input.files.clone()),
    }
}

/// The cases of a list.
///
/// # Errors
/// [`PlanError`]: it cannot be read, lacks a channel, or lists a kind of file that is not read.
pub fn listed_cases(list: &Path, how: &Preprocessor) -> Result<Vec<Input>, PlanError> {
    let cases = how.read_list(list).map_err(PlanError::Listing)?;
    if cases.is_empty() {
        return Err(PlanError::EmptyList { list: list.to_path_buf() });
    }
    let input = |case: unet3p_data::ListedCase| {
        let Some(path) = case.files.first().cloned() else {
            return Err(PlanError::EmptyList { list: list.to_path_buf() });
        };
        let kind = kind_of(&path)
            .filter(|&kind| kind != Kind::Array)
            .ok_or_else(|| PlanError::ListedKind { list: list.to_path_buf(), path: path.clone() })?;
        let stem = below(&case.name);
        let case_name = stem.to_str().and_then(channel_of).filter(|_| case.files.len() > 1);
        let stem = case_name.map_or_else(|| stem.clone(), |(name, _)| PathBuf::from(name));
        Ok(Input { path, files: case.files, stem, kind, named: true, is_listed: true })
    };
    cases.into_iter().map(input).collect()
}

/// A path that leads below the output folder: the file's name alone where it leads elsewhere.
fn below(name: &Path) -> PathBuf {
    if name.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return name.to_path_buf();
    }
    name.file_name().map_or_else(|| name.to_path_buf(), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_of_a_case_are_one_input() {
        let input = |name: &str| Input::new(Path::new("d").join(name), Path::new(name), false).unwrap();
        let inputs = ["b_0001.png", "b_0000.png", "c.png", "p/b_0000.png", "x_0000.npy"].map(input);
        let cases = grouped(inputs.to_vec());
        let names: Vec<_> =
            cases.iter().map(|case| (case.stem.to_str().unwrap(), case.files.len())).collect();
        assert_eq!(names, [("b", 2), ("c", 1), ("p/b", 1), ("x_0000", 1)]);
        assert_eq!(cases[0].path, Path::new("d/b_0000.png"));
        assert_eq!(below(Path::new("/data/p/a")), Path::new("a"));
        assert_eq!(below(Path::new("../p/a")), Path::new("a"));
        assert_eq!(below(Path::new("p/a")), Path::new("p/a"));
    }

    #[test]
    fn a_channel_that_was_named_alone_stands_for_its_case() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["a_0000.png", "a_0001.png", "b_0001.png"].map(|name| dir.path().join(name));
        paths.iter().for_each(|path| std::fs::write(path, "").unwrap());
        let input = |path: &PathBuf| Input::new(path.clone(), path, true).unwrap();
        let how = Preprocessor::for_channels(vec!["t1".into(), "t2".into()]);
        let cases = by_case(vec![input(&paths[1]), input(&paths[2])], &how);
        assert_eq!(cases[0].files, paths[..2]);
        assert_eq!(cases[0].path, paths[1]);
        // What it lacks is told when it is read.
        assert_eq!(cases[1].files, paths[2..]);
        assert!(case_files(&cases[1], Some(&how)).is_err());
        assert_eq!(by_case(vec![input(&paths[0])], &Preprocessor::default()), [input(&paths[0])]);
    }
}
