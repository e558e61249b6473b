//! What a Hub says when a model is fetched: see the target `hub` for the form.

use super::{Seed, models, seed};
use crate::targets::hub::END;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A model in four files, and some that end early.
pub fn scripts() -> Vec<Seed> {
    let (_, config) = models::configs().swap_remove(0);
    let (_, weights) = models::weights().swap_remove(1);
    let info = format!(
        "{{\"id\": \"acme/tiny\", \"sha\": \"{COMMIT}\", \"siblings\": [{{\"rfilename\": \"config.json\"}}, \
         {{\"rfilename\": \"model.safetensors\"}}, {{\"rfilename\": \"README.md\"}}]}}"
    );
    let info = answer("200 OK", &["Content-Type: application/json"], info.as_bytes());
    let small = |name: &str, content: &[u8]| {
        let length = format!("Content-Length: {}", content.len());
        let redirect = answer("307 Temporary Redirect", &[&format!("Location: /small/{name}")], b"");
        let head = answer("200 OK", &[&length, &format!("ETag: W/\"{name}-1\"")], b"");
        let body = answer("200 OK", &[], content);
        [redirect.clone(), head, redirect, body]
    };
    let size = format!("X-Linked-Size: {}", weights.len());
    let stored = ["Location: http://cdn.test/storage/abc?signature=x", &size, "X-Linked-Etag: \"abc\""];
    let stored = answer("302 Found", &stored, b"");
    let first = weights.len() / 2;
    let range = format!("Content-Range: bytes 0-{}/{}", weights.len() - 1, weights.len());
    let whole = answer("206 Partial Content", &[&range], &weights);
    let chunked = [format!("{first:x}\r\n").as_bytes(), &weights[..first], b"\r\n0\r\n\r\n"].concat();
    let chunked = answer("200 OK", &["Transfer-Encoding: chunked"], &chunked);

    let files = [small("config.json", &config), small("README.md", b"---\n---\n")].concat();
    let start = || [vec![info.clone()], files.clone(), vec![stored.clone(), stored.clone()]].concat();
    vec![
        seed("pull.http", [start(), vec![whole]].concat().join(END)),
        seed("chunked.http", [start(), vec![chunked]].concat().join(END)),
        seed("gated.http", answer("403 Forbidden", &["X-Error-Code: GatedRepo"], b"{\"error\": \"no\"}")),
    ]
}

fn answer(status: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 {status}\r\n").into_bytes();
    for header in headers {
        answer.extend(format!("{header}\r\n").into_bytes());
    }
    answer.extend(b"Connection: close\r\n\r\n");
    answer.extend(body);
    answer
}
