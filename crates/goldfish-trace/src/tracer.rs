//! Traces of documents that are in memory.

use goldfish_pipeline::{PipelineError, ScanState, ScannedDocument, Scanner};

use crate::error::TraceError;
use crate::hits::Hits;
use crate::results::Results;
use crate::search::Searched;
use crate::summary::TraceSummary;
use crate::tables::{SpanRow, TextRow};
use crate::texts::{Least, Texts};

/// Looks for texts in documents that are in memory. What it finds is what [`trace`](crate::trace()) finds in files with the same documents.
pub struct Tracer {
    texts: Texts,
    searched: Searched,
    least: Least,
    hits: Hits,
    corpus: ScanState,
}

/// What was found: a row a text, places of the corpus in the order of the texts, and the statistics.
#[derive(Debug, Clone, PartialEq)]
pub struct TracedDocuments {
    /// One row a text.
    pub texts: Vec<TextRow>,
    /// Places of the corpus.
    pub spans: Vec<SpanRow>,
    /// The statistics.
    pub summary: TraceSummary,
}

impl Tracer {
    /// Prepares the search for texts. `seed` chooses which places are kept where there are many, and resamples texts for
    /// intervals.
    ///
    /// # Errors
    ///
    /// If there are no texts, all are too short, or there are too many.
    pub fn new(mut texts: Texts, least: Least, seed: u64) -> Result<Self, TraceError> {
        let searched = texts.index(least, seed)?;
        Ok(Self { texts, searched, least, hits: Hits::default(), corpus: ScanState::default() })
    }

    /// Searches documents, some on each thread.
    ///
    /// # Errors
    ///
    /// If a document is too long.
    pub fn search(&mut self, documents: &[ScannedDocument<'_>], threads: usize) -> Result<(), TraceError> {
        let searched = &self.searched;
        let share = documents.len().div_ceil(threads.max(1)).max(1);
        let found: Vec<Result<Hits, PipelineError>> = std::thread::scope(|scope| {
            let search = |documents| {
                scope.spawn(move || {
                    let mut hits = Hits::default();
                    searched.scan(documents, &mut hits).map(|()| hits)
                })
            };
            let threads: Vec<_> = documents.chunks(share).map(search).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        });
        for hits in found {
            self.hits.merge(hits?);
        }
        self.corpus.documents += documents.len() as u64;
        self.corpus.text_bytes += documents.iter().map(|document| document.text.len() as u64).sum::<u64>();
        Ok(())
    }

    /// What was found in all documents.
    #[must_use]
    pub fn finish(mut self) -> TracedDocuments {
        self.hits.settle();
        let Self { texts, searched, least, hits, corpus } = &self;
        let results = Results::new(texts, searched, hits, *least);
        let (mut rows, mut spans) = (Vec::new(), Vec::new());
        for (text, places) in results.rows() {
            rows.push(text);
            spans.extend(places);
        }
        let summary = results.summary("", &rows, corpus);
        TracedDocuments { texts: rows, spans, summary }
    }
}
