//! Passages that continue one another.

use crate::passage::Passage;
use crate::{Block, Parameters};

/// Words without any in common over which passages are joined, if the share of edits allows it.
const GAP: u32 = 32;

/// Earlier passages of the same work that a passage may continue.
const LOOKED_AT: usize = 8;

impl Parameters {
    /// Whether so many edits are allowed.
    fn allows(&self, words: u32, edits: u32) -> bool {
        let (words, edits) = (u64::from(words), u64::from(edits));
        100 * edits <= u64::from(self.most_edits) * (words + edits)
    }
}

/// Joins passages of the same work that are in the same order in both texts and near each other, and leaves out those that
/// repeat a part of another one.
pub(crate) fn join(mut passages: Vec<Passage>, parameters: &Parameters) -> Vec<Passage> {
    passages.sort_by_key(|passage| {
        (passage.work, passage.doc_words().start, passage.work_words().start, passage.doc_words().end)
    });
    let mut joined: Vec<Passage> = Vec::new();
    for passage in passages {
        let recent = joined.len().saturating_sub(LOOKED_AT);
        let taken = joined[recent..]
            .iter_mut()
            .rev()
            .take_while(|earlier| earlier.work == passage.work)
            .any(|earlier| continued(earlier, &passage, parameters));
        if !taken {
            joined.push(passage);
        }
    }
    joined
}

/// Appends what a passage adds to an earlier one, if it continues it without losing a word.
fn continued(earlier: &mut Passage, passage: &Passage, parameters: &Parameters) -> bool {
    let (doc, work) = (earlier.doc_words(), earlier.work_words());
    let (next_doc, next_work) = (passage.doc_words(), passage.work_words());
    let follows = next_doc.start >= doc.end && next_work.start >= work.end;
    let overlaps = next_doc.start < doc.end && work.contains(&next_work.start);
    if !follows && !overlaps {
        return false;
    }
    let mut added: Vec<Block> = Vec::new();
    for block in &passage.blocks {
        let repeated = doc.end.saturating_sub(block.doc_start).max(work.end.saturating_sub(block.work_start));
        let repeated = repeated.min(block.words);
        if repeated > 0 && !earlier.covers(block.doc_start..block.doc_start + repeated) {
            return false;
        }
        added.extend(Some(block.without(repeated)).filter(|block| block.words > 0));
    }
    let Some(first) = added.first() else { return true };
    let gap = (first.doc_start - doc.end).max(first.work_start - work.end);
    let mut whole = earlier.clone();
    added.iter().for_each(|&block| whole.push(block));
    let joins = gap <= GAP && parameters.allows(whole.words, whole.edits);
    if joins {
        *earlier = whole;
    }
    joins
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(work: u32, blocks: &[(u32, u32, u32)]) -> Passage {
        let block =
            |&(work_start, doc_start, words): &(u32, u32, u32)| Block { work_start, doc_start, words };
        Passage::new(work, blocks.iter().map(block))
    }

    fn joined(passages: &[Passage]) -> Vec<Passage> {
        join(passages.to_vec(), &Parameters::default())
    }

    #[test]
    fn near_passages_in_order_are_joined() {
        let (a, b) = (passage(0, &[(0, 100, 50)]), passage(0, &[(60, 155, 50)]));
        assert_eq!(joined(&[b.clone(), a.clone()]), [passage(0, &[(0, 100, 50), (60, 155, 50)])]);
        let other_work = passage(1, &[(60, 155, 50)]);
        assert_eq!(joined(&[a.clone(), other_work.clone()]), [a.clone(), other_work]);
        let far = passage(0, &[(183, 183, 50)]);
        assert_eq!(joined(&[a.clone(), far.clone()]), [a.clone(), far]);
        let other_order = passage(0, &[(0, 0, 50)]);
        let moved = passage(0, &[(300, 52, 50)]);
        assert_eq!(joined(&[moved.clone(), other_order.clone()]).len(), 2);
    }

    #[test]
    fn overlapping_passages_are_joined_unless_words_would_be_lost() {
        let (a, b) = (passage(0, &[(0, 100, 50)]), passage(0, &[(40, 140, 50)]));
        assert_eq!(joined(&[a.clone(), b]), [passage(0, &[(0, 100, 90)])]);
        assert_eq!(joined(&[a.clone(), passage(0, &[(10, 110, 20)])]), std::slice::from_ref(&a));
        let elsewhere = passage(0, &[(500, 110, 20)]);
        assert_eq!(joined(&[a.clone(), elsewhere.clone()]), [a.clone(), elsewhere]);
        let gap = passage(0, &[(0, 100, 40), (50, 150, 40)]);
        let in_gap = passage(0, &[(10, 130, 20)]);
        assert_eq!(joined(&[gap.clone(), in_gap.clone()]), [gap, in_gap], "words 140 to 150 would be lost");
    }

    #[test]
    fn too_many_edits_keep_passages_apart() {
        let (a, b) = (passage(0, &[(0, 0, 12)]), passage(0, &[(20, 20, 12)]));
        assert_eq!(joined(&[a.clone(), b.clone()]).len(), 1);
        let b = passage(0, &[(21, 21, 12)]);
        assert_eq!(joined(&[a.clone(), b.clone()]), [a, b]);
    }
}
