//! What a rule could drop, and the keys that it decides windows by.

use goldfish_mask::rules::{CoefficientSum, Hash, HashAvalanche, HashTable, Random, TextV1};
use goldfish_mask::{
    Coverage, Granularity, MaskRule, RuleParameters, RuleSpec, ShortContext, TokenSpan, Window,
};

const TEXT: &str = "-- A masked word, décidé by 50 LETTERS before it: naïve, ok?  漢字かな ... then (more) words\u{301} follow.";

/// Spans of 1 to 3 characters.
fn spans() -> Vec<(usize, usize)> {
    let starts: Vec<usize> = TEXT.char_indices().map(|(at, _)| at).chain([TEXT.len()]).collect();
    let mut spans = Vec::new();
    let mut at = 0;
    for step in [1, 2, 3, 1, 1, 3].into_iter().cycle() {
        let Some(&end) = starts.get(at + step) else { break };
        spans.push((starts[at], end));
        at += step;
    }
    spans
}

fn decide(rule: &dyn MaskRule, ids: &[u32], spans: &[(usize, usize)]) -> Vec<u8> {
    let mut mask = vec![7; ids.len()];
    rule.decide(&TokenSpan::document(ids).with_text(TEXT, spans), &mut mask);
    mask
}

#[test]
fn a_rule_drops_all_within_its_reach_over_the_seeds_and_nothing_beyond() {
    let spans = spans();
    let ids: Vec<u32> = (0..spans.len() as u32).collect();
    let mut specs: Vec<Box<dyn Fn(u64) -> RuleParameters>> =
        vec![Box::new(|seed| RuleParameters::from(Random::new(2).seed(seed)))];
    for head in [ShortContext::Keep, ShortContext::Short] {
        for context in [1, 5] {
            for window in [Window::Preceding, Window::Inclusive] {
                specs.push(Box::new(move |seed| {
                    RuleParameters::from(
                        Hash::new(2).context(context).window(window).short_context(head).seed(seed),
                    )
                }));
            }
            for unit in [Granularity::Word, Granularity::Token] {
                specs.push(Box::new(move |seed| {
                    RuleParameters::from(
                        TextV1::new(2).context(context).granularity(unit).short_context(head).seed(seed),
                    )
                }));
            }
        }
    }
    for parameters in specs {
        let spec = |seed| RuleSpec::new(parameters(seed));
        let reach = decide(&*spec(0).build_coverage(Coverage::Decided).unwrap(), &ids, &spans);
        let mut kept = vec![1; ids.len()];
        for seed in 0..64 {
            let mask = decide(&*spec(seed).build(None).unwrap(), &ids, &spans);
            kept.iter_mut().zip(mask).for_each(|(kept, mask)| *kept &= mask);
        }
        assert_eq!(kept, reach, "{:?}", parameters(0));
        assert!(reach.contains(&0));
    }
}

#[test]
fn what_is_present_is_the_head_and_what_is_decided() {
    let spans = spans();
    let ids: Vec<u32> = (0..spans.len() as u32).collect();
    let text = RuleParameters::from(TextV1::new(4).context(9));
    let mask = decide(&*RuleSpec::new(text).build_coverage(Coverage::Present).unwrap(), &ids, &spans);
    for (&(start, end), &keep) in spans.iter().zip(&mask) {
        let letters = TEXT[start..end].chars().any(|c| c.is_alphanumeric() || c == '\u{301}');
        assert_eq!(keep == 0, letters, "{:?}", &TEXT[start..end]);
    }
    let hash = RuleParameters::from(HashAvalanche::new(4).context(9));
    assert_eq!(
        decide(&*RuleSpec::new(hash.clone()).build_coverage(Coverage::Present).unwrap(), &ids, &spans),
        vec![0; ids.len()]
    );
    let decided = decide(&*RuleSpec::new(hash).build_coverage(Coverage::Decided).unwrap(), &ids, &spans);
    assert_eq!(decided.iter().position(|&keep| keep == 0), Some(8));
}

#[test]
fn windows_with_the_same_key_have_the_same_decision() {
    let ids: Vec<u32> = (0..4000u32).map(|i| i * i % 7).collect();
    let coefficients = vec![3, -5, 1 << 40, 17];
    for parameters in [
        RuleParameters::from(Hash::new(3).context(4).seed(9)),
        RuleParameters::from(
            Hash::new(3).context(4).window(Window::Inclusive).short_context(ShortContext::Short).seed(9),
        ),
        RuleParameters::from(HashTable::new(3).context(4)),
        RuleParameters::from(HashAvalanche::new(3).context(4)),
        RuleParameters::from(CoefficientSum::new(3, coefficients).context(4)),
    ] {
        let spec = RuleSpec::new(parameters);
        let mut mask = vec![0; ids.len()];
        spec.build(None).unwrap().decide(&TokenSpan::document(&ids), &mut mask);
        let keys = spec.window_keys().unwrap();
        let mut decisions = std::collections::HashMap::new();
        let mut positions = Vec::new();
        keys.for_each(&ids, |position, key| {
            assert!(key < keys.space());
            assert_eq!(*decisions.entry(key).or_insert(mask[position]), mask[position], "{spec:?}");
            positions.push(position);
        });
        let first = if spec.name() == "hash" && keys.window(&ids, 3).is_none() { 4 } else { 3 };
        assert_eq!(positions, (first..ids.len()).collect::<Vec<_>>(), "{spec:?}");
        assert!(decisions.values().any(|&keep| keep == 0) && decisions.values().any(|&keep| keep == 1));
    }
}
