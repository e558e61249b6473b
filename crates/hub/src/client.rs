//! Questions to the Hub over HTTP: redirects without giving the token away, and patience with faults that pass.

use std::io::{ErrorKind, Read};
use std::thread::sleep;
use std::time::{Duration, Instant};

use hf_hub::{Repo, RepoType};
use serde::Deserialize;
use ureq::http::{Method, Response, StatusCode, Uri, header};
use ureq::{Agent, Body, Timeout};

use crate::address::{is_this_machine, origin, redirect, same_origin, without_credentials};
use crate::files::HubFile;
use crate::id::{is_commit, is_file_name};
use crate::pace::Pace;
use crate::{Hub, HubError, ModelId};

/// Silence after which a connection counts as cut.
const SILENCE: Duration = Duration::from_secs(20);
/// The longest time that an answer may take until its content begins.
const HEADERS: Duration = Duration::from_secs(60);
/// Bytes of a description that are read at once.
const CHUNK: usize = 1 << 14;
/// How long a fault is waited out the first time; then for twice as long each time.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Redirects on the way to a file.
const MAX_REDIRECTS: usize = 8;
/// The longest description of a repository that is read.
const MAX_INFO: u64 = 16 << 20;

const LINKED_ETAG: &str = "x-linked-etag";
const LINKED_SIZE: &str = "x-linked-size";

/// Why a question has no answer.
pub(crate) enum Fault {
    /// It may have one in a moment.
    Passing { url: Uri, cause: Cause },
    /// Asking again would not help.
    Final(HubError),
}

/// A fault that may pass.
pub(crate) enum Cause {
    /// The server said so: 429 or 5xx.
    Status(u16),
    /// The connection was cut.
    Cut(String),
}

impl From<HubError> for Fault {
    fn from(error: HubError) -> Self {
        Self::Final(error)
    }
}

/// A connection that was cut.
pub(crate) fn cut(url: &Uri, cause: String) -> Fault {
    Fault::Passing { url: url.clone(), cause: Cause::Cut(of_file(url, cause)) }
}

/// The cause of a fault, with what was being fetched. The query may be a signature.
fn of_file(url: &Uri, cause: String) -> String {
    format!("{}: {cause}", url.path())
}

/// A revision of a repository as the Hub describes it.
#[derive(Deserialize)]
pub(crate) struct Info {
    /// The revision's commit.
    pub(crate) sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

impl Info {
    /// Whether the repository has a file of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.siblings.iter().any(|sibling| sibling.rfilename == name)
    }
}

/// A file of the Hub.
pub(crate) struct Remote {
    pub(crate) url: Uri,
    /// What names its content in the cache.
    pub(crate) etag: String,
    pub(crate) size: u64,
}

/// Asks the Hub about one model.
pub(crate) struct Client<'a> {
    hub: &'a Hub,
    id: &'a ModelId,
    repo: Repo,
    /// The Hub's address.
    endpoint: Uri,
    agent: Agent,
}

