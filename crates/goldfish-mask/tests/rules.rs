//! One table of vectors over every rule, and every rule against its naive definition.

#![allow(clippy::unwrap_used, reason = "tests")]

mod naive;

use goldfish_mask::rules::{Anchor, CoefficientSum, Hash, HashAvalanche, HashTable, NoRule, Random, Static};
use goldfish_mask::{
    MaskError, MaskRule, Masker, RuleName, RuleOptions, RuleParameters, RuleSpec, Scope, SequenceMasker,
    SequenceState, ShortContext, TableSource, TokenSpan, UniformTable, Window, document_key,
};
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

static TABLE: LazyLock<UniformTable> = LazyLock::new(UniformTable::cpu);

fn hash(k: u32, context: u32, window: Window, head: ShortContext, seed: u64) -> RuleParameters {
    RuleParameters::from(Hash::new(k).context(context).window(window).short_context(head).seed(seed))
}

fn hash_table(k: u32, context: u32) -> RuleParameters {
    RuleParameters::from(HashTable::new(k).context(context))
}

fn coefficient_sum(k: u32, context: u32) -> RuleParameters {
    let coefficients = naive::coefficients(context);
    RuleParameters::from(CoefficientSum::new(k, coefficients).context(context))
}

/// Masks of `naive::vector_ids()`, most significant bit first, computed in Python with `numpy` and
/// `xxhash` from the published formulas.
fn vectors() -> Vec<(RuleParameters, u64, u128)> {
    use ShortContext::{Keep, Short};
    use Window::{Inclusive, Preceding};
    let avalanche = |k, context| RuleParameters::from(HashAvalanche::new(k).context(context));
    let of = |rule, mask| (rule, 0, mask);
    vec![
        of(RuleParameters::from(Static::new(4)), 0x7777_7777_7777_7777_7777_7777),
        of(RuleParameters::from(Static::new(3).start(7)), 0xfedb_6db6_db6d_b6db_6db6_db6d),
        of(RuleParameters::from(Static::new(50).start(90)), 0xffff_ffff_ffff_ffff_ffff_ffdf),
        of(RuleParameters::from(Random::new(4)), 0xbdf5_f5fa_dfdf_f4ff_af5f_7fce),
        (
            RuleParameters::from(Random::new(3).seed(99)),
            document_key("a.jsonl:7"),
            0xe189_73fb_b2be_dff3_957e_e9c3,
        ),
        of(hash(4, 13, Preceding, Keep, 0), 0xfffe_a3fb_def7_6dab_35fb_daff),
        of(hash(4, 13, Inclusive, Keep, 0), 0xfffd_47f7_bdee_db56_6bf7_b5ff),
        of(hash(3, 5, Preceding, Short, 7), 0xf7fe_b72a_e977_7397_afbd_df61),
        of(hash(2, 4, Inclusive, Short, u64::MAX), 0xa3c9_7e3a_e8c1_dfcd_9eff_9aca),
        of(hash(2, 1, Preceding, Keep, 0), 0xd002_3cfc_768a_7cb7_bf17_2c85),
        of(hash(8, 70, Preceding, Keep, 5), 0xffff_ffff_ffff_ffff_ff7f_fffe),
        of(hash_table(4, 13), 0xffff_ee9a_f500_05dd_7eff_ff7f),
        of(hash_table(2, 1), 0x1355_1954_3254_19e6_e90a_371b),
        of(hash_table(3, 4), 0xeef8_59cf_df0c_1f69_eeef_e8ff),
        of(hash_table(32, 50), 0xffff_ffff_ffff_ffff_ffff_ffff),
        of(avalanche(4, 13), 0xfffd_7ffc_fe00_05f9_81fe_fe3f),
        of(avalanche(2, 1), 0xa88a_1ab0_9259_fe08_7e0e_4d03),
        of(avalanche(3, 4), 0xedeb_fee1_3d0f_afda_55ad_dfff),
        of(avalanche(32, 50), 0xffff_ffff_ffff_ffff_ffff_fffb),
        of(coefficient_sum(4, 13), 0xffff_7db5_cbff_9f7f_afb7_f1f6),
        of(coefficient_sum(2, 1), 0x7bd5_8649_bc30_8784_7a18_6a3b),
        of(coefficient_sum(3, 4), 0xe0f7_4d99_b7f3_bad7_cc62_e6be),
        of(coefficient_sum(32, 50), 0xffff_ffff_ffff_deff_ffff_ffef),
    ]
}

