//! The rule `text-v1`: vectors, its naive definition, and what must not change it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod documents;
#[path = "naive/text.rs"]
mod naive;

use documents::{by_char, in_pieces, spans_of, whole};
use goldfish_mask::rules::TextV1;
use goldfish_mask::{
    Granularity, MaskError, MaskRule, Masker, RuleSpec, SequenceMasker, SequenceState, ShortContext,
    TokenSpan,
};
use naive::Rule;
use proptest::prelude::*;

fn build(rule: &Rule) -> Box<dyn MaskRule> {
    let Rule { k, context, unit, head, seed } = *rule;
    RuleSpec::new(TextV1::new(k).context(context).granularity(unit).short_context(head).seed(seed))
        .build(None)
        .unwrap()
}

fn words(k: u32, context: u32, head: ShortContext) -> Rule {
    Rule { k, context, unit: Granularity::Word, head, seed: 0 }
}

/// The text with each dropped character replaced by `_`.
fn shown(rule: &Rule, text: &str) -> String {
    let spans = by_char(text);
    let mask = whole(&*build(rule), text, &spans);
    assert_eq!(mask, naive::mask(rule, text, &spans), "{text:?}");
    text.chars().zip(mask).map(|(c, keep)| if keep == 1 { c } else { '_' }).collect()
}

const PROSE: &str = "Call me Ishmael. Some years ago, never mind how long precisely, having little or no money in \
    my purse, and nothing particular to interest me on shore, I thought I would sail about a little and see the \
    watery part of the world. It is a way I have of driving off the spleen and regulating the circulation.";

include!("text_vectors.in");

#[test]
fn vectors_from_python() {
    for (text, k, context, head, seed, expected) in VECTORS {
        let rule = Rule { k, context, unit: Granularity::Word, head, seed };
        assert_eq!(shown(&rule, text), expected, "{rule:?}");
    }
}

fn any_char() -> impl Strategy<Value = char> {
    let odd: Vec<char> = "\u{AD}\u{34F}\u{200B}\u{200C}\u{200D}\u{2060}\u{FEFF}\u{FE0F}\u{E0100}\u{20E3}\
        \u{301}\u{308}\u{323}\u{345}\u{3099}\u{309A}\u{302}ßẞſİıΐΰᾳŉǰςΣﬁﷺ㍿½²①Ⅷ㎏…´¨¯¸ͺK\u{212B}ǅŌŐ\
        が漢々〇ーｶﾞﾊﾟㄅ각\u{1100}\u{1161}\u{11A8}\u{1160}\u{3164}\u{FFA0}ำกี่้ไทयक्षि\u{93C}\u{94D}شَـّةᎠꭰ\
        \u{1D15E}\u{1D165}\u{9C7}\u{9BE}\u{11131}\u{11127}\u{FB2C}\u{F71}\u{F72}\u{F74}\u{1F82}𝔤𝟙０９ＡｚⒶ🄰\u{10FFFF}"
        .chars()
        .collect();
    prop_oneof![
        6 => prop::char::range('a', 'e'),
        2 => prop::char::range(' ', '~'),
        1 => Just(' '),
        6 => prop::sample::select(odd),
        1 => prop::char::range('\u{300}', '\u{36F}'),
        1 => prop::char::range('\u{1100}', '\u{11FF}'),
        1 => prop::char::range('\u{3040}', '\u{30FF}'),
        1 => prop::char::range('\u{900}', '\u{DFF}'),
        1 => any::<char>(),
    ]
}

