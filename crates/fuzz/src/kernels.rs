//! Mask rules, compared with their naive definitions.

#[path = "../../goldfish-mask/tests/naive/mod.rs"]
mod naive;
#[path = "../../goldfish-mask/tests/naive/text.rs"]
mod naive_text;
#[path = "../../goldfish-mask/tests/naive/text_v2.rs"]
mod naive_text_v2;

use std::sync::LazyLock;

use naive::selection as naive_selection;

use arbitrary::{Arbitrary, Result, Unstructured};
use goldfish_mask::rules::{
    Anchor, CoefficientSum, Hash, HashAvalanche, HashTable, Random, Static, Text, TextV1,
};
use goldfish_mask::{
    Granularity, MaskRule, Masker, RuleParameters, RuleSpec, Scope, SequenceMasker, SequenceState,
    ShortContext, TableSource, TokenSpan, UniformTable, Window,
};

static TABLE: LazyLock<UniformTable> = LazyLock::new(UniformTable::cpu);

fn any_rule(input: &mut Unstructured<'_>) -> Result<RuleParameters> {
    let k = match input.int_in_range(0..=3)? {
        0 => 2,
        1 => input.int_in_range(2..=9)?,
        2 => 50,
        _ => input.int_in_range(2..=u32::MAX)?,
    };
    let context = if input.ratio(1, 8)? { input.int_in_range(1..=70)? } else { input.int_in_range(1..=6)? };
    let window = if bool::arbitrary(input)? { Window::Preceding } else { Window::Inclusive };
    let short_context = if bool::arbitrary(input)? { ShortContext::Keep } else { ShortContext::Short };
    let table = TableSource::Cpu;
    Ok(match input.int_in_range(0..=5)? {
        0 => RuleParameters::from(Static::new(k).start(input.int_in_range(0..=40)?)),
        1 => RuleParameters::from(Random::new(k).seed(u64::arbitrary(input)?)),
        2 => RuleParameters::from(
            Hash::new(k)
                .context(context)
                .window(window)
                .short_context(short_context)
                .seed(u64::arbitrary(input)?),
        ),
        3 => RuleParameters::from(HashTable::new(k).context(context).table(table)),
        4 => RuleParameters::from(HashAvalanche::new(k).context(context)),
        _ => {
            let coefficients = (0..context).map(|_| i64::arbitrary(input)).collect::<Result<_>>()?;
            RuleParameters::from(CoefficientSum::new(k, coefficients).context(context).table(table))
        }
    })
}

fn any_ids(input: &mut Unstructured<'_>) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    while !input.is_empty() && ids.len() < 300 {
        ids.push(match u8::arbitrary(input)? {
            small @ 0..=99 => u32::from(small % 4),
            100..=199 => u16::arbitrary(input)?.into(),
            _ => u32::arbitrary(input)?,
        });
    }
    Ok(ids)
}

fn build(rule: &RuleParameters) -> Box<dyn MaskRule> {
    // Computing the table of the reference code is slow, so all targets share one.
    RuleSpec::new(rule.clone()).build(Some(&TABLE)).expect("a valid rule")
}

/// Every token rule, on whole documents and in pieces.
pub fn mask_rules(data: &[u8]) {
    let _ = check_rules(&mut Unstructured::new(data));
}

fn check_rules(input: &mut Unstructured<'_>) -> Result<()> {
    let rule = if input.ratio(1, 4)? { any_anchor(input)? } else { with_shared_table(any_rule(input)?) };
    let (key, step) = (u64::arbitrary(input)?, input.int_in_range(1..=70usize)?);
    let ids = any_ids(input)?;
    let built = build(&rule);
    let expected = naive::document(&rule, &TABLE, &ids, key);
    let mut mask = vec![9; ids.len()];
    built.decide(&TokenSpan::document(&ids).with_key(key), &mut mask);
    assert_eq!(mask, expected, "{rule:?}");
    mask.fill(9);
    for start in (0..ids.len()).step_by(step) {
        let end = ids.len().min(start + step);
        let history = start.min(built.lookback());
        let following = (ids.len() - end).min(built.lookahead());
        let span = TokenSpan::continued(&ids[start - history..end + following], history, start as u64);
        built.decide(&span.followed_by(following).with_key(key), &mut mask[start..end]);
    }
    assert_eq!(mask, expected, "in pieces of {step}: {rule:?}");
    Ok(())
}

fn any_anchor(input: &mut Unstructured<'_>) -> Result<RuleParameters> {
    let k = input.int_in_range(2..=50u32)?;
    let context = input.int_in_range(1..=64u32)?;
    let head = if bool::arbitrary(input)? { ShortContext::Keep } else { ShortContext::Short };
    let rule = Anchor::new(k).context(context).short_context(head).seed(u64::arbitrary(input)?);
    Ok(rule.longest_run(any_longest_run(input, k)?).into())
}

