//! Cases with a file for each channel, by nnU-Net's names: `CASE_0000.nii.gz`, `CASE_0001.nii.gz`, ...

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::listing::ending_len;
use crate::{Error, Result};

/// Images have at most so many channels.
pub const MAX_CHANNELS: usize = 64;

/// Digits of a channel's number in a file name.
const DIGITS: usize = 4;

/// Endings of files that hold a channel.
const ENDINGS: [&str; 7] = ["png", "jpg", "jpeg", "tif", "tiff", "nii", "nii.gz"];

/// The case and the number of the channel in a name without ending, by nnU-Net's rule; nothing for other names.
///
/// ```
/// use unet3p_data::channel_of;
/// assert_eq!(channel_of("BRATS_001_0002"), Some(("BRATS_001", 2)));
/// assert_eq!(channel_of("BRATS_001"), None);
/// ```
pub fn channel_of(name: &str) -> Option<(&str, usize)> {
    let (case, number) = name.rsplit_once('_')?;
    let is_number = number.len() == DIGITS && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && !case.is_empty() && !case.ends_with('/')).then(|| Some((case, number.parse().ok()?)))?
}

/// Channels that nobody has named are called by their numbers, as files are: `0000`, `0001`, ...
pub(crate) fn numbered(count: usize) -> Vec<String> {
    (0..count).map(number).collect()
}

/// Names that tell channels apart: where two are equal, all have their numbers behind them.
pub(crate) fn told_apart(names: Vec<String>) -> Vec<String> {
    let distinct: BTreeSet<&String> = names.iter().collect();
    if distinct.len() == names.len() {
        return names;
    }
    names.into_iter().enumerate().map(|(channel, name)| format!("{name} {}", number(channel))).collect()
}

/// A channel's number as file names have it.
pub(crate) fn number(channel: usize) -> String {
    format!("{channel:0DIGITS$}")
}

/// "4 channels: 0000 (flair), 0001 (t1), ...".
pub(crate) fn listed(names: &[String]) -> String {
    let named = names.iter().enumerate().map(|(channel, name)| label(channel, name));
    let what = if names.len() == 1 { "channel" } else { "channels" };
    format!("{} {what}: {}", names.len(), named.collect::<Vec<_>>().join(", "))
}

fn label(channel: usize, name: &str) -> String {
    let number = number(channel);
    if name == number { number } else { format!("{number} ({name})") }
}

/// The files of cases by the numbers of their channels.
#[derive(Debug, Default)]
pub(crate) struct Cases {
    pub(crate) cases: BTreeMap<String, BTreeMap<usize, PathBuf>>,
    /// Files whose names tell no channel.
    pub(crate) others: Vec<PathBuf>,
}

impl Cases {
    /// Sorts files by their names without ending.
    pub(crate) fn of(files: impl IntoIterator<Item = (String, PathBuf)>) -> Self {
        let mut found = Self::default();
        for (name, path) in files {
            match channel_of(&name) {
                Some((case, channel)) => {
                    found.cases.entry(case.to_owned()).or_default().insert(channel, path);
                }
                None => found.others.push(path),
            }
        }
        found
    }
}

/// The files of a case in the order of the channels `names`.
///
/// # Errors
/// [`Error::File`] for a channel that is missing or too many, with the case and all that is expected.
pub(crate) fn in_order(
    case: &str,
    found: &BTreeMap<usize, PathBuf>,
    names: &[String],
) -> Result<Vec<PathBuf>> {
    let Some((&first, some)) = found.first_key_value() else { return Ok(Vec::new()) };
    let expected = listed(names);
    if let Some((_, extra)) = found.range(names.len()..).next() {
        let problem = format!("is a channel too many: the case {case} needs {expected}; remove the file");
        return Err(Error::file(extra, problem));
    }
    let missing = |channel: usize| {
        let name = names.get(channel).map_or("", String::as_str);
        let file = some.file_name().unwrap_or_default().to_string_lossy();
        let (there, wanted) = (format!("_{}.", number(first)), format!("_{}.", number(channel)));
        let wanted = some.with_file_name(match file.rfind(&there) {
            Some(at) => format!("{}{wanted}{}", &file[..at], &file[at + there.len()..]),
            None => file.into_owned(),
        });
        let problem = format!(
            "is missing: it is the channel {} of the case {case}, which needs {expected}",
            label(channel, name)
        );
        Error::file(&wanted, problem)
    };
    (0..names.len()).map(|channel| found.get(&channel).cloned().ok_or_else(|| missing(channel))).collect()
}

