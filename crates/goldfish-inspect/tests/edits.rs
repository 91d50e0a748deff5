//! What leaks between a text and copies with edits, against the edits that were made.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use goldfish_inspect::{Difference, DuplicateOptions, Duplicates, MaskedDocuments, compare_documents};
use goldfish_lab::edits::{Edit, EditedCopy, Material, edited};
use goldfish_mask::{RuleName, RuleOptions, RuleSpec, Scope};
use goldfish_pipeline::{DocumentMasker, DocumentScratch, SampledDocument, ShardText, TokenizeOptions};
use goldfish_remedy::Remedies;
use goldfish_tokenize::Tokenizer;

/// Words of a passage: so few that it is compared as a whole.
const WORDS: usize = 200;

/// Real text: the documentation of this project, in passages.
fn passages() -> Vec<String> {
    let pages = [
        include_str!("../../../docs/clusters.md"),
        include_str!("../../../docs/export.md"),
        include_str!("../../../docs/limits.md"),
        include_str!("../../../docs/python.md"),
        include_str!("../../../docs/servers.md"),
        include_str!("../../../docs/stores.md"),
    ];
    let mut passages = Vec::new();
    for page in pages {
        let words: Vec<&str> = page.split_inclusive(' ').collect();
        passages.extend(words.chunks_exact(WORDS).map(<[&str]>::concat));
    }
    passages
}

/// A tokenizer with a rule.
struct Lab {
    spec: RuleSpec,
    masker: DocumentMasker,
    text: ShardText,
}

/// A document with its tokens' bytes.
struct Document {
    sampled: SampledDocument,
    spans: Vec<(usize, usize)>,
}

impl Lab {
    fn new(rule: RuleName) -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/tokenizers/gpt2.json");
        let tokenizer = Arc::new(Tokenizer::from_file(path.as_ref()).unwrap());
        let options = TokenizeOptions { tokenizer, prepend_bos: None, append_eos: None };
        let spec = RuleSpec::new(rule.parameters(&RuleOptions::new(4)).unwrap());
        let text = ShardText::of_options(&options, &[]).unwrap();
        let masker = DocumentMasker::new(&spec, None, &[], Some(options)).unwrap();
        Self { spec, masker, text }
    }

    fn document(&self, doc_id: String, text: &str) -> Document {
        let (mut ids, mut mask) = (Vec::new(), Vec::new());
        self.masker.encode(text, 0, (&mut ids, &mut mask), &mut DocumentScratch::default()).unwrap();
        let (mut decoded, mut spans) = (String::new(), Vec::new());
        self.text.read(&ids, &mut decoded, &mut spans).unwrap();
        assert_eq!(decoded, text);
        Document { sampled: SampledDocument { doc_id, ids, mask }, spans }
    }

    /// What the inspection measures, and what leaks in truth: `[dropped, leaked]`.
    fn measure(&self, copies: &[(String, EditedCopy)], by_text: bool) -> (Duplicates, [u64; 2]) {
        let document = |(i, text): (usize, &str)| self.document(i.to_string(), text);
        let originals = copies.iter().map(|(text, _)| text.as_str());
        let others = copies.iter().map(|(_, copy)| copy.text.as_str());
        let documents: Vec<Document> = originals.chain(others).enumerate().map(document).collect();
        let mut truth = [0, 0];
        for (i, (text, copy)) in copies.iter().enumerate() {
            let sides = [&documents[i], &documents[copies.len() + i]];
            let pairs = equal_bytes(text, copy);
            for (from, to, back) in [(0, 1, false), (1, 0, true)] {
                let pairs = pairs.iter().map(|&(a, b)| if back { (b, a) } else { (a, b) });
                let [dropped, leaked] = leak(sides[from], sides[to], pairs);
                truth = [truth[0] + dropped, truth[1] + leaked];
            }
        }
        let documents: Vec<SampledDocument> =
            documents.into_iter().map(|document| document.sampled).collect();
        (self.compare(&documents, by_text), truth)
    }

    fn compare(&self, documents: &[SampledDocument], by_text: bool) -> Duplicates {
        let masked = MaskedDocuments {
            documents,
            rule: &self.spec,
            scope: Scope::Document,
            exempt_ids: &[],
            text: by_text.then_some(&self.text),
        };
        let options = DuplicateOptions { least_characters: 64, pairs: 10_000, shown: 10_000 };
        compare_documents(&masked, options, 0).unwrap()
    }
}

