//! Where slices wait until all of them are written.

use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use unet3p_files::{is_temporary, sync_folder};

use super::cut::Part;
use super::{DatasetIndex, FolderOptions, VolumePair};
use crate::atomic::create_folder;
use crate::channels::number;
use crate::{Error, Result, channel_of, write_atomically};

/// The folders of slices, by what they hold.
const FOLDERS: [&str; 3] = [IMAGES, "masks", "regions"];
const IMAGES: &str = "images";
/// Inside the output, so that files can be renamed.
const STAGING: &str = ".unet3p-prepare";
/// Held by the process that writes.
const LOCK: &str = "lock";
/// The options that the slices here were cut with.
const OPTIONS: &str = "options";
/// A record for each volume that is done.
const DONE: &str = "volumes";
/// There while slices are moved to the output, and after that where volumes failed.
const MOVING: &str = "moving";

/// A hidden folder inside the output. It outlives a run that is cut off or could not use all volumes: the next one with the
/// same options takes over the volumes that are done.
pub(super) struct Staging {
    folder: PathBuf,
    out: PathBuf,
    regions: bool,
    /// How many files the image of a slice has, where they have numbers.
    channels: Option<usize>,
    /// Unlocked when it is closed, by whatever way the process ends.
    _lock: File,
}

/// A finished volume, and the files that it was cut from.
#[derive(Serialize, Deserialize)]
struct Record {
    images: Vec<Source>,
    labels: Source,
    part: Part,
}

/// A file as it was read.
#[derive(PartialEq, Serialize, Deserialize)]
struct Source {
    path: PathBuf,
    bytes: u64,
    modified: SystemTime,
}

impl Staging {
    /// Makes the folders to write to, or opens those of an earlier run. What stands in the output is not touched, but
    /// refused unless it may go.
    pub(super) fn open(out: &Path, options: &FolderOptions) -> Result<Self> {
        check_output(out, options)?;
        let folder = out.join(STAGING);
        create_folder(out)?;
        create_folder(&folder)?;
        let lock = lock(&folder.join(LOCK))?;
        let channels = Some(options.channels.len()).filter(|&channels| channels > 0);
        let staging =
            Self { folder, out: out.to_path_buf(), regions: options.regions, channels, _lock: lock };
        let continues = continues(out, options);
        if !continues {
            staging.clear()?;
        }
        for folder in staging.folders().chain([DONE]) {
            create_folder(&staging.folder.join(folder))?;
        }
        // The lock is ours: what looks like being written is not.
        for folder in [&staging.folder, &staging.folder.join(DONE)] {
            files(folder)?.iter().filter(|path| is_temporary(path)).try_for_each(|path| remove_file(path))?;
        }
        if !continues {
            write(&staging.folder.join(OPTIONS), key(options).as_bytes())?;
        }
        Ok(staging)
    }

    /// The folder that holds `images/` and the others for now.
    pub(super) fn path(&self) -> &Path {
        &self.folder
    }

    /// What an earlier run made of a volume, unless its files have changed since.
    pub(super) fn finished(&self, pair: &VolumePair) -> Result<Option<Part>> {
        let Ok(text) = fs::read_to_string(self.record(pair)) else { return Ok(None) };
        let Ok(record) = serde_json::from_str::<Record>(&text) else { return Ok(None) };
        let same = record.images == sources(&pair.images)? && record.labels == source(&pair.labels)?;
        Ok((same && self.has_all(&record.part)).then_some(record.part))
    }

    /// Whether every slice is where it was written. After a power cut a file may be there and empty.
    fn has_all(&self, part: &Part) -> bool {
        let moving = self.folder.join(MOVING).exists();
        let filled = |path: PathBuf| fs::metadata(path).is_ok_and(|meta| meta.len() > 0);
        let is_there = |folder: &str, file: String| {
            filled(self.folder.join(folder).join(&file))
                || (moving && filled(self.out.join(folder).join(&file)))
        };
        part.slices.iter().all(|slice| {
            self.folders().all(|folder| self.files(folder, &slice.name).all(|file| is_there(folder, file)))
        })
    }

