//! The results of the workers, in the order of the inputs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use goldfish_mask::diagnostics::Tally;
use goldfish_mask::{Masker, Scope, SequenceMasker, SequenceState};

use goldfish_shard::{DecidedRun, KeptCounter, PolicyCounts, ProtectedCounts};
use serde::{Deserialize, Serialize};

use crate::PipelineError;
use crate::kept::longest_in_sequences;
use crate::message::{LongestOf, Message, Tokens};
use crate::passage::{Passage, find_passage};
use crate::progress::TICK;
use crate::repeated::IdCounter;
use crate::rule::BuiltRule;
use crate::sample::Sample;
use crate::work::Shared;

/// Hands over the results of the workers in order. Dropping the receiver on an error lets the reader stop too.
pub(crate) fn for_each_result<R>(
    receiver: Receiver<Message<R>>,
    stop: &AtomicBool,
    mut write: impl FnMut(R) -> Result<(), PipelineError>,
) -> Result<(), PipelineError> {
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(PipelineError::Interrupted);
        }
        match receiver.recv_timeout(TICK) {
            Ok(Message::Failed(error)) => return Err(error),
            Ok(Message::Done) => return Ok(()),
            Ok(Message::Result(result)) => {
                // A worker catches panics, so it always answers.
                let result = result.recv().map_err(|_| PipelineError::Panicked {
                    file: String::new(),
                    message: "a worker stopped without an answer".into(),
                })?;
                write(result?)?;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let message = "the reading thread stopped without an answer".into();
                return Err(PipelineError::Panicked { file: String::new(), message });
            }
        }
    }
}

/// States of packed sequences: of their masks, and of which tokens the rule decides about.
pub(crate) type SequenceStates = (SequenceState, SequenceState);

/// Counts over the documents so far.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Of the documents that are counted, by rule.
    pub(crate) tallies: Vec<Tally>,
    /// Tokens that the masks excluded which the documents came with.
    pub(crate) excluded_before: u64,
    /// Tokens in the loss whose weight is not 1.
    pub(crate) fractional: u64,
    /// Under a policy, by its entries.
    pub(crate) policy: Vec<PolicyCounts>,
    /// Passages that copy protected works.
    pub(crate) protected: ProtectedCounts,
}

impl Counts {
    /// Whether they are those of a run with so many rules, and entries of a policy.
    pub(crate) fn fit(&self, rules: usize, entries: usize) -> bool {
        self.tallies.len() == rules && self.policy.len() == entries
    }

    fn new(shared: &Shared) -> Self {
        let entries = if shared.job.policy.is_some() { &shared.rules[..] } else { &[] };
        let counts = |rule: &BuiltRule| PolicyCounts {
            longest_decided_run: rule.spec.definition().run_unit().map(DecidedRun::new),
            ..PolicyCounts::default()
        };
        Self {
            tallies: vec![Tally::default(); shared.rules.len()],
            policy: entries.iter().map(counts).collect(),
            ..Self::default()
        }
    }

    /// Adds documents, after `before` others, whose masks are decided.
    fn add(&mut self, documents: &Tokens, before: u64) {
        let zeros = |mask: &[u8]| mask.iter().map(|keep| u64::from(*keep == 0)).sum::<u64>();
        let excluded = |weights: &[f32]| weights.iter().filter(|weight| **weight == 0.0).count() as u64;
        if let Some(weights) = &documents.weights {
            self.excluded_before = self.excluded_before.saturating_add(excluded(weights));
            let fraction = |(weight, keep): (&f32, &u8)| *keep == 1 && *weight != 1.0;
            let found = weights.iter().zip(&documents.mask).filter(|pair| fraction(*pair)).count() as u64;
            self.fractional = self.fractional.saturating_add(found);
        }
        if self.policy.is_empty() {
            return;
        }
        for row in 0..documents.len() {
            let (range, counts) = (documents.range(row), &mut self.policy[documents.rule(row)]);
            let excluded_before =
                documents.weights.as_ref().map_or(0, |weights| excluded(&weights[range.clone()]));
            counts.add(&PolicyCounts {
                documents: 1,
                tokens: range.len() as u64,
                dropped: zeros(&documents.mask[range]),
                excluded_before,
                longest_decided_run: None,
            });
        }
        for (counts, longest) in self.policy.iter_mut().zip(&documents.longest) {
            if let (Some((row, run)), Some(all)) = (longest.0, &mut counts.longest_decided_run) {
                all.note(before + row as u64, documents.doc_ids.value(row), run);
            }
        }
    }
}

