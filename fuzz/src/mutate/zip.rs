//! Damage to the entries of a zip archive.

use std::io::{Cursor, Read, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::{LONGEST, bytes, text};
use crate::Random;

/// Names that lead elsewhere, or to another entry.
const NAMES: [&str; 6] = ["../x", "/x", "", "data.pkl", "archive/data/0", "config.json"];

/// Opcodes of a pickle.
const OPCODES: &[u8] = b".}](lNKMJXcqhtuQR\x85\x86\x87\x88\x89\x8a\x8b\x80";

/// Changes an entry and makes a sound archive again, or changes bytes of what is no archive.
pub(crate) fn zip(random: &mut Random, data: &mut Vec<u8>, other: &[u8]) {
    let mut entries = unpack(data);
    if entries.is_empty() || random.chance(15) {
        bytes(random, data, other);
        return;
    }
    // Storages are numbers alone: what describes them comes first.
    let described =
        |(name, _): &(String, Vec<u8>)| [".pkl", ".json", ".h5"].iter().any(|end| name.ends_with(end));
    let speaking: Vec<usize> = (0..entries.len()).filter(|&i| described(&entries[i])).collect();
    let any = random.below(entries.len());
    let at = if speaking.is_empty() || random.chance(15) { any } else { *random.pick(&speaking) };
    let (name, content) = &mut entries[at];
    match random.below(10) {
        0 => *name = (*random.pick(&NAMES)).to_owned(),
        1 => drop(entries.swap_remove(at)),
        2..=4 if name.ends_with(".pkl") && !content.is_empty() => {
            for _ in 0..random.rounds() {
                let at = random.below(content.len());
                content[at] = *random.pick(OPCODES);
            }
        }
        _ if name.ends_with(".json") => text(random, content, other),
        _ => bytes(random, content, other),
    }
    let method = if random.chance(10) { CompressionMethod::Deflated } else { CompressionMethod::Stored };
    *data = pack(&entries, method);
    data.truncate(LONGEST);
}

/// The entries that can be read.
fn unpack(data: &[u8]) -> Vec<(String, Vec<u8>)> {
    let Ok(mut archive) = ZipArchive::new(Cursor::new(data)) else { return Vec::new() };
    let count = archive.len();
    let entry = |index| {
        let mut entry = archive.by_index(index).ok()?;
        let mut content = Vec::new();
        entry.by_ref().take(LONGEST as u64).read_to_end(&mut content).ok()?;
        Some((entry.name().ok()?.to_string(), content))
    };
    (0..count).filter_map(entry).collect()
}

/// An archive of entries; of two with one name the first.
pub(crate) fn pack(entries: &[(String, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    for (name, content) in entries {
        if writer.start_file(name.as_str(), options).is_ok() {
            writer.write_all(content).expect("memory can be written to");
        }
    }
    writer.finish().expect("memory can be written to").into_inner()
}
