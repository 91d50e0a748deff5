//! Some documents of a run with their masks.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use goldfish_mask::document_key;

/// A document of a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampledDocument {
    /// Its id.
    pub doc_id: String,
    /// Its tokens.
    pub ids: Vec<u32>,
    /// Their mask.
    pub mask: Vec<u8>,
}

/// Tokens that a sample holds.
const MOST_TOKENS: usize = 1 << 18;

/// Tokens of the longest document in a sample.
const LONGEST: usize = MOST_TOKENS / 16;

/// The documents with the least keys, as far as there is room for them: the same ones in every order.
#[derive(Default)]
pub(crate) struct Sample {
    documents: BinaryHeap<Keyed>,
    tokens: usize,
    seen: u64,
    /// The least key that there was no room for.
    limit: Option<u64>,
}

struct Keyed {
    key: u64,
    /// How many documents come before it.
    number: u64,
    document: SampledDocument,
}

impl Keyed {
    fn order(&self) -> (u64, u64) {
        (self.key, self.number)
    }
}

impl PartialEq for Keyed {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Keyed {}

impl PartialOrd for Keyed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Keyed {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}

impl Sample {
    /// Adds the next document if its key is at most `last`.
    pub(crate) fn add(&mut self, last: u64, doc_id: &str, ids: &[u32], mask: &[u8]) {
        let number = self.seen;
        self.seen += 1;
        let key = document_key(doc_id);
        if key > last || ids.len() > LONGEST || self.limit.is_some_and(|limit| key >= limit) {
            return;
        }
        self.tokens += ids.len();
        let document = SampledDocument { doc_id: doc_id.to_owned(), ids: ids.to_vec(), mask: mask.to_vec() };
        self.documents.push(Keyed { key, number, document });
        while self.tokens > MOST_TOKENS
            && let Some(left_out) = self.documents.pop()
        {
            self.tokens -= left_out.document.ids.len();
            self.limit = Some(left_out.key);
        }
    }

    /// The documents in the order in which they came.
    pub(crate) fn into_documents(self) -> Vec<SampledDocument> {
        let mut documents = self.documents.into_vec();
        documents.sort_unstable_by_key(|document| document.number);
        documents.into_iter().map(|keyed| keyed.document).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_bounded_and_the_same_in_every_order() {
        let documents: Vec<(String, usize)> = (0..400)
            .map(|i| (format!("d{i}"), if i == 7 { LONGEST + 1 } else { 500 + i * 37 % 2300 }))
            .collect();
        let draw = |documents: &mut dyn Iterator<Item = &(String, usize)>| {
            let mut sample = Sample::default();
            documents.for_each(|(id, tokens)| sample.add(u64::MAX, id, &vec![0; *tokens], &vec![1; *tokens]));
            let mut drawn: Vec<String> = sample.into_documents().into_iter().map(|d| d.doc_id).collect();
            drawn.sort_unstable();
            drawn
        };
        let forward = draw(&mut documents.iter());
        assert_eq!(forward, draw(&mut documents.iter().rev()));
        assert!((150..300).contains(&forward.len()), "{}", forward.len());
        assert!(!forward.contains(&"d7".to_owned()));
        let mut few = Sample::default();
        documents[..20].iter().for_each(|(id, _)| few.add(u64::MAX / 2, id, &[1, 2], &[0, 1]));
        let few = few.into_documents();
        assert!((4..17).contains(&few.len()), "{}", few.len());
    }
}
