//! What leaks between a text and copies with edits, against the edits that were made.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use goldfish_inspect::{Difference, DuplicateOptions, Duplicates, MaskedDocuments, compare_documents};
use goldfish_lab::edits::{Edit, EditedCopy, Material, edited};
use goldfish_mask::{RuleName, RuleOptions, RuleSpec, Scope};
use goldfish_pipeline::{DocumentMasker, DocumentScratch, SampledDocument, ShardText, TokenizeOptions};
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
    fn measure(&self, copies: &[(String, EditedCopy)], by_text: bool) -> (Duplicates, [usize; 2]) {
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
        let documents: Vec<SampledDocument> = documents.into_iter().map(|document| document.sampled).collect();
        let masked = MaskedDocuments {
            documents: &documents,
            rule: &self.spec,
            scope: Scope::Document,
            exempt_ids: &[],
            text: by_text.then_some(&self.text),
        };
        let options = DuplicateOptions { least_characters: 64, pairs: 10_000, shown: 0 };
        (compare_documents(&masked, options, 0).unwrap(), truth)
    }
}

/// The bytes of words that no edit touches, in the original and in the copy.
fn equal_bytes(text: &str, copy: &EditedCopy) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for stretch in copy.alignment.iter().filter(|stretch| stretch.edit.is_none()) {
        let (first, last) = (stretch.original.start, stretch.original.end);
        let within = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        // Words at its ends may go on in what was edited.
        let other = &copy.text;
        let cut = |at: usize, there: usize| {
            let ahead = within(text[at..].chars().next()) || within(other[there..].chars().next());
            let behind = within(text[..at].chars().next_back()) || within(other[..there].chars().next_back());
            ahead && behind
        };
        let inside = &text[first..last];
        let skipped = |cut: bool, at: Option<usize>| if cut { at.unwrap_or(inside.len()) } else { 0 };
        let start = skipped(cut(first, stretch.copy.start), inside.find(|c: char| !c.is_alphanumeric()));
        let ends = inside.rfind(|c: char| !c.is_alphanumeric()).map(|at| inside.len() - at);
        let end = inside.len().saturating_sub(skipped(cut(last, stretch.copy.end), ends));
        let letters = inside.char_indices().filter(|(at, c)| (start..end).contains(at) && c.is_alphanumeric());
        pairs.extend(letters.map(|(at, _)| (first + at, stretch.copy.start + at)));
    }
    pairs
}

fn leak(from: &Document, to: &Document, pairs: impl Iterator<Item = (usize, usize)>) -> [usize; 2] {
    let mut found = vec![None; from.spans.len()];
    let at = |document: &Document, byte: usize| {
        document.spans.iter().position(|span| (span.0..span.1).contains(&byte)).unwrap()
    };
    for (here, there) in pairs {
        let (token, other) = (at(from, here), at(to, there));
        if from.sampled.mask[token] == 0 {
            *found[token].get_or_insert(false) |= to.sampled.mask[other] == 1;
        }
    }
    [found.iter().flatten().count(), found.iter().flatten().filter(|leaks| **leaks).count()]
}

fn copies(edits: &[Edit]) -> Vec<(String, EditedCopy)> {
    let copy = |(i, text): (usize, String)| {
        let copy = edited(&text, edits, &Material::default(), &[i as u64]);
        (text, copy)
    };
    passages().into_iter().enumerate().map(copy).collect()
}

#[test]
fn the_leak_is_that_of_the_edits() {
    for rule in [RuleName::Text, RuleName::Hash] {
        let lab = Lab::new(rule);
        for edits in [
            vec![Edit::WordsReplaced(0.05)],
            vec![Edit::WordsReplaced(0.1)],
            vec![Edit::WordsInserted(0.05)],
            vec![Edit::WordsInserted(0.1)],
            vec![Edit::WordsDeleted(0.05)],
            vec![Edit::WordsDeleted(0.1)],
            vec![Edit::Characters(0.01)],
            vec![Edit::Characters(0.02)],
            vec![Edit::Pages(60)],
            vec![Edit::WordsReplaced(0.05), Edit::WordsInserted(0.05), Edit::WordsDeleted(0.05)],
        ] {
            let copies = copies(&edits);
            let (found, [dropped, leaked]) = lab.measure(&copies, true);
            let own = found.rules[0].leak;
            let share = leaked as f64 / dropped as f64;
            eprintln!("{rule} {edits:?}: true {leaked} of {dropped}, {share:.4}; found {own:?}, {} pairs of {}", found.pairs, copies.len());
        }
    }
}
