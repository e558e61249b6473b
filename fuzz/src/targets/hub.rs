//! Answers of the Hub.
//!
//! A file is what a server says, one answer after the other, between lines of [`END`]. Each question gets the next
//! answer and a closed connection.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, OnceLock, PoisonError};

use unet3p_hub::Hub;

use super::said;
use crate::{Outcome, scratch};

/// Ends an answer.
pub(crate) const END: &[u8] = b"\n%%\n";

/// Answers that are still to be given.
static ANSWERS: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
/// Held while one script runs: there is one server.
static TURN: Mutex<()> = Mutex::new(());

/// Fetches a model from a server that says this.
pub(crate) fn pull(bytes: &[u8]) -> Outcome {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let address = address();
    let script = answers(bytes).into_iter().rev().map(|answer| at_home(&answer, address));
    *ANSWERS.lock().unwrap_or_else(PoisonError::into_inner) = script.collect();
    let cache = scratch::folder("hub", |_| {});
    let hub = Hub::new(&cache).with_endpoint(format!("http://{address}")).with_retries(0);
    let pulled = "acme/tiny".parse().and_then(|id| hub.pull(&id, &mut |_| {})).map(|_| ()).map_err(said);
    // The next script finds nothing there.
    fs::remove_dir_all(&cache).map_err(said)?;
    pulled
}

fn answers(script: &[u8]) -> Vec<Vec<u8>> {
    let (mut answers, mut rest) = (Vec::new(), script);
    while let Some(at) = rest.windows(END.len()).position(|window| window == END) {
        answers.push(rest[..at].to_vec());
        rest = &rest[at + END.len()..];
    }
    answers.push(rest.to_vec());
    answers
}

/// An answer whose redirects lead to this server, whoever they name: no script reaches another machine.
fn at_home(answer: &[u8], home: SocketAddr) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = answer.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    for line in &mut lines {
        let is_location = line.get(..9).is_some_and(|name| name.eq_ignore_ascii_case(b"location:"));
        if let Some(at) = line.windows(2).position(|pair| pair == b"//").filter(|_| is_location) {
            let host = at + 2;
            let end =
                line[host..].iter().position(|byte| b"/?#\r".contains(byte)).map_or(line.len(), |n| host + n);
            line.splice(host..end, home.to_string().into_bytes());
        }
    }
    lines.join(&b'\n')
}

/// Where the server listens, which runs as long as the process.
fn address() -> SocketAddr {
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    *ADDRESS.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on this machine");
        let address = listener.local_addr().expect("the port's number");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answer = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
                // A client may go away in the middle.
                let _ = give(stream, &answer);
            }
        });
        address
    })
}

/// Hears a question to its end, or until it is none, and answers.
fn give(mut stream: TcpStream, answer: &[u8]) -> std::io::Result<()> {
    let (mut question, mut part) = (Vec::new(), [0; 4096]);
    while !question.ends_with(b"\r\n\r\n") {
        match stream.read(&mut part)? {
            0 => return Ok(()),
            count => question.extend(&part[..count]),
        }
        if !question[0].is_ascii_uppercase() {
            break;
        }
    }
    stream.write_all(answer)
}
