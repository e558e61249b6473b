//! One file of the Hub, into the cache.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Instant;

use ureq::http::{Response, StatusCode, header};

use crate::HubError;
use crate::client::{Client, Fault, Patience, Remote, cut};
use crate::files::HubFile;
use crate::pace::Pace;

/// How far the download of one file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file's name.
    pub file: &'a str,
    /// Bytes that have arrived, in earlier tries too.
    pub done: u64,
    /// Bytes of the file.
    pub total: u64,
}

/// Bytes read at once.
const CHUNK: usize = 1 << 16;

/// Why the bytes that arrive are not those that were announced.
struct Wrong(String);

/// Fetches `remote` into the file at `path`, which may hold a first part of it already. A connection that is cut is
/// taken up where it ended.
pub(crate) fn download(
    client: &Client<'_>,
    file: &HubFile,
    remote: &Remote,
    path: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), HubError> {
    let io = |cause| HubError::io(path, cause);
    // As read and write, for what is there is kept, whatever it is.
    let target =
        File::options().create(true).truncate(false).read(true).write(true).open(path).map_err(io)?;
    let mut part = Part { file: target, have: 0, path, remote };
    part.have = part.file.seek(SeekFrom::End(0)).map_err(io)?;
    if part.have > remote.size {
        part.restart()?;
    }
    let mut report = |done| progress(Progress { file: file.name, done, total: remote.size });
    report(part.have);
    let (mut patience, mut furthest) = (Patience::default(), part.have);
    while part.have < remote.size {
        match part.go_on(client, &mut report) {
            Ok(Ok(())) => {}
            Ok(Err(Wrong(problem))) => return Err(client.damaged(file, problem)),
            Err(fault) => {
                // Not compared with where the try began: a server may make us begin anew again and again.
                if part.have > furthest {
                    (patience, furthest) = (Patience::default(), part.have);
                }
                patience.bear(client, fault)?;
            }
        }
    }
    part.file.sync_all().map_err(io)
}

/// What has arrived of a file.
struct Part<'a> {
    file: File,
    have: u64,
    path: &'a Path,
    remote: &'a Remote,
}

impl Part<'_> {
    fn restart(&mut self) -> Result<(), HubError> {
        self.have = 0;
        self.file.set_len(0).and_then(|()| self.file.rewind()).map_err(|cause| HubError::io(self.path, cause))
    }

    /// Takes what one connection gives.
    fn go_on(
        &mut self,
        client: &Client<'_>,
        report: &mut dyn FnMut(u64),
    ) -> Result<Result<(), Wrong>, Fault> {
        let (url, size) = (&self.remote.url, self.remote.size);
        let cut = |cause| cut(url, cause);
        let response = client.content(url, self.have)?;
        let announced = match response.status() {
            StatusCode::PARTIAL_CONTENT => match content_range(&response) {
                Some((start, total)) if start == self.have => total,
                _ => return Ok(Err(Wrong("another part of it was sent than was asked for".to_string()))),
            },
            StatusCode::RANGE_NOT_SATISFIABLE => {
                self.restart()?;
                return Err(cut("it cannot be gone on with".to_string()));
            }
            // Servers may ignore what was asked for and send all of it.
            _ => {
                self.restart()?;
                response.body().content_length()
            }
        };
        if let Some(announced) = announced.filter(|&announced| announced != size) {
            return Ok(Err(Wrong(format!("{announced} bytes were sent, {size} announced"))));
        }
        let mut body = response.into_body().into_with_config().limit(u64::MAX).reader();
        let mut chunk = vec![0; CHUNK];
        let mut pace = Pace::new(Instant::now());
        while self.have < size {
            let count = body.read(&mut chunk).map_err(|error| cut(error.to_string()))?;
            if count == 0 {
                return Err(cut(format!("cut after {} of {size} bytes", self.have)));
            }
            if count as u64 > size - self.have {
                return Ok(Err(Wrong(format!("more than the {size} bytes announced were sent"))));
            }
            self.file.write_all(&chunk[..count]).map_err(|cause| HubError::io(self.path, cause))?;
            self.have += count as u64;
            report(self.have);
            if self.have < size {
                // What has arrived is kept: a later call goes on there.
                pace.add(count as u64, Instant::now()).map_err(|slow| client.too_slow(url, slow))?;
            }
        }
        Ok(Ok(()))
    }
}

/// First byte and total size that a `Content-Range: bytes FIRST-LAST/TOTAL` tells; the total may be unknown.
fn content_range<B>(response: &Response<B>) -> Option<(u64, Option<u64>)> {
    let value = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.parse().ok()?, total.parse().ok()))
}
