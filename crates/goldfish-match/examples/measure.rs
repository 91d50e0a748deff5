//! Measures recall, speed and memory of matching on text that is made up.
//!
//! `cargo run --release -p goldfish-match --example measure -- [MEGABYTES [GRAM WINDOW]]`, or with `works FILE.. haystack FILE..`
//! in place of made-up text, to measure the speed on other text.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "an example"
)]

use std::time::Instant;

use goldfish_mask::TextWords;
use goldfish_match::{Index, IndexBuilder, Parameters, Search};

/// `SplitMix64` (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Words whose frequency falls with their rank, as Zipf's law says; frequent ones are short.
struct Language {
    words: Vec<String>,
    /// Words by a number that is drawn.
    drawn: Vec<u32>,
}

const VOCABULARY: usize = 200_000;

impl Language {
    fn new(random: &mut Random) -> Self {
        let word = |rank: usize| {
            let mut letters = String::new();
            let mut left = rank;
            let length = 2 + rank.max(1).ilog(6) as usize + random.below(3);
            for place in 0..length {
                let set: &[u8] = if place % 2 == 0 { b"tnsrhldcmfpgwbvk" } else { b"eaoiu" };
                letters.push(char::from(set[left % set.len()]));
                left = left / set.len() + random.below(3);
            }
            letters
        };
        let words = (0..VOCABULARY).map(word).collect();
        let weights: Vec<f64> = (0..VOCABULARY).map(|rank| 1.0 / (rank as f64 + 2.7)).collect();
        let total: f64 = weights.iter().sum();
        let mut drawn = Vec::new();
        let mut sum = 0.0;
        for (rank, weight) in weights.iter().enumerate() {
            sum += weight / total;
            drawn.resize((sum * f64::from(1 << 22)) as usize, rank as u32);
        }
        Self { words, drawn }
    }

    fn word(&self, random: &mut Random) -> &str {
        &self.words[self.drawn[random.below(self.drawn.len())] as usize]
    }

    fn sequence(&self, count: usize, random: &mut Random) -> Vec<&str> {
        (0..count).map(|_| self.word(random)).collect()
    }
}

/// Words as text in some layout.
fn laid_out(words: &[&str], random: &mut Random) -> String {
    let mut text = String::new();
    for (i, word) in words.iter().enumerate() {
        if i % 11 == 0 && i > 0 {
            text.pop();
            text.push_str(". ");
            let mut letters = word.chars();
            text.extend(letters.next().map(|first| first.to_ascii_uppercase()));
            text.push_str(letters.as_str());
        } else {
            text.push_str(word);
        }
        text.push_str(if random.below(10) == 0 {
            ", "
        } else if random.below(12) == 0 {
            "\n"
        } else {
            " "
        });
    }
    text
}

/// Replaces, deletes, inserts or transposes a share of words.
fn edited<'a>(words: &[&'a str], share: f64, language: &'a Language, random: &mut Random) -> Vec<&'a str> {
    let mut edited: Vec<&str> = Vec::new();
    let mut at = 0;
    while at < words.len() {
        if random.share() >= share {
            edited.push(words[at]);
            at += 1;
            continue;
        }
        match random.below(4) {
            0 => edited.push(language.word(random)),
            1 => {}
            2 => edited.extend([language.word(random), words[at]]),
            _ if at + 1 < words.len() => {
                edited.extend([words[at + 1], words[at]]);
                at += 1;
            }
            _ => edited.push(words[at]),
        }
        at += 1;
    }
    edited
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((works, haystack)) =
        arguments.split(|argument| argument == "works").nth(1).and_then(|files| {
            let at = files.iter().position(|file| file == "haystack")?;
            Some((&files[..at], &files[at + 1..]))
        })
    {
        return of_files(works, haystack);
    }
    let number = |index: usize, default: usize| arguments.get(index).map_or(default, |a| a.parse().unwrap());
    let megabytes = number(0, 100);
    let mut parameters = Parameters::default();
    parameters.gram = number(1, parameters.gram as usize) as u32;
    parameters.window = number(2, parameters.window as usize) as u32;
    let mut random = Random(1);
    let language = Language::new(&mut random);
    let mut works: Vec<Vec<&str>> = Vec::new();
    let mut texts: Vec<String> = Vec::new();
    let mut bytes = 0;
    while bytes < megabytes << 20 {
        let words = language.sequence(2000 + random.below(60_000), &mut random);
        let text = laid_out(&words, &mut random);
        bytes += text.len();
        texts.push(text);
        works.push(words);
    }
    let index = built(parameters, texts.iter().map(String::as_str), bytes);
    drop(texts);
    let mut haystack: Vec<String> = Vec::new();
    for _ in 0..3000 {
        let words = language.sequence(50 + random.below(3000), &mut random);
        haystack.push(laid_out(&words, &mut random));
    }
    speed(&index, &haystack);
    recall(&index, &works, &language, &mut random);
}