fn any_longest_run(input: &mut Unstructured<'_>, k: u32) -> Result<Option<u32>> {
    let more = input.int_in_range(0..=20u32)?;
    Ok(if input.ratio(1, 4)? { None } else { Some(2 * k - 2 + more) })
}

/// Refers to the shared table by its fingerprint, so that building a rule does not compute it again.
fn with_shared_table(mut rule: RuleParameters) -> RuleParameters {
    static FINGERPRINT: LazyLock<String> = LazyLock::new(|| TABLE.fingerprint());
    if let RuleParameters::HashTable(HashTable { table, .. })
    | RuleParameters::CoefficientSum(CoefficientSum { table, .. }) = &mut rule
    {
        *table = TableSource::File(FINGERPRINT.clone());
    }
    rule
}

/// Packed sequences, with interruptions.
pub fn sequences(data: &[u8]) {
    let _ = check_sequences(&mut Unstructured::new(data));
}

fn check_sequences(input: &mut Unstructured<'_>) -> Result<()> {
    let rule = with_shared_table(any_rule(input)?);
    let length = input.int_in_range(1..=80u32)?;
    let interruptions = u32::arbitrary(input)?;
    let cuts: Vec<usize> = (0..8).map(|_| input.int_in_range(0..=60usize)).collect::<Result<_>>()?;
    let ids = any_ids(input)?;
    let mut rest = ids.as_slice();
    let mut documents: Vec<Vec<u32>> = Vec::new();
    for cut in cuts {
        let (document, others) = rest.split_at(cut.min(rest.len()));
        documents.push(document.to_vec());
        rest = others;
    }
    documents.push(rest.to_vec());
    let masker = Masker::new(build(&rule), &[]);
    let mut sequences =
        SequenceMasker::new(&masker, length, SequenceState::default()).expect("a valid length");
    let mut masks = Vec::new();
    for (i, ids) in documents.iter().enumerate() {
        if interruptions >> i & 1 == 1 {
            let state = sequences.state().clone();
            sequences = SequenceMasker::new(&masker, length, state).expect("a valid length");
        }
        let mut mask = vec![9; ids.len()];
        sequences.decide_next(ids, &mut mask);
        masks.push(mask);
    }
    assert_eq!(masks, naive::stream(&rule, &TABLE, Scope::Sequence { length }, &documents), "{rule:?}");
    Ok(())
}

/// The rules over text, with arbitrary spans.
pub fn mask_text(data: &[u8]) {
    let _ = check_text(&mut Unstructured::new(data));
}

fn check_text(input: &mut Unstructured<'_>) -> Result<()> {
    let unit = if bool::arbitrary(input)? { Granularity::Word } else { Granularity::Token };
    let head = if bool::arbitrary(input)? { ShortContext::Keep } else { ShortContext::Short };
    let k = input.int_in_range(2..=5u32)?;
    let context = if input.ratio(1, 4)? { 50 } else { input.int_in_range(1..=6u32)? };
    let rule = naive_text::Rule { k, context, unit, head, seed: u16::arbitrary(input)?.into() };
    let longest_run = any_longest_run(input, k)?;
    let ordered = bool::arbitrary(input)?;
    let cuts: Vec<u16> = (0..24).map(|_| u16::arbitrary(input)).collect::<Result<_>>()?;
    let bytes = input.bytes(input.len().min(600))?;
    let text = String::from_utf8_lossy(bytes).into_owned();
    let mut bounds: Vec<usize> = cuts.iter().map(|&cut| usize::from(cut) % (text.len() + 1)).collect();
    let spans: Vec<(usize, usize)> = if ordered {
        bounds.extend([0, text.len()]);
        bounds.sort_unstable();
        bounds.windows(2).map(|pair| (pair[0], pair[1])).collect()
    } else {
        bounds.chunks_exact(2).map(|pair| (pair[0].min(pair[1]), pair[0].max(pair[1]))).collect()
    };
    let ids = vec![0; spans.len()];
    let decide = |parameters: RuleParameters| {
        let mut mask = vec![9; spans.len()];
        let built = RuleSpec::new(parameters).build(None).expect("a valid rule");
        built.decide(&TokenSpan::document(&ids).with_text(&text, &spans), &mut mask);
        mask
    };
    let first = TextV1::new(k).context(context).granularity(unit).short_context(head).seed(rule.seed);
    assert_eq!(decide(first.into()), naive_text::mask(&rule, &text, &spans), "{rule:?} {text:?}");
    let second = Text::new(k).context(context).granularity(unit).short_context(head).seed(rule.seed);
    let second = second.longest_run(longest_run);
    let expected = naive_text_v2::mask(&second, &text, &spans);
    assert_eq!(decide(second.clone().into()), expected, "{second:?} {text:?}");
    Ok(())
}
