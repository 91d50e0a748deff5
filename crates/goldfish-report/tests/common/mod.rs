//! Two inspections with numbers as real corpora give them, and a parser for the pages.

#![allow(dead_code, clippy::unwrap_used, reason = "tests; not every test uses all of it")]

pub(crate) mod axes;
pub(crate) mod dom;
pub(crate) mod experiments;
pub(crate) mod optional;

use goldfish_inspect::*;
use goldfish_report::{InspectPage, inspect_page};
use goldfish_shard::Manifest;
use serde_json::json;

/// A command line as the program would write it.
pub(crate) const COMMAND: &str =
    "goldfish inspect corpus/masked --tokenizer tokenizer.json --by source --duplicates --html inspect.html";

/// A manifest with a rule.
pub(crate) fn manifest(rule: serde_json::Value, dropped: u64) -> Manifest {
    let hash = |n: u8| format!("xxh3_128:{}", format!("{n:02x}").repeat(16));
    let shard = |at: u8, documents: u64, tokens: u64, dropped: u64| {
        json!({"name": format!("data-0000{at}-of-00003.arrow"), "size": tokens * 5 + 4096, "hash": hash(at),
            "documents": documents, "tokens": tokens, "dropped": dropped})
    };
    let input = |name: &str, size: u64, documents: u64, rejected: u64| json!({"name": name, "format": "jsonl", "size": size, "hash": hash(9), "documents": documents, "rejected": rejected});
    serde_json::from_value(json!({
        "format_version": 1,
        "tool": {"name": "goldfish", "version": "0.1.0"},
        "rule": rule,
        "scope": {"name": "document"},
        "exempt_ids": [50256],
        "tokenizer": {"sha256": "8f1e2a9c".repeat(8), "vocab_size": 50257, "prepended_bos": null, "appended_eos": 50256},
        "source": {"content": "text", "column": "text", "id_column": "id", "ids_dtype": null, "eos_id": null, "max_document": 67108864},
        "output": {"format": "arrow-stream", "columns": [], "carry": ["source"], "shard_size": 500_000_000},
        "inputs": [input("web/part-0.jsonl", 61_204_118, 18_211, 3), input("code/part-0.jsonl", 20_117_400, 4_102, 0)],
        "shards": [shard(0, 8_214, 8_000_113, dropped / 5 * 2), shard(1, 8_101, 7_999_870, dropped / 5 * 2), shard(2, 5_998, 4_118_406, dropped - dropped / 5 * 4)],
        "rejects": null,
        "totals": {"documents_in": 22_316, "documents_out": 22_313, "documents_rejected": 3, "tokens": 20_118_389, "dropped": dropped},
        "checksum": hash(171),
    }))
    .unwrap()
}

fn rates(documents: u64, tokens: u64, dropped: u64) -> Rates {
    Rates { documents, tokens, dropped, drop_rate: dropped as f64 / tokens as f64 }
}

/// Gaps by the geometric law up to 30 tokens, with a tail of fewer and fewer after that.
fn gaps(k: u32, longest: u64) -> Gaps {
    let law = |gap: u64| (1.0 - 1.0 / f64::from(k)).powf(gap as f64 - 1.0);
    let lengths = [1, 2, 3, 5, 7, 10, 14, 20, 28, 40, 57, 80, 113, 160, 226, 320, 453, 640, 905, 1280, 1810];
    let lengths = lengths.into_iter().filter(|&gap| gap < longest).chain([longest]);
    let tail = |gap: u64| 0.002 * (gap as f64 / 20.0).powf(-2.1);
    let survival = lengths
        .map(|gap| GapSurvival { gap, measured: law(gap).max(tail(gap).min(1.0)).min(1.0), law: law(gap) })
        .collect();
    Gaps {
        count: 4_604_916,
        measured: GapQuantiles { mean: 4.13, p50: 3, p99: 18, max: Some(longest) },
        law: Some(GapQuantiles { mean: f64::from(k), p50: 3, p99: 17, max: None }),
        longest_kept: longest + 48,
        longest_dropped: 14,
        survival,
    }
}

