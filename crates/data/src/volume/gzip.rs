//! Compressed files, as gzip reads them.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

/// The members of a gzip file, one after another. Zero bytes between them and after the last one are padding, as tapes
/// and some archives add it; anything else is an error.
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
            let more = zeros < bytes.len();
            file.consume(zeros);
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