/// The bytes of words that no edit touches, in the original and in the copy.
fn equal_bytes(text: &str, copy: &EditedCopy) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for stretch in copy.alignment.iter().filter(|stretch| stretch.edit.is_none()) {
        let (first, last) = (stretch.original.start, stretch.original.end);
        let within = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        // Words at its ends may continue in what was edited.
        let other = &copy.text;
        let cut = |at: usize, there: usize| {
            let ahead = within(text[at..].chars().next()) || within(other[there..].chars().next());
            let before = within(text[..at].chars().next_back()) || within(other[..there].chars().next_back());
            ahead && before
        };
        let inside = &text[first..last];
        let skipped = |cut: bool, at: Option<usize>| if cut { at.unwrap_or(inside.len()) } else { 0 };
        let start = skipped(cut(first, stretch.copy.start), inside.find(|c: char| !c.is_alphanumeric()));
        let ends = inside.rfind(|c: char| !c.is_alphanumeric()).map(|at| inside.len() - at);
        let end = inside.len().saturating_sub(skipped(cut(last, stretch.copy.end), ends));
        let letters =
            inside.char_indices().filter(|(at, c)| (start..end).contains(at) && c.is_alphanumeric());
        pairs.extend(letters.map(|(at, _)| (first + at, stretch.copy.start + at)));
    }
    pairs
}

fn leak(from: &Document, to: &Document, pairs: impl Iterator<Item = (usize, usize)>) -> [u64; 2] {
    let mut found = vec![None::<bool>; from.spans.len()];
    let at = |document: &Document, byte: usize| {
        document.spans.iter().position(|span| (span.0..span.1).contains(&byte)).unwrap()
    };
    for (here, there) in pairs {
        let (token, other) = (at(from, here), at(to, there));
        if from.sampled.mask[token] == 0 {
            *found[token].get_or_insert(false) |= to.sampled.mask[other] == 1;
        }
    }
    let found: Vec<bool> = found.into_iter().flatten().collect();
    [found.len() as u64, found.iter().filter(|leaks| **leaks).count() as u64]
}

/// The passages that share nothing with others, each with a copy.
fn copies(of: impl Fn(&str, u64) -> EditedCopy) -> Vec<(String, EditedCopy)> {
    let lab = Lab::new(RuleName::Hash);
    let document = |(i, text): (usize, &String)| lab.document(i.to_string(), text).sampled;
    let passages = passages();
    let documents: Vec<SampledDocument> = passages.iter().enumerate().map(document).collect();
    let recurring: BTreeSet<String> = lab
        .compare(&documents, true)
        .worst
        .into_iter()
        .flat_map(|pair| pair.copies.map(|copy| copy.doc_id))
        .collect();
    let unique = passages.into_iter().enumerate().filter(|(i, _)| !recurring.contains(&i.to_string()));
    let copies: Vec<_> =
        unique.map(|(i, text)| (of(&text, i as u64), text)).map(|(copy, text)| (text, copy)).collect();
    assert!(copies.len() >= 30, "{}", copies.len());
    copies
}

fn edited_copies(edits: &[Edit]) -> Vec<(String, EditedCopy)> {
    copies(|text, key| edited(text, edits, &Material::default(), &[key]))
}

/// A copy with the same words.
fn formatted(format: impl Fn(&str) -> String) -> Vec<(String, EditedCopy)> {
    copies(|text, _| EditedCopy { text: format(text), alignment: Vec::new() })
}

fn share([dropped, leaked]: [u64; 2]) -> f64 {
    leaked as f64 / dropped as f64
}

/// `[dropped, leaked]` under a rule, by what differs.
fn by_difference(found: &Duplicates, rule: usize) -> BTreeMap<Difference, [u64; 2]> {
    let rows = found.differences.iter().map(|row| (row.difference, row.leaks[rule]));
    rows.map(|(difference, leak)| (difference, [leak.dropped, leak.leaked])).collect()
}

#[test]
fn the_leak_is_that_of_the_edits() {
    for rule in [RuleName::Text, RuleName::TextV1, RuleName::Anchor] {
        let lab = Lab::new(rule);
        for edits in [
            vec![Edit::WordsReplaced(0.05)],
            vec![Edit::WordsReplaced(0.1)],
            vec![Edit::WordsInserted(0.05)],
            vec![Edit::WordsInserted(0.1)],
            vec![Edit::WordsDeleted(0.05)],
            vec![Edit::WordsDeleted(0.1)],
            vec![Edit::Characters(0.02)],
            vec![Edit::Pages(60)],
            vec![Edit::WordsReplaced(0.04), Edit::WordsInserted(0.03), Edit::WordsDeleted(0.03)],
        ] {
            let (found, truth) = lab.measure(&edited_copies(&edits), true);
            let measured = found.rules[0].leak.share;
            let off = (measured - share(truth)).abs();
            assert!(off < 0.01, "{rule}, {edits:?}: {measured} instead of {}", share(truth));
        }
    }
}

