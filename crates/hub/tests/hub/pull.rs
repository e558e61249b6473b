//! What a pull fetches, from whom, and what it asks for.

use std::collections::BTreeMap;
use std::fs;

use candle_core::Device;
use unet3p_hub::{Hub, HubError, Progress};
use unet3p_models::UNet3Plus;

use crate::server::{COMMIT, Reply, Repo, Server};
use crate::support::{ID, Place, WEIGHTS, assert_says, paths, repo};

#[test]
fn a_model_lies_in_the_cache_as_python_lays_it() {
    let repo = repo();
    let server = repo.clone().serve();
    let place = Place::new(&server);
    let mut seen: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
    let mut progress = |p: Progress<'_>| seen.entry(p.file.to_string()).or_default().push((p.done, p.total));
    let folder = place.hub.pull(&ID.parse().unwrap(), &mut progress).unwrap();

    assert_eq!(folder, place.cache().join("snapshots").join(COMMIT));
    UNet3Plus::load(&folder, &Device::Cpu).unwrap();
    let ours = ["README.md", "config.json", WEIGHTS, "preprocessor_config.json"];
    let mut expected: Vec<String> = ours.iter().map(|name| format!("snapshots/{COMMIT}/{name}")).collect();
    expected.extend(ours.iter().map(|name| format!("blobs/{}", Repo::etag(&repo.files[*name]))));
    expected.push("refs/main".to_string());
    expected.sort();
    assert_eq!(place.files(), expected);
    assert_eq!(fs::read_to_string(place.cache().join("refs/main")).unwrap(), COMMIT);
    #[cfg(unix)]
    assert!(fs::read_link(folder.join(WEIGHTS)).unwrap().starts_with("../../blobs"));

    for name in ours {
        let size = repo.files[name].len() as u64;
        let (first, last) = (seen[name][0], *seen[name].last().unwrap());
        assert_eq!((first, last), ((0, size), (size, size)), "{name}");
        assert!(seen[name].is_sorted(), "{name}");
    }

    // Sizes count the bytes of the file, so they must not be compressed on the way.
    assert!(server.requests().iter().all(|request| request.header("accept-encoding") == Some("identity")));
    // What is there is not asked for again.
    assert_eq!(place.pull().unwrap(), folder);
    assert_eq!(paths(&server.requests()), ["/api/models/acme/tiny/revision/main"]);
}

#[test]
fn a_model_in_the_cache_needs_no_server() {
    let server = repo().serve();
    let place = Place::new(&server);
    let folder = place.pull().unwrap();
    let elsewhere = Place::new(&server);
    drop(server);
    assert_eq!(place.pull().unwrap(), folder);
    let offline = place.hub.clone().with_offline(true);
    assert_eq!(offline.pull(&ID.parse().unwrap(), &mut |_| {}).unwrap(), folder);
    assert_eq!(offline.pull(&format!("{ID}@{COMMIT}").parse().unwrap(), &mut |_| {}).unwrap(), folder);

    let error = elsewhere.pull().unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }), "{error:?}");
    assert_says(&error, &["acme/tiny: cannot reach http://127.0.0.1", "refused", "--offline", "HF_ENDPOINT"]);
    for id in ["acme/tiny@v2", "acme/other"] {
        let error = offline.pull(&id.parse().unwrap(), &mut |_| {}).unwrap_err();
        let pull = format!("unet3p pull {id}");
        assert_says(&error, &[id, "offline", "config.json", place.folder.path().to_str().unwrap(), &pull]);
    }
    fs::remove_file(folder.join(WEIGHTS)).unwrap();
    let error = offline.pull(&ID.parse().unwrap(), &mut |_| {}).unwrap_err();
    assert!(matches!(error, HubError::NotCached { file: WEIGHTS, .. }), "{error:?}");
}

#[test]
fn a_private_model_needs_the_token_which_only_the_hub_sees() {
    let storage = repo().serve();
    let private = Repo { token: Some("hf_secret"), storage: Some(storage.url()), ..repo() };
    let server = private.serve();
    let mut place = Place::new(&server);
    let error = place.pull().unwrap_err();
    assert!(matches!(error, HubError::Refused { status: 401, token: false, .. }), "{error:?}");
    let page = format!("{}/acme/tiny", server.url());
    assert_says(&error, &["acme/tiny", "401", "private or gated", "HF_TOKEN", "licence", &page, "spelling"]);

    place.hub = place.hub.with_token(Some("hf_wrong".to_string()));
    let error = place.pull().unwrap_err();
    assert_says(&error, &["the token may not read it", "HF_TOKEN"]);
    assert!(!error.to_string().contains("hf_wrong"));

    server.requests();
    place.hub = place.hub.with_token(Some("hf_secret".to_string()));
    place.pull().unwrap();
    assert!(server.requests().iter().all(|request| request.header("authorization").is_some()));
    let stored = storage.requests();
    assert_eq!(stored.len(), 1, "{stored:?}");
    assert!(stored.iter().all(|request| request.header("authorization").is_none()), "{stored:?}");
}

