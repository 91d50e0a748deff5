//! Options and the rule that they give, or why they give none.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::Arc;

use goldfish_corpus::{Content, Format, Input};
use goldfish_mask::rules::{
    Anchor, CoefficientSum, Hash, HashAvalanche, HashTable, NoRule, Random, Static, Text, TextV1,
};
use goldfish_mask::{
    Granularity, LongestRunOption, MaskError, RuleName, RuleParameters, Scope, ShortContext, TableSource,
    UniformTable, Window,
};
use goldfish_pipeline::{
    DocumentKind, MaskOptions, ResolveError, RuleReason, ScopeName, SequenceToken, resolve_content,
};
use goldfish_remedy::{Remedies, Setting, advice};
use goldfish_tokenize::Tokenizer;

fn tokenizer(name: &str) -> Option<Arc<Tokenizer>> {
    let path = format!("../../fixtures/tokenizers/{name}.json");
    Some(Arc::new(Tokenizer::from_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()))
}

fn defaults() -> MaskOptions {
    MaskOptions::default()
}

fn of_rule(rule: RuleName) -> MaskOptions {
    MaskOptions { rule: Some(rule), ..defaults() }
}

#[test]
fn rules_have_the_documented_defaults() {
    let cpu = TableSource::Cpu;
    let (k, seed, head) = (4, 0, ShortContext::Keep);
    let coefficients = vec![3, 5];
    let cases = [
        (RuleName::Text, RuleParameters::from(Text::new(k).short_context(head).seed(seed))),
        (RuleName::Anchor, RuleParameters::from(Anchor::new(k).longest_run(Some(14)))),
        (RuleName::TextV1, RuleParameters::from(TextV1::new(k))),
        (RuleName::Hash, RuleParameters::from(Hash::new(k).short_context(head).seed(seed))),
        (RuleName::Static, RuleParameters::from(Static::new(k))),
        (RuleName::Random, RuleParameters::from(Random::new(k).seed(seed))),
        (RuleName::HashTable, RuleParameters::from(HashTable::new(k).table(cpu.clone()))),
        (RuleName::NoRule, RuleParameters::from(NoRule::new())),
        (RuleName::HashAvalanche, RuleParameters::from(HashAvalanche::new(k))),
        (
            RuleName::CoefficientSum,
            RuleParameters::from(CoefficientSum::new(k, coefficients.clone()).table(cpu)),
        ),
    ];
    for (rule, parameters) in cases {
        let mut options = of_rule(rule);
        options.coefficients = (rule == RuleName::CoefficientSum).then(|| coefficients.clone());
        let resolved = options.resolve().unwrap();
        assert_eq!(resolved.rule.parameters, parameters);
        assert_eq!((resolved.reason, resolved.scope, resolved.exempt_ids), (None, Scope::Document, vec![]));
        assert_eq!(serde_json::from_value::<RuleName>(rule.to_string().into()).unwrap(), rule);
    }
}

#[test]
fn options_reach_the_rule() {
    let text = MaskOptions {
        k: 3,
        context: Some(7),
        granularity: Some(Granularity::Token),
        seed: 9,
        ..of_rule(RuleName::Text)
    };
    let expected = RuleParameters::from(Text::new(3).context(7).granularity(Granularity::Token).seed(9));
    assert_eq!(text.resolve().unwrap().rule.parameters, expected);
    let bound = |longest_run| MaskOptions { longest_run: Some(longest_run), ..of_rule(RuleName::Anchor) };
    for (given, expected) in [(LongestRunOption::Most(9), Some(9)), (LongestRunOption::Unbounded, None)] {
        let expected = RuleParameters::from(Anchor::new(4).longest_run(expected));
        assert_eq!(bound(given).resolve().unwrap().rule.parameters, expected);
    }
    let window = Some(Window::Inclusive);
    let hash = MaskOptions { window, short_context: ShortContext::Short, ..of_rule(RuleName::Hash) };
    let expected =
        RuleParameters::from(Hash::new(4).window(Window::Inclusive).short_context(ShortContext::Short));
    assert_eq!(hash.resolve().unwrap().rule.parameters, expected);
    let table = UniformTable::cpu();
    let source = TableSource::File(table.fingerprint());
    let options = MaskOptions { table: Some(table), ..of_rule(RuleName::HashTable) };
    let resolved = options.resolve().unwrap();
    assert_eq!(resolved.rule.parameters, RuleParameters::from(HashTable::new(4).table(source)));
    assert!(resolved.table.is_some());
    let options = MaskOptions { scope: ScopeName::Sequence, sequence_length: Some(64), ..defaults() };
    assert_eq!(options.resolve().unwrap().scope, Scope::Sequence { length: 64 });
}

