//! Speed as ratios to a physical limit in the same run: `cargo bench -p xtask [-- kernels|mask|text]`.
//!
//! - `kernels`: every mask rule beside a copy of the ids (`memcpy`), and the rule `text` beside a UTF-8 validation of
//!   the same text, one thread.
//! - `mask`: `goldfish mask` on tokenized input beside `cp` of its output, with peak memory, for 100 MB and
//!   1 GB of input.
//! - `text`: `goldfish mask` on raw text by the rule `text` beside the rule `hash`, and on texts of 5 MB and 50 MB
//!   whose shape could make an algorithm quadratic.
//!
//! Each figure is the median of paired runs, with the smallest and the largest beside it. Absolute times depend
//! on the machine and on who else uses it; the ratios are what counts.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark")]

use std::fs;
use std::hint::black_box;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use goldfish_mask::{Head, MaskRule, RuleParameters, RuleSpec, Span, TableSource, Unit, Window};

/// Paired runs a figure.
const RUNS: usize = 7;

/// Tokens for the kernels: 64 MiB of ids, more than the caches hold.
const TOKENS: usize = 16 << 20;

/// Tokens in a document, for both parts.
const DOCUMENT: usize = 1024;

fn main() {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let run = |name: &str| wanted.is_empty() || wanted.iter().any(|argument| argument == name);
    if run("kernels") {
        kernels();
        text_kernels();
    }
    if run("mask") {
        mask();
    }
    if run("text") {
        text();
    }
}

/// Ids without structure, as a tokenizer with 50,000 entries would give.
fn ids(count: usize) -> impl Iterator<Item = u32> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    (0..count).map(move |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % 50_000) as u32
    })
}

