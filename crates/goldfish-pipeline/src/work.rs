//! The workers: chunks to documents to tokens to masks.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, LargeStringArray, StringArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::{concat, filter};
use arrow::datatypes::FieldRef;
use goldfish_columnar::guarded;
use goldfish_corpus::{BatchContent, Chunk, DocumentBatch, MAX_DOCUMENT_TOKENS, ReadOptions, Reject};
use goldfish_mask::diagnostics::{Tally, TokenCounter};
use goldfish_mask::{LongestRun, Scope, TokenSpan, document_key};
use goldfish_remedy::{Remedies, Remedy, Setting};
use goldfish_shard::{PassageRow, ProtectedCounts, ShardSchema};
use goldfish_tokenize::EncodePath;

use crate::PipelineError;
use crate::job::{MaskJob, OnError, TokenizeOptions};
use crate::job_error::JobError;
use crate::message::{Event, LongestOf, Part, Tokens, Work, WorkResult, rule_of};
use crate::policy::Policy;
use crate::progress::{SharedProgress, TokenizedText};
use crate::protect::Protecting;
use crate::read::Worker;
use crate::rule::BuiltRule;
use crate::text::{Scratch, TextSide, decide_ids, encode_and_decide};

/// What all workers read.
pub(crate) struct Shared {
    pub(crate) job: Arc<MaskJob>,
    /// One rule, or under a policy one for each entry.
    pub(crate) rules: Vec<BuiltRule>,
    /// For rules that decide by the text.
    pub(crate) text: Option<TextSide>,
    /// The tokens of documents with keys up to this one are counted.
    pub(crate) last_counted: u64,
    pub(crate) progress: SharedProgress,
}

impl Shared {
    /// The name of the first input, for errors of no single one.
    pub(crate) fn first_input(&self) -> String {
        self.job.inputs.first().map(|input| input.name.to_string()).unwrap_or_default()
    }
}

impl Worker for Shared {
    type Outcome = WorkResult;

    fn read(&self) -> &ReadOptions {
        &self.job.read
    }

    fn on_error(&self) -> OnError {
        self.job.on_error
    }

    fn schema(&self, carried: &[FieldRef]) -> ShardSchema {
        ShardSchema::new(&self.job.columns, &self.job.carried(carried))
    }

    fn progress(&self) -> &SharedProgress {
        &self.progress
    }

    fn process(&self, work: Work) -> Result<WorkResult, PipelineError> {
        process(self, work)
    }
}

/// Bytes of input below which every document is counted; of more, about as much as this is. Counting takes twice as long
/// as deciding, and half a million tokens give a good enough drop rate.
const COUNTED_BYTES: u64 = 2 << 20;

/// The largest document key that is counted where the inputs have this many bytes.
pub(crate) fn last_counted(bytes: u64) -> u64 {
    if bytes <= COUNTED_BYTES { u64::MAX } else { u64::MAX / bytes * COUNTED_BYTES }
}

/// Decides documents, and counts some of them.
struct Deciding<'a> {
    shared: &'a Shared,
    counters: Vec<TokenCounter>,
    tallies: Vec<Tally>,
    protecting: Option<Protecting<'a>>,
    passages: Vec<PassageRow>,
    protected: ProtectedCounts,
    /// What could not be decided.
    failed: Option<PipelineError>,
}

/// A document that is decided.
#[derive(Clone, Copy)]
struct Decided<'a> {
    doc_id: &'a str,
    /// The number of its rule.
    rule: usize,
    /// What the loss of each token is multiplied with, by the mask that the document came with.
    weights: Option<&'a [f32]>,
}

impl<'a> Deciding<'a> {
    fn new(shared: &'a Shared) -> Result<Self, PipelineError> {
        let counter = |rule: &BuiltRule| TokenCounter::new(rule.spec.definition(), &rule.exempt_ids);
        Ok(Self {
            shared,
            counters: shared.rules.iter().map(counter).collect::<Result<_, _>>()?,
            tallies: vec![Tally::default(); shared.rules.len()],
            protecting: shared.job.protect.as_deref().map(Protecting::new),
            passages: Vec::new(),
            protected: ProtectedCounts::default(),
            failed: None,
        })
    }

