//! The directory of a TIFF: its tags and their values.

use std::collections::{BTreeMap, HashSet};

use super::super::broken;
use super::{Source, tag};
use crate::Result;

/// More values of one tag are refused: the largest image has fewer tiles of 16 x 16 pixels in four planes.
const MAX_VALUES: u64 = 1 << 21;
/// More tags are refused.
const MAX_TAGS: u64 = 1 << 12;
/// So many directories are looked at.
const MAX_PAGES: usize = 1 << 12;

/// A tag's values.
struct Entry {
    kind: u16,
    count: u64,
    /// The values where they fit, else where they lie.
    value: Vec<u8>,
}

/// The tags of one image.
pub(super) struct Directory {
    pub(super) is_little: bool,
    is_big: bool,
    entries: BTreeMap<u16, Entry>,
    /// Where the next directory lies; 0: there is none.
    next: u64,
}

fn number(bytes: &[u8], is_little: bool) -> u64 {
    let add = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
    if is_little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) }
}

impl Directory {
    /// The first directory of a file.
    pub(super) fn first(source: &mut Source<'_>) -> Result<Self> {
        let head = source.bytes(0, 8)?;
        let is_little = head[0] == b'I';
        let is_big = number(&head[2..4], is_little) == 43;
        let offset = if is_big {
            if [&head[4..6], &head[6..8]].map(|bytes| number(bytes, is_little)) != [8, 0] {
                return Err(broken(source.path, "a BigTIFF whose places are not of 8 bytes"));
            }
            number(&source.bytes(8, 8)?, is_little)
        } else {
            number(&head[4..8], is_little)
        };
        Self::at(source, offset, is_little, is_big)
    }

    fn at(source: &mut Source<'_>, offset: u64, is_little: bool, is_big: bool) -> Result<Self> {
        let (count_len, entry_len, value_at) = if is_big { (8, 20, 12) } else { (2, 12, 8) };
        let count = number(&source.bytes(offset, count_len)?, is_little);
        if count > MAX_TAGS {
            return Err(broken(source.path, format!("a TIFF with {count} tags")));
        }
        let start = offset.saturating_add(count_len);
        let bytes = source.bytes(start, count * entry_len)?;
        let entry = |bytes: &[u8]| {
            let entry = Entry {
                kind: number(&bytes[2..4], is_little) as u16,
                count: number(&bytes[4..value_at], is_little),
                value: bytes[value_at..].to_vec(),
            };
            (number(&bytes[..2], is_little) as u16, entry)
        };
        let entries = bytes.chunks_exact(entry_len as usize).map(entry).collect();
        let pointer = if is_big { 8 } else { 4 };
        // Some writers leave out the end of the list.
        let next =
            source.bytes(start + count * entry_len, pointer).map_or(0, |bytes| number(&bytes, is_little));
        Ok(Self { is_little, is_big, entries, next })
    }

    /// The numbers of a tag; none where it is not there.
    pub(super) fn numbers(&self, source: &mut Source<'_>, tag: u16) -> Result<Vec<u64>> {
        let Some(entry) = self.entries.get(&tag) else { return Ok(Vec::new()) };
        let size = match entry.kind {
            1 => 1,
            3 => 2,
            4 | 13 => 4,
            16 | 18 => 8,
            kind => {
                return Err(broken(source.path, format!("the TIFF tag {tag} has values of the kind {kind}")));
            }
        };
        if entry.count > MAX_VALUES {
            return Err(broken(source.path, format!("the TIFF tag {tag} has {} values", entry.count)));
        }
        let len = entry.count * size;
        let held;
        let bytes = if len <= entry.value.len() as u64 {
            &entry.value[..len as usize]
        } else {
            held = source.bytes(number(&entry.value, self.is_little), len)?;
            &held
        };
        Ok(bytes.chunks_exact(size as usize).map(|bytes| number(bytes, self.is_little)).collect())
    }

    /// Checks that the file can hold every list: the `tiff` crate takes memory for a list before it looks for its values.
    pub(super) fn check_lists(&self, source: &Source<'_>) -> Result<()> {
        for (tag, entry) in &self.entries {
            let size = match entry.kind {
                3 | 8 => 2,
                4 | 9 | 11 | 13 => 4,
                5 | 10 | 12 | 16..=18 => 8,
                _ => 1,
            };
            if entry.count > MAX_VALUES || entry.count * size > source.len {
                return Err(broken(source.path, format!("the TIFF tag {tag} has {} values", entry.count)));
            }
        }
        Ok(())
    }

    /// The first number of a tag.
    pub(super) fn number(&self, source: &mut Source<'_>, tag: u16) -> Result<Option<u64>> {
        Ok(self.numbers(source, tag)?.first().copied())
    }

    /// Whether there are other images: what the file calls a smaller version or a mask of another page is none.
    pub(super) fn has_other_pages(&self, source: &mut Source<'_>) -> Result<bool> {
        let mut seen = HashSet::new();
        let mut next = self.next;
        while next != 0 && seen.len() < MAX_PAGES && seen.insert(next) {
            // What is broken behind the first page does not matter to it.
            let Ok(page) = Self::at(source, next, self.is_little, self.is_big) else { break };
            let kind = page.number(source, tag::KIND)?.unwrap_or(0);
            if kind & 0b101 == 0 {
                return Ok(true);
            }
            next = page.next;
        }
        Ok(false)
    }
}