fn any_text() -> impl Strategy<Value = String> {
    let run = (any_char(), 1usize..40).prop_map(|(c, n)| c.to_string().repeat(n));
    let few = prop::collection::vec(any_char(), 0..12).prop_map(String::from_iter);
    prop::collection::vec(prop_oneof![6 => few, 1 => run], 0..14).prop_map(|parts| parts.concat())
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let unit = prop_oneof![Just(Granularity::Word), Just(Granularity::Token)];
    let head = prop_oneof![Just(ShortContext::Keep), Just(ShortContext::Short)];
    (prop_oneof![2u32..5, Just(50)], prop_oneof![1u32..6, Just(50)], unit, head, any::<u64>())
        .prop_map(|(k, context, unit, head, seed)| Rule { k, context, unit, head, seed })
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
        let expected = naive::mask(&rule, &text, &spans);
        let built = build(&rule);
        prop_assert_eq!(&whole(&*built, &text, &spans), &expected);
        prop_assert_eq!(in_pieces(&*built, &text, &spans, step), expected);
    }

    #[test]
    fn characters_equal_the_naive_definition(rule in any_rule(), text in any_text()) {
        let spans = by_char(&text);
        prop_assert_eq!(whole(&*build(&rule), &text, &spans), naive::mask(&rule, &text, &spans));
    }

    /// Words of letters that upper-case one to one, in two layouts: the same letters are dropped.
    #[test]
    fn formatting_changes_nothing(
        words in prop::collection::vec("[a-zà-öø-þα-ρа-я0-9]{1,30}|[あ-ん漢字仮名]{1,9}", 1..60),
        separators in prop::collection::vec("[ \t\n]{1,5}|\n# |\n    // |, |\\. |: \"|—|\u{3000}|\u{200B}", 60),
        upper: bool,
        k in 2u32..5,
        unit in prop_oneof![Just(Granularity::Word), Just(Granularity::Token)],
    ) {
        let rule = Rule { k, context: 12, unit, head: ShortContext::Short, seed: 1 };
        let plain = words.join(" ");
        let mut formatted = String::from("\u{FEFF}/* ");
        for (word, separator) in words.iter().zip(&separators) {
            formatted.push_str(&if upper { word.to_uppercase() } else { word.clone() });
            formatted.push_str(separator);
        }
        let letters = |text: &str| -> Vec<(char, u8)> {
            let mask = whole(&*build(&rule), text, &by_char(text));
            let of = text.chars().zip(mask).filter(|(c, _)| c.is_alphanumeric());
            of.map(|(c, keep)| (c.to_lowercase().next().unwrap(), keep)).collect()
        };
        prop_assert_eq!(letters(&plain), letters(&formatted));
    }
}

#[test]
fn edge_cases() {
    // k = 2 and a context of one character: what is dropped shows where words begin.
    let rule = |seed| Rule { k: 2, context: 1, unit: Granularity::Word, head: ShortContext::Keep, seed };
    // Each text beside one that must lose the same tokens; spans are those of the bars, which are left out.
    let same = [
        ("ﬁ|sh and| chips", "fi|sh and| chips"),
        ("ａｂｃ １２|３ x|yz", "abc 12|3 x|yz"),
        ("caf\u{e9} au| lait", "cafe\u{301} au| lait"),
        ("STRASSE |und WEG|E", "straße |und weg|e"),
        ("1,000|,000 dol|lars", "1.000|.000 dol|lars"),
        ("葛\u{E0100}城|市に|住む", "葛城|市に|住む"),
        ("ｶﾞｷﾞ|ｸﾞ", "ガギ|グ"),
        ("각하| 다", "\u{1100}\u{1161}\u{11A8}하| 다"),
        ("don´t |stop| me", "don't |stop| me"),
        ("a ¯¸¨ b |c d| e", "a b |c d| e"),
        ("\u{202B}שלום |עולם\u{202C} טוב| מאוד", "שלום |עולם טוב| מאוד"),
    ];
    for seed in 0..40 {
        for (left, right) in same {
            let masks = [left, right].map(|text| {
                let plain = text.replace('|', "");
                let mut at = 0;
                let spans: Vec<_> = text
                    .split('|')
                    .map(|part| {
                        at += part.len();
                        (at - part.len(), at)
                    })
                    .collect();
                whole(&*build(&rule(seed)), &plain, &spans)
            });
            assert_eq!(masks[0], masks[1], "{left:?} {right:?}");
        }
    }
}