    /// Whether a document of this rule is decided with its text.
    fn needs_text(&self, rule: usize) -> bool {
        self.protecting.is_some() || self.shared.rules[rule].masker.needs_text()
    }

    /// Forgets the passages of a document that is left out.
    fn forget(&mut self, (passages, protected): (usize, ProtectedCounts)) {
        self.passages.truncate(passages);
        self.protected = protected;
    }

    /// Decides a document, and gives its longest run if the rule counts that; only one that exceeds `longest` matters.
    fn decide(
        &mut self,
        document: Decided<'_>,
        span: &TokenSpan<'_>,
        mask: &mut [u8],
        longest: &[LongestOf],
    ) -> Option<LongestRun> {
        let Decided { doc_id, rule, weights } = document;
        if self.shared.job.protect_only {
            self.protect(doc_id, span.text(), mask);
            return None;
        }
        let key = document_key(doc_id);
        let span = span.with_key(key).with_longer_than(longest[rule].units());
        let run = self.shared.rules[rule].masker.decide_measuring(&span, mask);
        if key <= self.shared.last_counted {
            let counter = &mut self.counters[rule];
            let counts = match weights {
                None => counter.count(&span, mask).0,
                Some(weights) => counter.count_targets(&span, mask, |position| weights[position] > 0.0),
            };
            self.tallies[rule].add(&counts);
        }
        // The work's rule has kept other words.
        if self.protect(doc_id, span.text(), mask) { None } else { run }
    }

    /// Looks for passages of protected works in a document, whose tokens have these parts of the text, and decides them. Whether
    /// there are any.
    fn protect(&mut self, doc_id: &str, text: Option<(&str, &[(usize, usize)])>, mask: &mut [u8]) -> bool {
        let (Some(protecting), Some(text)) = (&mut self.protecting, text) else { return false };
        let before = self.passages.len();
        match protecting.apply(doc_id, text, mask, &mut self.passages) {
            Ok(0) => return false,
            Ok(words) => {
                self.protected.documents += 1;
                self.protected.words += words;
                self.protected.passages += (self.passages.len() - before) as u64;
            }
            Err(error) => self.failed = self.failed.take().or(Some(error)),
        }
        true
    }

    /// Longest runs of no documents.
    fn no_runs(&self) -> Vec<LongestOf> {
        vec![LongestOf::default(); self.shared.rules.len()]
    }
}

/// Parses, tokenizes and (in scope `document`) masks. A panic on the way becomes an error.
pub(crate) fn process(shared: &Shared, work: Work) -> Result<WorkResult, PipelineError> {
    caught(work, |work| process_parts(shared, work))
}

/// Works on an item. A panic on the way becomes an error of its first input.
pub(crate) fn caught<T>(
    work: Work,
    process: impl FnOnce(Work) -> Result<T, PipelineError>,
) -> Result<T, PipelineError> {
    let name = work.parts.iter().find_map(|part| match part {
        Part::Chunk(name, _) => Some(name.to_string()),
        Part::Broken(_) | Part::End(_) => None,
    });
    guarded(|| process(work))
        .unwrap_or_else(|message| Err(PipelineError::Panicked { file: name.unwrap_or_default(), message }))
}

