//! Copies side by side: what differs, and what leaks.

use std::collections::BTreeMap;
use std::ops::Range;

use goldfish_mask::RuleSpec;

use super::align::{Block, align};
use super::differences::{BUCKETS, Formatting, Label, Partners, formatting, partners};
use super::excerpt::Excerpt;
use super::rules::{ComparedRule, in_words};
use super::sums::Sums;
use crate::options::DuplicateOptions;
use crate::rates::share;
use crate::report::{
    Copy, Difference, DifferenceLeak, DistanceLeak, Duplicates, Leak, LeakingPair, RuleLeak, ShownToken,
};

/// Tokens shown of a passage, and how many of them come before the first leak.
const SHOWN_TOKENS: usize = 48;
const SHOWN_BEFORE: usize = 12;

/// Pairs of copies as they are compared.
pub(crate) struct Comparison {
    options: DuplicateOptions,
    rate: f64,
    /// The rules in words and their options, the masks' own first.
    rules: Vec<(String, Option<String>)>,
    pairs: u64,
    near: u64,
    sums: Sums,
    /// For each difference and each distance, leaks by rule.
    differences: BTreeMap<Difference, Vec<Leak>>,
    distances: Vec<Vec<Leak>>,
    worst: Vec<LeakingPair>,
}

/// What two passages have in common.
pub(crate) struct Compared {
    /// The letters of both documents from the first in common to the last.
    pub(crate) extents: [Range<usize>; 2],
    /// The letters of both documents that they were aligned from.
    pub(crate) seeds: [usize; 2],
    exact: bool,
    /// For each rule, tokens by what they are counted under: dropped, and of these leaked.
    counts: Vec<BTreeMap<Label, (u64, u64)>>,
    pair: LeakingPair,
}

/// Compares two passages under so many rules, if they have at least `least` letters in common.
pub(crate) fn compared(a: &Excerpt, b: &Excerpt, rules: usize, least: usize) -> Option<Compared> {
    let blocks = align(a.side(), b.side(), (a.seed, b.seed));
    let letters: usize = blocks.iter().map(|block| block.length).sum();
    if letters < least || !is_copy(&blocks, letters) {
        return None;
    }
    let formatting = formatting(&blocks, a, b);
    let (from_a, from_b) = partners(&blocks, &formatting, a, b);
    let (links_a, links_b) = (links(a, b, &from_a), links(b, a, &from_b));
    let mut counts = vec![BTreeMap::new(); rules];
    let mut leaking = (Vec::new(), Vec::new());
    for (rule, counts) in counts.iter_mut().enumerate() {
        let (mask_a, mask_b) = (&*a.masks[rule], &*b.masks[rule]);
        let in_a = leaks(&links_a, (mask_a, mask_b), counts);
        let in_b = leaks(&links_b, (mask_b, mask_a), counts);
        if rule == 0 {
            leaking = (in_a, in_b);
        }
    }
    let first = leaking.0.first().copied().unwrap_or(usize::MAX);
    let (shown_a, shown_b) = shown_from(&blocks, a, b, first);
    let exact = blocks.len() == 1;
    let pair = LeakingPair {
        kind: in_common(&formatting, exact),
        characters: letters as u64,
        leak: counts.first().map(total).unwrap_or_default(),
        copies: [copy(a, &leaking.0, shown_a), copy(b, &leaking.1, shown_b)],
    };
    let (first, last) = (blocks.first()?, blocks.last()?);
    let extents = [
        a.first_letter + first.a..a.first_letter + last.a + last.length,
        b.first_letter + first.b..b.first_letter + last.b + last.length,
    ];
    let seeds = [a.first_letter + a.seed, b.first_letter + b.seed];
    Some(Compared { extents, seeds, exact, counts, pair })
}

/// Letters in common of a hundred from the first to the last in common, without which passages are no copies of each other:
/// tables and generated code have lines alike.
const LEAST_IN_COMMON: usize = 75;