fn time(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// Median, smallest and largest.
fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

fn rules() -> Vec<(String, RuleParameters)> {
    let mut rules = vec![
        ("static".to_owned(), RuleParameters::Static { k: 4, start: 0 }),
        ("random".to_owned(), RuleParameters::Random { k: 4, seed: 0 }),
    ];
    for context in [4, 13, 50] {
        let (k, window, head) = (4, Window::Preceding, Head::Keep);
        let coefficients = (0..i64::from(context)).map(|j| (j * 0x1234_5678_9abc) | 1).collect();
        let table = TableSource::Cpu;
        for (name, rule) in [
            ("hash", RuleParameters::Hash { k, context, window, head, seed: 0 }),
            ("hash-table", RuleParameters::HashTable { k, context, table: table.clone() }),
            ("hash-avalanche", RuleParameters::HashAvalanche { k, context }),
            ("coefficient-sum", RuleParameters::CoefficientSum { k, context, coefficients, table }),
        ] {
            rules.push((format!("{name} h={context}"), rule));
        }
    }
    rules
}

fn kernels() {
    println!(
        "kernels, one thread, {TOKENS} tokens in documents of {DOCUMENT}; ratio = kernel / memcpy of the ids\n"
    );
    println!("{:22} {:>12} {:>8} {:>8} {:>8}", "rule", "Mtok/s", "ratio", "min", "max");
    let ids: Vec<u32> = ids(TOKENS).collect();
    let mut copy = vec![0u32; TOKENS];
    let mut mask = vec![0u8; TOKENS];
    for (name, parameters) in rules() {
        let rule = RuleSpec::new(parameters).build(None).unwrap();
        let mut rates = Vec::new();
        let mut ratios = Vec::new();
        for _ in 0..RUNS {
            let memcpy = time(|| black_box(&mut copy).copy_from_slice(black_box(&ids)));
            let kernel = time(|| decide(&*rule, black_box(&ids), black_box(&mut mask)));
            rates.push(TOKENS as f64 / kernel / 1e6);
            ratios.push(memcpy / kernel);
        }
        let ((rate, ..), (ratio, low, high)) = (spread(rates), spread(ratios));
        println!("{name:22} {rate:>12.0} {ratio:>8.3} {low:>8.3} {high:>8.3}");
    }
}

/// Sentences of which each text is made, by script.
const SENTENCES: [(&str, &str); 4] = [
    (
        "English",
        "The ship sailed at dawn, and by noon the harbour lay far behind her (as \"Annie\" had said). ",
    ),
    ("German", "Früh am Morgen lief das große Schiff aus, und mittags lag der Hafen schon weit zurück. "),
    ("Russian", "На рассвете корабль вышел в море, и к полудню гавань осталась далеко позади. "),
    ("Chinese", "黎明时分，船出海了；到了中午，港口已经远远落在后面。"),
];

/// The rule `text` on documents of 4 KiB with four bytes a token.
fn text_kernels() {
    println!("\nrule text, one thread, documents of 4 KiB; ratio = kernel / UTF-8 validation of the text\n");
    println!("{:22} {:>12} {:>8} {:>8} {:>8}", "text", "MB/s", "ratio", "min", "max");
    for (name, sentence) in SENTENCES {
        let document = sentence.repeat(4096 / sentence.len());
        let documents = vec![document.clone(); (32 << 20) / document.len()];
        let bytes: usize = documents.iter().map(String::len).sum();
        let spans: Vec<(usize, usize)> = (0..document.len() / 4).map(|i| (4 * i, 4 * i + 4)).collect();
        let (ids, mut mask) = (vec![0; spans.len()], vec![0; spans.len()]);
        for unit in [Unit::Word, Unit::Token] {
            let parameters = RuleParameters::Text { k: 4, context: 50, unit, head: Head::Keep, seed: 0 };
            let rule = RuleSpec::new(parameters).build(None).unwrap();
            let mut rates = Vec::new();
            let mut ratios = Vec::new();
            for _ in 0..RUNS {
                let validation = time(|| {
                    for text in black_box(&documents) {
                        black_box(std::str::from_utf8(text.as_bytes()).unwrap());
                    }
                });
                let kernel = time(|| {
                    for text in black_box(&documents) {
                        rule.decide(&Span::document(&ids).with_text(text, &spans), black_box(&mut mask));
                    }
                });
                rates.push(bytes as f64 / kernel / 1e6);
                ratios.push(validation / kernel);
            }
            let ((rate, ..), (ratio, low, high)) = (spread(rates), spread(ratios));
            let name = format!("{name}, by {unit:?}").to_lowercase();
            println!("{name:22} {rate:>12.0} {ratio:>8.3} {low:>8.3} {high:>8.3}");
        }
    }
}

fn decide(rule: &dyn MaskRule, ids: &[u32], mask: &mut [u8]) {
    for (document, mask) in ids.chunks(DOCUMENT).zip(mask.chunks_mut(DOCUMENT)) {
        rule.decide(&Span::document(document), mask);
    }
}

/// Wall time and peak resident memory of a command.
struct Usage {
    seconds: f64,
    peak_bytes: u64,
}

/// Runs a command to its end; the peak is read from `/proc` (0 where there is none).
fn measure(command: &mut Command) -> Usage {
    let start = Instant::now();
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let mut peak_bytes = 0;
    loop {
        if let Ok(text) = fs::read_to_string(&status) {
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
            peak_bytes = peak_bytes.max(kib.unwrap_or(0) * 1024);
        }
        if let Some(exit) = child.try_wait().unwrap() {
            assert!(exit.success(), "{command:?}: {exit}");
            return Usage { seconds: start.elapsed().as_secs_f64(), peak_bytes };
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The program as it is released, and a folder to work in.
fn goldfish() -> (PathBuf, PathBuf) {
    let built =
        Command::new("cargo").args(["build", "--release", "-p", "goldfish"]).current_dir(root()).status();
    assert!(built.unwrap().success());
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let scratch = target.join("bench");
    fs::create_dir_all(&scratch).unwrap();
    (target.join("release/goldfish"), scratch)
}

/// `goldfish mask` on one document a line.
fn mask_text(goldfish: &Path, tokenizer: &Path, rule: &str, input: &Path, output: &Path) -> Usage {
    remove(output);
    let mut command = Command::new(goldfish);
    command.arg("mask").arg(input).arg("--output").arg(output).arg("--tokenizer").arg(tokenizer);
    measure(command.args(["--rule", rule]))
}

/// Words of the four sentences in changing order: about this many bytes.
fn prose(bytes: usize) -> String {
    let words: Vec<&str> = SENTENCES[0].1.split(' ').chain(SENTENCES[1].1.split(' ')).collect();
    let mut text = String::with_capacity(bytes + 16);
    let mut order = ids(usize::MAX);
    while text.len() < bytes {
        text += words[order.next().unwrap() as usize % words.len()];
        text.push(if order.next().unwrap().is_multiple_of(12) { '\n' } else { ' ' });
    }
    text
}

fn write_documents(path: &Path, documents: &[String]) {
    let mut file = BufWriter::new(fs::File::create(path).unwrap());
    for text in documents {
        writeln!(file, "{}", serde_json::json!({ "text": text })).unwrap();
    }
    file.into_inner().unwrap().sync_all().unwrap();
}

fn text() {
    let (goldfish, scratch) = goldfish();
    let (input, output) = (scratch.join("input.jsonl"), scratch.join("output"));
    println!(
        "\ngoldfish mask on raw text, 50 MB in documents of 4 KiB; ratio = speed by text / speed by hash\n"
    );
    println!("{:14} {:>10} {:>8} {:>8} {:>8}", "tokenizer", "MB/s text", "ratio", "min", "max");
    let documents: Vec<String> = prose(50_000_000)
        .as_bytes()
        .chunks(4096)
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .collect();
    write_documents(&input, &documents);
    for name in ["gpt2", "neox", "llama3"] {
        let tokenizer = root().join(format!("fixtures/tokenizers/{name}.json"));
        let (mut rates, mut ratios) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let hash = mask_text(&goldfish, &tokenizer, "hash", &input, &output);
            let text = mask_text(&goldfish, &tokenizer, "text", &input, &output);
            rates.push(50.0 / text.seconds);
            ratios.push(hash.seconds / text.seconds);
        }
        let ((rate, ..), (ratio, low, high)) = (spread(rates), spread(ratios));
        println!("{name:14} {rate:>10.1} {ratio:>8.2} {low:>8.2} {high:>8.2}");
    }

    println!(
        "\none document of 5 MB and of 50 MB, rule text; growth = time for 50 MB / time for 5 MB: 10 where it is linear\n"
    );
    println!("{:22} {:>10} {:>8} {:>10}", "text", "MB/s", "growth", "peak MiB");
    let tokenizer = root().join("fixtures/tokenizers/gpt2.json");
    type Shape = (&'static str, fn(usize) -> String);
    let shapes: [Shape; 5] = [
        ("prose in one line", |bytes| prose(bytes).replace('\n', " ")),
        ("combining marks", |bytes| "e".to_owned() + &"\u{301}\u{323}".repeat(bytes / 4)),
        ("one word", |bytes| "a".repeat(bytes)),
        ("spaces", |bytes| " ".repeat(bytes)),
        ("Thai", |bytes| "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกัน".repeat(bytes / 120)),
    ];
    for (name, shape) in shapes {
        let usage = |bytes: usize| {
            write_documents(&input, &[shape(bytes)]);
            mask_text(&goldfish, &tokenizer, "text", &input, &output)
        };
        let (small, large) = (usage(5_000_000), usage(50_000_000));
        let growth = large.seconds / small.seconds;
        println!("{name:22} {:>10.1} {growth:>8.1} {:>10}", 50.0 / large.seconds, large.peak_bytes >> 20);
    }
    remove(&scratch);
}

fn mask() {
    let (goldfish, scratch) = goldfish();
    let threads = std::thread::available_parallelism().unwrap();

    println!(
        "\ngoldfish mask on a u32 memmap (documents of {DOCUMENT} tokens), {threads} threads, beside cp of its output"
    );
    println!("ratio = mask / cp, both to the same disk, cp followed by sync of the copied files\n");
    println!(
        "{:>8} {:16} {:>10} {:>8} {:>8} {:>8} {:>10}",
        "input", "rule", "MB/s in", "ratio", "min", "max", "peak MiB"
    );
    for megabytes in [100u64, 1000] {
        let input = scratch.join("input.npy");
        write_memmap(&input, megabytes * 1_000_000);
        for rule in ["hash", "hash-table"] {
            let (output, copied) = (scratch.join("output"), scratch.join("copied"));
            let mut rates = Vec::new();
            let mut ratios = Vec::new();
            let mut peak = 0;
            for _ in 0..if megabytes > 500 { 5 } else { RUNS } {
                remove(&output);
                remove(&copied);
                let masked = measure(
                    Command::new(&goldfish)
                        .arg("mask")
                        .arg(&input)
                        .args(["--ids-dtype", "uint32", "--eos-id", "0", "--rule", rule, "--output"])
                        .arg(&output),
                );
                let script = "cp -r \"$0\" \"$1\" && sync \"$1\"/*";
                let cp = measure(Command::new("sh").args(["-c", script]).arg(&output).arg(&copied));
                rates.push(megabytes as f64 / masked.seconds);
                ratios.push(masked.seconds / cp.seconds);
                peak = peak.max(masked.peak_bytes);
            }
            let ((rate, ..), (ratio, low, high)) = (spread(rates), spread(ratios));
            let peak = peak >> 20;
            println!(
                "{:>5} MB {rule:16} {rate:>10.0} {ratio:>8.2} {low:>8.2} {high:>8.2} {peak:>10}",
                megabytes
            );
        }
    }
    remove(&scratch);
}

fn remove(folder: &Path) {
    if folder.exists() {
        fs::remove_dir_all(folder).unwrap();
    }
}

/// Documents that end with id 0.
fn write_memmap(path: &Path, bytes: u64) {
    let mut file = BufWriter::new(fs::File::create(path).unwrap());
    for (i, id) in ids((bytes / 4) as usize).enumerate() {
        let id = if i % DOCUMENT == DOCUMENT - 1 { 0 } else { id.max(1) };
        file.write_all(&id.to_le_bytes()).unwrap();
    }
    file.into_inner().unwrap().sync_all().unwrap();
}
