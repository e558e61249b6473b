//! Files that damage begins with: the corpus, and files that a reader answered in a new way.

use std::collections::HashSet;

use unet3p_fuzz::{Outcome, Random};

/// Files that are added at most: memory for them is the readers' no more.
const MOST_ADDED: usize = 256;
/// The longest that is added.
const LONGEST: usize = 64 << 10;

pub(super) struct Pool {
    files: Vec<Vec<u8>>,
    corpus: usize,
    answers: HashSet<String>,
}

impl Pool {
    pub(super) fn new(corpus: Vec<Vec<u8>>) -> Self {
        Self { corpus: corpus.len(), files: corpus, answers: HashSet::new() }
    }

    /// Two of the files. One of two times the first is of the corpus: most of the others are refused.
    pub(super) fn draw(&self, random: &mut Random) -> (Vec<u8>, &[u8]) {
        let file = |index: usize| self.files.get(index).map_or(&[][..], Vec::as_slice);
        let reach = *random.pick(&[self.corpus, self.files.len()]);
        let first = file(random.below(reach)).to_vec();
        (first, file(random.below(self.files.len())))
    }

    /// Adds a file where the reader's answer is new. Errors stand for the way that a reader took: there is no
    /// instrumentation on stable Rust, and readers name what they stumble over.
    pub(super) fn learn(&mut self, file: &[u8], outcome: &Outcome) {
        let answer = outcome.as_ref().err().map_or(String::new(), |error| shape(error));
        if self.answers.insert(answer) && self.files.len() < self.corpus + MOST_ADDED && file.len() <= LONGEST
        {
            self.files.push(file.to_vec());
        }
    }
}

/// An error's words without what it quotes of the file: names in quotes, numbers, paths.
fn shape(error: &str) -> String {
    let words =
        error.split_ascii_whitespace().filter(|word| word.bytes().all(|byte| byte.is_ascii_alphabetic()));
    words.take(16).collect::<Vec<_>>().join(" ")
}