fn process_parts(shared: &Shared, work: Work) -> Result<WorkResult, PipelineError> {
    let mut pieces = Vec::new();
    let mut events = Vec::new();
    let mut tokenized = TokenizedText::default();
    let mut deciding = Deciding::new(shared)?;
    for part in work.parts {
        match part {
            Part::Chunk(file, chunk) => {
                pieces.push(read_chunk(&mut deciding, &file, chunk, &mut events, &mut tokenized)?);
            }
            Part::Broken(reject) => events.push(Event::Reject(reject)),
            Part::End(entry) => events.push(Event::End(entry)),
        }
    }
    if let Some(error) = deciding.failed.take() {
        return Err(error);
    }
    let joined = join(pieces);
    let mut documents =
        joined.map_err(|source| PipelineError::Batch { file: shared.first_input(), source })?;
    if shared.job.scope == Scope::Document && shared.text.is_none() && !shared.job.protect_only {
        (documents.mask, documents.longest) = mask_documents(&mut deciding, &documents);
    }
    if shared.job.scope == Scope::Document {
        documents.apply_weights();
        documents.find_stretch();
    }
    shared.progress.lock(|progress| {
        progress.documents += documents.len() as u64;
        progress.tokens += documents.ids.len() as u64;
    });
    Ok(WorkResult {
        start: work.start,
        documents,
        schema: work.schema,
        events,
        tokenized,
        passages: deciding.passages,
        protected: deciding.protected,
        tallies: deciding.tallies,
    })
}

/// One chunk's documents as tokens, with the rejects of reading and of tokenizing among `events`.
fn read_chunk(
    deciding: &mut Deciding<'_>,
    file: &str,
    chunk: Box<dyn Chunk>,
    events: &mut Vec<Event>,
    tokenized: &mut TokenizedText,
) -> Result<Tokens, PipelineError> {
    let shared = deciding.shared;
    let batch = chunk.documents(&shared.job.read)?;
    let DocumentBatch { rows, doc_ids, content, weights, mut carried, conditions, mut rejects } = batch;
    let choose = |policy: &Policy| {
        let number = |row| policy.choose(file, doc_ids.value(row), &conditions, row) as u32;
        (0..doc_ids.len()).map(number).collect::<Vec<_>>()
    };
    let chosen = shared.job.policy.as_ref().map(choose).unwrap_or_default();
    if let Some(policy) = &shared.job.policy {
        let names = chosen.iter().map(|entry| Some(policy.entries()[*entry as usize].name.as_str()));
        carried.push(Arc::new(names.collect::<StringArray>()));
    }
    let next_row = rows.last().copied().into_iter().chain(rejects.iter().map(|reject| reject.row)).max();
    let encoded = match (content, &shared.job.tokenize) {
        (BatchContent::Ids { offsets, ids }, _) => {
            let offsets = offsets.iter().map(|&end| end as i32).collect::<Vec<_>>();
            let texts = offsets.len() - 1;
            let longest = deciding.no_runs();
            let batch = Encoded { ids, weights, texts, offsets, longest, ..Encoded::default() };
            decide_batch(deciding, (&doc_ids, &chosen), batch)
        }
        (BatchContent::Text(text), _) if shared.job.protect_only => {
            look_for_works(deciding, (&doc_ids, &text))
        }
        (BatchContent::Text(text), Some(options)) => {
            encode(deciding, options, (&doc_ids, &chosen, &text), tokenized)
        }
        (BatchContent::Text(_), None) => {
            return Err(JobError::TextNeedsTokenizer.into());
        }
    };
    let failed = encoded
        .failed
        .iter()
        .map(|failed| Reject::new(file, rows[failed.index], failed.reason.clone(), failed.remedies.clone()));
    rejects.extend(failed);
    rejects.sort_by_key(|reject| reject.row);
    let tokens = encoded.with_columns(doc_ids, chosen, carried);
    events.push(Event::Documents { count: tokens.len() as u64, next_row: next_row.map(|row| row + 1) });
    events.extend(rejects.into_iter().map(Event::Reject));
    Ok(tokens)
}

/// A document that has no tokens.
struct Failed {
    /// Its index in the batch.
    index: usize,
    reason: String,
    remedies: Vec<Remedy>,
}

