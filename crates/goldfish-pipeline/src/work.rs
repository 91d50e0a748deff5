//! The workers: chunks to documents to tokens to masks.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, LargeStringArray, StringArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::{concat, filter};
use goldfish_columnar::guarded;
use goldfish_corpus::{BatchContent, Chunk, DocumentBatch, MAX_DOCUMENT_TOKENS, Reject};
use goldfish_mask::diagnostics::{Tally, TokenCounter};
use goldfish_mask::{LongestRun, Masker, RuleSpec, Scope, TokenSpan, document_key};
use goldfish_remedy::{Remedies, Remedy, Setting};
use goldfish_tokenize::EncodePath;

use crate::PipelineError;
use crate::job::{MaskJob, TokenizeOptions};
use crate::job_error::JobError;
use crate::message::{Event, LongestOf, Part, Tokens, Work, WorkResult};
use crate::progress::{SharedProgress, TokenizedBytes};
use crate::text::{Scratch, TextSide, decide_ids, encode_and_decide};

/// What all workers read.
pub(crate) struct Shared {
    pub(crate) job: Arc<MaskJob>,
    pub(crate) masker: Masker,
    /// Drops every token that the rule decides about.
    pub(crate) decided: Masker,
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
    tallier: TokenCounter,
    tally: Tally,
}

impl<'a> Deciding<'a> {
    fn new(shared: &'a Shared) -> Result<Self, PipelineError> {
        let rule: &RuleSpec = &shared.job.rule;
        Ok(Self {
            shared,
            tallier: TokenCounter::new(rule.definition(), &shared.job.exempt_ids)?,
            tally: Tally::default(),
        })
    }

    /// Decides a document, and gives its longest run if the rule counts that; only one that exceeds `longest` matters.
    fn decide(
        &mut self,
        doc_id: &str,
        span: &TokenSpan<'_>,
        mask: &mut [u8],
        longest: &LongestOf,
    ) -> Option<LongestRun> {
        let key = document_key(doc_id);
        let span = span.with_key(key).with_longer_than(longest.units());
        let run = self.shared.masker.decide_measuring(&span, mask);
        if key <= self.shared.last_counted {
            self.tally.add(&self.tallier.count(&span, mask).0);
        }
        run
    }
}

/// Parses, tokenizes and (in scope `document`) masks. A panic on the way becomes an error.
pub(crate) fn process(shared: &Shared, work: Work) -> Result<WorkResult, PipelineError> {
    let name = work.parts.iter().find_map(|part| match part {
        Part::Chunk(name, _) => Some(name.to_string()),
        Part::Broken(_) | Part::End(_) => None,
    });
    guarded(|| process_parts(shared, work))
        .unwrap_or_else(|message| Err(PipelineError::Panicked { file: name.unwrap_or_default(), message }))
}

fn process_parts(shared: &Shared, work: Work) -> Result<WorkResult, PipelineError> {
    let mut pieces = Vec::new();
    let mut events = Vec::new();
    let mut tokenized = TokenizedBytes::default();
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
    let joined = join(pieces);
    let mut documents =
        joined.map_err(|source| PipelineError::Batch { file: shared.first_input(), source })?;
    if shared.job.scope == Scope::Document && shared.text.is_none() {
        (documents.mask, documents.longest) = mask_documents(&mut deciding, &documents);
    }
    if shared.job.scope == Scope::Document {
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
        tally: deciding.tally,
    })
}

/// One chunk's documents as tokens, with the rejects of reading and of tokenizing among `events`.
fn read_chunk(
    deciding: &mut Deciding<'_>,
    file: &str,
    chunk: Box<dyn Chunk>,
    events: &mut Vec<Event>,
    tokenized: &mut TokenizedBytes,
) -> Result<Tokens, PipelineError> {
    let shared = deciding.shared;
    let batch = chunk.documents(&shared.job.read)?;
    let DocumentBatch { rows, doc_ids, content, carried, mut rejects } = batch;
    let next_row = rows.last().copied().into_iter().chain(rejects.iter().map(|reject| reject.row)).max();
    let encoded = match (content, &shared.job.tokenize) {
        (BatchContent::Ids { offsets, ids }, _) => {
            let offsets = offsets.iter().map(|&end| end as i32).collect::<Vec<_>>();
            decide_batch(
                deciding,
                &doc_ids,
                Encoded { ids, texts: offsets.len() - 1, offsets, ..Encoded::default() },
            )
        }
        (BatchContent::Text(text), Some(options)) => encode(deciding, options, (&doc_ids, &text), tokenized),
        (BatchContent::Text(_), None) => {
            return Err(JobError::TextNeedsTokenizer.into());
        }
    };
    let failed = encoded.failed.iter().map(|failed| Reject {
        file: file.to_owned(),
        row: rows[failed.index],
        offset: None,
        reason: failed.reason.clone(),
        remedies: failed.remedies.clone(),
    });
    rejects.extend(failed);
    rejects.sort_by_key(|reject| reject.row);
    let tokens = encoded.with_columns(doc_ids, carried);
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
    longest: LongestOf,
    /// Ends of the documents that were encoded, in tokens.
    offsets: Vec<i32>,
    /// Those that were not.
    failed: Vec<Failed>,
    /// How many documents there were.
    texts: usize,
}