fn build(rule: &RuleParameters) -> Box<dyn MaskRule> {
    RuleSpec::new(rule.clone()).build(None).unwrap()
}

fn whole(rule: &dyn MaskRule, ids: &[u32], key: u64) -> Vec<u8> {
    let mut mask = vec![9; ids.len()];
    rule.decide(&TokenSpan::document(ids).with_key(key), &mut mask);
    mask
}

/// Decides `ids` in pieces of `step` tokens, each with no more around it than the rule needs.
fn in_pieces(rule: &dyn MaskRule, ids: &[u32], key: u64, step: usize) -> Vec<u8> {
    let mut mask = vec![9; ids.len()];
    for start in (0..ids.len()).step_by(step) {
        let end = ids.len().min(start + step);
        let history = start.min(rule.lookback());
        let following = (ids.len() - end).min(rule.lookahead());
        let span = TokenSpan::continued(&ids[start - history..end + following], history, start as u64);
        rule.decide(&span.followed_by(following).with_key(key), &mut mask[start..end]);
    }
    mask
}

#[test]
fn every_rule_gives_its_vector_whole_and_in_pieces() {
    let ids = naive::vector_ids();
    for (rule, key, bits) in vectors() {
        let expected: Vec<u8> = (0..96).map(|i| (bits >> (95 - i) & 1) as u8).collect();
        let built = build(&rule);
        assert_eq!(naive::document(&rule, &TABLE, &ids, key), expected, "naive {rule:?}");
        assert_eq!(whole(&*built, &ids, key), expected, "whole {rule:?}");
        for step in [1, 2, 7, 13, 64, 96] {
            assert_eq!(in_pieces(&*built, &ids, key, step), expected, "pieces of {step}, {rule:?}");
        }
    }
}

#[test]
fn the_cpu_table_is_the_one_torch_makes() {
    assert_eq!(TABLE.values()[..4], [0.233_683_88, 0.441_264_03, 0.741_147_7, 0.909_271_9]);
    let bytes: Vec<u8> = TABLE.values().iter().flat_map(|v| v.to_le_bytes()).collect();
    let digest: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(digest, "33025be4fa64d02d0a2e630dfa7fc166bf76a5364206fe4cd8973ce46e836562");
}

#[test]
fn a_product_rule_is_blind_after_an_id_of_zero() {
    let ids: Vec<u32> = (0..40).map(|i| if i == 20 { 0 } else { 1000 + i }).collect();
    for (k, dropped) in [(2, true), (4, true), (5, false), (50, false)] {
        let mask = whole(&*build(&hash_table(k, 4)), &ids, 0);
        assert!(mask[20..24].iter().all(|&m| m == u8::from(!dropped)), "k = {k}: {mask:?}");
    }
}

#[test]
fn drop_rate_of_hash_is_one_in_k_on_distinct_windows() {
    let ids: Vec<u32> = (0..2_000_000u32).map(|i| i.wrapping_mul(2_654_435_761) >> 8).collect();
    for k in [2, 4, 50] {
        let mask = whole(&*build(&hash(k, 13, Window::Preceding, ShortContext::Keep, 0)), &ids, 0);
        let rate = mask.iter().filter(|&&m| m == 0).count() as f64 / mask.len() as f64;
        let ratio = rate * f64::from(k);
        // Three standard deviations of a binomial share, or the half per cent, whichever is wider.
        let noise = 3.0 * (f64::from(k) / mask.len() as f64).sqrt();
        assert!((ratio - 1.0).abs() < noise.max(0.005), "k = {k}: {ratio} of 1/k");
    }
}

