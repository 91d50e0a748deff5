//! What differs between two aligned passages near each of their letters.

use super::align::Block;
use super::excerpt::Excerpt;
use crate::report::Difference;

/// Words before and after a difference that are attributed to it.
pub(crate) const REACH: u32 = 32;

/// First and last distance of each bucket, in words since the last edit or entry. What is further on has the bucket after
/// them.
pub(crate) const BUCKETS: [(u32, u32); 6] = [(1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (17, REACH)];

/// What a dropped token is counted under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Label {
    /// Index in [`BUCKETS`]; their number for what is further on.
    pub(crate) bucket: usize,
    pub(crate) difference: Difference,
}

/// The letter of the other passage that a letter is aligned with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Partner {
    pub(crate) letter: u32,
    pub(crate) label: Label,
}

/// For each letter of a passage, its partner. `None` if it has none, or if what is before or after it was cut off.
pub(crate) type Partners = Vec<Option<Partner>>;

/// Formatting that differs at a letter or just before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Formatting {
    pub(crate) breaks: bool,
    pub(crate) spaces: bool,
    pub(crate) marks: bool,
    pub(crate) case: bool,
    pub(crate) forms: bool,
}

/// The formatting that differs, for each aligned letter in order.
pub(crate) fn formatting(blocks: &[Block], a: &Excerpt, b: &Excerpt) -> Vec<Formatting> {
    let mut found = Vec::new();
    for block in blocks {
        for i in 0..block.length {
            let mut here = Formatting::default();
            let (x, y) = (a.letter_text(block.a + i), b.letter_text(block.b + i));
            if x != y {
                here.case = x.to_lowercase() == y.to_lowercase();
                here.forms = !here.case;
            }
            if i > 0 {
                let (x, y) = (a.gap_before(block.a + i), b.gap_before(block.b + i));
                if x != y {
                    let bare = |gap: &str| gap.split_whitespace().collect::<String>();
                    let lines = |gap: &str| gap.matches('\n').count();
                    here.marks = bare(x) != bare(y);
                    here.breaks = lines(x) != lines(y);
                    here.spaces = !here.marks && !here.breaks;
                }
            }
            found.push(here);
        }
    }
    found
}

impl Formatting {
    pub(crate) fn add(&mut self, other: Self) {
        self.breaks |= other.breaks;
        self.spaces |= other.spaces;
        self.marks |= other.marks;
        self.case |= other.case;
        self.forms |= other.forms;
    }

    /// The difference at the letter itself before the one in front of it.
    fn difference(self) -> Option<Difference> {
        let layout = self.breaks || self.spaces || self.marks;
        let found =
            [(self.forms, Difference::Forms), (self.case, Difference::Case), (layout, Difference::Layout)];
        found.iter().find(|(differs, _)| *differs).map(|(_, difference)| *difference)
    }
}

/// What lies between two blocks, or at the ends of the aligned part.
#[derive(Clone, Copy)]
enum Border {
    /// Both passages are at the same end of their documents: nothing differs.
    SameEnd,
    /// What comes next was not read.
    Cut,
    Differs(Difference),
}

/// One side of an alignment: `of` is a block's start in this passage.
struct Walk<'a> {
    blocks: &'a [Block],
    formatting: &'a [Formatting],
    passage: &'a Excerpt,
    of: fn(&Block) -> usize,
    other: fn(&Block) -> usize,
    /// Before each block, and after the last one.
    borders: Vec<Border>,
}

/// The partners of the letters of both passages. Edits are named as what was done to `a` to get `b`.
pub(crate) fn partners(
    blocks: &[Block],
    formatting: &[Formatting],
    a: &Excerpt,
    b: &Excerpt,
) -> (Partners, Partners) {
    let borders = borders(blocks, a, b);
    let walk = |passage, of, other| {
        Walk { blocks, formatting, passage, of, other, borders: borders.clone() }.partners()
    };
    (walk(a, |block| block.a, |block| block.b), walk(b, |block| block.b, |block| block.a))
}

