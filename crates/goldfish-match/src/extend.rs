//! Words in common beyond a seed: the greedy alignment of two sequences that differ little (Zhang, Schwartz, Wagner and Miller,
//! Journal of Computational Biology 2000), by words.
//!
//! For each number of edits and each *diagonal*, the words of the document that are passed minus those of the work, only the
//! furthest point counts that so many edits reach. A pair of words passed counts 2, and an edit costs so much that a copy with
//! the most edits comes to 0. Points far below the best score are given up.

use goldfish_mask::TextWords;

use crate::works::Works;

/// Edits without a word in common that an extension passes.
const DROP: i64 = 4;

/// A point that is not reached.
const NONE: u32 = u32::MAX;

/// Where an extension starts, and how far it may go.
pub(crate) struct Edge<'a> {
    pub(crate) words: &'a TextWords,
    pub(crate) works: &'a Works,
    /// The word after the edge, of the document and of all works.
    pub(crate) doc: usize,
    pub(crate) work: usize,
    /// Words from there on.
    pub(crate) doc_room: usize,
    pub(crate) work_room: usize,
    pub(crate) forward: bool,
    /// The first word of the work that the document is itself: no word is in common with that in the same place.
    pub(crate) own: Option<usize>,
    /// In how many passages each word of the document is, and in how many it may be for the extension to pass it.
    pub(crate) depths: &'a [u8],
    pub(crate) most_depth: u8,
}

impl Edge<'_> {
    /// The word of the document after so many.
    #[inline(always)]
    fn doc_word(&self, passed: usize) -> usize {
        if self.forward { self.doc + passed } else { self.doc - 1 - passed }
    }

    /// Whether another word of the document may be passed.
    #[inline(always)]
    fn may_pass(&self, passed: usize) -> bool {
        passed < self.doc_room
            && self.depths.get(self.doc_word(passed)).is_none_or(|&depth| depth < self.most_depth)
    }

    /// How many words are in common after so many of the document and of the work.
    pub(crate) fn equal(&self, doc_passed: usize, work_passed: usize) -> usize {
        let Self { words, works, work, forward, .. } = *self;
        // Both are the same on the way.
        let (doc_place, place) = if forward {
            (self.doc + doc_passed, work + work_passed)
        } else {
            (self.doc - doc_passed, work - work_passed)
        };
        if self.own.is_some_and(|own| own + doc_place == place) {
            return 0;
        }
        let room = (self.doc_room - doc_passed).min(self.work_room - work_passed);
        if room == 0 {
            return 0;
        }
        let mut at = works.start(if forward { work + work_passed } else { work - work_passed });
        let mut count = 0;
        while count < room && self.may_pass(doc_passed + count) {
            let passed = work_passed + count;
            let length = works.length(if forward { work + passed } else { work - 1 - passed });
            let word = words.bytes(self.doc_word(doc_passed + count));
            let start = if forward { at } else { at - length };
            if word.len() != length || word != works.bytes(start, length) {
                break;
            }
            at = if forward { at + length } else { start };
            count += 1;
        }
        count
    }
}

/// Words in common, counted from the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) doc: u32,
    pub(crate) work: u32,
    pub(crate) words: u32,
}

/// The furthest points of a number of edits: words of the document on the diagonals from `lowest` on.
#[derive(Debug, Clone, Copy)]
struct Row {
    lowest: i64,
    start: usize,
    end: usize,
}

/// Scratch memory of extensions.
#[derive(Debug, Default)]
pub(crate) struct Extension {
    rows: Vec<Row>,
    points: Vec<u32>,
    runs: Vec<Run>,
}

/// How a point came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edit {
    Replaced,
    DocMore,
    WorkMore,
}

impl Extension {
    /// The words in common from an edge on, nearest first, of the alignment that scores best. `cost` is that of an edit.
    pub(crate) fn runs(&mut self, edge: &Edge<'_>, cost: i64) -> &[Run] {
        let (edits, diagonal) = self.align(edge, cost);
        self.walk_back(edge, edits, diagonal);
        &self.runs
    }