    /// The files of a slice in one of the folders.
    fn files<'a>(&self, folder: &str, slice: &'a str) -> impl Iterator<Item = String> + 'a {
        let channels = self.channels.filter(|_| folder == IMAGES);
        (0..channels.unwrap_or(1)).map(move |channel| slice_file(slice, channels.map(|_| channel)))
    }

    /// Notes that all slices of a volume are written.
    pub(super) fn finish(&self, pair: &VolumePair, part: &Part) -> Result<()> {
        let record =
            Record { images: sources(&pair.images)?, labels: source(&pair.labels)?, part: part.clone() };
        let path = self.record(pair);
        let text = serde_json::to_vec(&record).map_err(|e| Error::file(&path, e.to_string()))?;
        write(&path, &text)
    }

    /// Replaces an earlier run's slices (stale ones would be trained on) by those of an index. The old index goes first,
    /// so that a folder in between does not pass for a finished one.
    pub(super) fn publish(&self, index: &DatasetIndex) -> Result<()> {
        let names = |folder: &str| -> HashSet<String> {
            index.slices.iter().flat_map(|slice| self.files(folder, &slice.name)).collect()
        };
        let old = self.out.join(DatasetIndex::FILE_NAME);
        if old.exists() {
            remove_file(&old)?;
        }
        let moving = self.folder.join(MOVING);
        // Slices that this run, or the one that it goes on from, has moved are there already.
        let goes_on = moving.exists();
        for folder in FOLDERS {
            let used = self.folders().any(|other| other == folder);
            let names = names(folder);
            for path in files(&self.out.join(folder))?.iter().filter(|path| is_slice(path)) {
                let name = path.file_name().and_then(|name| name.to_str());
                if !(goes_on && used && name.is_some_and(|name| names.contains(name))) {
                    remove_file(path)?;
                }
            }
        }
        if !goes_on {
            write(&moving, b"")?;
        }
        for folder in self.folders() {
            let (from, to) = (self.folder.join(folder), self.out.join(folder));
            create_folder(&to)?;
            names(folder).par_iter().try_for_each(|name| publish_file(&from.join(name), &to.join(name)))?;
            sync_folder(&to);
        }
        sync_folder(&self.out);
        Ok(())
    }

    /// Removes the folder, when the index is written.
    pub(super) fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.folder).map_err(|source| Error::io(&self.folder, "remove", source))
    }

    /// Removes what a run with other options left.
    fn clear(&self) -> Result<()> {
        for name in FOLDERS.into_iter().chain([DONE]) {
            let path = self.folder.join(name);
            if path.exists() {
                fs::remove_dir_all(&path).map_err(|source| Error::io(&path, "remove", source))?;
            }
        }
        for name in [OPTIONS, MOVING] {
            let path = self.folder.join(name);
            if path.exists() {
                remove_file(&path)?;
            }
        }
        Ok(())
    }

    fn record(&self, pair: &VolumePair) -> PathBuf {
        self.folder.join(DONE).join(format!("{}.json", pair.name))
    }

    fn folders(&self) -> impl Iterator<Item = &'static str> {
        let regions = self.regions;
        FOLDERS.into_iter().filter(move |&folder| folder != "regions" || regions)
    }
}

/// Checks that slices may be written to a folder: it holds neither an index nor any file where slices go, unless they may
/// be overwritten, or a run with the same options was cut off while it moved its slices there or could not use all volumes.
///
/// # Errors
/// [`Error::File`] naming what is there, [`Error::Io`] when the folder cannot be listed.
pub fn check_output(out: &Path, options: &FolderOptions) -> Result<()> {
    if options.overwrite || (continues(out, options) && out.join(STAGING).join(MOVING).exists()) {
        return Ok(());
    }
    let index = out.join(DatasetIndex::FILE_NAME);
    let mut there = index.exists().then_some(index);
    for folder in FOLDERS {
        if there.is_none() {
            there = files(&out.join(folder))?.into_iter().next();
        }
    }
    match there {
        Some(path) => {
            Err(Error::file(&path, "exists: choose another folder, or ask for it to be overwritten"))
        }
        None => Ok(()),
    }
}

/// Whether a run with the same options has left something to go on from.
fn continues(out: &Path, options: &FolderOptions) -> bool {
    fs::read_to_string(out.join(STAGING).join(OPTIONS)).is_ok_and(|found| found == key(options))
}

/// The options that slices depend on, as text.
fn key(options: &FolderOptions) -> String {
    format!("{:?}", FolderOptions { overwrite: false, ..options.clone() })
}

/// Keeps other processes out.
fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).map_err(|source| Error::io(path, "write", source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::file(path, "is held by another process that prepares slices into the same folder"))
        }
        Err(TryLockError::Error(source)) => Err(Error::io(path, "lock", source)),
    }
}

fn sources(paths: &[PathBuf]) -> Result<Vec<Source>> {
    paths.iter().map(|path| source(path)).collect()
}

fn source(path: &Path) -> Result<Source> {
    let failed = |source| Error::io(path, "read", source);
    let meta = fs::metadata(path).map_err(failed)?;
    Ok(Source { path: path.to_path_buf(), bytes: meta.len(), modified: meta.modified().map_err(failed)? })
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomically(path, |file| std::io::Write::write_all(file, bytes))
}

/// Moves a slice, unless it has been moved already. Its content is on the disk before: of thousands of slices the system
/// has written most by then, so that this costs little, while a sync of each when it is cut would cost more than the cut.
fn publish_file(from: &Path, to: &Path) -> Result<()> {
    let failed = |source| Error::io(to, "write", source);
    match File::options().write(true).open(from) {
        Ok(file) => file.sync_all().and_then(|()| fs::rename(from, to)).map_err(failed),
        Err(_) if to.exists() => Ok(()),
        Err(source) => Err(failed(source)),
    }
}

fn remove_file(path: &Path) -> Result<()> {
    fs::remove_file(path).map_err(|source| Error::io(path, "remove", source))
}

/// What a folder holds; nothing where it does not exist.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let failed = |source| Error::io(folder, "list", source);
    let entries = fs::read_dir(folder).map_err(failed)?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed)).collect()
}

/// The name of a slice's file: `NAME_z0042.png`, or `NAME_z0042_0001.png` of a channel.
pub(super) fn slice_file(slice: &str, channel: Option<usize>) -> String {
    channel.map_or_else(|| format!("{slice}.png"), |channel| format!("{slice}_{}.png", number(channel)))
}

/// Whether a file's name is one that a prepared slice or one of its channels has.
fn is_slice(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".png"));
    let of_channel = |name| channel_of(name).is_some_and(|(slice, _)| is_slice_name(slice));
    name.is_some_and(|name| is_slice_name(name) || of_channel(name))
}

/// Whether a name without extension is one that a prepared slice has: `NAME_z0042`.
pub(crate) fn is_slice_name(stem: &str) -> bool {
    stem.rsplit_once("_z")
        .is_some_and(|(_, digits)| digits.len() >= 4 && digits.bytes().all(|b| b.is_ascii_digit()))
}
