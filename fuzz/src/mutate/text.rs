//! Damage to text: words, numbers and lines.

use super::bytes::change;
use super::{LONGEST, number};
use crate::Random;

/// Words that some format gives a meaning.
const WORDS: [&str; 40] = [
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "-1",
    "1e308",
    "1e999",
    "-1e999",
    "NaN",
    "nan",
    "inf",
    "-inf",
    "0.1",
    "1e-320",
    "18446744073709551616",
    "-9223372036854775809",
    "../../x",
    "/",
    "..",
    ".",
    "\\u0000",
    "\\ud800",
    "{\"a\":",
    "[[",
    "\u{1F600}",
    "\u{202e}",
    "\r\n",
    "\n\n",
    "\"",
    "'",
    ",",
    "#",
    "=",
    "]",
    "}",
    "(",
    ":",
    "\0",
    "\u{feff}",
];

/// Changes words, mostly, and bytes now and then.
pub(crate) fn text(random: &mut Random, data: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..random.rounds() {
        let at = random.below(data.len());
        match random.below(10) {
            0..=3 => {
                let word = word_at(data, at);
                let new = some_word(random, other);
                data.splice(word, new);
            }
            4 => {
                let new = some_word(random, other);
                data.splice(at..at, new);
            }
            5 | 6 => {
                let piece = piece_at(data, at);
                let copy = data[piece.clone()].to_vec();
                if random.chance(50) {
                    data.drain(piece);
                } else {
                    let to = random.below(data.len());
                    data.splice(to..to, copy);
                }
            }
            7 if random.chance(10) => {
                let depth = *random.pick(&[100, 1000, 20_000]);
                let open = *random.pick(b"[{(");
                data.splice(at..at, std::iter::repeat_n(open, depth));
            }
            _ => change(random, data, other),
        }
    }
    data.truncate(LONGEST);
}

/// A word of the list or of the other file, or a number.
fn some_word(random: &mut Random, other: &[u8]) -> Vec<u8> {
    match random.below(3) {
        0 => random.pick(&WORDS).as_bytes().to_vec(),
        1 => number(random).to_string().into_bytes(),
        _ => {
            let at = random.below(other.len());
            other[word_at(other, at)].to_vec()
        }
    }
}

/// The first word that begins at or after a byte.
fn word_at(data: &[u8], at: usize) -> std::ops::Range<usize> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._+".contains(byte);
    let start = data[at..].iter().position(is_part).map_or(data.len(), |n| at + n);
    let end = data[start..].iter().position(|byte| !is_part(byte)).map_or(data.len(), |n| start + n);
    start..end
}

/// From a byte to the end of its line or list item.
fn piece_at(data: &[u8], at: usize) -> std::ops::Range<usize> {
    let end = data[at..].iter().position(|byte| b"\n,".contains(byte));
    at..end.map_or(data.len(), |n| at + n + 1)
}
