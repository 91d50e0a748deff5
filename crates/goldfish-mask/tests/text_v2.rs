//! The rule `text-v2`: its naive definition, its guarantee, and what must not change it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod documents;
#[path = "naive/selection.rs"]
mod naive_selection;
#[path = "naive/text.rs"]
mod naive_text;
#[path = "naive/text_v2.rs"]
mod naive_v2;

use documents::{by_char, in_pieces, spans_of, whole};
use goldfish_mask::rules::Text;
use goldfish_mask::{
    Granularity, MaskError, MaskRule, Masker, RuleSpec, SequenceMasker, SequenceState, ShortContext,
    TokenSpan,
};
use proptest::prelude::*;

fn build(rule: &Text) -> Box<dyn MaskRule> {
    RuleSpec::new(rule.clone()).build(None).unwrap()
}

fn any_char() -> impl Strategy<Value = char> {
    let odd: Vec<char> = "\u{AD}\u{34F}\u{200B}\u{200D}\u{FE0F}\u{E0100}\u{20E3}\u{301}\u{323}\u{345}\u{3099}\
        ßẞİΐᾳŉﬁﷺ㍿½①Ⅷ…´¨がｶﾞ漢々ー각\u{1100}\u{1161}\u{11A8}\u{1160}ภาษาไทยกี่้ำ๑ລາວຂ້ອຍខ្មែរမြန်မာक्षि\u{94D}شَـّةᎠ𝔤０Ａ🄰"
        .chars()
        .collect();
    prop_oneof![
        6 => prop::char::range('a', 'e'),
        2 => prop::char::range(' ', '~'),
        2 => Just(' '),
        4 => prop::sample::select(odd),
        3 => prop::char::range('\u{E01}', '\u{E4E}'),
        1 => prop::char::range('\u{300}', '\u{36F}'),
        1 => prop::char::range('\u{3040}', '\u{30FF}'),
        1 => any::<char>(),
    ]
}

fn any_text() -> impl Strategy<Value = String> {
    let run = (any_char(), 1usize..40).prop_map(|(c, n)| c.to_string().repeat(n));
    let few = prop::collection::vec(any_char(), 0..14).prop_map(String::from_iter);
    let periodic = ("[ab ]{1,6}", 1usize..20).prop_map(|(text, n)| text.repeat(n));
    prop::collection::vec(prop_oneof![6 => few, 1 => run, 1 => periodic], 0..24)
        .prop_map(|parts| parts.concat())
}

