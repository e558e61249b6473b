//! What is opened and read, and what is not.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::Path;

use unet3p_files::{Content, MAX_TEXT, open, read_text};

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";

#[test]
fn a_pointer_is_no_file_of_its_content() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a");
    fs::write(&path, POINTER).unwrap();
    let error = open(&path, Content::Weights).unwrap_err().to_string();
    assert_eq!(error, "is a Git LFS pointer, not the weights: run `git lfs pull`");
    let error = read_text(&path).unwrap_err().to_string();
    assert_eq!(error, "is a Git LFS pointer, not the file itself: run `git lfs pull`");
    // What only speaks of one, is longer than one, or ends before one begins.
    for content in [POINTER[1..].to_string(), POINTER.repeat(10), POINTER[..20].to_string(), String::new()] {
        fs::write(&path, &content).unwrap();
        let (mut file, length) = open(&path, Content::Other).unwrap();
        let mut read = String::new();
        file.read_to_string(&mut read).unwrap();
        assert_eq!((read.len() as u64, read), (length, content));
    }
}

#[test]
fn a_text_has_no_byte_order_mark_and_a_bounded_length() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a.json");
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        read_text(&path)
    };
    let wide = |text: &str, unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
        "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(unit).collect()
    };
    let text = "{\"größe\": 1}";
    for bytes in [
        text.as_bytes().to_vec(),
        format!("\u{feff}{text}").into_bytes(),
        wide(text, u16::to_le_bytes),
        wide(text, u16::to_be_bytes),
    ] {
        assert_eq!(read(&bytes).unwrap(), text);
    }
    for bytes in [&b"\xff\xfe{"[..], b"\xff\xfe\x00\xd8", b"{\xff}", b"\xef\xbb\xbf\xff"] {
        assert_eq!(read(bytes).unwrap_err().kind(), ErrorKind::InvalidData);
    }
    // Sparse: a file of any length costs nothing to make.
    let file = fs::File::create(&path).unwrap();
    file.set_len(MAX_TEXT).unwrap();
    assert_eq!(read_text(&path).unwrap().len() as u64, MAX_TEXT);
    file.set_len(3 << 30).unwrap();
    let error = read_text(&path).unwrap_err().to_string();
    assert!(error.contains("3221225472 bytes"), "{error}");
}

/// Reading a pipe would wait for ever, and so would this test.
#[cfg(unix)]
#[test]
fn what_is_no_file_is_not_opened() {
    let place = tempfile::tempdir().unwrap();
    let pipe = place.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let socket = place.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for (path, kind) in [
        (pipe.as_path(), "is a pipe"),
        (socket.as_path(), "is a socket"),
        (Path::new("/dev/zero"), "is a device"),
        (place.path(), "is a folder"),
    ] {
        let error = open(path, Content::Other).unwrap_err().to_string();
        assert!(error.contains(kind), "{error}");
        assert!(read_text(path).is_err());
    }
    assert_eq!(open(&place.path().join("absent"), Content::Other).unwrap_err().kind(), ErrorKind::NotFound);
}
