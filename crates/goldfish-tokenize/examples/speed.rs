//! Speed of both paths: `speed TOKENIZER.json TEXT_FILE [TURNS]`.
//!
//! The text is cut into documents of about 4 KB at line ends. Each turn encodes all of them by both paths on one
//! thread; the figures are MB a second of processor time (of elapsed time where there is no Linux): median, min and max
//! of the turns.
#![allow(clippy::print_stdout, reason = "a benchmark")]

use std::error::Error;
use std::hint::black_box;
use std::sync::LazyLock;
use std::time::Instant;

use goldfish_tokenize::{EncodePath, Tokenizer};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [tokenizer, text, rest @ ..] = arguments.as_slice() else {
        return Err("speed TOKENIZER.json TEXT_FILE [TURNS]".into());
    };
    let turns: usize = rest.first().map_or(Ok(5), |turns| turns.parse())?;
    let json = std::fs::read(tokenizer)?;
    let started = seconds();
    let ours = Tokenizer::from_bytes(&json)?;
    println!("{tokenizer}: {}, loaded in {:.2} s", ours.fast_path(), seconds() - started);
    let plain = tokenizers::Tokenizer::from_bytes(&json).map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&std::fs::read(text)?).into_owned();
    let documents = documents(&text);
    let (mut fast, mut exact) = (Vec::new(), Vec::new());
    let (mut ids, mut declined, mut differ) = (Vec::new(), 0, 0);
    for turn in 0..turns {
        let started = seconds();
        for document in &documents {
            ids.clear();
            ours.encode_into(black_box(document), &mut ids)?;
        }
        fast.push(text.len() as f64 / 1e6 / (seconds() - started));
        if turn > 0 && rest.len() > 1 {
            continue;
        }
        let started = seconds();
        for document in &documents {
            black_box(plain.encode_fast(black_box(*document), false).map_err(|error| error.to_string())?);
        }
        exact.push(text.len() as f64 / 1e6 / (seconds() - started));
    }
    for document in &documents {
        let theirs = plain.encode_fast(*document, false).map_err(|error| error.to_string())?;
        ids.clear();
        declined += usize::from(ours.encode_into(document, &mut ids)? == EncodePath::Exact);
        differ += usize::from(ids != theirs.get_ids());
    }
    let (fast, exact) = (summary(&mut fast), summary(&mut exact));
    println!("  fast  {:.1} ({:.1} to {:.1}) MB/s", fast.0, fast.1, fast.2);
    println!("  exact {:.2} ({:.2} to {:.2}) MB/s, ratio {:.0}", exact.0, exact.1, exact.2, fast.0 / exact.0);
    println!("  {} documents, {declined} by the exact path, {differ} with other ids", documents.len());
    Ok(())
}

/// The processor time of this thread, or the time of day.
fn seconds() -> f64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let nanoseconds = std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|times| times.split(' ').next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(|| START.elapsed().as_secs_f64(), |nanoseconds| nanoseconds / 1e9)
}

fn documents(text: &str) -> Vec<&str> {
    let mut documents = Vec::new();
    let mut rest = text;
    while rest.len() > 4096 {
        let at = rest.as_bytes()[4096..].iter().position(|&byte| byte == b'\n');
        let (document, after) = rest.split_at(at.map_or(rest.len(), |at| 4096 + at + 1));
        documents.push(document);
        rest = after;
    }
    documents.push(rest);
    documents
}

fn summary(figures: &mut [f64]) -> (f64, f64, f64) {
    figures.sort_by(f64::total_cmp);
    (figures[figures.len() / 2], figures[0], figures[figures.len() - 1])
}
