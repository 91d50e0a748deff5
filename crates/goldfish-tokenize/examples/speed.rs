//! Speed of both paths: `speed TOKENIZER.json TEXT_FILE [TURNS [once|fast]]`.
//!
//! The text is cut into documents of about 4 KB at line ends. Each turn encodes all of them on one thread; the figures
//! are MB a second of processor time (of elapsed time where there is no Linux): median, min and max of the turns.
//! The exact path takes part in all turns, with `once` in the first, with `fast` in none. Then all ids are compared;
//! `fast` prints the memory that encoding takes instead (Linux). First of all come time and memory of loading.
#![allow(clippy::print_stdout, reason = "a benchmark")]

use std::error::Error;
use std::hint::black_box;
use std::sync::LazyLock;
use std::time::Instant;

use goldfish_tokenize::{EncodePath, Tokenizer};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [tokenizer, text, rest @ ..] = arguments.as_slice() else {
        return Err("speed TOKENIZER.json TEXT_FILE [TURNS [once|fast]]".into());
    };
    let turns: usize = rest.first().map_or(Ok(5), |turns| turns.parse())?;
    let exact_turns = match rest.get(1).map(String::as_str) {
        None => turns,
        Some("once") => 1,
        Some("fast") => 0,
        Some(other) => return Err(format!("{other}: give once or fast, or nothing").into()),
    };
    let started = seconds();
    let ours = Tokenizer::from_file(tokenizer.as_ref())?;
    let loaded = seconds() - started;
    println!("{tokenizer}: {}, loaded in {loaded:.2} s, {:.0} MB", ours.fast_path(), memory("VmHWM:"));
    let text = String::from_utf8_lossy(&std::fs::read(text)?).into_owned();
    let documents = documents(&text);
    let before = memory("VmRSS:");
    let mut ids = Vec::new();
    let fast = measure("fast", &text, turns, || {
        for document in &documents {
            ids.clear();
            ours.encode_into(black_box(document), &mut ids)?;
        }
        Ok(())
    })?;
    if exact_turns == 0 {
        println!("  {:.0} MB more than before the first document", memory("VmHWM:") - before);
        return Ok(());
    }
    let plain = tokenizers::Tokenizer::from_file(tokenizer).map_err(|error| error.to_string())?;
    let exact = measure("exact", &text, exact_turns, || {
        for document in &documents {
            black_box(plain.encode_fast(black_box(*document), false).map_err(|error| error.to_string())?);
        }
        Ok(())
    })?;
    println!("  ratio {:.0}", fast / exact);
    let (mut declined, mut differ) = (0, 0);
    for document in &documents {
        let theirs = plain.encode_fast(*document, false).map_err(|error| error.to_string())?;
        ids.clear();
        declined += usize::from(ours.encode_into(document, &mut ids)? == EncodePath::Exact);
        differ += usize::from(ids != theirs.get_ids());
    }
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

/// Prints and returns how fast `work` goes through the text.
fn measure(
    name: &str,
    text: &str,
    turns: usize,
    mut work: impl FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<f64, Box<dyn Error>> {
    let mut figures = Vec::new();
    for _ in 0..turns {
        let started = seconds();
        work()?;
        figures.push(text.len() as f64 / 1e6 / (seconds() - started));
    }
    figures.sort_by(f64::total_cmp);
    let median = figures.get(turns / 2).copied().ok_or("at least one turn")?;
    println!("  {name:5} {median:.2} ({:.2} to {:.2}) MB/s", figures[0], figures[turns - 1]);
    Ok(median)
}

/// A figure of `/proc/self/status` in MB, or 0.
fn memory(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) * 1024.0 / 1e6
}