#[test]
fn words_are_what_the_documentation_says() {
    // With every word dropped that can be (a context of one character, all seeds): which characters go together.
    let together = |text: &str| -> Vec<String> {
        let mut cuts = vec![false; text.chars().count() + 1];
        for seed in 0..64 {
            let rule = Rule { k: 2, context: 1, unit: Granularity::Word, head: ShortContext::Keep, seed };
            let mask = whole(&*build(&rule), text, &by_char(text));
            for i in 1..mask.len() {
                cuts[i] |= mask[i] != mask[i - 1];
            }
        }
        let mut groups = vec![String::new()];
        for (i, c) in text.chars().enumerate() {
            if cuts[i] {
                groups.push(String::new());
            }
            groups.last_mut().unwrap().push(c);
        }
        groups
    };
    assert_eq!(together("x ab1 2c"), ["x ", "ab1", " ", "2c"]);
    assert_eq!(together("x don't"), ["x ", "don", "'", "t"]);
    // Different characters before, so that each decision differs for some seed.
    assert_eq!(together("x漢字かなab"), ["x", "漢", "字", "か", "な", "ab"]);
    let marks = "\u{306}".repeat(25);
    assert_eq!(together(&format!("xヒ{marks}a")).last().unwrap(), "a");
    assert_eq!(together("aあ\u{3099}い"), ["a", "あ\u{3099}", "い"]);
    assert_eq!(together("x ภาษาไทย"), ["x ", "ภาษาไทย"]);
    assert_eq!(together("x क्षत्रिय"), ["x ", "क्षत्रिय"]);
    assert_eq!(together("x क्\u{200D}ष"), ["x ", "क्", "\u{200D}", "ष"]);
    assert_eq!(together("x مُحَـمَّد"), ["x ", "مُحَـمَّد"]);
    assert_eq!(together("x co\u{AD}op"), ["x ", "co", "\u{AD}", "op"]);
    assert_eq!(together("xyz 1,234"), ["xyz ", "1", ",", "234"]);
    assert_eq!(together("z snake_case42"), ["z ", "snake", "_", "case42"]);
    assert_eq!(together("x a\u{20E3}b"), ["x ", "a", "\u{20E3}", "b"]);
    // A space and U+0345 normalize together, and are two words' end and start all the same; so are a space and a vowel jamo.
    assert_eq!(together("x ab \u{345}c"), ["x ", "ab", " \u{345}c"]);
    assert_eq!(together("x ab \u{1161}c"), ["x ", "ab", " \u{1161}c"]);
    let long = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz";
    assert_eq!(together(&format!("q {long}")), ["q ", &long[..24], &long[24..48], &long[48..]]);
}

/// What may be between a letter and a character that joins what is before it. A special token is one
/// space in the text of ids, and as many as it has bytes in raw text.
const GAPS: [&str; 7] = [" ", "\n", "\u{A0}", ".", "“", "\u{200B}", "\u{AD}"];

#[test]
fn every_gap_ends_a_word_whatever_is_after_it() {
    let rules: Vec<Rule> = (0..6).map(|seed| Rule { seed, ..words(2, 2, ShortContext::Short) }).collect();
    let built: Vec<_> = rules.iter().map(build).collect();
    let of = |text: &str, kept: &dyn Fn(usize) -> bool| -> Vec<u8> {
        let mut spans = by_char(text);
        spans.retain(|&(at, _)| kept(at));
        built.iter().flat_map(|rule| whole(&**rule, text, &spans)).collect()
    };
    let joining = naive::joining();
    assert!(
        joining.len() > 4000 && "\u{301}\u{345}\u{1161}\u{16D67}⑴ͺ".chars().all(|c| joining.contains(&c))
    );
    for (i, &c) in joining.iter().enumerate() {
        for gap in GAPS {
            // The decisions of all but the gap.
            let masks = [1, 2].map(|count| {
                let gap = gap.repeat(count);
                of(&format!("ab t{gap}{c}u v"), &|at| !(4..4 + gap.len()).contains(&at))
            });
            assert_eq!(masks[0], masks[1], "one gap {gap:?} and two before {c:?} (U+{:04X})", c as u32);
        }
        let gap = GAPS[i % GAPS.len()];
        for text in [format!("ab t{gap}{c}u v"), format!("ab t{c}u v"), format!("{c}u{gap}{c}{c} v{c}")] {
            shown(&rules[i % rules.len()], &text);
        }
    }
}

#[test]
fn text_without_letters_keeps_everything() {
    for text in ["", " \n\t", "--- *** ===", "😀🎉…", "\u{301}\u{302}", "\u{200B}\u{AD}", "'\u{301}´¨"]
    {
        for head in [ShortContext::Keep, ShortContext::Short] {
            assert_eq!(shown(&words(2, 1, head), text), text);
        }
    }
}