/// Of the rule `text-v1` with a bound, which it would have if it counted words.
fn longest_kept() -> LongestKept {
    let stretch = |length: u64, unit: &str, tokens: u64, text: &str| {
        json!({"length": length, "unit": unit, "tokens": tokens,
        "document": 7, "doc_id": "letters/7", "position": 1_905, "text": text})
    };
    let words = stretch(14, "words", 19, "the marks of the licensor");
    serde_json::from_value(
        json!({"bound": 14, "tokens": stretch(260, "tokens", 260, "| 3.1 | 2.7 |…"), "decided": words}),
    )
    .unwrap()
}

fn group(value: Option<&str>, counts: Rates, decided: u64, dropped: u64, longest: (u64, u64)) -> GroupRow {
    GroupRow {
        value: value.map(Into::into),
        rates: counts,
        decided,
        decided_drop_rate: dropped as f64 / decided as f64,
        longest_kept: longest.0,
        longest_dropped: longest.1,
    }
}

fn ids(at: f64, extremes: (u64, u64)) -> IdRates {
    let height = |bin: u32| {
        let middle = (f64::from(bin) + 0.5) / 20.0;
        (4_100.0 * (-((middle - at) / 0.07).powi(2)).exp()).round() as u64
    };
    let mut histogram: Vec<u64> = (0..20).map(height).collect();
    histogram[0] += extremes.1;
    histogram[19] += extremes.0;
    let list = |count: u64, ids: &[(u32, u64)]| IdList {
        count,
        tokens: count * 410,
        most_frequent: ids.iter().map(|&(id, tokens)| IdCount { id, tokens }).collect(),
    };
    IdRates {
        distinct: 41_877,
        least_tokens: 20,
        always: list(extremes.0, &[(3_467, 1_204), (198, 911)][..2.min(extremes.0 as usize)]),
        never: list(
            extremes.1,
            &[(11, 812_410), (198, 640_322), (13, 598_701), (220, 301_223), (50_256, 22_313)],
        ),
        histogram,
    }
}

fn leak(dropped: u64, leaked: u64) -> Leak {
    let share = |leaked: u64, dropped: u64| if dropped == 0 { 0.0 } else { leaked as f64 / dropped as f64 };
    Leak { dropped, leaked, share: share(leaked, dropped) }
}

/// A copy from its text: `[dropped]`, `{leaked}`, and everything else kept, split before spaces.
fn copy(doc_id: &str, token: u64, text: &str) -> goldfish_inspect::Copy {
    let token_of = |word: &str| ShownToken {
        text: word.replace(['[', ']', '{', '}'], ""),
        dropped: word.contains(['[', '{']),
        leaked: word.contains('{'),
    };
    let tokens = text.split_inclusive('|').map(|word| token_of(word.trim_end_matches('|'))).collect();
    goldfish_inspect::Copy { doc_id: doc_id.into(), token, tokens }
}

