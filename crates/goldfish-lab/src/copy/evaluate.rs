//! How well a model answers.

use std::sync::atomic::{AtomicBool, Ordering};

use goldfish_audit::AuditError;
use goldfish_audit::backend::{Backend, BackendError, ScoreRequest, Wants};
use goldfish_audit::stat::{Clusters, Rate, RateMethod, rate};
use goldfish_report::CopyLength;
use rand_mt::Mt64;

use super::characters::encode;
use super::tasks::{CopySample, CopyShape};
use crate::experiment::error::ExperimentError;
use crate::experiment::{BATCH, Event, Observe};

/// Distinguishes the samples of evaluations from those of training.
const EVALUATION: u64 = 2;

/// The samples of a length, the same for every model.
pub(super) fn samples(shape: &CopyShape, length: usize, count: u64, seed: u64) -> Vec<CopySample> {
    let mut random = Mt64::new_with_key([seed, EVALUATION, length as u64]);
    (0..count).map(|_| shape.sample(&mut random, length)).collect()
}

/// Which characters of an answer were right.
pub(crate) type Marks = Vec<bool>;

/// Answers samples in batches, and says how well.
pub(super) fn by_length(
    length: usize,
    samples: &[CopySample],
    (stop, observe): (&AtomicBool, &mut Observe<'_>),
    mut answer: impl FnMut(&[CopySample]) -> Result<Vec<Marks>, BackendError>,
) -> Result<CopyLength, ExperimentError> {
    let mut answers: Vec<Marks> = Vec::new();
    for some in samples.chunks(BATCH) {
        if stop.load(Ordering::Relaxed) {
            return Err(AuditError::Interrupted.into());
        }
        answers.extend(answer(some).map_err(AuditError::from)?);
        observe(Event::Audit { done: answers.len() as u64, probes: samples.len() as u64 });
    }
    let [strings, characters] = rates(&answers);
    Ok(CopyLength { length, strings, characters })
}

/// Answers that were right to the last character, and characters that were right, over answers as independent units.
pub(crate) fn rates(answers: &[Marks]) -> [Rate; 2] {
    let one = |right: bool| f64::from(u8::from(right));
    let numbered = || answers.iter().enumerate();
    let strings = Clusters::new(numbered().map(|(n, marks)| (n, one(marks.iter().all(|mark| *mark)))));
    let characters =
        Clusters::new(numbered().flat_map(|(n, marks)| marks.iter().map(move |mark| (n, one(*mark)))));
    [strings, characters].map(|found| rate(&found, RateMethod::Wilson))
}

/// Teacher-forced: a character is right if it has the largest logit after the right ones before it. So a string is right if and only
/// if greedy decoding writes it.
pub(super) fn teacher_forced(
    model: &dyn Backend,
    samples: &[CopySample],
) -> Result<Vec<Marks>, BackendError> {
    let sequences: Vec<(Vec<u32>, usize)> = samples
        .iter()
        .map(|sample| {
            let (mut ids, answer) = encode(sample);
            let from = ids.len();
            ids.extend(answer);
            (ids, from)
        })
        .collect();
    let requests: Vec<ScoreRequest<'_>> =
        sequences.iter().map(|(ids, from)| ScoreRequest { ids, from: *from }).collect();
    let scored = model.score(&requests, &Wants::default())?;
    Ok(scored.into_iter().map(|found| found.tokens.iter().map(|token| token.rank == 1).collect()).collect())
}
