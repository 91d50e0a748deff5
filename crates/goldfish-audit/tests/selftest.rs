//! Every fault of a backend is found, and leads to refusal, a fallback or a note.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::numbers;
use goldfish_audit::backend::{Capabilities, SamplingScheme};
use goldfish_audit::fake::{FakeModel, Faults};
use goldfish_audit::options::Decide;
use goldfish_audit::selftest::{CheckName, Outcome, SelfTest, SelfTestOptions, self_test};

const VOCAB: u32 = 40;

fn run(model: &FakeModel, options: SelfTestOptions) -> SelfTest {
    let sequences = [numbers(1, 20, VOCAB), numbers(2, 33, VOCAB), numbers(3, 7, VOCAB)];
    let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    self_test(model, &sequences, &options).unwrap()
}

const PLAIN: SelfTestOptions = SelfTestOptions { bos: None, eos: None, scheme: None, continuations: true };

fn model() -> FakeModel {
    FakeModel::reciting(VOCAB, &[numbers(1, 20, VOCAB)], 2, 3.0)
}

fn faulty(faults: Faults) -> SelfTest {
    run(&model().with_faults(faults), PLAIN)
}

#[test]
fn a_sound_backend_passes() {
    let scheme = SamplingScheme { temperature: 1.0, top_k: Some(40), top_p: None };
    let found = run(
        &model(),
        SelfTestOptions { bos: Some(0), eos: Some(1), scheme: Some(scheme), continuations: true },
    );
    assert!(found.checks.iter().all(|check| check.outcome == Outcome::Passed), "{:#?}", found.checks);
    assert_eq!(found.verdict("fake").unwrap(), Decide::Score);
    assert!(found.notes().is_empty());
}

#[test]
fn an_added_bos_is_refused() {
    let found = faulty(Faults { adds: Some(5), ..Faults::default() });
    assert_eq!(found.outcome(CheckName::NoBosAdded), Outcome::Failed);
    let refusal = found.verdict("fake").unwrap_err().to_string();
    assert!(refusal.contains("20 tokens were sent, but 21 evaluated"), "{refusal}");
}

#[test]
fn missing_scores_lead_to_continuations() {
    let found = faulty(Faults { loses_last: true, ..Faults::default() });
    assert_eq!(found.outcome(CheckName::ScoreCount), Outcome::Failed);
    assert_eq!(found.verdict("fake").unwrap(), Decide::Generate);
    assert!(found.notes()[0].contains("57 positions"), "{:?}", found.notes());
}

#[test]
fn ids_of_another_vocabulary_are_found() {
    let found = faulty(Faults { shifts_ids: 1, ..Faults::default() });
    assert_eq!(found.outcome(CheckName::ScoresMakeSense), Outcome::Failed);
    assert_eq!(found.outcome(CheckName::IdsRoundTrip), Outcome::Failed);
    assert_eq!(found.verdict("fake").unwrap(), Decide::Generate);
}

#[test]
fn early_ends_are_found() {
    // After 5 comes (7 * 5 + 3) mod 40 = 38, and so on until 11, which is the end of the favorites' circle or lies on it.
    let ends = (0..VOCAB).map(|eos| faulty(Faults { stops_at: Some(eos), ..Faults::default() }));
    let outcomes: Vec<Outcome> = ends.map(|found| found.outcome(CheckName::EosSuppressed)).collect();
    assert!(outcomes.contains(&Outcome::Failed));
    let eos = outcomes.iter().position(|outcome| *outcome == Outcome::Failed).unwrap() as u32;
    let only_generates =
        Capabilities { score: false, moments: false, schemes: false, generate: true, candidates: false };
    let stops = Faults { stops_at: Some(eos), ..Faults::default() };
    let found = run(&model().with_capabilities(only_generates).with_faults(stops), PLAIN);
    let refusal = found.verdict("fake").unwrap_err().to_string();
    assert!(refusal.contains("stops at the end of sequence"), "{refusal}");
}

#[test]
fn noise_is_measured() {
    let found = faulty(Faults { drifts: -0.01, ..Faults::default() });
    assert_eq!(found.outcome(CheckName::Repeatable), Outcome::Passed, "the fifth call is as the first");
    let found = faulty(Faults { batch_drifts: -0.02, ..Faults::default() });
    assert_eq!(found.outcome(CheckName::BatchInvariant), Outcome::Flagged);
    let check = found.checks.iter().find(|check| check.name == CheckName::BatchInvariant).unwrap();
    assert!((check.measured.unwrap() - 0.02).abs() < 1e-9);
    assert_eq!(found.verdict("fake").unwrap(), Decide::Score);
    assert_eq!(found.notes().len(), 1);
    // Where nothing was asked again, nothing is said about a repetition.
    let found = faulty(Faults::default());
    let check = found.checks.iter().find(|check| check.name == CheckName::Repeatable).unwrap();
    assert_eq!((check.outcome, check.measured), (Outcome::Passed, None));
    assert!(check.detail.contains("not asked again"), "{}", check.detail);
}

#[test]
fn what_is_not_given_is_not_counted_on() {
    struct Silent(FakeModel);
    use goldfish_audit::backend::*;
    impl Backend for Silent {
        fn describe(&self) -> Result<ModelDescription, BackendError> {
            self.0.describe()
        }
        fn capabilities(&self) -> Capabilities {
            self.0.capabilities()
        }
        fn score(&self, requests: &[ScoreRequest<'_>], _: &Wants) -> Result<Vec<Scored>, BackendError> {
            self.0.score(requests, &Wants::default())
        }
        fn generate(
            &self,
            requests: &[GenerateRequest<'_>],
            decoding: &Decoding,
        ) -> Result<Vec<Generated>, BackendError> {
            self.0.generate(requests, decoding)
        }
    }
    let ids = numbers(1, 20, VOCAB);
    let found = self_test(&Silent(model()), &[&ids], &PLAIN).unwrap();
    assert_eq!(found.outcome(CheckName::AskedValuesGiven), Outcome::Flagged);
    assert!(!found.capabilities.moments && found.capabilities.score);
}

#[test]
fn a_corpus_for_another_tokenizer_is_refused() {
    let ids = numbers(1, 20, 4000);
    let found = self_test(&model(), &[&ids], &PLAIN).unwrap();
    let refusal = found.verdict("fake").unwrap_err().to_string();
    assert!(refusal.contains("the model has 40"), "{refusal}");
}