#[test]
fn a_password_in_the_address_is_not_shown() {
    let private = Repo { token: Some("hf_secret"), ..repo() };
    let server = private.serve();
    let host = server.url().replace("http://", "");
    for (endpoint, shown) in [
        (format!("http://me:hidden@{host}"), format!("http://{host}/acme/tiny")),
        (format!("http://me:hidden@{host}/mirror/"), format!("http://{host}/")),
        ("me:hidden@hub.test".to_string(), "hub.test".to_string()),
        ("ftp://me:hidden@hub.test".to_string(), "ftp://***@hub.test".to_string()),
    ] {
        let place = Place::new(&server);
        let hub = place.hub.with_endpoint(endpoint);
        let error = hub.pull(&ID.parse().unwrap(), &mut |_| {}).unwrap_err();
        assert_says(&error, &[&shown]);
        for text in [error.to_string(), format!("{error:?}"), format!("{hub:?}")] {
            assert!(!text.contains("hidden"), "{text}");
        }
    }
}

/// It is nobody's outage, for which the cache would serve.
#[test]
fn what_is_no_token_is_not_sent() {
    let server = repo().serve();
    let mut place = Place::new(&server);
    place.pull().unwrap();
    server.requests();
    for (token, problem) in [
        ("hf_a\nhf_b", "a line break"),
        ("hf_a b", "a space"),
        ("hf_\u{7f}", "control"),
        ("hf_\u{e4}", "not ASCII"),
    ] {
        place.hub = place.hub.with_token(Some(token.to_string()));
        let error = place.pull().unwrap_err();
        assert!(matches!(error, HubError::Token { .. }), "{error:?}");
        assert_says(&error, &["HF_TOKEN", "is not a token", problem, "hf auth login"]);
        assert!(!error.to_string().contains(token) && server.requests().is_empty());
    }
}

#[test]
fn a_gated_model_is_seen_and_not_given() {
    let model = repo();
    let server = Server::start(move |request| match request.path.contains("/resolve/") {
        true => Reply::status(403),
        false => model.reply(request),
    });
    let place = Place::new(&server);
    let error = place.pull().unwrap_err();
    assert!(matches!(error, HubError::Refused { status: 403, .. }), "{error:?}");
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn what_is_not_there_is_named() {
    let server = repo().serve();
    let place = Place::new(&server);
    for id in ["acme/tini", "acme/tiny@v9"] {
        let error = place.pull_id(id).unwrap_err();
        assert!(matches!(error, HubError::NotFound { .. }), "{error:?}");
        assert_says(&error, &[id, &server.url(), "404", "spelling", "HF_TOKEN"]);
    }
    let mut other = repo();
    other.files.remove("config.json");
    let server = other.serve();
    let error = Place::new(&server).pull().unwrap_err();
    assert!(matches!(error, HubError::NotAModel { file: "config.json", .. }), "{error:?}");
    let wrong = Hub::new("cache").with_endpoint("hub.test").pull(&ID.parse().unwrap(), &mut |_| {});
    assert_says(&wrong.unwrap_err(), &["hub.test", "HF_ENDPOINT", "https://"]);
}

#[test]
fn a_new_commit_fetches_what_has_changed() {
    let mut model = repo();
    let server = model.clone().serve();
    let mut place = Place::new(&server);
    let old = place.pull().unwrap();
    let commit = "f".repeat(40);
    model.revisions.insert("main".to_string(), commit.clone());
    model.revisions.insert("refs/pr/1".to_string(), commit.clone());
    model.files.insert("README.md".to_string(), b"another".to_vec());
    let server = model.serve();
    place.hub = place.hub.with_endpoint(server.url());
    let new = place.pull().unwrap();
    assert!(new.ends_with(&commit) && old.join(WEIGHTS).exists());
    assert_eq!(fs::read(new.join("README.md")).unwrap(), b"another");
    let requests = server.requests();
    assert!(!paths(&requests).iter().any(|path| path.starts_with("/storage/")), "{requests:?}");
    // A pull request is a revision as well.
    assert_eq!(place.pull_id("acme/tiny@refs/pr/1").unwrap(), new);
    assert!(place.files().contains(&"refs/refs/pr/1".to_string()));
    assert_eq!(paths(&server.requests()), ["/api/models/acme/tiny/revision/refs%2Fpr%2F1"]);
}

#[test]
fn several_at_once_fetch_a_file_once() {
    let server = repo().serve();
    let place = Place::new(&server);
    std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..4).map(|_| scope.spawn(|| place.pull())).collect();
        for pull in pulls {
            UNet3Plus::load(pull.join().unwrap().unwrap(), &Device::Cpu).unwrap();
        }
    });
    let requests = server.requests();
    let stored = paths(&requests).iter().filter(|path| path.starts_with("/storage/")).count();
    assert_eq!(stored, 1, "{requests:?}");
}
