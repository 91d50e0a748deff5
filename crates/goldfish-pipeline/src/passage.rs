//! An example of what a run did.

use crate::message::Tokens;

/// The start of a document that lost some tokens, to show what a run did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// The document.
    pub doc_id: String,
    /// Its first tokens.
    pub ids: Vec<u32>,
    /// Their mask.
    pub mask: Vec<u8>,
}

/// Tokens in a [`Passage`].
const PASSAGE_TOKENS: usize = 96;

/// The first document with a dropped token among its first ones.
pub(crate) fn find_passage(documents: &Tokens) -> Option<Passage> {
    (0..documents.len()).find_map(|row| {
        let range = documents.range(row);
        let end = range.end.min(range.start + PASSAGE_TOKENS);
        let mask = &documents.mask[range.start..end];
        mask.contains(&0).then(|| Passage {
            doc_id: documents.doc_ids.value(row).to_owned(),
            ids: documents.unsigned()[range.start..end].to_vec(),
            mask: mask.to_vec(),
        })
    })
}