#[test]
fn a_rule_is_chosen_by_what_is_known_of_the_text() {
    let text = MaskOptions { documents: DocumentKind::Text, tokenizer: tokenizer("wordpiece"), ..defaults() };
    let ids = |name| MaskOptions { documents: DocumentKind::Ids, tokenizer: tokenizer(name), ..defaults() };
    let alone = MaskOptions { documents: DocumentKind::Ids, ..defaults() };
    let window = MaskOptions { window: Some(Window::Inclusive), ..text.clone() };
    let (scope, sequence_length) = (ScopeName::Sequence, Some(64));
    let packed = MaskOptions { scope, sequence_length, ..text.clone() };
    let chosen = |options: MaskOptions| {
        let resolved = options.resolve().unwrap();
        (resolved.rule.name(), resolved.reason.unwrap())
    };
    assert_eq!(chosen(text), ("text-v2", RuleReason::RawText));
    assert_eq!(chosen(ids("gpt2")), ("text-v2", RuleReason::TextOfIds));
    assert_eq!(chosen(alone), ("anchor", RuleReason::IdsAlone));
    assert_eq!(chosen(window), ("hash", RuleReason::Window));
    assert_eq!(chosen(packed), ("hash", RuleReason::PackedSequences));
    let (name, reason) = chosen(ids("wordpiece"));
    assert_eq!(name, "anchor");
    assert!(matches!(reason, RuleReason::InexactText { problem } if problem.contains("accents")));
}

#[test]
fn ends_and_exempt_ids() {
    let gpt2 = tokenizer("gpt2");
    let end = gpt2.as_ref().unwrap().eos_id();
    assert!(end.is_some());
    let text = MaskOptions { documents: DocumentKind::Text, tokenizer: gpt2, ..defaults() };
    let resolve = |options: MaskOptions| {
        let resolved = options.resolve().unwrap();
        let added = resolved.tokenize.map(|options| (options.prepend_bos, options.append_eos));
        (added, resolved.eos_id, resolved.exempt_ids)
    };
    let own = Vec::from_iter(end);
    assert_eq!(resolve(text.clone()), (Some((None, None)), end, own.clone()));
    let both = MaskOptions { prepend_bos: true, append_eos: true, bos_id: Some(7), ..text.clone() };
    assert_eq!(resolve(both), (Some((Some(7), end)), end, [vec![7], own.clone()].concat()));
    let given = MaskOptions { append_eos: true, eos_id: Some(9), ..text.clone() };
    let exempt = [vec![9], own.clone()].concat();
    assert_eq!(resolve(given), (Some((None, Some(9))), Some(9), exempt));
    let all = MaskOptions { exempt_special: Some(false), ..text.clone() };
    assert_eq!(resolve(all).2, [0; 0]);
    let reference = MaskOptions { rule: Some(RuleName::HashTable), ..text };
    assert_eq!(resolve(reference.clone()).2, [0; 0]);
    assert_eq!(resolve(MaskOptions { exempt_special: Some(true), ..reference }).2, own);
    let alone = MaskOptions { eos_id: Some(9), ..defaults() };
    assert_eq!(resolve(alone.clone()), (None, Some(9), vec![9]));
    let ends = MaskOptions { bos_id: Some(7), ..alone.clone() };
    for rule in RuleName::ALL.iter().filter(|rule| **rule != RuleName::CoefficientSum) {
        let named = MaskOptions { rule: Some(*rule), ..ends.clone() };
        let own = !named.clone().resolve().unwrap().rule.is_reference();
        assert_eq!(resolve(named).2, if own { vec![7, 9] } else { vec![] }, "{rule}");
    }
    assert_eq!(resolve(MaskOptions { exempt_special: Some(false), ..alone.clone() }).2, [0; 0]);
    let reference = MaskOptions { rule: Some(RuleName::HashTable), ..alone };
    assert_eq!(resolve(MaskOptions { exempt_special: Some(true), ..reference }).2, [9]);
}