#[test]
fn long_documents_are_decided_in_blocks() {
    let ids: Vec<u32> = (0..20_000u32).map(|i| i.wrapping_mul(2_654_435_761) >> 16 & 0x1FFF).collect();
    let repeated = [vec![7; 9000], ids.clone(), [1, 2, 3].repeat(3000)].concat();
    let runs = [(4, 6), (4, 14), (50, 98), (50, 198), (128, 255), (50, 2000)];
    for rule in runs.map(|(k, run)| Anchor::new(k).context(5).longest_run(Some(run))) {
        for ids in [&ids, &repeated] {
            let built = build(&RuleParameters::from(rule.clone()));
            let expected = naive::anchor_mask(&rule, ids, &[]);
            assert!(whole(&*built, ids, 0) == expected, "{rule:?}");
            assert!(in_pieces(&*built, ids, 0, 7001) == expected, "{rule:?} in pieces");
            let exempt = [7, ids[300], ids[301], ids[9001]];
            let mut mask = vec![9; ids.len()];
            Masker::new(built, &exempt).decide(&TokenSpan::document(ids), &mut mask);
            assert!(mask == naive::anchor_mask(&rule, ids, &exempt), "{rule:?} with exempt ids");
        }
        let masker = Masker::new(build(&RuleParameters::from(rule)), &[]);
        let refused = SequenceMasker::new(&masker, 8, SequenceState::default());
        assert!(matches!(refused, Err(MaskError::LookaheadInSequences)));
    }
}

#[test]
fn one_token_in_k_is_dropped_by_anchors() {
    let ids: Vec<u32> = (0..2_000_000u32).map(|i| i.wrapping_mul(2_654_435_761) >> 8).collect();
    for k in [2, 3, 4, 8, 50] {
        for run in [Some(2 * k - 2), Some(4 * k - 2), Some(8 * k - 2), None] {
            let mask = whole(&*build(&RuleParameters::from(Anchor::new(k).longest_run(run))), &ids, 0);
            let ratio = mask.iter().filter(|&&m| m == 0).count() as f64 / mask.len() as f64 * f64::from(k);
            assert!((ratio - 1.0).abs() < 0.02, "k = {k}, {run:?}: {ratio} of 1/k");
        }
    }
}

#[test]
fn special_tokens_are_kept_and_stay_in_the_windows() {
    let ids: Vec<u32> = (0..4000).map(|i| if i % 10 == 0 { 7 } else { 100 + i * 31 % 977 }).collect();
    let rule = hash(2, 3, Window::Preceding, ShortContext::Keep, 0);
    let plain = whole(&*build(&rule), &ids, 0);
    let masker = Masker::new(build(&rule), &[7, 7, 100_000]);
    let mut mask = vec![9; ids.len()];
    masker.decide(&TokenSpan::document(&ids), &mut mask);
    for ((&id, &before), &after) in ids.iter().zip(&plain).zip(&mask) {
        assert_eq!(after, if id == 7 { 1 } else { before });
    }
    assert!(plain.iter().zip(&ids).any(|(&m, &id)| m == 0 && id == 7), "the exemption had nothing to do");
}