/// What depends on the order of the documents, whatever is written of them.
pub(crate) struct OrderedResults<'a> {
    shared: &'a Shared,
    /// Masks of packed sequences, and which tokens the rule decides about.
    sequences: Option<(SequenceMasker<'a>, SequenceMasker<'a>)>,
    pub(crate) counts: Counts,
    pub(crate) kept: KeptCounter,
    /// The first document with a dropped token among its first ones.
    pub(crate) passage: Option<Passage>,
    /// Ids that occur more than once; `None` if documents have no ids of their own, or those that an earlier run wrote are not among
    /// them.
    pub(crate) ids: Option<IdCounter>,
    /// Some documents of all; `None` if those that an earlier run wrote are not among them.
    pub(crate) sample: Option<Sample>,
}

impl<'a> OrderedResults<'a> {
    /// Resumes from a state in the journal, if there is one.
    pub(crate) fn new(
        shared: &'a Shared,
        states: Option<SequenceStates>,
        counts: Option<Counts>,
        kept: Option<KeptCounter>,
    ) -> Self {
        let sample = kept.is_none().then(Sample::default);
        let ids = shared.job.read.id_column.as_ref().filter(|_| kept.is_none()).map(|_| IdCounter::default());
        let (masks, decided) = states.unwrap_or_default();
        let sequencer = |masker: &'a Masker, state| match shared.job.scope {
            Scope::Document => None,
            // The executor has checked that there is one.
            Scope::Sequence { length } => SequenceMasker::new(masker, length, state).ok(),
        };
        let rule = &shared.rules[0];
        let sequences = sequencer(&rule.masker, masks).zip(sequencer(&rule.decided, decided));
        // Rules of a policy may count different units, each in its entry.
        let unit = if shared.job.policy.is_some() { None } else { rule.spec.definition().run_unit() };
        let kept = kept.unwrap_or_else(|| KeptCounter::new(unit));
        let counts = counts.unwrap_or_else(|| Counts::new(shared));
        Self { shared, sequences, counts, kept, passage: None, ids, sample }
    }

    /// Adds the next documents: masks them if they are packed in sequences, and counts them.
    pub(crate) fn add(&mut self, documents: &mut Tokens, tallies: &[Tally], protected: &ProtectedCounts) {
        self.counts.protected.add(*protected);
        self.counts.tallies.iter_mut().zip(tallies).for_each(|(all, tally)| all.add(tally));
        if let Some((masks, decided)) = &mut self.sequences {
            let before = masks.state().tokens;
            let decided = mask_documents(decided, documents);
            documents.mask = mask_documents(masks, documents);
            documents.longest = vec![LongestOf::default()];
            if let (Scope::Sequence { length }, Some(_)) =
                (self.shared.job.scope, self.shared.job.rule.definition().run_unit())
            {
                for row in 0..documents.len() {
                    let range = documents.range(row);
                    let (decided, mask) = (&decided[range.clone()], &documents.mask[range.clone()]);
                    let run = longest_in_sequences(before + range.start as u64, length, decided, mask);
                    documents.longest[0].note(row, Some(run));
                }
            }
            let (ids, mask, coverage) =
                (documents.unsigned(), &documents.mask, &self.shared.rules[0].decided);
            self.counts.tallies[0].add(&match &documents.weights {
                None => Tally::of_tokens(coverage, ids, &decided, mask),
                Some(weights) => {
                    Tally::of_targets(coverage, ids, &decided, mask, |position| weights[position] > 0.0)
                }
            });
            documents.apply_weights();
            documents.find_stretch();
        }
        self.counts.add(documents, self.kept.documents());
        if let [LongestOf(Some((row, run)))] = documents.longest[..] {
            self.kept.note_decided(self.kept.documents() + row as u64, documents.doc_ids.value(row), run);
        }
        if let Some((row, run)) = &documents.stretch {
            let document = self.kept.documents() + *row as u64;
            self.kept.note_stretch(document, documents.doc_ids.value(*row), run);
        }
        self.kept.pass(documents.len() as u64);
        if let Some(ids) = &mut self.ids {
            documents.doc_ids.iter().flatten().for_each(|id| ids.add(id));
        }
        if let Some(sample) = &mut self.sample {
            for row in 0..documents.len() {
                let (doc_id, range) = (documents.doc_ids.value(row), documents.range(row));
                let (ids, mask) = (&documents.unsigned()[range.clone()], &documents.mask[range]);
                sample.add(self.shared.last_counted, doc_id, ids, mask);
            }
        }
        if self.passage.is_none() {
            self.passage = find_passage(documents);
        }
    }

    /// For the journal.
    pub(crate) fn states(&self) -> Option<SequenceStates> {
        self.sequences.as_ref().map(|(masks, decided)| (masks.state().clone(), decided.state().clone()))
    }
}

/// The masks of documents in packed sequences.
fn mask_documents(sequences: &mut SequenceMasker<'_>, documents: &Tokens) -> Vec<u8> {
    let mut mask = vec![0; documents.ids.len()];
    for row in 0..documents.len() {
        let range = documents.range(row);
        sequences.decide_next(&documents.unsigned()[range.clone()], &mut mask[range]);
    }
    mask
}
