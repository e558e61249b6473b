//! What names a model on the Hub: `org/name` or `org/name@revision`.

use std::fmt;
use std::str::FromStr;

use crate::HubError;

/// The longest `org/name` that the Hub allows.
const MAX_REPO: usize = 96;
/// The longest revision: as long as file systems allow a name to be.
const MAX_REVISION: usize = 255;

/// A model on the Hub, and which revision of it.
///
/// Organisation and name follow the Hub's rules: ASCII letters and digits, `-`, `_` and `.`, neither `--` nor `..`, no
/// `-` or `.` at either end, at most 96 characters together. A revision is a branch, a tag, a commit or `refs/pr/N` (a
/// pull request): parts of the same characters with `/` between them, none of which begins or ends with a dot. So an
/// id cannot name a path outside of the cache, nor a part of a web address other than its own.
///
/// ```
/// use unet3p_hub::ModelId;
///
/// let id: ModelId = "acme/liver-ct@v1.2".parse()?;
/// assert_eq!((id.repo(), id.revision()), ("acme/liver-ct", "v1.2"));
/// assert_eq!("acme/liver-ct".parse::<ModelId>()?.revision(), "main");
/// assert!("../liver-ct".parse::<ModelId>().is_err());
/// # Ok::<(), unet3p_hub::HubError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ModelId {
    repo: String,
    revision: Option<String>,
}

impl ModelId {
    /// `org/name`.
    pub fn repo(&self) -> &str {
        &self.repo
    }

    /// The revision: `main` where none is named.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repo)?;
        self.revision.as_ref().map_or(Ok(()), |revision| write!(f, "@{revision}"))
    }
}

impl FromStr for ModelId {
    type Err = HubError;

    fn from_str(id: &str) -> Result<Self, HubError> {
        let wrong = |problem| HubError::Id { id: id.to_string(), problem };
        let (repo, revision) = match id.split_once('@') {
            Some((repo, revision)) => (repo, Some(revision)),
            None => (id, None),
        };
        let (org, name) = repo.split_once('/').ok_or_else(|| wrong("it has no `/`"))?;
        check_repo(repo, org, name).map_err(wrong)?;
        revision.map_or(Ok(()), check_revision).map_err(wrong)?;
        Ok(Self { repo: repo.to_string(), revision: revision.map(str::to_string) })
    }
}

fn check_repo(repo: &str, org: &str, name: &str) -> Result<(), &'static str> {
    if repo.len() > MAX_REPO {
        return Err("organisation and name have more than 96 characters");
    }
    for part in [org, name] {
        if part.is_empty() || !part.bytes().all(is_plain) {
            return Err("organisation and name consist of letters, digits, `-`, `_` and `.`");
        }
        if part.starts_with(['-', '.']) || part.ends_with(['-', '.']) {
            return Err("organisation and name neither begin nor end with `-` or `.`");
        }
        if part.contains("--") || part.contains("..") {
            return Err("organisation and name hold neither `--` nor `..`");
        }
    }
    Ok(())
}

fn check_revision(revision: &str) -> Result<(), &'static str> {
    if revision.len() > MAX_REVISION {
        return Err("the revision has more than 255 characters");
    }
    let fits = |part: &str| {
        !part.is_empty() && part.bytes().all(is_plain) && !part.starts_with('.') && !part.ends_with('.')
    };
    if !revision.split('/').all(fits) {
        return Err("a revision has parts of letters, digits, `-`, `_` and `.`, with `/` between them");
    }
    Ok(())
}

/// What can stand in names, in paths and in web addresses as it is.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)
}

/// Whether `name` is the full name of a commit.
pub(crate) fn is_commit(name: &str) -> bool {
    name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Whether `etag` can be the name of a file in the cache: it is told by a server, which may be any.
pub(crate) fn is_file_name(etag: &str) -> bool {
    (1..=128).contains(&etag.len()) && etag.bytes().all(is_plain) && !etag.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_and_written_alike() {
        for id in ["a/b", "Org-1/my_model.v2", "a/b@main", "a/b@refs/pr/1", "a/b@v1.0", "a/b@feature/x_y"] {
            assert_eq!(id.parse::<ModelId>().unwrap().to_string(), id);
        }
    }

    #[test]
    fn no_id_leaves_the_cache() {
        let long = format!("a/{}", "b".repeat(95));
        let revision = format!("a/b@{}", "r".repeat(256));
        let wrong = [
            "",
            "a",
            "/",
            "a/",
            "/b",
            "a/b/c",
            "/a/b",
            "./b",
            "../b",
            "a/..",
            "a/.",
            "a/.b",
            "a/b.",
            "-a/b",
            "a--b/c",
            "a/b..c",
            "a/b c",
            "a\\b/c",
            "C:/b",
            "a/b\0",
            "a/ü",
            "a/b?x",
            "a/b#x",
            "a/%2e%2e",
            "a/b@",
            "a/b@..",
            "a/b@../../x",
            "a/b@/etc",
            "a/b@x//y",
            "a/b@x/../y",
            "a/b@x/.",
            "a/b@.x",
            "a/b@x\\y",
            "a/b@x@y",
            "a/b@x y",
            "a/b@%2e",
            "a/b@C:/x",
            &long,
            &revision,
        ];
        for id in wrong {
            let error = id.parse::<ModelId>().unwrap_err().to_string();
            assert!(error.contains("not a Hub id") && error.contains("org/name@revision"), "{id}: {error}");
        }
    }

    #[test]
    fn what_a_server_says_is_no_path() {
        assert!(is_file_name("d41d8cd98f00b204e9800998ecf8427e-1"));
        for etag in ["", "..", ".x", "a/b", "a\\b", "a b", &"a".repeat(129)] {
            assert!(!is_file_name(etag), "{etag}");
        }
        assert!(is_commit(&"0a".repeat(20)));
        for name in ["main", "../..", &"0A".repeat(20), &"0a".repeat(21)] {
            assert!(!is_commit(name), "{name}");
        }
    }
}