impl<'a> Client<'a> {
    pub(crate) fn new(hub: &'a Hub, id: &'a ModelId) -> Result<Self, HubError> {
        let endpoint = hub.endpoint.trim_end_matches('/');
        let parsed = endpoint.parse::<Uri>().ok();
        let is_web = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.query().is_none();
        let endpoint = parsed.filter(is_web).ok_or_else(|| no_address(hub))?;
        if let Some(problem) = hub.token.as_deref().and_then(no_token) {
            return Err(HubError::Token { problem });
        }
        let mut config = Agent::config_builder()
            .user_agent(concat!("unet3p/", env!("CARGO_PKG_VERSION"), "; rust"))
            // Sizes and ranges count bytes as they are.
            .accept_encoding("identity")
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(SILENCE))
            // Also of a server that sends its headers letter by letter.
            .timeout_recv_response(Some(HEADERS))
            .timeout_per_read(Some(SILENCE));
        if is_this_machine(&endpoint) {
            config = config.proxy(None);
        }
        let repo = Repo::with_revision(id.repo().to_string(), RepoType::Model, id.revision().to_string());
        Ok(Self { hub, id, repo, endpoint, agent: config.build().into() })
    }

    /// The revision's commit and files.
    pub(crate) fn info(&self) -> Result<Info, HubError> {
        let url = self.url(&format!("/api/{}", self.repo.api_url()))?;
        let info: Info = self.patiently(|| {
            let response = self.send(Method::GET, &url, None, |_| false)?;
            let bytes = self.read_info(&url, response)?;
            serde_json::from_slice(&bytes).map_err(|error| self.answer(&url, error.to_string()).into())
        })?;
        if !is_commit(&info.sha) {
            return Err(self.answer(&url, format!("{:?} is no commit", info.sha)));
        }
        Ok(info)
    }

    /// A description of a repository, whose size nobody announces.
    fn read_info(&self, url: &Uri, response: Response<Body>) -> Result<Vec<u8>, Fault> {
        let mut body = response.into_body().into_with_config().limit(MAX_INFO).reader();
        let (mut bytes, mut chunk) = (Vec::new(), vec![0; CHUNK]);
        let mut pace = Pace::new(Instant::now());
        loop {
            let count = match body.read(&mut chunk) {
                Ok(count) => count,
                Err(error) => return Err(self.fault(url, error.into())),
            };
            if count == 0 {
                return Ok(bytes);
            }
            bytes.extend_from_slice(&chunk[..count]);
            pace.add(count as u64, Instant::now()).map_err(|slow| self.too_slow(url, slow))?;
        }
    }

    /// ETag and size of a file at a commit, without the file.
    pub(crate) fn remote(&self, commit: &str, name: &str) -> Result<Remote, HubError> {
        let url = self.url(&format!("/{}/resolve/{commit}/{name}", self.repo.url()))?;
        // A large file is a redirect to where it is stored, which tells of it.
        let linked = |response: &Response<Body>| {
            response.headers().contains_key(LINKED_ETAG) && response.headers().contains_key(LINKED_SIZE)
        };
        let response = self.patiently(|| self.send(Method::HEAD, &url, None, linked))?;
        let value = |name| response.headers().get(name)?.to_str().ok();
        let missing = |what| self.answer(&url, format!("no {what}"));
        let etag = value(LINKED_ETAG).or_else(|| value("etag")).ok_or_else(|| missing("ETag"))?;
        let etag = etag.trim_start_matches("W/").trim_matches('"');
        if !is_file_name(etag) {
            return Err(self.answer(&url, format!("the ETag {etag:?} names no file")));
        }
        let size = value(LINKED_SIZE).or_else(|| value("content-length")).and_then(|size| size.parse().ok());
        let size = size.ok_or_else(|| missing("size of the file"))?;
        Ok(Remote { etag: etag.to_string(), size, url })
    }

    /// The content of a file from the byte `start` on.
    pub(crate) fn content(&self, url: &Uri, start: u64) -> Result<Response<Body>, Fault> {
        self.send(Method::GET, url, Some(start).filter(|&start| start > 0), |_| false)
    }

    /// Follows redirects until there is an answer, or one that is `enough` as it is.
    fn send(
        &self,
        method: Method,
        url: &Uri,
        start: Option<u64>,
        enough: impl Fn(&Response<Body>) -> bool,
    ) -> Result<Response<Body>, Fault> {
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let at_home = same_origin(&url, &self.endpoint);
            let mut request = match method {
                Method::HEAD => self.agent.head(&url),
                _ => self.agent.get(&url),
            };
            // The token is for the Hub alone, not for where it stores files.
            if let Some(token) = self.hub.token.as_ref().filter(|_| at_home) {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            if let Some(start) = start {
                request = request.header(header::RANGE, format!("bytes={start}-"));
            }
            let response = request.call().map_err(|error| self.fault(&url, error))?;
            let status = response.status();
            if enough(&response) && (status.is_success() || status.is_redirection()) {
                return Ok(response);
            }
            let Some(location) = response.headers().get(header::LOCATION).filter(|_| status.is_redirection())
            else {
                return self.judge(&url, status, at_home).map(|()| response);
            };
            let location = String::from_utf8_lossy(location.as_bytes());
            let target = redirect(&url, &location);
            url = target.ok_or_else(|| self.answer(&url, format!("a redirect to {location:?}")))?;
        }
        Err(self.answer(&url, format!("more than {MAX_REDIRECTS} redirects")).into())
    }

    /// Whether a status is a success, or what a resumed download can deal with.
    fn judge(&self, url: &Uri, status: StatusCode, at_home: bool) -> Result<(), Fault> {
        let id = self.id.clone();
        Err(match status.as_u16() {
            200..=299 | 416 => return Ok(()),
            status @ (429 | 500..=599) => {
                return Err(Fault::Passing { url: url.clone(), cause: Cause::Status(status) });
            }
            status @ (401 | 403) if at_home => {
                HubError::Refused { id, status, token: self.hub.token.is_some(), page: self.page() }
            }
            404 => HubError::NotFound { id, endpoint: origin(url), what: url.path().to_string() },
            status => self.answer(url, format!("status {status}")),
        }
        .into())
    }

    /// What a failed call means: a cut connection may be better the next time, one that never was will not.
    pub(crate) fn fault(&self, url: &Uri, error: ureq::Error) -> Fault {
        let passing = match &error {
            ureq::Error::Io(cause) => matches!(
                cause.kind(),
                ErrorKind::ConnectionReset
                    | ErrorKind::ConnectionAborted
                    | ErrorKind::BrokenPipe
                    | ErrorKind::UnexpectedEof
                    | ErrorKind::TimedOut
            ),
            ureq::Error::Timeout(timeout) => !matches!(timeout, Timeout::Resolve | Timeout::Connect),
            ureq::Error::Protocol(_) => true,
            _ => false,
        };
        let cause = match error {
            ureq::Error::Io(cause) => cause.to_string(),
            error => error.to_string(),
        };
        if passing { cut(url, cause) } else { self.unreachable(url, cause).into() }
    }

    /// Asks until there is an answer, a fault that does not pass, or no patience left.
    fn patiently<T>(&self, mut ask: impl FnMut() -> Result<T, Fault>) -> Result<T, HubError> {
        let mut patience = Patience::default();
        loop {
            match ask() {
                Ok(answer) => return Ok(answer),
                Err(fault) => patience.bear(self, fault)?,
            }
        }
    }

    fn url(&self, path: &str) -> Result<Uri, HubError> {
        let base = self.hub.endpoint.trim_end_matches('/');
        format!("{base}{path}").parse().map_err(|_| no_address(self.hub))
    }

    /// The model's page, for people.
    fn page(&self) -> String {
        // The endpoint as it is set may hold a password.
        let path = self.endpoint.path().trim_end_matches('/');
        format!("{}{path}/{}", origin(&self.endpoint), self.id.repo())
    }

    fn answer(&self, url: &Uri, problem: String) -> HubError {
        // Where files are stored, the query is a signature.
        let url = format!("{}{}", origin(url), url.path());
        HubError::Answer { id: self.id.clone(), url, problem }
    }

    /// What arrived is not the file.
    pub(crate) fn damaged(&self, file: &HubFile, problem: String) -> HubError {
        HubError::Damaged { id: self.id.clone(), file: file.name, problem }
    }

    /// A server that sends next to nothing will not send more in a moment.
    pub(crate) fn too_slow(&self, url: &Uri, problem: String) -> Fault {
        self.unreachable(url, of_file(url, problem)).into()
    }

    fn unreachable(&self, url: &Uri, cause: String) -> HubError {
        let cause = match self.agent.config().proxy().filter(|proxy| !proxy.is_no_proxy(url)) {
            Some(proxy) => format!(
                "{cause}, through the proxy {}:{} that HTTPS_PROXY, HTTP_PROXY or ALL_PROXY names",
                proxy.host(),
                proxy.port()
            ),
            None => cause,
        };
        HubError::Unreachable { id: self.id.clone(), host: origin(url), cause }
    }
}

