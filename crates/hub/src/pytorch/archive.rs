//! The zip archive around a state dict, with its directory checked before anything is unpacked.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};

use zip::{CompressionMethod, ZipArchive};

use super::CheckpointError;

/// Unpacked bytes accepted for each byte of the file. PyTorch does not compress; random weights
/// that somebody compressed afterwards shrink by a tenth, so more than this is a decompression bomb.
const MAX_EXPANSION: u64 = 8;

/// Room for small files, whose few constant tensors may well compress better than that.
const EXPANSION_ALLOWANCE: u64 = 1 << 20;

/// Largest `data.pkl` accepted. A tensor takes about 110 bytes of it, 1100 tensors 120 KB.
const MAX_PICKLE_BYTES: u64 = 8 << 20;

/// An entry's place in the directory and its unpacked size.
#[derive(Clone, Copy)]
struct Entry {
    index: usize,
    size: u64,
}

/// An archive whose directory is consistent: entries lie inside the file, apart from each other,
/// and unpack to a bounded size.
pub(super) struct Archive<R> {
    zip: ZipArchive<R>,
    entries: BTreeMap<String, Entry>,
    /// The folder that everything lies in, with its slash: `archive/`.
    root: String,
    big_endian: bool,
    total_bytes: u64,
}

impl<R: Read + Seek> Archive<R> {
    pub(super) fn open(mut reader: R) -> Result<Self, CheckpointError> {
        let file_bytes = reader.seek(SeekFrom::End(0))?;
        reader.seek(SeekFrom::Start(0))?;
        let mut zip = ZipArchive::new(reader)?;
        if zip.has_duplicate_names() {
            return Err(CheckpointError::Archive("two entries share a name".into()));
        }
        if zip.has_overlapping_entries()? {
            return Err(CheckpointError::Archive("entries overlap, or reach beyond the data".into()));
        }
        let limit = file_bytes.saturating_mul(MAX_EXPANSION).saturating_add(EXPANSION_ALLOWANCE);
        let (entries, total_bytes) = directory(&mut zip)?;
        if total_bytes > limit {
            return Err(CheckpointError::TooLarge {
                what: "unpacked bytes of the archive",
                claimed: total_bytes,
                limit,
            });
        }

        let root = entries
            .keys()
            .find_map(|name| name.strip_suffix("data.pkl"))
            .filter(|root| root.is_empty() || root.ends_with('/'))
            .ok_or_else(|| CheckpointError::Archive("it has no entry data.pkl".into()))?
            .to_owned();
        let mut archive = Self { zip, entries, root, big_endian: false, total_bytes };
        archive.big_endian = archive.read_byte_order()?;
        Ok(archive)
    }

    /// The pickle that describes the tensors.
    pub(super) fn pickle(&mut self) -> Result<Vec<u8>, CheckpointError> {
        let name = format!("{}data.pkl", self.root);
        self.read(&name, MAX_PICKLE_BYTES)
    }

    /// The raw bytes of a storage, in the file's byte order.
    pub(super) fn storage(&mut self, key: &str) -> Result<Vec<u8>, CheckpointError> {
        let name = format!("{}data/{key}", self.root);
        self.read(&name, u64::MAX)
    }

    /// Whether the storages hold big-endian numbers.
    pub(super) fn big_endian(&self) -> bool {
        self.big_endian
    }

    /// Unpacked bytes of all entries, by the directory.
    pub(super) fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Files written before PyTorch 2.1 do not state their byte order; they are little-endian.
    fn read_byte_order(&mut self) -> Result<bool, CheckpointError> {
        let name = format!("{}byteorder", self.root);
        if !self.entries.contains_key(&name) {
            return Ok(false);
        }
        match self.read(&name, 16)?.as_slice() {
            b"little" => Ok(false),
            b"big" => Ok(true),
            _ => Err(CheckpointError::Archive("its byteorder is neither `little` nor `big`".into())),
        }
    }

    fn read(&mut self, name: &str, limit: u64) -> Result<Vec<u8>, CheckpointError> {
        let Some(&Entry { index, size }) = self.entries.get(name) else {
            return Err(CheckpointError::Archive(format!("it has no entry {name}")));
        };
        if size > limit {
            return Err(CheckpointError::TooLarge { what: "bytes of an entry", claimed: size, limit });
        }
        // The directory's sizes add up to a bounded total, so this one may be trusted with memory;
        // one byte more than it says is enough to see that it lied.
        let mut bytes = Vec::with_capacity(size as usize);
        self.zip.by_index(index)?.take(size.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != size {
            return Err(CheckpointError::Archive(format!(
                "{name} does not unpack to the {size} bytes of the directory"
            )));
        }
        Ok(bytes)
    }
}

/// Lists the entries with their sizes, and the sum of the sizes.
fn directory<R: Read + Seek>(
    zip: &mut ZipArchive<R>,
) -> Result<(BTreeMap<String, Entry>, u64), CheckpointError> {
    let mut entries = BTreeMap::new();
    let mut total = 0u64;
    for index in 0..zip.len() {
        let file = zip.by_index_raw(index)?;
        let name = file.name()?.into_owned();
        let (size, compressed) = (file.size(), file.compressed_size());
        let fits = match file.compression() {
            CompressionMethod::Stored => size == compressed,
            CompressionMethod::Deflated => true,
            _ => false,
        };
        if file.encrypted() || !fits {
            return Err(CheckpointError::Archive(format!(
                "{name} is neither stored nor deflated as a whole"
            )));
        }
        total = total.saturating_add(size);
        entries.insert(name, Entry { index, size });
    }
    Ok((entries, total))
}
