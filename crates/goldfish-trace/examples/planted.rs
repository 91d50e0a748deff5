//! Plants passages of a corpus in texts of random words, traces the texts, and compares the trace with a search of every place.
//!
//! ```sh
//! cargo run --release -p goldfish-trace --example planted -- FOLDER TEXTS CORPUS.jsonl...
//! ```
//!
//! The corpus has the columns `id` and `text`. FOLDER gets the texts and the trace. Prints how many of the planted passages are
//! found, by length and share of edited words, whether spans and numbers of places are those of the search of every place,
//! and the speed of one thread.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "an example")]

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use goldfish_corpus::{Content, ReadOptions, resolve};
use goldfish_mask::TextWords;
use goldfish_pipeline::{OnError, ScanJob};
use goldfish_trace::{Group, Least, Texts, Trace, TraceJob, trace};
use serde_json::Value;

const LENGTHS: [usize; 9] = [8, 12, 15, 20, 30, 50, 100, 200, 500];
const EDITED_PERCENT: [usize; 3] = [0, 2, 5];

/// Words of the shortest span.
const LEAST: usize = 12;

/// Numbers by Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

fn documents(corpus: &[PathBuf]) -> impl Iterator<Item = String> {
    let lines = corpus.iter().flat_map(|path| BufReader::new(File::open(path).unwrap()).lines());
    lines.map(|line| {
        let row: Value = serde_json::from_str(&line.unwrap()).unwrap();
        row["text"].as_str().unwrap().to_owned()
    })
}

/// A passage of a document in a text: where it is, its words, and how many percent of them are edited.
struct Planted {
    text: usize,
    start: usize,
    end: usize,
    words: usize,
    edited: usize,
}

/// Texts of some 800 random words with two passages each.
fn plant(count: usize, corpus: &[PathBuf]) -> (Vec<String>, Vec<Planted>) {
    let total = documents(corpus).count();
    let mut random = Random(0x0123_4567_89AB_CDEF);
    let filler = |random: &mut Random| {
        let word = |random: &mut Random| {
            (0..2 + random.below(7)).map(|_| char::from(b'a' + random.below(26) as u8)).collect::<String>()
        };
        (0..270).map(|_| word(random) + " ").collect::<String>()
    };
    let step = (total / (2 * count)).max(1);
    let mut words = TextWords::default();
    let mut passages = documents(corpus).step_by(step).filter_map(|document| {
        let (length, edited) = (LENGTHS[random.below(9)], EDITED_PERCENT[random.below(3)]);
        words.read(&document).unwrap();
        let start = random.below(words.len().checked_sub(length)?.max(1));
        let mut passage: Vec<String> =
            (start..start + length).map(|word| document[words.source(word)].to_owned()).collect();
        if edited > 0 {
            for _ in 0..(length * edited / 100).max(1) {
                let at = random.below(length);
                passage[at] = format!("zq{}", random.below(1_000_000));
            }
        }
        let spaced =
            |(at, word): (usize, &String)| format!("{word}{}", [" ", "\n"][usize::from(at % 9 == 8)]);
        Some((passage.iter().enumerate().map(spaced).collect::<String>(), length, edited))
    });
    let mut random = Random(0xFEDC_BA98_7654_3210);
    let (mut texts, mut planted) = (Vec::new(), Vec::new());
    for text in 0..count {
        let mut all = filler(&mut random);
        for _ in 0..2 {
            let Some((passage, words, edited)) = passages.next() else { continue };
            let start = all.len();
            all += &passage;
            planted.push(Planted { text, start, end: all.len(), words, edited });
            all += &filler(&mut random);
        }
        texts.push(all);
    }
    (texts, planted)
}