#[test]
fn bad_parameters_are_refused() {
    let error = |rule: RuleParameters| RuleSpec::new(rule).build(None).unwrap_err();
    assert_eq!(error(RuleParameters::from(Static::new(1))), MaskError::K { k: 1 });
    assert_eq!(error(RuleParameters::from(Random::new(0))), MaskError::K { k: 0 });
    assert_eq!(error(hash_table(4, 0)), MaskError::Context { context: 0 });
    assert_eq!(error(hash_table(4, 65_537)), MaskError::Context { context: 65_537 });
    let short = RuleParameters::from(CoefficientSum::new(4, vec![1; 4]).context(5));
    assert_eq!(error(short), MaskError::Coefficients { context: 5, found: 4 });
    let missing = TableSource::File("xxh3_128:00".into());
    let from_file = RuleSpec::new(HashTable::new(4).context(2).table(missing));
    assert!(matches!(from_file.build(None), Err(MaskError::TableMissing { .. })));
    assert!(matches!(from_file.build(Some(&TABLE)), Err(MaskError::TableDiffers { .. })));
    let newer = RuleSpec { version: 2, parameters: hash_table(4, 2) };
    assert!(matches!(newer.build(None), Err(MaskError::Version { version: 2, known: 1 })));
    assert_eq!(UniformTable::from_values(vec![0.5; 3]).unwrap_err(), MaskError::TableLength { found: 3 });
    let masker = Masker::new(build(&hash_table(4, 2)), &[]);
    assert!(matches!(
        SequenceMasker::new(&masker, 0, SequenceState::default()),
        Err(MaskError::SequenceLength)
    ));
}

#[cfg(feature = "serde")]
#[test]
fn a_description_survives_json() {
    for (rule, _, _) in vectors() {
        let spec = RuleSpec::new(rule);
        let json = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<RuleSpec>(&json).unwrap(), spec, "{json}");
    }
}

#[cfg(feature = "serde")]
#[test]
fn every_rule_has_one_name_in_manifests_and_one_in_options() {
    let options = RuleOptions { coefficients: Some(vec![1; 13]), ..RuleOptions::new(4) };
    for &name in RuleName::ALL {
        let spec = RuleSpec::new(name.parameters(&options).unwrap());
        spec.build(None).unwrap();
        assert_eq!(serde_json::to_value(&spec).unwrap()["name"], spec.name());
        assert_eq!(serde_json::from_value::<RuleName>(name.to_string().into()).unwrap(), name);
        assert!(spec.name().starts_with(&name.to_string()));
    }
}

#[test]
fn a_given_table_replaces_the_cpu_table() {
    let values: Vec<f32> = TABLE.values().iter().map(|v| 1.0 - v).collect();
    let table = UniformTable::from_values(values).unwrap();
    let rule =
        RuleParameters::from(HashTable::new(4).context(3).table(TableSource::File(table.fingerprint())));
    let built = RuleSpec::new(rule.clone()).build(Some(&table)).unwrap();
    let ids = naive::vector_ids();
    assert_eq!(whole(&*built, &ids, 0), naive::document(&rule, &table, &ids, 0));
    assert_ne!(whole(&*built, &ids, 0), whole(&*build(&hash_table(4, 3)), &ids, 0));
}

fn any_anchor() -> impl Strategy<Value = Anchor> {
    let k = prop_oneof![2u32..6, Just(50)];
    let bound = prop_oneof![Just(None), (0u32..9).prop_map(Some)];
    let head = prop_oneof![Just(ShortContext::Keep), Just(ShortContext::Short)];
    (k, prop_oneof![1u32..14, Just(64)], bound, head, any::<u64>()).prop_map(
        |(k, context, bound, head, seed)| {
            let run = bound.map(|more| 2 * k - 2 + more);
            Anchor::new(k).context(context).longest_run(run).short_context(head).seed(seed)
        },
    )
}

/// Ids of which some repeat themselves.
fn any_periodic_ids() -> impl Strategy<Value = Vec<u32>> {
    let period = (prop::collection::vec(0u32..90_000, 1..6), 1usize..30).prop_map(|(ids, n)| ids.repeat(n));
    prop::collection::vec(prop_oneof![any_ids(40), period], 0..8).prop_map(|parts| parts.concat())
}

