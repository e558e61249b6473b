//! LZW as TIFF has it: codes of 9 to 12 bits, highest bit first, a bit longer one code early.

const CLEAR: usize = 256;
const END: usize = 257;
const LONGEST: u32 = 12;

/// The first `len` bytes of compressed data, fewer where it ends early; nothing where it is broken.
pub(super) fn decode(data: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut out: Vec<u8> = Vec::new();
    // Where each code's bytes lie in what is written so far: those of the code before and one more.
    let mut known: Vec<(usize, usize)> = Vec::new();
    let mut previous: Option<(usize, usize)> = None;
    let mut width = 9;
    let (mut bits, mut held) = (0u32, 0);
    let mut bytes = data.iter();
    while out.len() < len {
        while held < width {
            let Some(&byte) = bytes.next() else { return Some(out) };
            bits = bits << 8 | u32::from(byte);
            held += 8;
        }
        held -= width;
        let code = (bits >> held) as usize & ((1 << width) - 1);
        if code == CLEAR {
            known.clear();
            (previous, width) = (None, 9);
            continue;
        }
        if code == END {
            break;
        }
        // The code before and this one's first byte are the next code.
        if let Some((start, length)) = previous
            && known.len() + END + 1 < 1 << LONGEST
        {
            known.push((start, length + 1));
        }
        let start = out.len();
        let length = if code < CLEAR {
            out.push(code as u8);
            1
        } else {
            let &(from, length) = known.get(code - END - 1)?;
            // One by one: the last byte may be the first that is written here.
            for i in from..from + length {
                out.push(*out.get(i)?);
            }
            length
        };
        previous = Some((start, length));
        if known.len() + END + 2 >= 1 << width && width < LONGEST {
            width += 1;
        }
    }
    out.truncate(len);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn broken_codes_are_no_data() {
        // The first code is 511: not known yet.
        assert_eq!(decode(&[0xff, 0xff], 5), None);
        // Clear, 1, and the data ends.
        assert_eq!(decode(&[0x80, 0x00, 0x40], 5), Some(vec![1]));
    }
}
