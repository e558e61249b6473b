//! A list of images and masks as a CSV file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::source::{Entry, Listing};
use crate::case_list::{ListedCase, Table};
use crate::prepare::{Split, is_slice_name};
use crate::{Error, Preprocessor, Result};

/// What a line says beside its images.
#[derive(Deserialize)]
struct Line {
    mask: PathBuf,
    #[serde(default)]
    group: Option<String>,
    #[serde(default)]
    split: Option<Split>,
}

/// Names of the channels, where the list has a column for each.
pub(super) fn channel_names(path: &Path) -> Result<Option<Vec<String>>> {
    let names = Table::read(path)?.names;
    Ok((names.len() > 1).then_some(names))
}

/// What the list holds.
pub(super) fn list(path: &Path, how: &Preprocessor) -> Result<Listing> {
    let table = Table::read(path)?;
    if table.column("mask").is_none() {
        return Err(table.lacks("mask"));
    }
    let columns = table.columns_for(how)?;
    let mut listing = Listing::default();
    let mut images = BTreeSet::new();
    let mut sides: BTreeMap<String, Split> = BTreeMap::new();
    for record in &table.records {
        let entry = match record {
            Ok(record) => {
                let line = record.deserialize(Some(&table.headers)).map_err(|error| table.broken(&error));
                table.case(record, &columns).and_then(|case| entry(path, line?, case))
            }
            Err(error) => Err(table.broken(error)),
        };
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

fn entry(path: &Path, line: Line, case: ListedCase) -> Result<Entry> {
    let name = case.name.to_string_lossy().into_owned();
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
    let mask = path.parent().unwrap_or(Path::new("")).join(line.mask);
    Ok(Entry { name, group, split: line.split, images: case.files, mask, regions: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(text: &str) -> Result<Listing> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list.csv");
        std::fs::write(&path, text).unwrap();
        list(&path, &Preprocessor::default())
    }

    fn several(text: &str, names: &[&str]) -> std::result::Result<Vec<Vec<String>>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list.csv");
        std::fs::write(&path, text).unwrap();
        let how = Preprocessor::for_channels(names.iter().map(|name| name.to_string()).collect());
        let listing = list(&path, &how).map_err(|error| error.to_string())?;
        if let Some(problem) = listing.problems.first() {
            return Err(problem.to_string());
        }
        let file = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        Ok(listing.entries.iter().map(|entry| entry.images.iter().map(file).collect()).collect())
    }

    #[test]
    fn several_columns_are_the_channels_of_one_sample() {
        let numbered = "image,image_1,mask\na.png,b.png,m.png\n";
        assert_eq!(several(numbered, &["t1", "t2"]).unwrap(), [["a.png", "b.png"]]);
        // By name, in the network's order, whatever stands between them.
        let named = "t2,note,t1,mask\na.png,x,b.png,m.png\n";
        assert_eq!(several(named, &["t1", "t2"]).unwrap(), [["b.png", "a.png"]]);
        assert_eq!(several(named, &["0000", "0001"]).unwrap(), [["a.png", "b.png"]]);
        for (text, names, parts) in [
            (named, ["t1", "flair"], ["no column named flair", "t2, note, t1, mask"]),
            ("image,image_2,mask\na.png,b.png,m.png\n", ["t1", "t2"], ["image_2", "none named image_1"]),
            ("t1,t2,mask\na.png,,m.png\n", ["t1", "t2"], ["column t2", "line 2"]),
            ("t1,t2,mask\na.png,b.png,m.png\nc.png,,n.png\n", ["t1", "t2"], ["column t2", "line 3"]),
            ("t1,t2,adc,mask\na.png,b.png,c.png,m.png\n", ["t1", "t2"], ["column adc", "0001 (t2)"]),
        ] {
            let problem = several(text, &names);
            let problem = problem.unwrap_err();
            assert!(parts.iter().all(|part| problem.contains(part)), "{problem} / {parts:?}");
        }
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