/// Ids of consecutive documents.
#[derive(Default)]
struct Encoded {
    ids: ScalarBuffer<i32>,
    /// Their mask, if the rule decides by the text; else empty.
    mask: Vec<u8>,
    /// What the loss of each is multiplied with, by the masks that the documents came with.
    weights: Option<Vec<f32>>,
    longest: Vec<LongestOf>,
    /// Ends of the documents that were encoded, in tokens.
    offsets: Vec<i32>,
    /// Those that were not.
    failed: Vec<Failed>,
    /// How many documents there were.
    texts: usize,
}

/// Why a text of so many bytes is not taken.
pub(crate) fn too_long(bytes: usize, most: usize) -> String {
    format!("the document has {bytes} bytes, more than {most}; split it")
}

impl Failed {
    fn too_long(index: usize, bytes: usize, most: usize) -> Self {
        let remedies = vec![Remedy::give(Setting::MaxDocument).to("mask it whole")];
        Self { index, reason: too_long(bytes, most), remedies }
    }
}

/// Looks for passages of protected works in texts, of which nothing else is written.
fn look_for_works(
    deciding: &mut Deciding<'_>,
    (doc_ids, texts): (&StringArray, &LargeStringArray),
) -> Encoded {
    let most = deciding.shared.job.read.max_document;
    let mut failed = Vec::new();
    for (index, (doc_id, text)) in doc_ids.iter().zip(texts).enumerate() {
        let (doc_id, text) = (doc_id.unwrap_or_default(), text.unwrap_or_default());
        if text.len() > most {
            failed.push(Failed::too_long(index, text.len(), most));
        } else {
            deciding.protect(doc_id, Some((text, &[])), &mut []);
        }
    }
    Encoded { failed, texts: texts.len(), longest: deciding.no_runs(), ..Encoded::default() }.without_tokens()
}

fn encode(
    deciding: &mut Deciding<'_>,
    options: &TokenizeOptions,
    (doc_ids, chosen, texts): (&StringArray, &[u32], &LargeStringArray),
    tokenized: &mut TokenizedText,
) -> Encoded {
    // Code and small vocabularies have about two bytes a token; room that is left over costs nothing.
    let mut ids = Vec::with_capacity(texts.value_data().len() / 2);
    let mut mask = Vec::with_capacity(if deciding.shared.text.is_some() { ids.capacity() } else { 0 });
    let mut longest = deciding.no_runs();
    let mut offsets = vec![0];
    let mut failed = Vec::new();
    let mut scratch = Scratch::default();
    for index in 0..texts.len() {
        let text = texts.value(index);
        let start = ids.len();
        let most = deciding.shared.job.read.max_document;
        if text.len() > most {
            failed.push(Failed::too_long(index, text.len(), most));
            continue;
        }
        let rule = rule_of(chosen, index);
        let document = Decided { doc_id: doc_ids.value(index), rule, weights: None };
        let before = (deciding.passages.len(), deciding.protected);
        let mut run = None;
        let encoded = match &deciding.shared.text {
            Some(side) if deciding.needs_text(rule) => {
                let out = (&mut ids, &mut mask);
                let mut decide = |span: &TokenSpan<'_>, mask: &mut [u8]| {
                    run = deciding.decide(document, span, mask, &longest);
                };
                encode_and_decide(&mut decide, side, options, text, out, &mut scratch)
            }
            side => {
                ids.extend(options.prepend_bos);
                let encoded = options.tokenizer.encode_into(text, &mut ids);
                ids.extend(options.append_eos);
                if side.is_some() {
                    // Other documents of the batch are decided by their text.
                    mask.resize(ids.len(), 0);
                    let span = TokenSpan::document(&ids[start..]);
                    run = deciding.decide(document, &span, &mut mask[start..], &longest);
                }
                encoded
            }
        };
        let tokens = ids.len() - start;
        let failure = match encoded {
            Ok(_) if tokens > MAX_DOCUMENT_TOKENS => {
                let reason = format!("the document has {tokens} tokens, more than {MAX_DOCUMENT_TOKENS}");
                Some((reason, Vec::new()))
            }
            Ok(EncodePath::Fast) => {
                tokenized.fast += text.len() as u64;
                None
            }
            Ok(EncodePath::Exact) => {
                tokenized.exact += text.len() as u64;
                None
            }
            Err(error) => Some((error.to_string(), error.remedies())),
        };
        match failure {
            None => {
                let [bos, eos] =
                    [options.prepend_bos, options.append_eos].map(|end| usize::from(end.is_some()));
                tokenized.special += options.tokenizer.count_special(&ids[start + bos..ids.len() - eos]);
                longest[rule].note(offsets.len() - 1, run);
                offsets.push(ids.len() as i32);
            }
            Some((reason, remedies)) => {
                ids.truncate(start);
                mask.truncate(start);
                deciding.forget(before);
                failed.push(Failed { index, reason, remedies });
            }
        }
    }
    let ids: Vec<i32> = bytemuck::allocation::cast_vec(ids);
    Encoded { ids: ids.into(), mask, weights: None, longest, offsets, failed, texts: texts.len() }
}