/// The files of the case that `path` is a channel of: those beside it that are named `CASE_0000`, `CASE_0001`, ..., one
/// for each of `names`, with any ending that is read. With one channel it is `path` alone.
///
/// # Errors
/// [`Error::File`] for a file that is no channel by its name, a channel that is missing, too many, or there twice;
/// [`Error::Io`] where the folder cannot be read.
pub(crate) fn beside(path: &Path, names: &[String]) -> Result<Vec<PathBuf>> {
    if names.len() == 1 {
        return Ok(vec![path.to_path_buf()]);
    }
    let Some((case, _)) = path.file_name().and_then(|name| name.to_str()).and_then(case_of) else {
        let problem = format!(
            "is one file, and {} are needed, each in a file of its own: name them CASE_0000, CASE_0001 and so on in one \
             folder, or list them in a CSV file",
            listed(names)
        );
        return Err(Error::file(path, problem));
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |source| Error::io(folder, "read the folder", source);
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    let mut found: BTreeMap<usize, PathBuf> = BTreeMap::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let Some((_, channel)) = name.to_str().and_then(case_of).filter(|&(other, _)| other == case) else {
            continue;
        };
        // As the user spelt the folder.
        let file = path.with_file_name(&name);
        if let Some(other) = found.insert(channel, file.clone()) {
            let problem = format!("and {} are one channel by their names: remove one", other.display());
            return Err(Error::file(&file, problem));
        }
    }
    in_order(case, &found, names)
}

/// The case and the channel in a file's name.
fn case_of(name: &str) -> Option<(&str, usize)> {
    channel_of(&name[..name.len() - ending_len(name, &ENDINGS)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        ["flair", "t1", "t2"].map(String::from).to_vec()
    }

    fn place(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        files.iter().for_each(|file| std::fs::write(dir.path().join(file), "").unwrap());
        dir
    }

    #[test]
    fn names_tell_case_and_channel() {
        for (name, expected) in [
            ("a_0000", Some(("a", 0))),
            ("p/a_b_0012", Some(("p/a_b", 12))),
            ("a_000", None),
            ("a_00000", None),
            ("_0000", None),
            ("p/_0000", None),
            ("0000", None),
            ("a_+001", None),
        ] {
            assert_eq!(channel_of(name), expected, "{name}");
        }
    }

    #[test]
    fn siblings_are_found_whatever_their_ending() {
        let dir =
            place(&["a_0000.nii.gz", "a_0001.nii", "a_0002.NII.GZ", "ab_0000.nii", "a.txt", "a_0003.txt"]);
        let files = beside(&dir.path().join("a_0001.nii"), &names()).unwrap();
        let files: Vec<_> = files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(files, ["a_0000.nii.gz", "a_0001.nii", "a_0002.NII.GZ"]);
        let alone = dir.path().join("ab_0000.nii");
        assert_eq!(beside(&alone, &names()[..1]).unwrap(), [alone]);
    }

    #[test]
    fn what_is_missing_or_too_many_is_named_with_the_case() {
        let problem = |files: &[&str], path: &str| {
            let dir = place(files);
            beside(&dir.path().join(path), &names()).unwrap_err().to_string()
        };
        let all = "3 channels: 0000 (flair), 0001 (t1), 0002 (t2)";
        let text = problem(&["a_0000.png", "a_0002.png"], "a_0000.png");
        assert!(
            text.contains("a_0001.png: is missing") && text.contains("0001 (t1) of the case a"),
            "{text}"
        );
        assert!(text.contains(all), "{text}");
        let text = problem(&["a_0000.png", "a_0001.png", "a_0002.png", "a_0003.png"], "a_0000.png");
        assert!(text.contains("a_0003.png: is a channel too many") && text.contains(all), "{text}");
        let text = problem(&["a.png"], "a.png");
        assert!(text.contains("a.png: is one file") && text.contains(all), "{text}");
        let text = problem(&["a_0000.png", "a_0000.tif", "a_0001.png", "a_0002.png"], "a_0000.png");
        assert!(text.contains("one channel"), "{text}");
        assert_eq!(listed(&numbered(2)), "2 channels: 0000, 0001");
    }
}