/// The spans of all texts with their numbers of places, found at every place.
fn every_place(texts: &[String], corpus: &[PathBuf]) -> Vec<BTreeMap<(u64, u64), u64>> {
    let mut numbers: HashMap<Vec<u8>, u32> = HashMap::new();
    let mut words = TextWords::default();
    let (mut all, mut sources, mut of) = (Vec::new(), Vec::new(), Vec::new());
    for (text, source) in texts.iter().enumerate() {
        words.read(source).unwrap();
        for word in 0..words.len() {
            let next = numbers.len() as u32 + 1;
            all.push(*numbers.entry(words.bytes(word).to_vec()).or_insert(next));
            sources.push(words.source(word));
            of.push(text);
        }
        all.push(0);
        sources.push(0..0);
        of.push(text);
    }
    let mut places: HashMap<&[u32], Vec<u32>> = HashMap::new();
    for (at, run) in all.windows(LEAST).enumerate().filter(|(_, run)| !run.contains(&0)) {
        places.entry(run).or_default().push(at as u32);
    }
    let for_each_match = |each: &mut dyn FnMut(usize, usize)| {
        let (mut words, mut document) = (TextWords::default(), Vec::new());
        for text in documents(corpus) {
            words.read(&text).unwrap();
            document.clear();
            document.extend(
                (0..words.len()).map(|word| numbers.get(words.bytes(word)).copied().unwrap_or(u32::MAX)),
            );
            for (at, run) in document.windows(LEAST).enumerate() {
                for &place in places.get(run).into_iter().flatten() {
                    let pairs = all[place as usize..].iter().zip(&document[at..]);
                    each(place as usize, pairs.take_while(|(a, b)| a == b).count());
                }
            }
        }
    };
    let mut longest = vec![0; all.len()];
    for_each_match(&mut |place, words| longest[place] = words.max(longest[place]));
    let mut end = 0;
    let is_span: Vec<bool> = longest
        .iter()
        .enumerate()
        .map(|(place, words)| {
            let is_span = *words > 0 && place + words > end;
            end = if is_span { place + words } else { end };
            is_span
        })
        .collect();
    let mut counts = vec![0u64; all.len()];
    for_each_match(&mut |place, words| counts[place] += u64::from(is_span[place] && words >= longest[place]));
    let mut spans = vec![BTreeMap::new(); texts.len()];
    for place in (0..all.len()).filter(|place| is_span[*place]) {
        let part = (sources[place].start as u64, sources[place + longest[place] - 1].end as u64);
        spans[of[place]].insert(part, counts[place]);
    }
    spans
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap());
    let count: usize = arguments.next().unwrap().parse().unwrap();
    let corpus: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    std::fs::create_dir_all(&folder).unwrap();

    let (texts, planted) = plant(count, &corpus);
    let mut needles = Texts::default();
    let mut file = File::create(folder.join("texts.jsonl")).unwrap();
    for (number, text) in texts.iter().enumerate() {
        needles.add(&number.to_string(), text, Group::Text, &number.to_string()).unwrap();
        writeln!(file, "{}", serde_json::json!({ "id": number.to_string(), "text": text })).unwrap();
    }
    let bytes: usize = texts.iter().map(String::len).sum();
    println!("{count} texts of {:.1} MB, {} planted passages", bytes as f64 / 1e6, planted.len());

    let names: Vec<String> = corpus.iter().map(|path| path.to_str().unwrap().to_owned()).collect();
    let mut read = ReadOptions::new(Content::Text { column: "text".into() });
    read.id_column = Some("id".into());
    let job = TraceJob {
        corpus: ScanJob {
            inputs: resolve(&names, None).unwrap().inputs,
            read,
            tokenize: None,
            partition: None,
            on_error: OnError::Fail,
            threads: 1,
        },
        least: Least::Words(LEAST as u32),
        seed: 0,
        output: folder.join("traced"),
        resume: false,
        save_every: Duration::from_secs(30),
    };
    let started = Instant::now();
    let traced = trace(needles, &job, &AtomicBool::new(false), &|_| {}).unwrap();
    let seconds = started.elapsed().as_secs_f64();
    let text_bytes = traced.summary.corpus.text_bytes as f64;
    println!("{:.0} MB of text in {seconds:.1} s: {:.0} MB/s", text_bytes / 1e6, text_bytes / 1e6 / seconds);

    compare(&job.output, &texts, &planted, &corpus);
}

fn compare(traced: &Path, texts: &[String], planted: &[Planted], corpus: &[PathBuf]) {
    let mut verbatim = vec![BTreeMap::new(); texts.len()];
    let mut any: Vec<Vec<(u64, u64)>> = vec![Vec::new(); texts.len()];
    for row in Trace::open(traced).unwrap().spans().unwrap() {
        let row = row.unwrap();
        let text: usize = row.text_id.parse().unwrap();
        any[text].push((row.text_start, row.text_end));
        if let Some(places) = row.places {
            verbatim[text].insert((row.text_start, row.text_end), places);
        }
    }
    let mut found: BTreeMap<(usize, usize), (u32, u32)> = BTreeMap::new();
    for passage in planted {
        let shared = |(start, end): &(u64, u64)| {
            (*end).min(passage.end as u64).saturating_sub((*start).max(passage.start as u64))
        };
        let most = any[passage.text].iter().map(shared).max().unwrap_or(0);
        let entry = found.entry((passage.words, passage.edited)).or_default();
        entry.0 += u32::from(2 * most >= (passage.end - passage.start) as u64);
        entry.1 += 1;
    }
    println!("\nplanted passages of which half or more is in one place, by words and percent edited");
    for words in LENGTHS {
        let cells = EDITED_PERCENT.map(|edited| {
            let (found, all) = found.get(&(words, edited)).copied().unwrap_or_default();
            format!("{edited}%: {found} of {all}")
        });
        println!("{words:>4}  {}", cells.join(", "));
    }
    let expected = every_place(texts, corpus);
    let spans: usize = expected.iter().map(BTreeMap::len).sum();
    let places: u64 = expected.iter().flat_map(BTreeMap::values).sum();
    let same = verbatim == expected;
    println!(
        "\na search of every place finds {spans} spans at {places} places; the trace finds the same: {same}"
    );
    assert!(same, "the spans differ");
}