/// Decides documents of ids, if the rule decides by the text, and leaves out those whose text can't be decoded.
fn decide_batch(
    deciding: &mut Deciding<'_>,
    (doc_ids, chosen): (&StringArray, &[u32]),
    mut batch: Encoded,
) -> Encoded {
    let Some(TextSide { map: Some(map), silent }) = &deciding.shared.text else { return batch };
    let mut scratch = Scratch::default();
    let mut mask = vec![0; batch.ids.len()];
    let ids: &[u32] = bytemuck::cast_slice(&batch.ids);
    let ranges = || batch.offsets.windows(2).map(|ends| ends[0] as usize..ends[1] as usize);
    for (index, range) in ranges().enumerate() {
        let rule = rule_of(chosen, index);
        let weights = batch.weights.as_ref().map(|weights| &weights[range.clone()]);
        let document = Decided { doc_id: doc_ids.value(index), rule, weights };
        let by_text = deciding.needs_text(rule);
        let mut run = None;
        let mut decide = |span: &TokenSpan<'_>, mask: &mut [u8]| {
            run = deciding.decide(document, span, mask, &batch.longest);
        };
        let (ids, mask) = (&ids[range.clone()], &mut mask[range]);
        let decided = if by_text {
            decide_ids(&mut decide, silent, map, ids, mask, &mut scratch)
        } else {
            decide(&TokenSpan::document(ids), mask);
            Ok(())
        };
        batch.longest[rule].note(index - batch.failed.len(), run);
        if let Err(error) = decided {
            let (reason, remedies) = (error.to_string(), error.remedies());
            batch.failed.push(Failed { index, reason, remedies });
        }
    }
    if deciding.shared.job.protect_only {
        return batch.without_tokens();
    }
    if !batch.failed.is_empty() {
        let mut failed = batch.failed.iter().map(|failed| failed.index).peekable();
        let kept = ranges().enumerate().filter(|(index, _)| failed.next_if_eq(index).is_none());
        let kept: Vec<_> = kept.map(|(_, range)| range).collect();
        mask = kept.iter().flat_map(|range| mask[range.clone()].iter().copied()).collect();
        let ids: Vec<i32> = kept.iter().flat_map(|range| batch.ids[range.clone()].iter().copied()).collect();
        batch.ids = ids.into();
        batch.weights = batch
            .weights
            .map(|weights| kept.iter().flat_map(|range| weights[range.clone()].iter().copied()).collect());
        let ends = kept.iter().scan(0, |end, range| {
            *end += range.len() as i32;
            Some(*end)
        });
        batch.offsets = std::iter::once(0).chain(ends).collect();
    }
    batch.mask = mask;
    batch
}

impl Encoded {
    /// The documents alone.
    fn without_tokens(self) -> Self {
        let Self { failed, texts, longest, .. } = self;
        let offsets = vec![0; texts - failed.len() + 1];
        Self { offsets, failed, texts, longest, ..Self::default() }
    }

