//! The results of the workers, in the order of the inputs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use goldfish_mask::diagnostics::Tally;
use goldfish_mask::{Masker, Scope, SequenceMasker, SequenceState};

use goldfish_shard::KeptCounter;

use crate::PipelineError;
use crate::kept::longest_in_sequences;
use crate::message::{Message, Tokens, WorkResult};
use crate::passage::{Passage, find_passage};
use crate::progress::TICK;
use crate::sample::Sample;
use crate::work::Shared;

/// Hands over the results of the workers in order. Dropping the receiver on an error lets the reader stop too.
pub(crate) fn for_each_result(
    receiver: Receiver<Message>,
    stop: &AtomicBool,
    mut write: impl FnMut(WorkResult) -> Result<(), PipelineError>,
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

/// What depends on the order of the documents, whatever is written of them.
pub(crate) struct OrderedResults<'a> {
    shared: &'a Shared,
    /// Masks of packed sequences, and which tokens the rule decides about.
    sequences: Option<(SequenceMasker<'a>, SequenceMasker<'a>)>,
    pub(crate) tally: Tally,
    pub(crate) kept: KeptCounter,
    /// The first document with a dropped token among its first ones.
    pub(crate) passage: Option<Passage>,
    /// Some documents of all; `None` if those that an earlier run wrote are not among them.
    pub(crate) sample: Option<Sample>,
}

impl<'a> OrderedResults<'a> {
    /// Resumes from a state in the journal, if there is one.
    pub(crate) fn new(
        shared: &'a Shared,
        states: Option<SequenceStates>,
        tally: Tally,
        kept: Option<KeptCounter>,
    ) -> Self {
        let sample = kept.is_none().then(Sample::default);
        let (masks, decided) = states.unwrap_or_default();
        let sequencer = |masker: &'a Masker, state| match shared.job.scope {
            Scope::Document => None,
            // The executor has checked that there is one.
            Scope::Sequence { length } => SequenceMasker::new(masker, length, state).ok(),
        };
        let sequences = sequencer(&shared.masker, masks).zip(sequencer(&shared.decided, decided));
        let kept = kept.unwrap_or_else(|| KeptCounter::new(shared.job.rule.definition().run_unit()));
        Self { shared, sequences, tally, kept, passage: None, sample }
    }

    /// Adds the next documents: masks them if they are packed in sequences, and counts them.
    pub(crate) fn add(&mut self, documents: &mut Tokens, tally: &Tally) {
        self.tally.add(tally);
        if let Some((masks, decided)) = &mut self.sequences {
            let before = masks.state().tokens;
            let decided = mask_documents(decided, documents);
            documents.mask = mask_documents(masks, documents);
            if let (Scope::Sequence { length }, Some(_)) =
                (self.shared.job.scope, self.shared.job.rule.definition().run_unit())
            {
                for row in 0..documents.len() {
                    let range = documents.range(row);
                    let (decided, mask) = (&decided[range.clone()], &documents.mask[range.clone()]);
                    let run = longest_in_sequences(before + range.start as u64, length, decided, mask);
                    documents.longest.note(row, Some(run));
                }
            }
            documents.find_stretch();
            let (ids, mask) = (documents.unsigned(), &documents.mask);
            self.tally.add(&Tally::of_tokens(&self.shared.decided, ids, &decided, mask));
        }
        if let Some((row, run)) = documents.longest.0 {
            self.kept.note_decided(self.kept.documents() + row as u64, documents.doc_ids.value(row), run);
        }
        if let Some((row, run)) = &documents.stretch {
            let document = self.kept.documents() + *row as u64;
            self.kept.note_stretch(document, documents.doc_ids.value(*row), run);
        }
        self.kept.pass(documents.len() as u64);
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
