//! A Hub on this machine: the paths, headers and redirects of the real one, and its bad days.
#![allow(dead_code, clippy::unwrap_used)] // shared by tests of two crates, each of which uses a part

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use sha2::{Digest, Sha256};

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// By lower-case name.
    pub(crate) headers: BTreeMap<String, String>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Where a `Range: bytes=N-` begins.
    fn start(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// What is answered.
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Whether the connection ends before the body, and after how many bytes.
    cut: Option<usize>,
    /// Whether it says how long the body is.
    sized: bool,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: b"a page for people".to_vec(), cut: None, sized: true }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn cut_after(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }

    pub(crate) fn of_unknown_length(mut self) -> Self {
        self.sized = false;
        self
    }

    /// All of `content`, or what is asked of it.
    pub(crate) fn content(request: &Request, content: &[u8]) -> Self {
        match request.start() {
            None => Self::status(200).body(content),
            Some(start) if start >= content.len() => {
                Self::status(416).with("Content-Range", format!("bytes */{}", content.len()))
            }
            Some(start) => Self::status(206)
                .body(&content[start..])
                .with("Content-Range", format!("bytes {start}-{}/{}", content.len() - 1, content.len())),
        }
    }
}

/// The status of a reply that never comes: the connection ends.
pub(crate) const GONE: u16 = 0;

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// A server on a port of its own, until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, stop) = (Arc::<Mutex<Vec<Request>>>::default(), Arc::<AtomicBool>::default());
        let (log, stopped, handler) = (seen.clone(), stop.clone(), Arc::new(handler));
        let thread = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (log, handler): (_, Arc<Handler>) = (log.clone(), handler.clone());
                // A client may go away in the middle.
                std::thread::spawn(move || serve(&stream, &log, &*handler).unwrap_or_default());
            }
        });
        Self { address, seen, stop, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked since the last time.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(stream: &TcpStream, log: &Mutex<Vec<Request>>, handler: &Handler) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut words = first.split(' ').map(str::to_string);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(()) };
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_string());
    }
    let request = Request { method, path, headers };
    log.lock().unwrap().push(request.clone());
    let reply = handler(&request);
    if reply.status == GONE {
        return Ok(());
    }
    let mut stream = stream;
    let mut head = format!("HTTP/1.1 {} .\r\nConnection: close\r\n", reply.status);
    for (name, value) in reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if reply.sized {
        head.push_str(&format!("Content-Length: {}\r\n", reply.body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    if request.method != "HEAD" {
        stream.write_all(&reply.body[..reply.cut.unwrap_or(reply.body.len())])?;
    }
    stream.flush()
}

/// A repository on the Hub.
#[derive(Clone)]
pub(crate) struct Repo {
    pub(crate) id: &'static str,
    /// Commits by revision; `main` has one.
    pub(crate) revisions: BTreeMap<String, String>,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// The token without which it is not there.
    pub(crate) token: Option<&'static str>,
    /// Where large files are stored, if not at the Hub's own address.
    pub(crate) storage: Option<String>,
}

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

impl Repo {
    pub(crate) fn new(id: &'static str, files: impl IntoIterator<Item = (&'static str, Vec<u8>)>) -> Self {
        Self {
            id,
            revisions: [("main".to_string(), COMMIT.to_string())].into(),
            files: files.into_iter().map(|(name, content)| (name.to_string(), content)).collect(),
            token: None,
            storage: None,
        }
    }

    /// What names a content: its SHA-256, as the Hub names large files.
    pub(crate) fn etag(content: &[u8]) -> String {
        format!("{:x}", Sha256::digest(content))
    }

    /// The Hub's answer.
    pub(crate) fn reply(&self, request: &Request) -> Reply {
        let path = request.path.split('?').next().unwrap();
        if let Some(etag) = path.strip_prefix("/storage/") {
            let content = self.files.values().find(|content| Self::etag(content) == etag);
            return content.map_or(Reply::status(404), |content| Reply::content(request, content));
        }
        let allowed = self
            .token
            .is_none_or(|token| request.header("authorization") == Some(format!("Bearer {token}").as_str()));
        if !allowed {
            return Reply::status(401);
        }
        let answer = self.info(path).or_else(|| self.resolve(path)).or_else(|| self.small(path, request));
        answer.unwrap_or_else(|| Reply::status(404))
    }

    fn info(&self, path: &str) -> Option<Reply> {
        let revision = path.strip_prefix(&format!("/api/models/{}/revision/", self.id))?;
        let commit = self.commit(&revision.replace("%2F", "/"))?;
        let siblings: Vec<_> =
            self.files.keys().map(|name| format!("{{\"rfilename\":\"{name}\"}}")).collect();
        let id = self.id;
        let body = format!("{{\"id\":\"{id}\",\"sha\":\"{commit}\",\"siblings\":[{}]}}", siblings.join(","));
        Some(Reply::status(200).body(body))
    }

    fn commit(&self, revision: &str) -> Option<&String> {
        self.revisions.get(revision).or_else(|| self.revisions.values().find(|commit| *commit == revision))
    }

    /// A file's address: large files are redirected to where they are stored, small ones to a page of the Hub's own.
    fn resolve(&self, path: &str) -> Option<Reply> {
        let (revision, name) = path.strip_prefix(&format!("/{}/resolve/", self.id))?.split_once('/')?;
        let (commit, content) = (self.commit(revision)?, self.files.get(name)?);
        let etag = Self::etag(content);
        Some(if name.ends_with(".safetensors") {
            let storage = self.storage.as_deref().unwrap_or("");
            Reply::status(302)
                .with("Location", format!("{storage}/storage/{etag}?signature=x"))
                .with("X-Repo-Commit", commit)
                .with("X-Linked-Size", content.len().to_string())
                .with("X-Linked-Etag", format!("\"{etag}\""))
        } else {
            Reply::status(307)
                .with("Location", format!("/small/{commit}/{name}"))
                .with("X-Repo-Commit", commit)
        })
    }

    fn small(&self, path: &str, request: &Request) -> Option<Reply> {
        let (_, name) = path.strip_prefix("/small/")?.split_once('/')?;
        let content = self.files.get(name)?;
        Some(Reply::content(request, content).with("ETag", format!("W/\"{}\"", Self::etag(content))))
    }

    /// Serves it.
    pub(crate) fn serve(self) -> Server {
        Server::start(move |request| self.reply(request))
    }
}