#[test]
fn contradictions() {
    use DocumentKind::{Ids, Text};
    use RuleName::{CoefficientSum, Hash, HashTable, Static};
    use SequenceToken::{Bos, Eos};
    let json = br#"{"version": "1.0", "added_tokens": [], "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}"#;
    let bare = Some(Arc::new(Tokenizer::from_bytes(json).unwrap()));
    let vocab_size = 1;
    let table = Some(UniformTable::cpu());
    let text = MaskOptions { documents: Text, tokenizer: bare.clone(), ..defaults() };
    let misplaced = |setting, rule, rules| ResolveError::Misplaced { setting, rule, rules };
    let cases = [
        (
            MaskOptions { documents: Text, ..defaults() },
            ResolveError::TextWithoutTokenizer,
            "give tokenizer, or give ids_column to read token ids",
        ),
        (
            MaskOptions { documents: Ids, prepend_bos: true, tokenizer: bare, ..defaults() },
            ResolveError::TokenAroundIds { token: Bos },
            "leave out prepend_bos",
        ),
        (
            MaskOptions { append_eos: true, ..of_rule(Hash) },
            ResolveError::TokenWithoutTokenizer { token: Eos },
            "give tokenizer, or leave out append_eos",
        ),
        (
            MaskOptions { append_eos: true, ..text.clone() },
            ResolveError::UnknownToken { token: Eos },
            "give eos_id",
        ),
        (
            MaskOptions { bos_id: Some(vocab_size), ..text },
            ResolveError::NotInVocabulary { token: Bos, id: vocab_size, vocab_size },
            "choose another bos_id",
        ),
        (
            MaskOptions { granularity: Some(Granularity::Word), ..of_rule(Static) },
            misplaced(Setting::Unit, Static, vec![RuleName::Text, RuleName::TextV1]),
            "leave out unit, or give rule text, or give rule text-v1",
        ),
        (
            MaskOptions { longest_run: Some(LongestRunOption::Most(14)), ..of_rule(Hash) },
            misplaced(Setting::LongestRun, Hash, vec![RuleName::Text, RuleName::Anchor]),
            "leave out longest_run, or give rule text, or give rule anchor",
        ),
        (
            MaskOptions { window: Some(Window::Inclusive), ..of_rule(HashTable) },
            misplaced(Setting::Window, HashTable, vec![Hash]),
            "leave out window, or give rule hash",
        ),
        (
            MaskOptions { table, ..of_rule(Hash) },
            misplaced(Setting::Table, Hash, vec![HashTable, CoefficientSum]),
            "leave out table, or give rule hash-table, or give rule coefficient-sum",
        ),
        (
            MaskOptions { coefficients: Some(vec![1]), ..of_rule(HashTable) },
            misplaced(Setting::Coefficients, HashTable, vec![CoefficientSum]),
            "leave out coefficients, or give rule coefficient-sum",
        ),
        (of_rule(CoefficientSum), ResolveError::Rule(MaskError::NoCoefficients), "give coefficients"),
        (
            MaskOptions { exempt_special: Some(true), ..of_rule(Hash) },
            ResolveError::NothingToExempt,
            "give tokenizer, or give eos_id and bos_id, or leave out exempt_special",
        ),
        (
            MaskOptions { sequence_length: Some(64), ..defaults() },
            ResolveError::LengthOfDocuments,
            "give scope sequence, or leave out sequence_length",
        ),
        (
            MaskOptions { scope: ScopeName::Sequence, ..defaults() },
            ResolveError::NoSequenceLength,
            "give sequence_length",
        ),
        (
            MaskOptions { scope: ScopeName::Sequence, divided: true, ..defaults() },
            ResolveError::DividedSequences,
            "leave out rank and world",
        ),
    ];
    for (options, error, remedy) in cases {
        let found = options.resolve().err();
        assert_eq!(found.as_ref(), Some(&error));
        let words = advice(&error.remedies(), |setting| setting.name().to_owned());
        assert_eq!(words.as_deref(), Some(remedy), "{error}");
    }
}

#[test]
fn columns_of_the_inputs() {
    let input = |format| {
        let format = Format::named(format).unwrap();
        Input { path: Path::new("a").into(), name: "a".into(), format }
    };
    let (jsonl, memmap) = (input("jsonl"), input("olmo"));
    let text = |column: &str| Ok(Content::Text { column: column.into() });
    let ids = |column: &str| Ok(Content::Ids { column: column.into() });
    let resolve = |text: Option<&str>, ids: Option<&str>, inputs: &[&Input], has_tokenizer| {
        let inputs: Vec<Input> = inputs.iter().map(|&input| input.clone()).collect();
        resolve_content(text.map(Into::into), ids.map(Into::into), &inputs, has_tokenizer)
    };
    assert_eq!(resolve(None, None, &[&jsonl], true), text("text"));
    assert_eq!(resolve(None, None, &[&jsonl], false), ids("input_ids"));
    assert_eq!(resolve(Some("body"), None, &[&jsonl], false), text("body"));
    assert_eq!(resolve(None, Some("tokens"), &[&jsonl, &memmap], true), ids("tokens"));
    assert_eq!(resolve(None, None, &[&memmap], true), ids("input_ids"));
    assert_eq!(resolve(None, None, &[&memmap, &jsonl], true), Err(ResolveError::MixedInputs));
}