/// Checks that nearly all that leaks does so under one difference, and gives the inspection.
#[track_caller]
fn leaks_under(difference: Difference, copies: &[(String, EditedCopy)]) -> Duplicates {
    let (found, _) = Lab::new(RuleName::Hash).measure(copies, true);
    let rows = by_difference(&found, 0);
    let leaked: u64 = rows.values().map(|row| row[1]).sum();
    let here = rows.get(&difference).copied().unwrap_or_default();
    assert!(here[0] > 1000 && here[1] > 100 && here[1] * 100 >= leaked * 95, "{difference:?}: {rows:?}");
    found
}

#[test]
fn each_kind_of_edit_has_its_own_leak() {
    for (edit, difference) in [
        (Edit::WordsReplaced(0.03), Difference::Replaced),
        (Edit::WordsInserted(0.03), Difference::Inserted),
        (Edit::WordsDeleted(0.03), Difference::Deleted),
        (Edit::Quotation(90), Difference::Entry),
    ] {
        let found = leaks_under(difference, &edited_copies(&[edit]));
        let by_distance: Vec<_> = found.distances.iter().map(|row| row.leaks[0]).collect();
        assert_eq!(by_distance.iter().map(|leak| leak.dropped).sum::<u64>(), found.rules[0].leak.dropped);
        // Windows of 13 tokens forget a word after so many.
        assert!(by_distance[0].share > 0.6 && by_distance[1].share > 0.6, "{by_distance:?}");
        assert!(by_distance[5].leaked == 0 && by_distance[6].share < 0.001, "{by_distance:?}");
    }
}

#[test]
fn each_kind_of_formatting_has_its_own_leak() {
    let marks = formatted(|text| text.replace(' ', ", "));
    let split = edited_copies(&[Edit::WordsSplit(0.03)]);
    let upper = formatted(str::to_uppercase);
    let ligatures = formatted(|text| text.replace("fi", "ﬁ"));
    for (difference, copies) in [
        (Difference::Layout, &marks),
        (Difference::Layout, &split),
        (Difference::Case, &upper),
        (Difference::Forms, &ligatures),
    ] {
        let found = leaks_under(difference, copies);
        let rows = by_difference(&found, 0);
        assert!(rows.keys().all(|row| [difference, Difference::Nothing].contains(row)), "{rows:?}");
        let text = found.rules.iter().find(|rule| rule.option.as_deref() == Some("text")).unwrap();
        // Words that are split are other words to it.
        let most = if std::ptr::eq(copies, &split) { 0.1 } else { 0.005 };
        assert!(text.leak.dropped > 1000 && text.leak.share < most, "{text:?}");
    }
}

#[test]
fn a_rule_that_leaks_more_than_another_is_named_with_it() {
    let edits = [Edit::WordsReplaced(0.05)];
    let copies = edited_copies(&edits);
    let lab = Lab::new(RuleName::Hash);
    let (found, _) = lab.measure(&formatted(|text| text.replace(' ', "  ")), true);
    let warning = found.warning(&lab.spec).unwrap();
    assert_eq!((warning.other.as_str(), warning.reference), ("text", false));
    assert!(warning.leak > 0.5 && warning.other_leak < 0.005, "{warning:?}");
    assert_eq!(
        warning.remedies()[0].render(|setting| setting.name().to_owned()),
        "give rule text to leak less"
    );
    // Few passages say nothing.
    let (few, _) = lab.measure(&copies[..8], true);
    assert_eq!(few.warning(&lab.spec), None);
    // One passage in many copies is one.
    let many: Vec<_> = (0..40).map(|_| copies[0].clone()).collect();
    let (many, _) = lab.measure(&many, true);
    assert_eq!((many.passages, many.warning(&lab.spec)), (1, None));
    // A rule that reproduces another is for matching that one.
    let lab = Lab::new(RuleName::HashTable);
    let (found, _) = lab.measure(&formatted(|text| text.replace(' ', "  ")), true);
    let said = found.warning(&lab.spec).unwrap();
    assert!(said.reference && said.to_string().contains("only to match a run"), "{said}");
    // Baselines are meant to differ.
    let lab = Lab::new(RuleName::Random);
    assert_eq!(lab.measure(&copies, true).0.warning(&lab.spec), None);
}
