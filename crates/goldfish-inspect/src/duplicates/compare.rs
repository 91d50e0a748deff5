//! Copies side by side: what differs, and what leaks.

use std::collections::BTreeMap;

use goldfish_mask::RuleSpec;
use goldfish_shard::Manifest;

use super::align::{Alignment, align};
use super::excerpt::{Excerpt, NamedRule};
use crate::frames::share;
use crate::options::DuplicateOptions;
use crate::report::{Copy, Duplicates, KindLeak, Leak, LeakingPair, RuleLeak, ShownToken};

/// Tokens shown of a passage, and how many of them come before the first leak.
const SHOWN_TOKENS: usize = 48;
const SHOWN_BEFORE: usize = 12;

/// Pairs of copies as they are compared.
pub(crate) struct Comparison {
    options: DuplicateOptions,
    k: u32,
    settling: u32,
    names: Vec<String>,
    pairs: u64,
    near: u64,
    leaks: Vec<Leak>,
    kinds: BTreeMap<String, (u64, Vec<Leak>)>,
    worst: Vec<LeakingPair>,
}

/// The character of the other passage that a character is aligned with.
#[derive(Clone, Copy)]
struct Partner {
    char: u32,
    /// Whether the contexts before the words of both agree.
    settled: bool,
}

/// For each character of a passage, its partner.
type Partners = Vec<Option<Partner>>;

/// Least letters in common after which masks should agree.
const SETTLING: u32 = 50;

impl Comparison {
    pub(crate) fn new(manifest: &Manifest, options: DuplicateOptions, rules: &[NamedRule]) -> Self {
        let names: Vec<String> = [own_name(&manifest.rule)]
            .into_iter()
            .chain(rules.iter().map(|rule| rule.name.clone()))
            .collect();
        let leaks = vec![Leak::default(); names.len()];
        Self {
            options,
            k: manifest.rule.k(),
            settling: match manifest.rule.definition() {
                rule if rule.needs_text() => rule.context().unwrap_or(0).max(SETTLING),
                _ => SETTLING,
            },
            leaks,
            names,
            pairs: 0,
            near: 0,
            kinds: BTreeMap::new(),
            worst: Vec::new(),
        }
    }

    /// Compares two passages, if they have enough in common.
    pub(crate) fn add(&mut self, a: &Excerpt, b: &Excerpt) {
        let alignment = align(a.side(), b.side(), (a.seed, b.seed));
        let characters: usize = alignment.blocks.iter().map(|block| block.length).sum();
        if characters < self.options.least_characters {
            return;
        }
        self.pairs += 1;
        self.near += u64::from(!alignment.exact);
        let (from_a, from_b) = partners(&alignment, a, b, self.settling as usize);
        let kind = kind(&alignment, a, b);
        let mut own = Leak::default();
        let entry =
            self.kinds.entry(kind.clone()).or_insert_with(|| (0, vec![Leak::default(); self.names.len()]));
        entry.0 += 1;
        let mut leaking = (Vec::new(), Vec::new());
        for rule in 0..self.names.len() {
            let (there, leaking_a) = leak(a, b, &from_a, rule);
            let (back, leaking_b) = leak(b, a, &from_b, rule);
            for leak in [there, back] {
                add(&mut self.leaks[rule], leak);
                add(&mut entry.1[rule], leak);
                if rule == 0 {
                    add(&mut own, leak);
                }
            }
            if rule == 0 {
                leaking = (leaking_a, leaking_b);
            }
        }
        let first = |tokens: &[usize], alternative: usize| tokens.first().copied().unwrap_or(alternative);
        let (shown_a, shown_b) = shown_from(&alignment, a, b, first(&leaking.0, usize::MAX));
        self.worst.push(LeakingPair {
            kind,
            characters: characters as u64,
            leak: own,
            copies: [copy(a, &leaking.0, shown_a), copy(b, &leaking.1, shown_b)],
        });
        if self.worst.len() > 4 * self.options.shown.max(16) {
            self.trim();
        }
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
        let rules = self.names.into_iter().zip(self.leaks).enumerate();
        let rules = rules.map(|(index, (rule, leak))| RuleLeak { rule, own: index == 0, leak });
        let mut kinds: Vec<KindLeak> =
            self.kinds.into_iter().map(|(kind, (pairs, leaks))| KindLeak { kind, pairs, leaks }).collect();
        kinds.sort_by_key(|kind| std::cmp::Reverse(kind.pairs));
        Duplicates {
            documents: 0,
            characters: 0,
            recurring_share: 0.0,
            copies: Vec::new(),
            complete: true,
            least_characters: 0,
            settling: self.settling.into(),
            pairs: self.pairs,
            near: self.near,
            rules: rules.collect(),
            independent: 1.0 - 1.0 / f64::from(self.k),
            kinds,
            worst: self.worst,
        }
    }
}

fn own_name(rule: &RuleSpec) -> String {
    match rule.context() {
        Some(context) => format!("{}, context {context}", rule.name()),
        None => rule.name().to_owned(),
    }
}

fn add(sum: &mut Leak, leak: Leak) {
    sum.dropped += leak.dropped;
    sum.leaked += leak.leaked;
    sum.share = share(sum.leaked, sum.dropped);
    sum.settled_dropped += leak.settled_dropped;
    sum.settled_leaked += leak.settled_leaked;
    sum.settled_share = share(sum.settled_leaked, sum.settled_dropped);
}