fn duplicates(own: &str, leaks: [(u64, u64); 3]) -> Duplicates {
    let names = ["text-v1, context 50, by word", "hash, context 50", "hash-table, context 50"];
    let rules = names.iter().zip(leaks).map(|(name, (dropped, leaked))| RuleLeak {
        rule: (*name).into(),
        option: (*name != own && name.starts_with("text")).then(|| "text".into()),
        own: *name == own,
        leak: leak(dropped, leaked),
        excess: (*name != own).then_some(Excess { share: -0.3285, standard_error: Some(0.0213) }),
    });
    let by_rule =
        |leaks: [(u64, u64); 3]| leaks.into_iter().map(|(dropped, leaked)| leak(dropped, leaked)).collect();
    let differs = |difference: Difference, leaks| DifferenceLeak { difference, leaks: by_rule(leaks) };
    let apart = |from: u64, to: Option<u64>, leaks| DistanceLeak { from, to, leaks: by_rule(leaks) };
    let bucket = |from: u64, to: u64, words: u64| CopyBucket { from, to, words };
    Duplicates {
        documents: 22_313,
        characters: 71_204_551,
        recurring_share: 0.0731,
        copies: vec![
            bucket(2, 2, 201_340),
            bucket(3, 4, 61_127),
            bucket(5, 8, 17_406),
            bucket(9, 16, 4_118),
            bucket(17, 32, 960),
            bucket(33, 64, 217),
            bucket(65, 128, 31),
            bucket(129, 256, 4),
        ],
        searched: 4_201_887,
        least_characters: 200,
        pairs: 8_412,
        near: 2_077,
        passages: 1_204,
        rules: rules.collect(),
        independent: 0.75,
        differences: vec![
            differs(Difference::Entry, [(8_020, 1_880), (8_111, 4_020), (8_090, 4_001)]),
            differs(Difference::Replaced, [(15_210, 1_904), (15_470, 6_720), (15_101, 6_312)]),
            differs(Difference::Layout, [(38_110, 84), (38_400, 26_611), (38_021, 26_004)]),
            differs(Difference::Case, [(17_400, 61), (17_911, 12_690), (17_380, 12_511)]),
            differs(Difference::Nothing, [(61_220, 0), (62_001, 0), (60_870, 0)]),
        ],
        distances: vec![
            apart(1, Some(1), [(1_020, 512), (1_003, 740), (1_011, 742)]),
            apart(3, Some(4), [(1_870, 540), (1_902, 1_180), (1_888, 1_170)]),
            apart(33, None, [(116_730, 145), (118_312, 39_301), (116_271, 38_515)]),
        ],
        worst: vec![
            LeakingPair {
                kind: "words".into(),
                characters: 412,
                leak: leak(88, 21),
                copies: [
                    copy(
                        "web/0017.html",
                        114,
                        "Do| write| in| [the]| second| week| of| {December}|,| and| tell| us|\n[whether]| the| ferry| {still}| runs| [on]| Sundays| from| Bell|haven|.",
                    ),
                    copy(
                        "mirror/letters-4.txt",
                        2_031,
                        "Do| write| in| [the]| second| week| of| January|,| and| tell| us| [whether]|\nthe| ferry| still| runs| [on]| {Sundays}| from| Bell|haven|.",
                    ),
                ],
            },
            LeakingPair {
                kind: "line breaks, case".into(),
                characters: 268,
                leak: leak(51, 3),
                copies: [
                    copy(
                        "web/0400.html",
                        0,
                        "THE| {SOFTWARE}| IS| PROVIDED| [AS]| IS|,| WITHOUT| WARRANTY| OF| [ANY]| KIND|.",
                    ),
                    copy(
                        "code/LICENSE",
                        31,
                        "The| software|\nis| provided| [as]| is|,| without| warranty| of| [any]| kind|.",
                    ),
                ],
            },
        ],
    }
}

/// What `text-v1` does on a mixed corpus: all is well.
pub(crate) fn healthy() -> (Inspection, Manifest) {
    let manifest = manifest(
        json!({"version": 2, "name": "text-v1", "k": 4, "context": 50, "unit": "word", "head": "keep", "seed": 0}),
        4_627_229,
    );
    let inspection = Inspection {
        totals: rates(22_313, 20_118_389, 4_627_229),
        tally: Some(TallyReport {
            documents: 22_313,
            tokens: 20_118_389,
            special: 22_313,
            blank: 1_394_102,
            head: 211_030,
            decided: 18_490_944,
            dropped: 4_627_229,
            decided_drop_rate: 4_627_229.0 / 18_490_944.0,
            too_short: 41,
        }),
        gaps: gaps(4, 212),
        longest_kept: longest_kept(),
        undropped: Undropped { documents: 58, tokens: 1_904 },
        windows: None,
        groups: Some(Groups {
            column: "source".into(),
            rows: vec![
                group(Some("web"), rates(14_003, 13_004_201, 3_004_870), 12_011_870, 3_004_870, (212, 14)),
                group(Some("code"), rates(4_102, 4_870_114, 1_052_003), 4_211_008, 1_052_003, (160, 9)),
                group(Some("letters"), rates(3_702, 1_744_006, 431_140), 1_730_405, 431_140, (61, 11)),
                group(Some("日本語"), rates(480, 441_900, 124_816), 479_320, 124_816, (44, 7)),
                group(None, rates(26, 58_168, 14_400), 58_341, 14_400, (38, 6)),
            ],
        }),
        ids: ids(0.25, (2, 391)),
        duplicates: Some(duplicates(
            "text-v1, context 50, by word",
            [(131_940, 2_049), (133_782, 46_021), (131_372, 44_827)],
        )),
        warnings: vec![],
    };
    (inspection, manifest)
}