fn borders(blocks: &[Block], a: &Excerpt, b: &Excerpt) -> Vec<Border> {
    let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else { return Vec::new() };
    // Whether the passage's letters end here, and whether its document continues.
    let end = |(at_a, cut_a): (bool, bool), (at_b, cut_b): (bool, bool)| {
        let (ends_a, ends_b) = (at_a && !cut_a, at_b && !cut_b);
        if ends_a && ends_b {
            Border::SameEnd
        } else if (at_a && cut_a && !ends_b) || (at_b && cut_b && !ends_a) {
            Border::Cut
        } else {
            Border::Differs(Difference::Entry)
        }
    };
    let mut borders = vec![end((first.a == 0, a.cut.0), (first.b == 0, b.cut.0))];
    for pair in blocks.windows(2) {
        let (in_a, in_b) = (pair[1].a > pair[0].a + pair[0].length, pair[1].b > pair[0].b + pair[0].length);
        borders.push(Border::Differs(match (in_a, in_b) {
            (false, _) => Difference::Inserted,
            (true, false) => Difference::Deleted,
            (true, true) => Difference::Replaced,
        }));
    }
    let ends = (last.a + last.length, last.b + last.length);
    borders
        .push(end((ends.0 == a.side().letters.len(), a.cut.1), (ends.1 == b.side().letters.len(), b.cut.1)));
    borders
}

impl Walk<'_> {
    fn partners(&self) -> Partners {
        let starts = self.passage.side().starts;
        let mut partners = vec![None; starts.len()];
        let ahead = self.words_ahead();
        let formats = self.formats();
        // Words since the last edit or entry, and whether that is known to be all there is.
        let mut since: Option<(Difference, u32)> = None;
        let mut known = true;
        let mut format: Option<(Difference, u32)> = None;
        let mut words = 0u32;
        let mut nth = 0;
        for (block, border) in self.blocks.iter().zip(&self.borders) {
            match *border {
                Border::SameEnd => {}
                Border::Cut => known = false,
                Border::Differs(difference) => {
                    since = Some((difference, words));
                    known = true;
                }
            }
            let (here, there) = ((self.of)(block), (self.other)(block));
            for i in 0..block.length {
                words += u32::from(starts[here + i] || i == 0);
                if let Some(difference) = formats[nth] {
                    format = Some((difference, words));
                }
                let (ahead, ahead_known) = ahead[nth];
                let near = since.map(|(difference, at)| (difference, words - at));
                let near = near.filter(|&(_, distance)| distance <= REACH);
                let is_known = near.is_some() || ((known || words > REACH) && ahead_known);
                let further = || {
                    let format = format.filter(|&(_, at)| words - at < REACH);
                    let format = format.map_or(Difference::Nothing, |(difference, _)| difference);
                    let difference = if ahead <= REACH { Difference::Ahead } else { format };
                    Label { bucket: BUCKETS.len(), difference }
                };
                let label = near.map_or_else(further, |(difference, distance)| {
                    let bucket = BUCKETS.iter().position(|&(_, last)| distance <= last);
                    Label { bucket: bucket.unwrap_or(BUCKETS.len()), difference }
                });
                if is_known {
                    partners[here + i] = Some(Partner { letter: (there + i) as u32, label });
                }
                nth += 1;
            }
        }
        partners
    }

    /// For each aligned letter in order, the formatting that differs there or further on in its word.
    fn formats(&self) -> Vec<Option<Difference>> {
        let starts = self.passage.side().starts;
        let mut formats: Vec<_> = self.formatting.iter().map(|here| here.difference()).collect();
        let mut end = formats.len();
        for block in self.blocks.iter().rev() {
            let here = (self.of)(block);
            let mut word = None;
            for i in (0..block.length).rev() {
                end -= 1;
                word = formats[end].or(word);
                formats[end] = word;
                if starts[here + i] {
                    word = None;
                }
            }
        }
        formats
    }

    /// For each aligned letter in order, words up to the next edit or exit, and whether what is within reach is known.
    fn words_ahead(&self) -> Vec<(u32, bool)> {
        let starts = self.passage.side().starts;
        let mut ahead = Vec::with_capacity(self.formatting.len());
        let (mut words, mut known) = (u32::MAX / 2, true);
        let mut from_cut = 0u32;
        for (block, border) in self.blocks.iter().zip(&self.borders[1..]).rev() {
            match border {
                Border::SameEnd => {}
                Border::Cut => known = false,
                Border::Differs(_) => {
                    words = 0;
                    known = true;
                }
            }
            let here = (self.of)(block);
            let mut in_word = false;
            for i in (0..block.length).rev() {
                if !in_word {
                    words = words.saturating_add(1);
                    from_cut = from_cut.saturating_add(1);
                }
                in_word = !starts[here + i];
                ahead.push((words, known || from_cut > REACH));
            }
        }
        ahead.reverse();
        ahead
    }
}
