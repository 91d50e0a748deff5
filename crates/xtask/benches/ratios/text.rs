//! The rule `text` on raw text.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::inputs::{documents, prose, write_documents};
use crate::measure::{RUNS, Usage, goldfish, measure, remove, root, row, title};

/// The variable with an additional tokenizer.
pub(crate) const TOKENIZER: &str = "GOLDFISH_TOKENIZER";

pub(crate) fn fixture(name: &str) -> PathBuf {
    root().join(format!("fixtures/tokenizers/{name}.json"))
}

/// `goldfish mask` on JSON lines of text.
pub(crate) fn mask_text(
    goldfish: &Path,
    tokenizer: &Path,
    rule: &str,
    input: &Path,
    output: &Path,
    options: &[&str],
) -> Usage {
    remove(output);
    let mut command = Command::new(goldfish);
    command.arg("mask").arg(input).arg("--output").arg(output).arg("--tokenizer").arg(tokenizer);
    measure(command.args(["--rule", rule]).args(options))
}

pub(crate) fn rules() {
    let (goldfish, scratch) = goldfish();
    let (input, output) = (scratch.join("input.jsonl"), scratch.join("output"));
    title(
        &format!(
            "`goldfish mask` on raw text, 50 MB in documents of 4 KiB: `--rule text` and `--rule hash`; ratio = speed with text / speed with hash (another tokenizer: {TOKENIZER}=tokenizer.json)"
        ),
        "MB/s with text",
    );
    let tokenizers = ["gpt2", "neox", "llama3"].map(|name| (format!("fixture {name}"), fixture(name)));
    let own = std::env::var_os(TOKENIZER).map(|path| (TOKENIZER.to_owned(), PathBuf::from(path)));
    let sentences: Vec<String> = prose(50_000_000)
        .as_bytes()
        .chunks(4096)
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .collect();
    for (kind, documents) in [("documents and sources", documents(50_000_000)), ("sentences", sentences)] {
        write_documents(&input, &documents);
        for (name, tokenizer) in tokenizers.iter().chain(&own) {
            let pairs = (0..RUNS).map(|_| {
                let hash = mask_text(&goldfish, tokenizer, "hash", &input, &output, &[]);
                let text = mask_text(&goldfish, tokenizer, "text", &input, &output, &[]);
                (hash.seconds / text.seconds, 50.0 / text.seconds)
            });
            row(&format!("{kind}, {name}"), pairs);
        }
    }
    remove(&scratch);
}

pub(crate) fn shapes() {
    let (goldfish, scratch) = goldfish();
    let (input, output) = (scratch.join("input.jsonl"), scratch.join("output"));
    println!(
        "\nOne document of 5 MB and of 50 MB, rule `text`; growth = time for 50 MB / time for 5 MB: 10 is linear\n"
    );
    println!("| text | MB/s | growth | peak MiB |\n|---|---|---|---|");
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
            mask_text(&goldfish, &fixture("gpt2"), "text", &input, &output, &[])
        };
        let (small, large) = (usage(5_000_000), usage(50_000_000));
        let growth = large.seconds / small.seconds;
        println!("| {name} | {:.1} | {growth:.1} | {} |", 50.0 / large.seconds, large.peak_bytes >> 20);
    }
    remove(&scratch);
}
