//! Kernels of the rules, on one thread.

use std::hint::black_box;

use goldfish_mask::rules::{
    Anchor, CoefficientSum, Hash, HashAvalanche, HashTable, Random, Static, Text, TextV1,
};
use goldfish_mask::{Granularity, MaskRule, RuleParameters, RuleSpec, TokenSpan};

use crate::inputs::{DOCUMENT, SENTENCES, ids};
use crate::measure::{RUNS, row, time, title};

/// Tokens for the kernels: 64 MiB of ids, more than the caches.
const TOKENS: usize = 16 << 20;

fn rules() -> Vec<(String, RuleParameters)> {
    let mut rules = vec![
        ("static".to_owned(), RuleParameters::from(Static::new(4))),
        ("random".to_owned(), RuleParameters::from(Random::new(4))),
        ("`anchor`".to_owned(), RuleParameters::from(Anchor::new(4))),
    ];
    for context in [4, 13, 50] {
        let k = 4;
        let coefficients = (0..i64::from(context)).map(|j| (j * 0x1234_5678_9abc) | 1).collect();
        for (name, rule) in [
            ("hash", RuleParameters::from(Hash::new(k).context(context))),
            ("hash-table", RuleParameters::from(HashTable::new(k).context(context))),
            ("hash-avalanche", RuleParameters::from(HashAvalanche::new(k).context(context))),
            ("coefficient-sum", RuleParameters::from(CoefficientSum::new(k, coefficients).context(context))),
        ] {
            rules.push((format!("`{name}`, h = {context}"), rule));
        }
    }
    rules
}

pub(crate) fn kernels() {
    title(
        &format!(
            "Rules and memcpy of the ids: one thread, {TOKENS} tokens in documents of {DOCUMENT}; ratio = speed of the rule / speed of memcpy"
        ),
        "Mtok/s",
    );
    let ids: Vec<u32> = ids(TOKENS).collect();
    let mut copy = vec![0u32; TOKENS];
    let mut mask = vec![0u8; TOKENS];
    for (name, parameters) in rules() {
        let rule = RuleSpec::new(parameters).build(None).unwrap();
        let pairs = (0..RUNS).map(|_| {
            let memcpy = time(|| black_box(&mut copy).copy_from_slice(black_box(&ids)));
            let kernel = time(|| decide(&*rule, black_box(&ids), black_box(&mut mask)));
            (memcpy / kernel, TOKENS as f64 / kernel / 1e6)
        });
        row(&name, pairs);
    }
}

fn decide(rule: &dyn MaskRule, ids: &[u32], mask: &mut [u8]) {
    for (document, mask) in ids.chunks(DOCUMENT).zip(mask.chunks_mut(DOCUMENT)) {
        rule.decide(&TokenSpan::document(document), mask);
    }
}

/// The rules over text on documents of 4 KiB with four bytes a token.
pub(crate) fn words() {
    title(
        "Rules over text and UTF-8 validation of the text: one thread, documents of 4 KiB, four bytes a token; ratio = speed of the rule / speed of validation",
        "MB/s",
    );
    for (name, sentence) in SENTENCES {
        let document = sentence.repeat(4096 / sentence.len());
        let documents = vec![document.clone(); (32 << 20) / document.len()];
        let bytes: usize = documents.iter().map(String::len).sum();
        let spans: Vec<(usize, usize)> = (0..document.len() / 4).map(|i| (4 * i, 4 * i + 4)).collect();
        let (ids, mut mask) = (vec![0; spans.len()], vec![0; spans.len()]);
        for unit in [Granularity::Word, Granularity::Token] {
            for (rule, parameters) in [
                ("text", RuleParameters::from(Text::new(4).granularity(unit))),
                ("text-v1", TextV1::new(4).granularity(unit).into()),
            ] {
                let name = format!("`{rule}`, {name}");
                let rule = RuleSpec::new(parameters).build(None).unwrap();
                let pairs = (0..RUNS).map(|_| {
                    let validation = time(|| {
                        for text in black_box(&documents) {
                            black_box(std::str::from_utf8(text.as_bytes()).unwrap());
                        }
                    });
                    let kernel = time(|| {
                        for text in black_box(&documents) {
                            rule.decide(
                                &TokenSpan::document(&ids).with_text(text, &spans),
                                black_box(&mut mask),
                            );
                        }
                    });
                    (validation / kernel, bytes as f64 / kernel / 1e6)
                });
                row(&format!("{name}, by {}", format!("{unit:?}").to_lowercase()), pairs);
            }
        }
    }
}
