//! Servers that fail and connections that are cut.

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::Device;
use unet3p_hub::HubError;
use unet3p_models::UNet3Plus;

use crate::server::{GONE, Reply, Repo, Server};
use crate::support::{Place, WEIGHTS, assert_says, repo};

#[test]
fn faults_that_pass_are_borne() {
    let (model, asked) = (repo(), AtomicUsize::new(0));
    let server = Server::start(move |request| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::status(503),
        1 => Reply::status(429),
        2 => Reply::status(GONE),
        _ => model.reply(request),
    });
    Place::new(&server).pull().unwrap();
}

#[test]
fn faults_that_do_not_pass_are_named() {
    let server = Server::start(|_| Reply::status(502));
    let error = Place::new(&server).pull().unwrap_err();
    assert!(matches!(error, HubError::Unavailable { status: 502, attempts: 4, .. }), "{error:?}");
    assert_says(&error, &["acme/tiny", &server.url(), "502", "4 times"]);
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn without_retries_the_first_fault_is_the_answer() {
    let server = Server::start(|_| Reply::status(502));
    let place = Place::new(&server);
    let hub = place.hub.clone().with_retries(0);
    let error = hub.pull(&"acme/tiny".parse().unwrap(), &mut |_| {}).unwrap_err();
    assert!(matches!(error, HubError::Unavailable { status: 502, attempts: 1, .. }), "{error:?}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_server_that_fails_leaves_what_is_in_the_cache() {
    let (model, broken) = (repo(), Mutex::new(false));
    let server = Server::start(move |request| {
        let mut broken = broken.lock().unwrap();
        *broken |= request.path == "/break";
        if *broken { Reply::status(500) } else { model.reply(request) }
    });
    let place = Place::new(&server);
    let folder = place.pull().unwrap();
    let _ = ureq::get(format!("{}/break", server.url())).call();
    assert_eq!(place.pull().unwrap(), folder);
}

#[test]
fn a_cut_connection_is_taken_up() {
    let (model, cuts) = (repo(), AtomicUsize::new(0));
    let size = model.files[WEIGHTS].len();
    let server = Server::start(move |request| {
        let reply = model.reply(request);
        // More often than a fault is borne without anything to show for it.
        let cut = request.path.starts_with("/storage/") && cuts.fetch_add(1, Ordering::SeqCst) < 5;
        if cut { reply.cut_after(size / 8) } else { reply }
    });
    let place = Place::new(&server);
    UNet3Plus::load(place.pull().unwrap(), &Device::Cpu).unwrap();
    let requests = server.requests();
    let starts: Vec<_> =
        requests.iter().filter(|r| r.path.starts_with("/storage/")).map(|r| r.header("range")).collect();
    let expected: Vec<_> = (1..6).map(|cut| format!("bytes={}-", cut * (size / 8))).collect();
    assert_eq!(starts[0], None);
    assert_eq!(starts[1..].iter().flatten().collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
}

#[test]
fn a_later_pull_goes_on_where_one_was_killed() {
    let model = repo();
    let (weights, etag) = (model.files[WEIGHTS].clone(), Repo::etag(&model.files[WEIGHTS]));
    let server = model.serve();
    let half = weights.len() / 2;
    for (part, start) in [
        (weights[..half].to_vec(), Some(half)),
        // Everything had arrived, but for its name.
        (weights.clone(), None),
        // No part of this file: it is fetched from the beginning.
        ([weights.as_slice(), b"more"].concat(), Some(0)),
    ] {
        let place = Place::new(&server);
        fs::create_dir_all(place.cache().join("blobs")).unwrap();
        fs::write(place.cache().join(format!("blobs/{etag}.incomplete")), part).unwrap();
        UNet3Plus::load(place.pull().unwrap(), &Device::Cpu).unwrap();
        let asked = server.requests().into_iter().find(|request| request.path.starts_with("/storage/"));
        let range = start.filter(|&start| start > 0).map(|start| format!("bytes={start}-"));
        assert_eq!(asked.as_ref().map(|request| request.header("range")), start.map(|_| range.as_deref()));
        assert!(!place.files().iter().any(|file| file.ends_with(".incomplete")));
    }
}

#[test]
fn what_a_server_without_ranges_sends_is_not_appended() {
    let model = repo();
    let etag = Repo::etag(&model.files[WEIGHTS]);
    let half = model.files[WEIGHTS].len() / 2;
    let part = model.files[WEIGHTS][..half].to_vec();
    let server = Server::start(move |request| {
        let mut request = request.clone();
        request.headers.remove("range");
        model.reply(&request)
    });
    let place = Place::new(&server);
    fs::create_dir_all(place.cache().join("blobs")).unwrap();
    fs::write(place.cache().join(format!("blobs/{etag}.incomplete")), part).unwrap();
    UNet3Plus::load(place.pull().unwrap(), &Device::Cpu).unwrap();
}

#[test]
fn a_file_that_always_ends_too_early_is_given_up() {
    let model = repo();
    let short = model.files[WEIGHTS][..1000].to_vec();
    let server = Server::start(move |request| match request.path.starts_with("/storage/") {
        true => Reply::content(request, &short).of_unknown_length(),
        false => model.reply(request),
    });
    let error = Place::new(&server).pull().unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }), "{error:?}");
}
