//! Files that are not what they should be, hostile answers, and a cache that is in a bad way.

use std::fs;

use candle_core::Device;
use unet3p_hub::HubError;
use unet3p_models::UNet3Plus;

use crate::server::{Reply, Repo, Request, Server};
use crate::support::{ID, Place, WEIGHTS, assert_says, repo};

/// Pulls a model of which one file is replaced on its way, says why that fails, and that nothing of it is left.
#[track_caller]
fn damaged(file: &'static str, words: &[&str], replace: impl Fn(&[u8]) -> Vec<u8>) {
    let model = repo();
    // The Hub tells of the right file; what arrives is another.
    let sent = replace(&model.files[file]);
    let etag = Repo::etag(&model.files[file]);
    let good = model.clone();
    let bad = Server::start(move |request| {
        let content = request.method == "GET"
            && (request.path.contains(&etag) || request.path.ends_with(file))
            && !request.path.contains("/resolve/");
        if content { Reply::content(request, &sent) } else { model.reply(request) }
    });
    let mut place = Place::new(&bad);
    let error = place.pull().unwrap_err();
    assert!(matches!(error, HubError::Damaged { .. }), "{error:?}");
    assert_says(&error, &["acme/tiny", file, "removed", "unet3p pull acme/tiny"]);
    assert_says(&error, words);
    let left = place.files();
    let etag = Repo::etag(&good.files[file]);
    assert!(!left.iter().any(|path| path.contains(&etag) || path.ends_with(file)), "{left:?}");
    assert!(place.hub.clone().with_offline(true).pull(&ID.parse().unwrap(), &mut |_| {}).is_err());

    let server = good.serve();
    place.hub = place.hub.with_endpoint(server.url());
    UNet3Plus::load(place.pull().unwrap(), &Device::Cpu).unwrap();
}

#[test]
fn a_file_of_another_size_is_refused() {
    damaged(WEIGHTS, &["bytes were sent"], |weights| weights[..weights.len() - 4].to_vec());
    damaged(WEIGHTS, &["bytes were sent"], |weights| [weights, b"more"].concat());
}

#[test]
fn a_flipped_bit_is_found() {
    damaged(WEIGHTS, &["SHA-256"], |weights| {
        let mut weights = weights.to_vec();
        *weights.last_mut().unwrap() ^= 1;
        weights
    });
}

#[test]
fn weights_without_a_sound_header_are_refused() {
    damaged(WEIGHTS, &["not a sound safetensors file"], |weights| vec![b'x'; weights.len()]);
    // A header that tells of other tensors than the file has bytes for.
    damaged(WEIGHTS, &["not a sound safetensors file"], |weights| {
        let text = String::from_utf8_lossy(weights);
        let shape = text.find("\"shape\":[").unwrap() + 9;
        let mut weights = weights.to_vec();
        weights[shape] = if weights[shape] == b'1' { b'2' } else { b'1' };
        weights
    });
}

#[test]
fn a_configuration_that_is_no_json_is_refused() {
    damaged("config.json", &["not a JSON object"], |config| vec![b'<'; config.len()]);
}

#[test]
fn a_damaged_file_in_the_cache_is_fetched_again() {
    let server = repo().serve();
    let place = Place::new(&server);
    let weights = place.pull().unwrap().join(WEIGHTS);
    let content = fs::read(&weights).unwrap();
    fs::write(&weights, &content[..content.len() / 2]).unwrap();
    place.pull().unwrap();
    assert!(fs::read(&weights).unwrap() == content);
}

/// Without the Hub nobody can mend it, and what reads it later would say less.
#[test]
fn a_damaged_file_in_the_cache_is_not_served() {
    for (file, words) in [
        (WEIGHTS, ["not a sound safetensors file", "truncated"]),
        ("config.json", ["not a JSON object", "EOF"]),
        ("preprocessor_config.json", ["not a JSON object", "EOF"]),
    ] {
        let server = repo().serve();
        let place = Place::new(&server);
        let path = place.pull().unwrap().join(file);
        let content = fs::read(&path).unwrap();
        fs::write(&path, &content[..content.len() / 2]).unwrap();
        drop(server);
        for hub in [place.hub.clone(), place.hub.clone().with_offline(true)] {
            let error = hub.pull(&ID.parse().unwrap(), &mut |_| {}).unwrap_err();
            assert!(matches!(error, HubError::CacheDamaged { .. }), "{error:?}");
            assert_says(&error, &["acme/tiny", path.to_str().unwrap(), "unet3p pull acme/tiny", "online"]);
            assert_says(&error, &words);
        }
    }
}

/// Content that another revision left: of the right size and form, with other numbers.
#[test]
fn a_flipped_bit_in_the_cache_is_not_linked() {
    let model = repo();
    let server = model.clone().serve();
    let place = Place::new(&server);
    let weights = place.pull().unwrap().join(WEIGHTS);
    let mut content = model.files[WEIGHTS].clone();
    *content.last_mut().unwrap() ^= 1;
    fs::write(place.cache().join("blobs").join(Repo::etag(&model.files[WEIGHTS])), &content).unwrap();
    fs::remove_file(&weights).unwrap();
    place.pull().unwrap();
    assert!(fs::read(&weights).unwrap() == model.files[WEIGHTS]);
}