/// Rules that decide without looking at what follows.
fn any_rule() -> impl Strategy<Value = RuleParameters> {
    let k = prop_oneof![2u32..10, Just(50), Just(128), Just(u32::MAX)];
    let h = prop_oneof![1u32..6, Just(13), Just(50)];
    let window = prop_oneof![Just(Window::Preceding), Just(Window::Inclusive)];
    let head = prop_oneof![Just(ShortContext::Keep), Just(ShortContext::Short)];
    prop_oneof![
        (k.clone(), 0u64..40).prop_map(|(k, start)| RuleParameters::from(Static::new(k).start(start))),
        (k.clone(), any::<u64>()).prop_map(|(k, seed)| RuleParameters::from(Random::new(k).seed(seed))),
        (k.clone(), h.clone(), window, head, any::<u64>()).prop_map(|(k, c, w, e, s)| hash(k, c, w, e, s)),
        (k.clone(), h.clone()).prop_map(|(k, c)| hash_table(k, c)),
        (k.clone(), h.clone())
            .prop_map(|(k, context)| RuleParameters::from(HashAvalanche::new(k).context(context))),
        (k, h).prop_map(|(k, c)| coefficient_sum(k, c)),
        Just(NoRule::new().into()),
    ]
}

fn any_ids(max: usize) -> impl Strategy<Value = Vec<u32>> {
    let id = prop_oneof![4 => 0u32..50_000, 1 => 0u32..3, 1 => any::<u32>()];
    prop::collection::vec(id, 0..max)
}

proptest! {
    #[test]
    fn rules_equal_their_naive_definition(rule in any_rule(), ids in any_ids(200), key: u64) {
        prop_assert_eq!(whole(&*build(&rule), &ids, key), naive::document(&rule, &TABLE, &ids, key));
    }

    #[test]
    fn pieces_equal_the_whole(rule in any_rule(), ids in any_ids(200), key: u64, step in 1usize..70) {
        let built = build(&rule);
        prop_assert_eq!(in_pieces(&*built, &ids, key, step), whole(&*built, &ids, key));
    }

    #[test]
    fn anchors_equal_their_naive_definition(
        rule in any_anchor(),
        ids in any_periodic_ids(),
        exempt in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        step in 1usize..70,
    ) {
        let exempt: Vec<u32> = if ids.is_empty() { vec![] } else { exempt.iter().map(|at| *at.get(&ids)).collect() };
        let expected = naive::anchor_mask(&rule, &ids, &exempt);
        let parameters = RuleParameters::from(rule.clone());
        let built = build(&parameters);
        if exempt.is_empty() {
            prop_assert_eq!(&whole(&*built, &ids, 0), &expected);
            prop_assert_eq!(&in_pieces(&*built, &ids, 0, step), &expected);
        }
        let mut mask = vec![9; ids.len()];
        let longest = Masker::new(built, &exempt).decide_measuring(&TokenSpan::document(&ids), &mut mask).unwrap();
        prop_assert_eq!(&mask, &expected);
        // No longer run is kept than the rule promises.
        if let Some(run) = rule.longest_run {
            prop_assert!(longest.units <= u64::from(run), "{longest:?}");
        }
    }

    #[test]
    fn sequences_equal_their_naive_definition(
        rule in any_rule(),
        docs in prop::collection::vec(any_ids(60), 0..12),
        length in 1u32..80,
        stop in 0usize..12,
    ) {
        let masker = Masker::new(build(&rule), &[]);
        let mut sequences = SequenceMasker::new(&masker, length, SequenceState::default()).unwrap();
        let mut masks = Vec::new();
        for (i, ids) in docs.iter().enumerate() {
            if i == stop {
                // Going on from a saved state changes nothing.
                let state = sequences.state().clone();
                sequences = SequenceMasker::new(&masker, length, state).unwrap();
            }
            let mut mask = vec![9; ids.len()];
            sequences.decide_next(ids, &mut mask);
            masks.push(mask);
        }
        prop_assert_eq!(masks, naive::stream(&rule, &TABLE, Scope::Sequence { length }, &docs));
    }
}