    fn point(&self, row: Row, diagonal: i64) -> Option<u32> {
        let index =
            usize::try_from(diagonal - row.lowest).ok().filter(|index| *index < row.end - row.start)?;
        self.points.get(row.start + index).copied().filter(|&point| point != NONE)
    }

    /// The furthest point on a diagonal one edit after a row, and that edit; before the words in common after it.
    #[inline]
    fn after(&self, edge: &Edge<'_>, row: Row, diagonal: i64) -> Option<(u32, Edit)> {
        let work_passed = |doc: u32, diagonal: i64| (i64::from(doc) - diagonal) as usize;
        let doc_passes = |doc: &u32| edge.may_pass(*doc as usize);
        let replaced = self
            .point(row, diagonal)
            .filter(doc_passes)
            .filter(|&doc| work_passed(doc, diagonal) < edge.work_room)
            .map(|doc| (doc + 1, Edit::Replaced));
        let doc_more = self.point(row, diagonal - 1).filter(doc_passes).map(|doc| (doc + 1, Edit::DocMore));
        let work_more = self
            .point(row, diagonal + 1)
            .filter(|&doc| work_passed(doc, diagonal + 1) < edge.work_room)
            .map(|doc| (doc, Edit::WorkMore));
        // The first of those that reach as far: of two words that changed places, one is in common.
        [work_more, replaced].into_iter().flatten().fold(doc_more, |best, next| match best {
            Some((doc, _)) if doc >= next.0 => best,
            _ => Some(next),
        })
    }

    /// Edits and diagonal of the point that scores best.
    fn align(&mut self, edge: &Edge<'_>, cost: i64) -> (usize, i64) {
        self.rows.clear();
        self.points.clear();
        let first = edge.equal(0, 0) as u32;
        self.points.push(first);
        self.rows.push(Row { lowest: 0, start: 0, end: 1 });
        let mut top = 2 * i64::from(first);
        let mut best = (0, 0);
        for edits in 1.. {
            let before = self.rows[edits - 1];
            let (start, lowest) = (self.points.len(), before.lowest - 1);
            let highest = before.lowest + (before.end - before.start) as i64;
            for diagonal in lowest..=highest {
                let mut point = NONE;
                if let Some((doc, _)) = self.after(edge, before, diagonal) {
                    let work = i64::from(doc) - diagonal;
                    let reached = doc + edge.equal(doc as usize, work as usize) as u32;
                    let score = 2 * i64::from(reached) - diagonal - cost * edits as i64;
                    if score >= top - DROP * cost {
                        point = reached;
                    }
                    if score > top {
                        top = score;
                        best = (edits, diagonal);
                    }
                }
                self.points.push(point);
            }
            // Without what was given up at both ends.
            let end = self.points[start..].iter().rposition(|&point| point != NONE);
            let Some(end) = end.map(|last| start + last + 1) else { break };
            self.points.truncate(end);
            let given_up = self.points[start..].iter().take_while(|&&point| point == NONE).count();
            self.rows.push(Row { lowest: lowest + given_up as i64, start: start + given_up, end });
        }
        best
    }

    fn walk_back(&mut self, edge: &Edge<'_>, mut edits: usize, mut diagonal: i64) {
        self.runs.clear();
        while let Some(&row) = self.rows.get(edits) {
            let Some(end) = self.point(row, diagonal) else { break };
            let before =
                edits.checked_sub(1).and_then(|before| self.after(edge, self.rows[before], diagonal));
            let start = before.map_or(0, |(start, _)| start);
            let work = (i64::from(start) - diagonal) as u32;
            if end > start {
                self.runs.push(Run { doc: start, work, words: end - start });
            }
            let Some((_, edit)) = before else { break };
            edits -= 1;
            diagonal += match edit {
                Edit::Replaced => 0,
                Edit::DocMore => -1,
                Edit::WorkMore => 1,
            };
        }
        self.runs.reverse();
    }
}