    fn with_columns(self, doc_ids: StringArray, chosen: Vec<u32>, carried: Vec<ArrayRef>) -> Tokens {
        let (mut doc_ids, mut rules, mut carried) = (doc_ids, chosen, carried);
        if !self.failed.is_empty() {
            let mut keep = vec![true; self.texts];
            self.failed.iter().for_each(|failed| keep[failed.index] = false);
            let mut kept = keep.iter();
            rules.retain(|_| kept.next() == Some(&true));
            let keep = BooleanArray::from(keep);
            // All arrays have one value a text, which is all that `filter` asks for.
            if let Ok(kept) = filter(&doc_ids, &keep) {
                doc_ids = kept.as_string().clone();
            }
            carried = carried.into_iter().map(|array| filter(&array, &keep).unwrap_or(array)).collect();
        }
        let offsets = OffsetBuffer::new(self.offsets.into());
        Tokens {
            doc_ids,
            offsets,
            ids: self.ids,
            mask: self.mask,
            weights: self.weights,
            rules,
            longest: self.longest,
            stretch: None,
            carried,
        }
    }
}

/// Concatenates the documents of several chunks.
fn join(mut pieces: Vec<Tokens>) -> Result<Tokens, arrow::error::ArrowError> {
    if pieces.len() == 1
        && let Some(only) = pieces.pop()
    {
        return Ok(only);
    }
    let doc_ids: Vec<&dyn Array> = pieces.iter().map(|piece| &piece.doc_ids as &dyn Array).collect();
    let doc_ids = match doc_ids.as_slice() {
        [] => StringArray::from(Vec::<&str>::new()),
        arrays => concat(arrays)?.as_string().clone(),
    };
    let columns = pieces.first().map_or(0, |piece| piece.carried.len());
    let mut carried = Vec::with_capacity(columns);
    for column in 0..columns {
        let arrays: Vec<&dyn Array> = pieces.iter().map(|piece| piece.carried[column].as_ref()).collect();
        carried.push(concat(&arrays)?);
    }
    let rules = pieces.first().map_or(0, |piece| piece.longest.len());
    let (mut longest, mut documents) = (vec![LongestOf::default(); rules], 0);
    for piece in &pieces {
        for (longest, of_piece) in longest.iter_mut().zip(&piece.longest) {
            if let Some((row, run)) = of_piece.0 {
                longest.note(documents + row, Some(run));
            }
        }
        documents += piece.len();
    }
    let chosen = pieces.iter().flat_map(|piece| piece.rules.iter().copied()).collect();
    let weights = pieces.iter().map(|piece| piece.weights.as_deref()).collect::<Option<Vec<_>>>();
    let weights = weights.filter(|pieces| !pieces.is_empty()).map(|pieces| pieces.concat());
    let lengths = pieces.iter().flat_map(|piece| piece.offsets.lengths());
    let offsets = OffsetBuffer::from_lengths(lengths);
    let ids = pieces.iter().map(|piece| &*piece.ids).collect::<Vec<&[i32]>>().concat();
    let mask = pieces.iter().map(|piece| piece.mask.as_slice()).collect::<Vec<_>>().concat();
    let ids = ids.into();
    Ok(Tokens { doc_ids, offsets, ids, mask, weights, rules: chosen, longest, stretch: None, carried })
}

fn mask_documents(deciding: &mut Deciding<'_>, documents: &Tokens) -> (Vec<u8>, Vec<LongestOf>) {
    let mut longest = deciding.no_runs();
    let ids = documents.unsigned();
    let mut mask = vec![0; ids.len()];
    for row in 0..documents.len() {
        let range = documents.range(row);
        let rule = documents.rule(row);
        let weights = documents.weights.as_ref().map(|weights| &weights[range.clone()]);
        let document = Decided { doc_id: documents.doc_ids.value(row), rule, weights };
        let span = TokenSpan::document(&ids[range.clone()]);
        let run = deciding.decide(document, &span, &mut mask[range], &longest);
        longest[rule].note(row, run);
    }
    (mask, longest)
}