fn is_copy(blocks: &[Block], letters: usize) -> bool {
    let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else { return false };
    let longer = (last.a + last.length - first.a).max(last.b + last.length - first.b);
    100 * letters >= LEAST_IN_COMMON * longer
}

/// The sum over all labels.
fn total(counts: &BTreeMap<Label, (u64, u64)>) -> Leak {
    let mut leak = Leak::default();
    counts.values().for_each(|&count| add(&mut leak, count));
    leak
}

fn add(sum: &mut Leak, (dropped, leaked): (u64, u64)) {
    sum.dropped += dropped;
    sum.leaked += leaked;
    sum.share = share(sum.leaked, sum.dropped);
}

impl Comparison {
    pub(crate) fn new(own: &RuleSpec, options: DuplicateOptions, others: &[ComparedRule]) -> Self {
        let others = others.iter().map(|rule| (rule.name.clone(), rule.option.clone()));
        let rules: Vec<_> = [(in_words(own), None)].into_iter().chain(others).collect();
        Self {
            options,
            rate: own.rate(),
            pairs: 0,
            near: 0,
            sums: Sums::default(),
            differences: BTreeMap::new(),
            distances: vec![vec![Leak::default(); rules.len()]; BUCKETS.len() + 1],
            worst: Vec::new(),
            rules,
        }
    }

    /// Adds two passages, which are copies of the passage with this number.
    pub(crate) fn add(&mut self, passage: usize, compared: Compared) {
        let Compared { exact, counts, pair, .. } = compared;
        self.pairs += 1;
        self.near += u64::from(!exact);
        self.sums.add(passage, counts.iter().map(total));
        for (rule, counts) in counts.into_iter().enumerate() {
            for (label, count) in counts {
                let by_rule = self
                    .differences
                    .entry(label.difference)
                    .or_insert_with(|| vec![Leak::default(); self.rules.len()]);
                add(&mut by_rule[rule], count);
                add(&mut self.distances[label.bucket][rule], count);
            }
        }
        self.worst.push(pair);
        if self.worst.len() > 4 * self.options.shown.max(16) {
            self.trim();
        }
    }

    /// Joins passages: `groups` has the new number of each.
    pub(crate) fn regroup(&mut self, groups: &[usize]) {
        self.sums.regroup(groups);
    }

    fn trim(&mut self) {
        let rank =
            |pair: &LeakingPair| (std::cmp::Reverse(pair.leak.leaked), std::cmp::Reverse(pair.characters));
        self.worst.sort_by_key(rank);
        self.worst.truncate(self.options.shown);
    }

    /// The report, but for what the search knows.
    pub(crate) fn report(mut self) -> Duplicates {
        self.trim();
        let leaks = self.sums.leaks(self.rules.len());
        let rules = self.rules.into_iter().zip(leaks).enumerate().map(|(index, ((rule, option), leak))| {
            let excess = (index > 0).then(|| self.sums.excess(index));
            RuleLeak { rule, option, own: index == 0, leak, excess }
        });
        let rules = rules.collect();
        let differences = self.differences.into_iter();
        let distances = self.distances.into_iter().enumerate().map(|(index, leaks)| {
            let bucket = BUCKETS.get(index);
            let last = BUCKETS.last().map_or(0, |bucket| bucket.1);
            DistanceLeak {
                from: bucket.map_or(last + 1, |bucket| bucket.0).into(),
                to: bucket.map(|bucket| bucket.1.into()),
                leaks,
            }
        });
        Duplicates {
            documents: 0,
            characters: 0,
            recurring_share: 0.0,
            copies: Vec::new(),
            searched: 0,
            least_characters: 0,
            pairs: self.pairs,
            near: self.near,
            passages: self.sums.passages(),
            rules,
            independent: 1.0 - self.rate,
            differences: differences
                .map(|(difference, leaks)| DifferenceLeak { difference, leaks })
                .collect(),
            distances: distances.collect(),
            worst: self.worst,
        }
    }
}

/// Two tokens that share a letter.
#[derive(Clone, Copy)]
struct Link {
    token: usize,
    other: usize,
    label: Label,
}