fn encode(
    deciding: &mut Deciding<'_>,
    options: &TokenizeOptions,
    (doc_ids, texts): (&StringArray, &LargeStringArray),
    tokenized: &mut TokenizedBytes,
) -> Encoded {
    // Code and small vocabularies have about two bytes a token; room that is left over costs nothing.
    let mut ids = Vec::with_capacity(texts.value_data().len() / 2);
    let mut mask = Vec::with_capacity(if deciding.shared.text.is_some() { ids.capacity() } else { 0 });
    let mut longest = LongestOf::default();
    let mut offsets = vec![0];
    let mut failed = Vec::new();
    let mut scratch = Scratch::default();
    for index in 0..texts.len() {
        let text = texts.value(index);
        let start = ids.len();
        let most = deciding.shared.job.read.max_document;
        if text.len() > most {
            let bytes = text.len();
            let reason = format!("the document has {bytes} bytes, more than {most}; split it");
            let remedies = vec![Remedy::give(Setting::MaxDocument).to("mask it whole")];
            failed.push(Failed { index, reason, remedies });
            continue;
        }
        let mut run = None;
        let encoded = match &deciding.shared.text {
            Some(side) => {
                let out = (&mut ids, &mut mask);
                let mut decide = |span: &TokenSpan<'_>, mask: &mut [u8]| {
                    run = deciding.decide(doc_ids.value(index), span, mask, &longest);
                };
                encode_and_decide(&mut decide, side, options, text, out, &mut scratch)
            }
            None => {
                ids.extend(options.prepend_bos);
                let encoded = options.tokenizer.encode_into(text, &mut ids);
                ids.extend(options.append_eos);
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
                longest.note(offsets.len() - 1, run);
                offsets.push(ids.len() as i32);
            }
            Some((reason, remedies)) => {
                ids.truncate(start);
                mask.truncate(start);
                failed.push(Failed { index, reason, remedies });
            }
        }
    }
    let ids: Vec<i32> = bytemuck::allocation::cast_vec(ids);
    Encoded { ids: ids.into(), mask, longest, offsets, failed, texts: texts.len() }
}

/// Decides documents of ids, if the rule decides by the text, and leaves out those whose text can't be decoded.
fn decide_batch(deciding: &mut Deciding<'_>, doc_ids: &StringArray, mut batch: Encoded) -> Encoded {
    let Some(TextSide { map: Some(map), silent }) = &deciding.shared.text else { return batch };
    let mut scratch = Scratch::default();
    let mut mask = vec![0; batch.ids.len()];
    let ids: &[u32] = bytemuck::cast_slice(&batch.ids);
    let ranges = || batch.offsets.windows(2).map(|ends| ends[0] as usize..ends[1] as usize);
    for (index, range) in ranges().enumerate() {
        let mut run = None;
        let mut decide = |span: &TokenSpan<'_>, mask: &mut [u8]| {
            run = deciding.decide(doc_ids.value(index), span, mask, &batch.longest);
        };
        let decided =
            decide_ids(&mut decide, silent, map, &ids[range.clone()], &mut mask[range], &mut scratch);
        batch.longest.note(index - batch.failed.len(), run);
        if let Err(error) = decided {
            let (reason, remedies) = (error.to_string(), error.remedies());
            batch.failed.push(Failed { index, reason, remedies });
        }
    }
    if !batch.failed.is_empty() {
        let mut failed = batch.failed.iter().map(|failed| failed.index).peekable();
        let kept = ranges().enumerate().filter(|(index, _)| failed.next_if_eq(index).is_none());
        let kept: Vec<_> = kept.map(|(_, range)| range).collect();
        mask = kept.iter().flat_map(|range| mask[range.clone()].iter().copied()).collect();
        let ids: Vec<i32> = kept.iter().flat_map(|range| batch.ids[range.clone()].iter().copied()).collect();
        batch.ids = ids.into();
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
    fn with_columns(self, doc_ids: StringArray, carried: Vec<ArrayRef>) -> Tokens {
        let (mut doc_ids, mut carried) = (doc_ids, carried);
        if !self.failed.is_empty() {
            let mut keep = vec![true; self.texts];
            self.failed.iter().for_each(|failed| keep[failed.index] = false);
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
    let (mut longest, mut documents) = (LongestOf::default(), 0);
    for piece in &pieces {
        if let Some((row, run)) = piece.longest.0 {
            longest.note(documents + row, Some(run));
        }
        documents += piece.len();
    }
    let lengths = pieces.iter().flat_map(|piece| piece.offsets.lengths());
    let offsets = OffsetBuffer::from_lengths(lengths);
    let ids = pieces.iter().map(|piece| &*piece.ids).collect::<Vec<&[i32]>>().concat();
    let mask = pieces.iter().map(|piece| piece.mask.as_slice()).collect::<Vec<_>>().concat();
    Ok(Tokens { doc_ids, offsets, ids: ids.into(), mask, longest, stretch: None, carried })
}

fn mask_documents(deciding: &mut Deciding<'_>, documents: &Tokens) -> (Vec<u8>, LongestOf) {
    let mut longest = LongestOf::default();
    let ids = documents.unsigned();
    let mut mask = vec![0; ids.len()];
    for row in 0..documents.len() {
        let range = documents.range(row);
        let doc_id = documents.doc_ids.value(row);
        let span = TokenSpan::document(&ids[range.clone()]);
        let run = deciding.decide(doc_id, &span, &mut mask[range], &longest);
        longest.note(row, run);
    }
    (mask, longest)
}
