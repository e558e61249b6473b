//! The zip archives that PyTorch and Keras write, with their directory checked before anything is unpacked.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};

use zip::{CompressionMethod, ZipArchive};

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Unsound(String),
    #[error("{what}: {claimed} claimed, at most {limit} accepted")]
    TooLarge { what: &'static str, claimed: u64, limit: u64 },
}

impl From<zip::result::ZipError> for ArchiveError {
    fn from(cause: zip::result::ZipError) -> Self {
        match cause {
            zip::result::ZipError::Io(cause) => Self::Io(cause),
            other => Self::Unsound(other.to_string()),
        }
    }
}

/// Unpacked bytes accepted for each byte of a file. Neither PyTorch nor Keras compresses; random weights that
/// somebody compressed afterwards shrink by a tenth, so more than this is a decompression bomb.
const MAX_EXPANSION: u64 = 8;

/// Room for small files, whose few constant tensors may well compress better than that.
const EXPANSION_ALLOWANCE: u64 = 1 << 20;

/// How an entry begins, and the record at the end of an archive, which has a comment of at most 65535 bytes.
const ENTRY: &[u8] = b"PK\x03\x04";
const END: &[u8] = b"PK\x05\x06";
const MIN_END: usize = 22;
const MAX_END: u64 = 22 + 65535;

/// Most bytes that a file of `bytes` may unpack to.
pub(crate) fn unpacked_limit(bytes: u64) -> u64 {
    bytes.saturating_mul(MAX_EXPANSION).saturating_add(EXPANSION_ALLOWANCE)
}

/// An entry's place in the directory and its unpacked size.
#[derive(Clone, Copy)]
struct Entry {
    index: usize,
    size: u64,
}

/// An archive whose directory is consistent: entries lie inside the file, apart from each other,
/// and unpack to a bounded size.
pub(crate) struct Archive<R> {
    zip: ZipArchive<R>,
    entries: BTreeMap<String, Entry>,
    total_bytes: u64,
}

impl<R: Read + Seek> Archive<R> {
    pub(crate) fn open(mut reader: R) -> Result<Self, ArchiveError> {
        let file_bytes = reader.seek(SeekFrom::End(0))?;
        reader.seek(SeekFrom::Start(0))?;
        if is_cut(&mut reader, file_bytes)? {
            return Err(ArchiveError::Unsound(format!(
                "truncated: the directory at the end of a zip archive is not in its {file_bytes} bytes; copy or download \
                 the file again"
            )));
        }
        let mut zip = ZipArchive::new(reader)?;
        if zip.has_duplicate_names() {
            return Err(ArchiveError::Unsound("two entries share a name".into()));
        }
        if zip.has_overlapping_entries()? {
            return Err(ArchiveError::Unsound("entries overlap, or reach beyond the data".into()));
        }
        let limit = unpacked_limit(file_bytes);
        let (entries, total_bytes) = directory(&mut zip)?;
        if total_bytes > limit {
            return Err(ArchiveError::TooLarge {
                what: "unpacked bytes of the archive",
                claimed: total_bytes,
                limit,
            });
        }
        Ok(Self { zip, entries, total_bytes })
    }

    /// The names of the entries, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Unpacked bytes of all entries, by the directory.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Unpacks an entry of at most `limit` bytes.
    pub(crate) fn read(&mut self, name: &str, limit: u64) -> Result<Vec<u8>, ArchiveError> {
        let Some(&Entry { index, size }) = self.entries.get(name) else {
            return Err(ArchiveError::Unsound(format!("it has no entry {name}")));
        };
        if size > limit {
            return Err(ArchiveError::TooLarge { what: "bytes of an entry", claimed: size, limit });
        }
        // The directory's sizes add up to a bounded total, so this one may be trusted with memory;
        // one byte more than it says is enough to see that it lied.
        let mut bytes = Vec::with_capacity(size as usize);
        self.zip.by_index(index)?.take(size.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != size {
            return Err(ArchiveError::Unsound(format!(
                "{name} does not unpack to the {size} bytes of the directory"
            )));
        }
        Ok(bytes)
    }
}

/// Whether a file begins as an archive and ends before the record that every archive ends with.
fn is_cut(mut reader: impl Read + Seek, length: u64) -> Result<bool, ArchiveError> {
    let mut head = Vec::new();
    reader.by_ref().take(ENTRY.len() as u64).read_to_end(&mut head)?;
    reader.seek(SeekFrom::Start(length.saturating_sub(MAX_END)))?;
    let mut end = Vec::new();
    reader.by_ref().take(MAX_END).read_to_end(&mut end)?;
    reader.seek(SeekFrom::Start(0))?;
    Ok(head == ENTRY && !end.windows(MIN_END).any(|record| record.starts_with(END)))
}

/// Lists the entries with their sizes, and the sum of the sizes.
fn directory<R: Read + Seek>(
    zip: &mut ZipArchive<R>,
) -> Result<(BTreeMap<String, Entry>, u64), ArchiveError> {
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
            return Err(ArchiveError::Unsound(format!("{name} is neither stored nor deflated as a whole")));
        }
        total = total.saturating_add(size);
        entries.insert(name, Entry { index, size });
    }
    Ok((entries, total))
}
