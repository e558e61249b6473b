//! Compressed files, as gzip reads them.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

/// How a member begins.
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The members of a gzip file, one after another. Zero bytes between them and after the last one are padding, as tapes
/// and some archives add it; anything else is an error that says so.
pub(super) struct Members<R> {
    /// The member that is being read; none after the last one, or after an error.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Members<R> {
    pub(super) fn new(file: R) -> Self {
        Self { member: Some(GzDecoder::new(file)) }
    }

    /// Whether another member follows.
    fn advance(&mut self) -> io::Result<bool> {
        let Some(mut file) = self.member.take().map(GzDecoder::into_inner) else { return Ok(false) };
        loop {
            let bytes = file.fill_buf()?;
            if bytes.is_empty() {
                return Ok(false);
            }
            let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
            let rest = &bytes[zeros..];
            let (more, is_member) = (!rest.is_empty(), rest.iter().zip(&MAGIC).all(|(a, b)| a == b));
            file.consume(zeros);
            if more && !is_member {
                let trailing = io::copy(&mut file, &mut io::sink())?;
                let problem = format!(
                    "{trailing} bytes that are not gzip's follow the compressed data (remove them: decompress the file, \
                     and compress it anew)"
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
            }
            if more {
                self.member = Some(GzDecoder::new(file));
                return Ok(true);
            }
        }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let count = member.read(buffer)?;
            if count > 0 || buffer.is_empty() || !self.advance()? {
                return Ok(count);
            }
        }
        Ok(0)
    }
}