fn partners(alignment: &Alignment, a: &Excerpt, b: &Excerpt, settling: usize) -> (Partners, Partners) {
    let (mut from_a, mut from_b) = (vec![None; a.sources.len()], vec![None; b.sources.len()]);
    // Characters in common without a break up to here, and up to the start of the current word.
    let (mut common, mut before_word) = (0, 0);
    let mut end = (0, 0);
    for block in &alignment.blocks {
        if (block.a, block.b) != end {
            common = 0;
            before_word = 0;
        }
        end = (block.a + block.length, block.b + block.length);
        for i in 0..block.length {
            let (x, y) = (block.a + i, block.b + i);
            if a.side().starts[x] || b.side().starts[y] {
                // Where only one of them starts a word here, the other's word started with less in common.
                let both = a.side().starts[x] && b.side().starts[y];
                before_word = if both || before_word == 0 { common } else { before_word.min(common) };
            }
            let settled = before_word >= settling;
            from_a[x] = Some(Partner { char: y as u32, settled });
            from_b[y] = Some(Partner { char: x as u32, settled });
            common += 1;
        }
    }
    (from_a, from_b)
}

/// What is known of a dropped token of one passage.
#[derive(Clone, Copy, Default)]
struct Dropped {
    aligned: bool,
    leaks: bool,
    settled: bool,
}

/// The leak from one passage into the other, and the tokens that leak.
///
/// A token leaks if it is dropped here, and a token of the other passage that shares a letter with it is trained on.
fn leak(from: &Excerpt, to: &Excerpt, partners: &Partners, rule: usize) -> (Leak, Vec<usize>) {
    let (mask, other) = (&from.masks[rule], &to.masks[rule]);
    let mut found = vec![Dropped { settled: true, ..Dropped::default() }; mask.len()];
    for (char, partner) in partners.iter().enumerate() {
        let Some(partner) = partner else { continue };
        for token in from.tokens_of(char).filter(|&token| mask[token] == 0) {
            let dropped = &mut found[token];
            dropped.aligned = true;
            dropped.leaks |= to.tokens_of(partner.char as usize).any(|token| other[token] == 1);
            dropped.settled &= partner.settled;
        }
    }
    let count = |of: &dyn Fn(&Dropped) -> bool| found.iter().filter(|dropped| of(dropped)).count() as u64;
    let mut leak = Leak::default();
    add(
        &mut leak,
        Leak {
            dropped: count(&|dropped| dropped.aligned),
            leaked: count(&|dropped| dropped.leaks),
            settled_dropped: count(&|dropped| dropped.aligned && dropped.settled),
            settled_leaked: count(&|dropped| dropped.leaks && dropped.settled),
            ..Leak::default()
        },
    );
    let leaking: Vec<usize> = (0..found.len()).filter(|&token| found[token].leaks).collect();
    (leak, leaking)
}

/// What differs between aligned passages, in words.
fn kind(alignment: &Alignment, a: &Excerpt, b: &Excerpt) -> String {
    let [mut breaks, mut spaces, mut marks, mut case, mut forms] = [false; 5];
    let source = |excerpt: &Excerpt, char: usize| -> (usize, usize) {
        let (start, end) = excerpt.sources[char];
        (start as usize, end as usize)
    };
    for block in &alignment.blocks {
        for i in 0..block.length {
            let (at_a, at_b) = (source(a, block.a + i), source(b, block.b + i));
            let (x, y) = (a.text.get(at_a.0..at_a.1), b.text.get(at_b.0..at_b.1));
            let (x, y) = (x.unwrap_or_default(), y.unwrap_or_default());
            if x != y {
                let cased = x.to_lowercase() == y.to_lowercase();
                case |= cased;
                forms |= !cased;
            }
            if i == 0 {
                continue;
            }
            let (before_a, before_b) = (source(a, block.a + i - 1), source(b, block.b + i - 1));
            let between =
                |text: &str, from: usize, to: usize| text.get(from..to).unwrap_or_default().to_owned();
            let (x, y) = (between(&a.text, before_a.1, at_a.0), between(&b.text, before_b.1, at_b.0));
            if x == y {
                continue;
            }
            let bare = |gap: &str| gap.split_whitespace().collect::<String>();
            let lines = |gap: &str| gap.matches('\n').count();
            let (other_marks, other_lines) = (bare(&x) != bare(&y), lines(&x) != lines(&y));
            marks |= other_marks;
            breaks |= other_lines;
            spaces |= !other_marks && !other_lines;
        }
    }
    let found = [
        (!alignment.exact, "words"),
        (breaks, "line breaks"),
        (spaces, "spaces"),
        (marks, "punctuation"),
        (case, "case"),
        (forms, "character forms"),
    ];
    let found: Vec<&str> = found.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
    if found.is_empty() { "nothing".to_owned() } else { found.join(", ") }
}

/// The first token to show of each passage: shortly before the token of `a` that leaks first, and its partner's.
fn shown_from(alignment: &Alignment, a: &Excerpt, b: &Excerpt, leaking: usize) -> (usize, usize) {
    let first = |excerpt: &Excerpt, char: usize| excerpt.tokens_of(char).next().unwrap_or(0);
    let mut shown = None;
    for block in &alignment.blocks {
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