fn any_rule() -> impl Strategy<Value = Text> {
    let unit = prop_oneof![2 => Just(Granularity::Word), 1 => Just(Granularity::Token)];
    let head = prop_oneof![Just(ShortContext::Keep), Just(ShortContext::Short)];
    let bound = prop_oneof![Just(None), (0u32..9).prop_map(Some)];
    (prop_oneof![2u32..5, Just(50)], prop_oneof![1u32..6, Just(8)], bound, unit, head, any::<u64>()).prop_map(
        |(k, context, bound, unit, head, seed)| {
            let run = bound.map(|more| 2 * k - 2 + more);
            Text::new(k).context(context).longest_run(run).granularity(unit).short_context(head).seed(seed)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_rule_equals_its_naive_definition(
        rule in any_rule(),
        text in any_text(),
        cuts: Vec<prop::sample::Index>,
        ordered in prop::bool::weighted(0.8),
        step in 1usize..40,
    ) {
        let spans = spans_of(&text, &cuts, ordered);
        let expected = naive_v2::mask(&rule, &text, &spans);
        let built = build(&rule);
        prop_assert_eq!(&whole(&*built, &text, &spans), &expected);
        prop_assert_eq!(in_pieces(&*built, &text, &spans, step), expected);
    }

    #[test]
    fn characters_equal_the_naive_definition(rule in any_rule(), text in any_text()) {
        let spans = by_char(&text);
        prop_assert_eq!(whole(&*build(&rule), &text, &spans), naive_v2::mask(&rule, &text, &spans));
    }

    /// No run of more than the bound is kept, whatever the text, and the longest one is found where it is.
    #[test]
    fn no_longer_run_is_kept(rule in any_rule(), text in prop_oneof![any_text(), "[a-c .]{0,200}"]) {
        let spans = by_char(&text);
        let ids = vec![0; spans.len()];
        let mut mask = vec![9; spans.len()];
        let span = TokenSpan::document(&ids).with_text(&text, &spans);
        let longest = build(&rule).decide_measuring(&span, &mut mask).unwrap();
        if let Some(run) = rule.longest_run {
            prop_assert!(longest.units <= u64::from(run), "{longest:?}");
        }
        if rule.granularity == Granularity::Token || text.is_ascii() {
            prop_assert!(mask[longest.start as usize..longest.end as usize].iter().all(|&keep| keep == 1));
            prop_assert!(longest.end - longest.start >= longest.units);
        }
    }
}

/// Words that differ, each of eight letters.
fn distinct(count: u64) -> String {
    (0..count).map(|i| format!("{:08x} ", i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32)).collect()
}

#[test]
fn one_word_in_k_is_dropped() {
    let text = distinct(400_000);
    let spans = by_char(&text);
    for k in [2, 3, 4, 8, 50] {
        for run in [Some(2 * k - 2), Some(4 * k - 2), Some(8 * k - 2), None] {
            let mask = whole(&*build(&Text::new(k).longest_run(run)), &text, &spans);
            let letters = text.bytes().zip(mask).filter(|(byte, _)| *byte != b' ');
            let (count, dropped) =
                letters.fold((0u32, 0u32), |(n, d), (_, keep)| (n + 1, d + u32::from(keep == 0)));
            let ratio = f64::from(dropped) / f64::from(count) * f64::from(k);
            // Words before which an anchor stays the same share nothing else, so that chance is that of independent keys.
            assert!((ratio - 1.0).abs() < 0.02, "k = {k}, {run:?}: {ratio} of 1/k");
        }
    }
}

#[test]
fn text_that_repeats_itself_is_neither_dropped_nor_kept_whole() {
    for period in ["0 ", "a b ", "0 0 1 ", "x = x + 1; ", "ก", "漢", "ab cd ef gh "] {
        let text = period.repeat(3000);
        let spans = by_char(&text);
        for seed in 0..20 {
            let rule = Text::new(4).seed(seed);
            let mask = whole(&*build(&rule), &text, &spans);
            let letters = text.chars().zip(&mask).filter(|(c, _)| c.is_alphanumeric());
            let (count, dropped) =
                letters.fold((0, 0), |(n, d), (_, &keep)| (n + 1, d + u32::from(keep == 0)));
            let rate = f64::from(dropped) / f64::from(count);
            assert!((0.03..0.67).contains(&rate), "{period:?}, seed {seed}: {rate}");
        }
    }
}

#[test]
fn formatting_changes_nothing() {
    let words: Vec<String> =
        (0..300u64).map(|i| format!("w{:x}", i.wrapping_mul(0x9E37_79B9) % 9973)).collect();
    let plain = words.join(" ");
    let rule = build(&Text::new(3).seed(1));
    let letters = |text: &str| -> Vec<u8> {
        let mask = whole(&*rule, text, &by_char(text));
        text.chars().zip(mask).filter(|(c, _)| c.is_alphanumeric()).map(|(_, keep)| keep).collect()
    };
    let expected = letters(&plain);
    assert!(expected.contains(&0) && expected.contains(&1));
    for (separator, upper) in [("\n# ", false), ("\u{3000}", true), (", ", false), ("\u{200B}--", true)] {
        let formatted = words.join(separator);
        let formatted = if upper { formatted.to_uppercase() } else { formatted };
        assert_eq!(letters(&formatted), expected, "{separator:?}");
    }
}

#[test]
fn an_edit_changes_few_decisions() {
    let words: Vec<String> = distinct(20_000).split_whitespace().map(str::to_owned).collect();
    let mask = |words: &[String]| {
        let text = words.join(" ");
        let mut at = 0;
        let spans: Vec<_> = words
            .iter()
            .map(|word| {
                at += word.len() + 1;
                (at - word.len() - 1, at - 1)
            })
            .collect();
        whole(&*build(&Text::new(4)), &text, &spans)
    };
    let original = mask(&words);
    let mut copy = words;
    (0..copy.len()).step_by(20).for_each(|at| copy[at] = format!("other{at}"));
    let edited = mask(&copy);
    let unedited = (0..copy.len()).filter(|at| at % 20 > 0 && original[*at] == 0);
    let (dropped, leaked) = unedited.fold((0, 0), |(n, l), at| (n + 1, l + u32::from(edited[at] == 1)));
    let leak = f64::from(leaked) / f64::from(dropped);
    assert!((0.05..0.11).contains(&leak), "one word in 20 was replaced: {leak}");
}

#[test]
#[allow(clippy::disallowed_types, reason = "a clock that decides no mask")]
fn hostile_texts_take_linear_time() {
    let size = 200_000;
    for unit in
        ["a", "\u{301}", "a\u{301}", "\u{11A8}", " ", "漢", "ﷺ", "\u{345}", "ก", "ก\u{E31}", "\u{E31}", "0 "]
    {
        // One ligature contributes 15 characters.
        let size = if unit == "ﷺ" { size / 10 } else { size };
        let text = unit.repeat(size / unit.len());
        let spans: Vec<_> = (0..text.len() / 4).map(|i| (4 * i, 4 * i + 4)).collect();
        let start = std::time::Instant::now();
        for unit in [Granularity::Word, Granularity::Token] {
            for run in [None, Some(14), Some(1_000_000)] {
                whole(&*build(&Text::new(4).granularity(unit).longest_run(run)), &text, &spans);
            }
        }
        // Quadratic work on a million characters takes hours.
        let seconds = start.elapsed().as_secs_f64();
        assert!(seconds < 120.0, "{unit:?}: {seconds} s");
    }
}

#[test]
fn bad_parameters_are_refused() {
    let error = |rule: Text| RuleSpec::new(rule).build(None).unwrap_err();
    assert_eq!(error(Text::new(1)), MaskError::K { k: 1 });
    assert_eq!(error(Text::new(4).context(0)), MaskError::AnchorContext { context: 0 });
    assert_eq!(error(Text::new(4).context(65)), MaskError::AnchorContext { context: 65 });
    let MaskError::LongestRun { run: 5, k: 4, least: 6, .. } = error(Text::new(4).longest_run(Some(5)))
    else {
        panic!("a run of 5 is too short for k = 4")
    };
    let masker = Masker::new(build(&Text::new(4)), &[]);
    let refused = SequenceMasker::new(&masker, 8, SequenceState::default());
    assert!(matches!(refused, Err(MaskError::TextInSequences)));
}

#[cfg(feature = "serde")]
#[test]
fn a_description_has_the_threshold() {
    let spec = RuleSpec::text(4);
    let json = serde_json::to_string(&spec).unwrap();
    let threshold = Text::new(4).threshold;
    let expected = format!(
        r#"{{"version":1,"name":"text-v2","k":4,"context":8,"longest_run":14,"threshold":{threshold},"unit":"word","head":"keep","seed":0}}"#
    );
    assert_eq!(json, expected);
    assert_eq!(serde_json::from_str::<RuleSpec>(&json).unwrap(), spec);
    let unbounded = RuleSpec::new(Text::new(4).longest_run(None));
    let json = serde_json::to_string(&unbounded).unwrap();
    assert_eq!(serde_json::from_str::<RuleSpec>(&json).unwrap(), unbounded);
}