/// While this process waits, another that found the same damage brings the file: it is taken, not removed.
#[cfg(unix)]
#[test]
fn what_another_process_has_mended_is_taken() {
    let model = repo();
    let etag = Repo::etag(&model.files[WEIGHTS]);
    let server = model.clone().serve();
    let place = Place::new(&server);
    let weights = place.pull().unwrap().join(WEIGHTS);
    let blob = place.cache().join("blobs").join(&etag);
    fs::write(&blob, "damaged").unwrap();
    let lock = place.folder.path().join(format!("cache/.locks/models--acme--tiny/{etag}.lock"));
    let lock = fs::File::options().append(true).open(lock).unwrap();
    lock.lock().unwrap();
    server.requests();
    std::thread::scope(|scope| {
        // Given back where an assertion fails, so that the pull ends.
        let held = lock;
        let pull = scope.spawn(|| place.pull().unwrap());
        while !server.requests().iter().any(|request| request.path.ends_with(WEIGHTS)) {
            assert!(!pull.is_finished());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        // The damage was found by now, and whatever is done about it without the lock.
        assert!(blob.exists());
        fs::write(&blob, &model.files[WEIGHTS]).unwrap();
        drop(held);
        pull.join().unwrap();
    });
    assert!(fs::read(&weights).unwrap() == model.files[WEIGHTS]);
    assert!(!server.requests().iter().any(|request| request.path.starts_with("/storage/")));
}

#[cfg(unix)]
#[test]
fn files_that_users_linked_into_the_cache_are_not_removed() {
    let server = repo().serve();
    let place = Place::new(&server);
    let weights = place.pull().unwrap().join(WEIGHTS);
    let own = place.folder.path().join("own.safetensors");
    fs::write(&own, "damaged, but mine").unwrap();
    fs::remove_file(&weights).unwrap();
    std::os::unix::fs::symlink(&own, &weights).unwrap();
    place.pull().unwrap();
    assert!(own.exists() && UNet3Plus::load(weights.parent().unwrap(), &Device::Cpu).is_ok());
}

type Answer = Box<dyn Fn(&Request) -> Reply + Send + Sync>;

#[test]
fn an_answer_names_no_path_outside_of_the_cache() {
    let outside = "../../../outside";
    let model = repo();
    let hostile: [(&str, Answer); 4] = [
        ("no commit", Box::new(move |_| Reply::status(200).body(format!("{{\"sha\":\"{outside}\"}}")))),
        ("names no file", {
            let model = model.clone();
            Box::new(move |request| match request.method.as_str() {
                "HEAD" => Reply::status(200).with("ETag", format!("\"{outside}\"")),
                _ => model.reply(request),
            })
        }),
        ("redirect", Box::new(|_| Reply::status(302).with("Location", "file:///etc/passwd"))),
        ("redirects", Box::new(|request| Reply::status(302).with("Location", request.path.clone()))),
    ];
    for (word, answer) in hostile {
        let server = Server::start(answer);
        let place = Place::new(&server);
        let error = place.pull().unwrap_err();
        assert!(matches!(error, HubError::Answer { .. }), "{error:?}");
        assert_says(&error, &["acme/tiny", &server.url(), "HF_ENDPOINT", word]);
        assert_eq!(place.files(), [""; 0]);
        assert!(!place.folder.path().join("outside").exists());
    }
    let server = Server::start(|_| Reply::status(200).body("<html>not the Hub</html>"));
    assert_says(
        &Place::new(&server).pull().unwrap_err(),
        &["does not answer as the Hub does", "HF_ENDPOINT"],
    );
}

#[test]
fn a_cache_that_cannot_be_written_says_what_to_do() {
    let server = repo().serve();
    let place = Place::new(&server);
    fs::write(place.folder.path().join("cache"), "a file").unwrap();
    let error = place.pull().unwrap_err();
    assert!(matches!(error, HubError::Io { .. }), "{error:?}");
    assert_says(&error, &["cache"]);
    let full = HubError::Io { path: "x".into(), cause: std::io::ErrorKind::StorageFull.into() };
    assert_says(&full, &["x: ", "make room", "HF_HUB_CACHE"]);
}

#[test]
fn another_part_than_was_asked_for_is_refused() {
    let model = repo();
    let etag = Repo::etag(&model.files[WEIGHTS]);
    let part = model.files[WEIGHTS][..1000].to_vec();
    let server = Server::start(move |request| match request.header("range") {
        Some(_) => Reply::status(206)
            .body(model.files[WEIGHTS].clone())
            .with("Content-Range", format!("bytes 0-9/{}", model.files[WEIGHTS].len())),
        None => model.reply(request),
    });
    let place = Place::new(&server);
    fs::create_dir_all(place.cache().join("blobs")).unwrap();
    let path = place.cache().join(format!("blobs/{etag}.incomplete"));
    fs::write(&path, part).unwrap();
    assert_says(&place.pull().unwrap_err(), &[WEIGHTS, "removed", "another part"]);
    assert!(!path.exists());
}