/// What `hash-table` with a wide context does: windows share their keys, and the rate is double.
pub(crate) fn unsound() -> (Inspection, Manifest) {
    let (mut inspection, _) = healthy();
    let manifest = manifest(
        json!({"version": 1, "name": "hash-table", "k": 4, "context": 50, "table": "cpu"}),
        9_537_702,
    );
    inspection.totals = rates(22_313, 20_118_389, 9_537_702);
    inspection.tally = Some(TallyReport {
        documents: 10_000,
        tokens: 9_030_440,
        special: 0,
        blank: 0,
        head: 470_119,
        decided: 8_560_321,
        dropped: 4_281_001,
        decided_drop_rate: 4_281_001.0 / 8_560_321.0,
        too_short: 311,
    });
    inspection.gaps = gaps(4, 1_904);
    inspection.ids = ids(0.5, (120, 391));
    inspection.windows = Some(Windows {
        distinct: 7_911_204,
        positions: 8_560_321,
        complete: true,
        distinct_keys: 411_930,
        key_space: 1_000_003,
        threshold: 64,
        degenerate_keys: 1_204,
        degenerate_positions: 5_102_377,
        degenerate_share: 5_102_377.0 / 8_560_321.0,
        worst: vec![
            WorstKey {
                key: 0,
                windows: 2_870_112,
                positions: 3_010_440,
                dropped: true,
                example: (0..50).map(|n| n * 13 % 977).collect(),
            },
            WorstKey {
                key: 591_334,
                windows: 310_220,
                positions: 344_001,
                dropped: false,
                example: vec![220; 50],
            },
            WorstKey {
                key: 77_102,
                windows: 41_004,
                positions: 52_820,
                dropped: true,
                example: vec![11, 198, 262],
            },
        ],
    });
    inspection.groups = None;
    inspection.duplicates =
        Some(duplicates("hash-table, context 50", [(131_940, 2_049), (133_782, 46_021), (131_372, 44_827)]));
    inspection.warnings = vec![
        "hash-table with context 50 drops 50.01% of the tokens that it decides about, 2.0 times 1/k: use --rule hash, or a context of 13".into(),
        "59.60% of the positions stand behind keys that many windows share, so that one decision falls for all of them".into(),
    ];
    (inspection, manifest)
}

/// A sample with `text` wherever a corpus may write.
pub(crate) fn hostile(text: &str) -> (Inspection, Manifest) {
    let (mut inspection, mut manifest) = unsound();
    inspection.warnings = vec![text.into()];
    inspection.groups = healthy().0.groups;
    let groups = inspection.groups.as_mut().unwrap();
    groups.column = text.into();
    groups.rows.iter_mut().for_each(|row| row.value = Some(text.into()));
    let duplicates = inspection.duplicates.as_mut().unwrap();
    duplicates.rules.iter_mut().for_each(|row| row.rule = text.into());
    duplicates.rules.iter_mut().for_each(|row| row.option = Some(text.into()));
    for pair in &mut duplicates.worst {
        pair.kind = text.into();
        for copy in &mut pair.copies {
            copy.doc_id = text.into();
            copy.tokens.iter_mut().for_each(|token| token.text = text.into());
        }
    }
    manifest.source.column = text.into();
    manifest.tokenizer.as_mut().unwrap().sha256 = text.into();
    (inspection, manifest)
}

/// Texts for the ids of the samples, with what a byte-level tokenizer gives.
pub(crate) fn token_text(id: u32) -> Option<String> {
    let text = match id {
        11 => ",",
        13 => ".",
        198 => "\n",
        220 => " ",
        262 => " the",
        3_467 => "</",
        50_256 => "<|endoftext|>",
        _ => return (!id.is_multiple_of(7)).then(|| format!(" w{id}")),
    };
    Some(text.into())
}

/// The page of an inspection for which no tokenizer was given.
pub(crate) fn plain_page(inspection: &Inspection, manifest: &Manifest) -> String {
    let (folder, command, token_text) = ("f", "c", None);
    let input_bytes = input_bytes(manifest);
    inspect_page(&InspectPage { inspection, manifest, input_bytes, folder, command, token_text }).unwrap()
}

/// Bytes of the inputs that a manifest lists.
pub(crate) fn input_bytes(manifest: &Manifest) -> u64 {
    manifest.inputs.iter().map(|input| input.size).sum()
}