/// The tokens of two passages that share letters, in the order of the first one.
fn links(from: &Excerpt, to: &Excerpt, partners: &Partners) -> Vec<Link> {
    let mut links: Vec<Link> = Vec::new();
    for (letter, partner) in partners.iter().enumerate() {
        let Some(partner) = partner else { continue };
        for token in from.tokens_of(letter) {
            for other in to.tokens_of(partner.letter as usize) {
                match links.last_mut() {
                    Some(last) if (last.token, last.other) == (token, other) => {
                        last.label = last.label.min(partner.label);
                    }
                    _ => links.push(Link { token, other, label: partner.label }),
                }
            }
        }
    }
    links
}

/// Counts the leak from one passage into the other, and gives the tokens that leak.
///
/// A token leaks if it is dropped here, and a token of the other passage that shares a letter with it is trained on. It is
/// counted under the nearest of its letters' differences.
fn leaks(
    links: &[Link],
    (mask, other): (&[u8], &[u8]),
    counts: &mut BTreeMap<Label, (u64, u64)>,
) -> Vec<usize> {
    let mut found: Vec<Option<(Label, bool)>> = vec![None; mask.len()];
    for link in links.iter().filter(|link| mask[link.token] == 0) {
        let (label, leaks) = found[link.token].unwrap_or((link.label, false));
        found[link.token] = Some((label.min(link.label), leaks | (other[link.other] == 1)));
    }
    let mut leaking = Vec::new();
    for (token, found) in found.iter().enumerate() {
        let Some((label, leaks)) = found else { continue };
        let count = counts.entry(*label).or_default();
        count.0 += 1;
        count.1 += u64::from(*leaks);
        if *leaks {
            leaking.push(token);
        }
    }
    leaking
}

/// What differs between aligned passages, in words.
fn in_common(formatting: &[Formatting], exact: bool) -> String {
    let mut all = Formatting::default();
    formatting.iter().for_each(|here| all.add(*here));
    let found = [
        (!exact, "words"),
        (all.breaks, "line breaks"),
        (all.spaces, "spaces"),
        (all.marks, "punctuation"),
        (all.case, "case"),
        (all.forms, "character forms"),
    ];
    let found: Vec<&str> = found.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
    if found.is_empty() { "nothing".to_owned() } else { found.join(", ") }
}

/// The first token to show of each passage: shortly before the token of `a` that leaks first, and its partner's.
fn shown_from(blocks: &[Block], a: &Excerpt, b: &Excerpt, leaking: usize) -> (usize, usize) {
    let first = |excerpt: &Excerpt, letter: usize| excerpt.tokens_of(letter).next().unwrap_or(0);
    let mut shown = None;
    for block in blocks {
        for i in 0..block.length {
            let here = (first(a, block.a + i), first(b, block.b + i));
            shown = shown.or(Some(here));
            if a.tokens_of(block.a + i).any(|token| token >= leaking) {
                return (here.0.saturating_sub(SHOWN_BEFORE), here.1.saturating_sub(SHOWN_BEFORE));
            }
        }
    }
    shown.unwrap_or((0, 0))
}

fn copy(excerpt: &Excerpt, leaking: &[usize], from: usize) -> Copy {
    let to = excerpt.spans.len().min(from + SHOWN_TOKENS);
    let mut done = excerpt.spans.get(from).map_or(0, |span| span.0);
    let token = |token: usize| {
        let (start, end) = excerpt.spans[token];
        // Pieces of one character have the same span: the first one shows it.
        let start = start.max(done);
        let text = excerpt.text.get(start as usize..end.max(start) as usize).unwrap_or("\u{FFFD}").to_owned();
        done = done.max(end);
        ShownToken {
            text,
            dropped: excerpt.masks[0][token] == 0,
            leaked: leaking.binary_search(&token).is_ok(),
        }
    };
    Copy {
        doc_id: excerpt.doc_id.clone(),
        token: (excerpt.first_token + from) as u64,
        tokens: (from..to).map(token).collect(),
    }
}