fn no_address(hub: &Hub) -> HubError {
    HubError::Endpoint { endpoint: without_credentials(&hub.endpoint) }
}

/// Why text cannot be sent as a token. The text itself is a secret, also where it is none.
fn no_token(text: &str) -> Option<&'static str> {
    let wrong = text.chars().find(|letter| !letter.is_ascii_graphic())?;
    Some(match wrong {
        '\n' | '\r' => "a line break",
        ' ' | '\t' => "a space",
        _ if wrong.is_control() => "a control character",
        _ => "a character that is not ASCII",
    })
}

/// How many faults in a row have been borne.
#[derive(Default)]
pub(crate) struct Patience {
    faults: u32,
}

impl Patience {
    /// Waits before the next try.
    ///
    /// # Errors
    /// When the fault does not pass, or too many came in a row.
    pub(crate) fn bear(&mut self, client: &Client<'_>, fault: Fault) -> Result<(), HubError> {
        let (url, cause) = match fault {
            Fault::Final(error) => return Err(error),
            Fault::Passing { url, cause } => (url, cause),
        };
        let most = client.hub.retries;
        if self.faults < most {
            let wait = FIRST_WAIT.saturating_mul(2u32.saturating_pow(self.faults));
            self.faults += 1;
            let (host, tried) = (origin(&url), self.faults);
            match cause {
                Cause::Status(status) => log::info!("{host} answered {status}; retry {tried} of {most}"),
                Cause::Cut(cause) => log::info!("{host}: {cause}; retry {tried} of {most}"),
            }
            sleep(wait);
            return Ok(());
        }
        Err(match cause {
            Cause::Cut(cause) => client.unreachable(&url, cause),
            Cause::Status(status) => HubError::Unavailable {
                id: client.id.clone(),
                host: origin(&url),
                status,
                attempts: most.saturating_add(1),
            },
        })
    }
}