#[test]
fn a_token_is_dropped_with_any_byte_of_a_dropped_word() {
    let rule = words(2, 1, ShortContext::Keep);
    let text = "x é漢🄰 y";
    for seed in 0..20 {
        let rule = Rule { seed, ..rule };
        let bytes: Vec<_> = (0..text.len()).map(|at| (at, at + 1)).collect();
        let mask = whole(&*build(&rule), text, &bytes);
        for (at, end) in by_char(text) {
            assert!(mask[at..end].iter().all(|&keep| keep == mask[at]), "{mask:?}");
        }
        // Empty spans are no text.
        let empty: Vec<_> = (0..=text.len()).map(|at| (at, at)).collect();
        assert!(whole(&*build(&rule), text, &empty).iter().all(|&keep| keep == 1));
    }
}

#[test]
fn one_token_in_k_is_dropped() {
    let text: String =
        (0..200_000).map(|i: u64| format!("{:x} ", i.wrapping_mul(0x9E37_79B9_7F4A_7C15))).collect();
    let spans = by_char(&text);
    for k in [2u32, 4, 50] {
        for unit in [Granularity::Word, Granularity::Token] {
            let rule = Rule { k, context: 50, unit, head: ShortContext::Keep, seed: 3 };
            let mask = whole(&*build(&rule), &text, &spans);
            let letters = text.bytes().zip(mask).filter(|(byte, _)| *byte != b' ');
            let (count, dropped) =
                letters.fold((0u32, 0u32), |(n, d), (_, keep)| (n + 1, d + u32::from(keep == 0)));
            let ratio = f64::from(dropped) / f64::from(count) * f64::from(k);
            assert!((ratio - 1.0).abs() < 0.05, "k = {k}, {unit:?}: {ratio} of 1/k");
        }
    }
}

#[test]
#[allow(clippy::disallowed_types, reason = "a clock that decides no mask")]
fn hostile_texts_take_linear_time() {
    let size = 3_000_000;
    let times =
        ["a", "\u{301}", "a\u{301}", "\u{11A8}", "\u{323}\u{301}", " ", "漢", "ﷺ", "\u{345}", "\u{200D}"]
            .map(|unit| {
                // One ligature contributes 15 characters.
                let size = if unit == "ﷺ" { size / 10 } else { size };
                let text = unit.repeat(size / unit.len());
                let spans: Vec<_> = (0..text.len() / 4).map(|i| (4 * i, 4 * i + 4)).collect();
                let start = std::time::Instant::now();
                whole(&*build(&words(4, 50, ShortContext::Keep)), &text, &spans);
                whole(
                    &*build(&Rule { unit: Granularity::Token, ..words(4, 50, ShortContext::Keep) }),
                    &text,
                    &spans,
                );
                (unit, start.elapsed().as_secs_f64())
            });
    // Quadratic work on a million characters takes hours.
    for (unit, seconds) in times {
        assert!(seconds < 60.0, "{unit:?}: {seconds} s");
    }
}

#[test]
fn the_text_must_be_given() {
    let rule = build(&words(4, 50, ShortContext::Keep));
    assert!(rule.needs_text() && rule.lookback() == 0);
    let panics = |f: &dyn Fn(&mut [u8])| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| f(&mut [9, 9]))).is_err()
    };
    assert!(panics(&|mask| rule.decide(&TokenSpan::document(&[1, 2]), mask)));
    assert!(panics(&|mask| rule.decide(&TokenSpan::document(&[1, 2]).with_text("ab", &[(0, 1)]), mask)));
    let masker = Masker::new(rule, &[]);
    let refused = SequenceMasker::new(&masker, 8, SequenceState::default());
    assert!(matches!(refused, Err(MaskError::TextInSequences)));
}

#[cfg(feature = "serde")]
#[test]
fn a_description_names_the_version() {
    let rule = words(4, 50, ShortContext::Keep);
    let spec = RuleSpec::new(
        TextV1::new(rule.k)
            .context(rule.context)
            .granularity(rule.unit)
            .short_context(rule.head)
            .seed(rule.seed),
    );
    let json = serde_json::to_string(&spec).unwrap();
    assert_eq!(
        json,
        r#"{"version":2,"name":"text-v1","k":4,"context":50,"unit":"word","head":"keep","seed":0}"#
    );
    assert_eq!(serde_json::from_str::<RuleSpec>(&json).unwrap(), spec);
    assert_eq!(shown(&rule, &PROSE[..40]), &PROSE[..40], "the head is kept");
}