fn built<'a>(parameters: Parameters, works: impl Iterator<Item = &'a str>, bytes: usize) -> Index {
    let Parameters { gram, window, least_words, most_edits, .. } = parameters;
    println!(
        "gram {gram}, window {window}, least words {least_words}, most edits {most_edits} %: {} words are guaranteed",
        parameters.guaranteed()
    );
    let origin = Instant::now();
    let start = time_run(origin);
    let mut builder = IndexBuilder::new(parameters).unwrap();
    works.enumerate().for_each(|(number, text)| builder.add(&number.to_string(), text).unwrap());
    let index = builder.build();
    println!(
        "index of {bytes} bytes, {} works, {} words: {:.2} s, {:.2} bytes a byte",
        index.works(),
        index.all_words(),
        time_run(origin) - start,
        index.memory_bytes() as f64 / bytes as f64
    );
    index
}

/// The time that this thread ran, in seconds, because other processes use the machine too; where the system doesn't say, the time that passed.
fn time_run(start: Instant) -> f64 {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let run = times.and_then(|times| times.split(' ').next()?.parse::<f64>().ok());
    run.map_or_else(|| start.elapsed().as_secs_f64(), |run| run / 1e9)
}

/// The least of several times.
fn speed(index: &Index, haystack: &[String]) {
    let bytes: usize = haystack.iter().map(String::len).sum();
    let (mut cutting, mut both) = (f64::MAX, f64::MAX);
    let mut words = TextWords::default();
    let mut search = Search::new(index);
    let (mut passages, mut all, mut same) = (0, 0, 0);
    let origin = Instant::now();
    for _ in 0..7 {
        let start = time_run(origin);
        for text in haystack {
            words.read(text).unwrap();
        }
        cutting = cutting.min(time_run(origin) - start);
        let start = time_run(origin);
        (passages, all, same) = (0, 0, 0);
        for text in haystack {
            words.read(text).unwrap();
            all += words.len();
            let found = search.find(&words);
            passages += found.len();
            same += found.iter().map(|passage| u64::from(passage.words)).sum::<u64>();
        }
        both = both.min(time_run(origin) - start);
    }
    let each = |time: f64| time * 1e9 / bytes as f64;
    println!(
        "haystack of {bytes} bytes, {all} words: {:.2} ns a byte, of which cutting {:.2}; {passages} passages of {same} words",
        each(both),
        each(cutting)
    );
}

const TRIALS: usize = 400;

fn recall(index: &Index, works: &[Vec<&str>], language: &Language, random: &mut Random) {
    let shares = [0.0, 0.02, 0.05, 0.1, 0.15];
    println!(
        "| words | edited | found | words covered | reported words that are not of the copy |\n|---|---|---|---|---|"
    );
    let mut words = TextWords::default();
    let mut search = Search::new(index);
    for length in [12, 15, 20, 30, 50, 100, 200, 500] {
        for share in shares {
            let (mut found, mut covered, mut foreign, mut copied) = (0, 0, 0, 0);
            for _ in 0..TRIALS {
                let work = random.below(works.len());
                let from = random.below(works[work].len() - length);
                let copy = edited(&works[work][from..from + length], share, language, random);
                let before = 200 + random.below(300);
                let mut page = language.sequence(before, random);
                page.extend(&copy);
                page.extend(language.sequence(300, random));
                words.read(&laid_out(&page, random)).unwrap();
                let passages = search.find(&words);
                let place = before as u32..(before + copy.len()) as u32;
                let mut is_covered = vec![false; page.len()];
                let mut hit = false;
                for passage in passages {
                    for block in &passage.blocks {
                        for i in 0..block.words {
                            let (at, in_work) = (block.doc_start + i, block.work_start + i);
                            // Every word that is reported is in the work.
                            assert_eq!(page[at as usize], works[passage.work as usize][in_work as usize]);
                            is_covered[at as usize] = true;
                        }
                    }
                    hit |= passage.work as usize == work
                        && passage.work_words().start < (from + length) as u32
                        && passage.work_words().end > from as u32;
                }
                found += usize::from(hit);
                copied += copy.len();
                let in_copy =
                    is_covered[place.start as usize..place.end as usize].iter().filter(|&&c| c).count();
                covered += in_copy;
                foreign += is_covered.iter().filter(|&&c| c).count() - in_copy;
            }
            println!(
                "| {length} | {:.0} % | {:.1} % | {:.1} % | {:.2} % |",
                100.0 * share,
                100.0 * found as f64 / TRIALS as f64,
                100.0 * covered as f64 / copied as f64,
                100.0 * foreign as f64 / (foreign + covered).max(1) as f64
            );
        }
    }
}

fn of_files(works: &[String], haystack: &[String]) {
    let read = |paths: &[String]| -> Vec<String> {
        paths.iter().map(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()).collect()
    };
    let (works, haystack) = (read(works), read(haystack));
    let index =
        built(Parameters::default(), works.iter().map(String::as_str), works.iter().map(String::len).sum());
    speed(&index, &haystack);
}
