//! A list of images and masks as a CSV file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::source::{Entry, Listing};
use crate::prepare::{Split, is_slice_name};
use crate::{Error, Result, read_text};

/// A line of the list.
#[derive(Deserialize)]
struct Line {
    image: PathBuf,
    mask: PathBuf,
    #[serde(default)]
    group: Option<String>,
    #[serde(default)]
    split: Option<Split>,
}

/// What the list holds.
pub(super) fn list(path: &Path) -> Result<Listing> {
    let broken = |e: csv::Error| Error::file(path, format!("is no list of images and masks: {e}"));
    let text = read_text(path)?;
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let columns: Vec<String> = reader.headers().map_err(broken)?.iter().map(String::from).collect();
    for column in ["image", "mask"] {
        if !columns.iter().any(|name| name == column) {
            let found = columns.join(", ");
            return Err(Error::file(path, format!("has no column named {column}, only {found}")));
        }
    }
    let mut listing = Listing::default();
    let mut images = BTreeSet::new();
    let mut sides: BTreeMap<String, Split> = BTreeMap::new();
    for line in reader.deserialize() {
        let entry = line.map_err(broken).and_then(|line: Line| entry(path, line));
        match entry {
            Ok(entry) if !images.insert(entry.images.clone()) => {
                let problem = format!("lists {} more than once", entry.name);
                listing.problems.push(Error::file(path, problem));
            }
            Ok(entry) => {
                let side = entry.split.unwrap_or(Split::Train);
                if *sides.entry(entry.group.clone()).or_insert(side) != side {
                    let problem = format!(
                        "has lines of the group {} for training and for validation: a group is on one side",
                        entry.group
                    );
                    listing.problems.push(Error::file(path, problem));
                }
                listing.entries.push(entry);
            }
            Err(problem) => listing.problems.push(problem),
        }
    }
    if images.is_empty() && listing.problems.is_empty() {
        return Err(Error::file(path, "lists no image"));
    }
    Ok(listing)
}

fn entry(path: &Path, line: Line) -> Result<Entry> {
    let name = line.image.with_extension("").to_string_lossy().into_owned();
    let group = match line.group {
        Some(group) => group,
        None if is_slice_name(&name) => {
            // Each slice would count as a person, and one person's slices could lie on both sides of a split.
            let problem = format!(
                "names no group for {name}, which looks like a slice of a volume: the column group tells slices' volumes"
            );
            return Err(Error::file(path, problem));
        }
        None => name.clone(),
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    let (images, mask) = (vec![folder.join(line.image)], folder.join(line.mask));
    Ok(Entry { name, group, split: line.split, images, mask, regions: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(text: &str) -> Result<Listing> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list.csv");
        std::fs::write(&path, text).unwrap();
        list(&path)
    }

    #[test]
    fn lines_become_entries() {
        let text = "mask, image ,split,note,group\nm/1.png,i/1.jpg,train,x,a\n\"m/2.png\",i/2.jpg,validation,,b\nm/3.png,i/3.jpg,,,\n";
        let listing = listing(text).unwrap();
        assert!(listing.problems.is_empty(), "{:?}", listing.problems);
        let entries: Vec<_> =
            listing.entries.iter().map(|e| (e.name.as_str(), e.group.as_str(), e.split)).collect();
        let (train, validation) = (Some(Split::Train), Some(Split::Validation));
        assert_eq!(entries, [("i/1", "a", train), ("i/2", "b", validation), ("i/3", "i/3", None)]);
        assert!(listing.entries[0].mask.ends_with("m/1.png") && listing.entries[0].mask.is_absolute());
    }

    #[test]
    fn every_problem_is_named() {
        let problem = |text| listing(text).unwrap_err().to_string();
        assert!(problem("image,label\na,b\n").contains("no column named mask, only image, label"));
        assert!(problem("image,mask\n").contains("lists no image"));
        assert!(problem("").contains("no column named image"));
        let text = "image,mask,group,split\na.png,m.png,p,train\na.png,m.png,p,train\nb.png,m.png,p,validation\n\
                    c.png,m.png,q,test\nd.png\nx_z0001.png,m.png,,\n";
        let problems: Vec<String> =
            listing(text).unwrap().problems.iter().map(|problem| problem.to_string()).collect();
        let expected = ["a more than once", "group p", "`test`", "line: 6", "no group for x_z0001"];
        assert_eq!(problems.len(), expected.len(), "{problems:#?}");
        for (problem, part) in problems.iter().zip(expected) {
            assert!(problem.contains("list.csv") && problem.contains(part), "{problem} / {part}");
        }
    }
}
