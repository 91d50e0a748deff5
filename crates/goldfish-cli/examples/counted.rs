//! Kernels on input that is the same each time: `cargo xtask counts` counts the instructions of one more turn.
//!
//! `counted NAME TURNS` runs a kernel; `counted inputs FOLDER` writes the input of the small runs of `goldfish`.

use std::hint::black_box;
use std::path::Path;

use anyhow::bail;
use goldfish_mask::rules::{Anchor, CoefficientSum, Hash, HashAvalanche, HashTable, Random, Text, TextV1};
use goldfish_mask::{RuleParameters, RuleSpec, TableSource, TokenSpan};
use goldfish_tokenize::Tokenizer;

/// Tokens in a document.
const DOCUMENT: usize = 1024;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["inputs", folder] => inputs(Path::new(folder)),
        [name, turns] => run(name, turns.parse()?),
        _ => bail!("counted NAME TURNS, or counted inputs FOLDER"),
    }
}

fn run(name: &str, turns: u32) -> anyhow::Result<()> {
    if let Some(language) = name.strip_prefix("text ") {
        return by_text(Text::new(4).into(), language, turns);
    }
    if let Some(language) = name.strip_prefix("text-v1 ") {
        return by_text(TextV1::new(4).into(), language, turns);
    }
    if let Some(what) = name.strip_prefix("tokenize ") {
        return tokenize(what, turns);
    }
    if let Some(name) = name.strip_prefix("load ") {
        return (0..turns).try_for_each(|_| tokenizer(name).map(drop));
    }
    let (name, context) = name.split_once(" h=").unwrap_or((name, "1"));
    let (k, context, table) = (4, context.parse()?, TableSource::Cpu);
    let rule = match name {
        "anchor" => RuleParameters::from(Anchor::new(k).context(context)),
        "hash" => RuleParameters::from(Hash::new(k).context(context)),
        "hash-table" => RuleParameters::from(HashTable::new(k).context(context).table(table)),
        "hash-avalanche" => RuleParameters::from(HashAvalanche::new(k).context(context)),
        "coefficient-sum" => {
            let coefficients = (0..i64::from(context)).map(|j| (j * 0x1234_5678_9abc) | 1).collect();
            RuleParameters::from(CoefficientSum::new(k, coefficients).context(context).table(table))
        }
        "random" => RuleParameters::from(Random::new(k)),
        other => bail!("there is no kernel {other:?}"),
    };
    let rule = RuleSpec::new(rule).build(None)?;
    let ids = ids(1 << 17);
    let mut mask = vec![0; ids.len()];
    for _ in 0..turns {
        for (ids, mask) in ids.chunks(DOCUMENT).zip(mask.chunks_mut(DOCUMENT)) {
            rule.decide(&TokenSpan::document(black_box(ids)), mask);
        }
        black_box(&mut mask);
    }
    Ok(())
}

fn by_text(rule: RuleParameters, language: &str, turns: u32) -> anyhow::Result<()> {
    let sentence = match language {
        "English" => {
            "The ship sailed at dawn, and by noon the harbour lay far behind (as \"Annie\" had said). "
        }
        "German" => "Früh am Morgen lief das große Schiff aus, und mittags lag der Hafen schon weit zurück. ",
        "Chinese" => "黎明时分，船出海了；到了中午，港口已经远远落在后面。",
        // A single segment: all of them stand on the first letter.
        "marks" => "\u{301}\u{323}",
        other => bail!("there is no text in {other}"),
    };
    let first = if language == "marks" { "e" } else { "" };
    let text = first.to_owned() + &sentence.repeat((1 << 17) / sentence.len());
    let spans: Vec<(usize, usize)> = (0..text.len() / 4).map(|i| (4 * i, 4 * i + 4)).collect();
    let rule = RuleSpec::new(rule).build(None)?;
    let (ids, mut mask) = (vec![0; spans.len()], vec![0; spans.len()]);
    let span = TokenSpan::document(&ids).with_text(&text, &spans);
    for _ in 0..turns {
        rule.decide(black_box(&span), &mut mask);
        black_box(&mut mask);
    }
    Ok(())
}

fn tokenizer(name: &str) -> anyhow::Result<Tokenizer> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let folder =
        if name == "unigram" { "crates/goldfish-tokenize/tests/common" } else { "fixtures/tokenizers" };
    Ok(Tokenizer::from_file(&root.join(folder).join(name).with_extension("json"))?)
}

/// `NAME`, `NAME with spans`, or `NAME, new words`: a turn meets no word of the turns before.
fn tokenize(what: &str, turns: u32) -> anyhow::Result<()> {
    let (name, how) = what.split_at(what.find([' ', ',']).unwrap_or(what.len()));
    let tokenizer = tokenizer(name)?;
    let mut text = text();
    let (mut ids, mut spans) = (Vec::new(), Vec::new());
    for letter in ('a'..='z').cycle().take(turns as usize) {
        if how == ", new words" {
            text = self::text().replace(' ', &format!("{letter} "));
        }
        ids.clear();
        spans.clear();
        let text = black_box(&text);
        if how == " with spans" {
            tokenizer.encode_with_offsets_into(text, &mut ids, &mut spans)?;
        } else {
            tokenizer.encode_into(text, &mut ids)?;
        }
    }
    Ok(())
}

/// Prose that nobody edits.
fn text() -> String {
    include_str!("../../../LICENSE-APACHE").repeat(8)
}

/// Ids without structure, as a tokenizer with 50,000 entries would give.
fn ids(count: usize) -> Vec<u32> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % 50_000) as u32
    };
    (0..count).map(next).collect()
}

fn inputs(folder: &Path) -> anyhow::Result<()> {
    let text = text();
    let lines = text.split_inclusive("\n\n").map(|part| serde_json::json!({ "text": part }).to_string());
    std::fs::write(folder.join("text.jsonl"), lines.collect::<Vec<_>>().join("\n"))?;
    let ids = ids(1 << 18).into_iter().enumerate();
    let ids = ids.map(|(i, id)| if i % DOCUMENT == DOCUMENT - 1 { 0 } else { id.max(1) });
    std::fs::write(folder.join("ids.npy"), ids.flat_map(u32::to_le_bytes).collect::<Vec<u8>>())?;
    Ok(())
}
