//! Regular expressions as tables: one step a character, the match that a backtracking engine would find.
//!
//! A state is the list of places in the expression at which a backtracking engine could be, in the order in which it
//! would try them; once a place is the end of the expression, those after it can no longer win. Whether a place is
//! the end may depend on the next character, so that a step reports a match *before* the character that it reads.

use std::collections::HashMap;

use regex_syntax::hir::{Class, ClassUnicode, Hir, HirKind, Look};

use crate::regex::Alternative;
use crate::symbols::{Symbols, Units};

/// Most places of an expression.
const MAX_PLACES: usize = 4096;

/// In a transition: the expression matches what was read before this step.
const MATCH: u16 = 1 << 15;

/// The state from which nothing can match any more.
const DEAD: u16 = 0;

/// What can be done at a place of an expression. The numbers are places; classes are indices into those of
/// [`collect_classes`].
enum Place {
    /// Reads a character of a class.
    Read { class: usize, next: usize },
    /// Continues at the first place; if that fails, at the second.
    Either(usize, usize),
    /// Continues unless a character of a class is next.
    NotBefore { class: usize, next: usize },
    /// Continues if the text ends here.
    AtEnd(usize),
    /// The end of the expression.
    End,
}

/// A table for one expression.
pub(crate) struct Automaton {
    /// For each state a row: the step for each symbol and, last, that for the end of the text. A state is the index
    /// of its row.
    steps: Vec<u16>,
    start: u16,
    /// The index, in a row, of the step at the end of the text.
    end: usize,
}

impl Automaton {
    /// The table of some alternatives. `ends` says of each symbol whether it counts as the end of the text.
    pub(crate) fn new(
        alternatives: &[Alternative],
        classes: &[ClassUnicode],
        symbols: &Symbols,
        ends: impl Fn(usize) -> bool,
    ) -> Result<Self, String> {
        let mut places = Places { list: vec![Place::End], classes };
        let mut start = None;
        for alternative in alternatives.iter().rev() {
            let at = places.alternative(alternative)?;
            start = Some(match start {
                None => at,
                Some(others) => places.push(Place::Either(at, others))?,
            });
        }
        let start: Vec<usize> = start.into_iter().collect();
        let width = symbols.len() + 1;
        let mut steps = vec![DEAD; width];
        let mut states: Vec<Vec<usize>> = vec![Vec::new()];
        let mut rows: HashMap<Vec<usize>, u16> = HashMap::from([(Vec::new(), DEAD)]);
        let mut row_of = |state: Vec<usize>, states: &mut Vec<Vec<usize>>| -> Result<u16, String> {
            if let Some(&row) = rows.get(&state) {
                return Ok(row);
            }
            let row = u16::try_from(states.len() * width).ok().filter(|row| row & MATCH == 0);
            let row = row.ok_or("its regex is too large")?;
            rows.insert(state.clone(), row);
            states.push(state);
            Ok(row)
        };
        let start = row_of(start, &mut states)?;
        let mut next = 1;
        while next < states.len() {
            let state = states[next].clone();
            let at_end = places.step(&state, None, symbols);
            for symbol in 0..symbols.len() {
                let (followers, matched) =
                    if ends(symbol) { at_end.clone() } else { places.step(&state, Some(symbol), symbols) };
                let row = row_of(followers, &mut states)?;
                steps.push(if matched { row | MATCH } else { row });
            }
            steps.push(if at_end.1 { MATCH } else { DEAD });
            next += 1;
        }
        Ok(Self { steps, start, end: symbols.len() })
    }

    /// The end of the match at byte `at` of `text`, and how many bytes were read to find it.
    #[inline(always)]
    pub(crate) fn find(&self, units: &impl Units, text: &[u8], at: usize) -> (Option<usize>, usize) {
        let (mut here, mut found) = (at, None);
        let mut state = usize::from(self.start);
        loop {
            if here == text.len() {
                if self.steps[state + self.end] & MATCH != 0 {
                    found = Some(here);
                }
                return (found, here);
            }
            let (symbol, len) = units.at(text, here);
            let step = self.steps[state + usize::from(symbol)];
            if step & MATCH != 0 {
                found = Some(here);
            }
            state = usize::from(step & !MATCH);
            if state == usize::from(DEAD) {
                return (found, here);
            }
            here += len;
        }
    }

    /// Whether every text that begins with this symbol begins with a match.
    pub(crate) fn always_matches(&self, symbol: usize) -> bool {
        let state = usize::from(self.steps[usize::from(self.start) + symbol] & !MATCH);
        self.steps[state..=state + self.end].iter().all(|step| step & MATCH != 0)
    }
}

/// All classes of some alternatives, each once.
pub(crate) fn collect_classes(
    alternatives: &[Alternative],
    into: &mut Vec<ClassUnicode>,
) -> Result<(), String> {
    let mut add = |class: &ClassUnicode| {
        if !into.contains(class) {
            into.push(class.clone());
        }
    };
    for alternative in alternatives {
        match alternative {
            Alternative::Plain(hir) => each_class(hir, &mut add)?,
            Alternative::Run { run, end } => [run, end].into_iter().for_each(&mut add),
        }
    }
    Ok(())
}

fn each_class(hir: &Hir, add: &mut impl FnMut(&ClassUnicode)) -> Result<(), String> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(Look::End) => {}
        HirKind::Literal(literal) => characters(&literal.0)?.for_each(|c| add(&one(c))),
        HirKind::Class(Class::Unicode(class)) => add(class),
        HirKind::Repetition(repetition) => each_class(&repetition.sub, add)?,
        HirKind::Capture(capture) => each_class(&capture.sub, add)?,
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().try_for_each(|part| each_class(part, add))?;
        }
        HirKind::Class(Class::Bytes(_)) | HirKind::Look(_) => {
            return Err("its regex has classes of bytes, or assertions".to_owned());
        }
    }
    Ok(())
}

fn characters(literal: &[u8]) -> Result<impl DoubleEndedIterator<Item = char>, String> {
    Ok(std::str::from_utf8(literal).map_err(|_| "its regex is not text")?.chars())
}

fn one(c: char) -> ClassUnicode {
    ClassUnicode::new([regex_syntax::hir::ClassUnicodeRange::new(c, c)])
}

struct Places<'a> {
    list: Vec<Place>,
    classes: &'a [ClassUnicode],
}

impl Places<'_> {
    fn push(&mut self, place: Place) -> Result<usize, String> {
        if self.list.len() == MAX_PLACES {
            return Err("its regex is too large".to_owned());
        }
        self.list.push(place);
        Ok(self.list.len() - 1)
    }

    fn class(&self, class: &ClassUnicode) -> Result<usize, String> {
        let known = self.classes.iter().position(|known| known == class);
        known.ok_or_else(|| "its regex has a class that was not collected".to_owned())
    }

    /// Adds an alternative and returns where it starts. The end of the expression is place 0.
    fn alternative(&mut self, alternative: &Alternative) -> Result<usize, String> {
        match alternative {
            Alternative::Plain(hir) => self.add(hir, 0),
            Alternative::Run { run, end } => {
                let (run, end) = (self.class(run)?, self.class(end)?);
                let done = self.push(Place::NotBefore { class: end, next: 0 })?;
                self.at_least_one(done, |places, next| places.push(Place::Read { class: run, next }))
            }
        }
    }

    /// Adds an expression after which `next` comes, and returns where it starts.
    fn add(&mut self, hir: &Hir, mut next: usize) -> Result<usize, String> {
        match hir.kind() {
            HirKind::Empty => {}
            HirKind::Look(Look::End) => next = self.push(Place::AtEnd(next))?,
            HirKind::Literal(literal) => {
                for c in characters(&literal.0)?.rev() {
                    let class = self.class(&one(c))?;
                    next = self.push(Place::Read { class, next })?;
                }
            }
            HirKind::Class(Class::Unicode(class)) => {
                let class = self.class(class)?;
                next = self.push(Place::Read { class, next })?;
            }
            HirKind::Capture(capture) => next = self.add(&capture.sub, next)?,
            HirKind::Concat(parts) => {
                for part in parts.iter().rev() {
                    next = self.add(part, next)?;
                }
            }
            HirKind::Alternation(parts) => {
                let mut others = None;
                for part in parts.iter().rev() {
                    let at = self.add(part, next)?;
                    others = Some(match others {
                        None => at,
                        Some(others) => self.push(Place::Either(at, others))?,
                    });
                }
                next = others.unwrap_or(next);
            }
            HirKind::Repetition(repetition) => {
                let sub = &repetition.sub;
                if repetition.max != Some(1) && sub.properties().minimum_len() == Some(0) {
                    return Err("its regex repeats what may be empty".to_owned());
                }
                let either = |first, second| match repetition.greedy {
                    true => Place::Either(first, second),
                    false => Place::Either(second, first),
                };
                match repetition.max {
                    Some(max) => {
                        let after = next;
                        for _ in repetition.min..max {
                            let once = self.add(sub, next)?;
                            next = self.push(either(once, after))?;
                        }
                    }
                    None => {
                        let again = self.push(Place::End)?;
                        let once = self.add(sub, again)?;
                        self.list[again] = either(once, next);
                        next = again;
                    }
                }
                for _ in 0..repetition.min {
                    next = self.add(sub, next)?;
                }
            }
            HirKind::Class(Class::Bytes(_)) | HirKind::Look(_) => {
                return Err("its regex has classes of bytes, or assertions".to_owned());
            }
        }
        Ok(next)
    }

    /// `once+`, greedy, after which `next` comes.
    fn at_least_one(
        &mut self,
        next: usize,
        once: impl FnOnce(&mut Self, usize) -> Result<usize, String>,
    ) -> Result<usize, String> {
        let again = self.push(Place::End)?;
        let start = once(self, again)?;
        self.list[again] = Place::Either(start, next);
        Ok(start)
    }

    /// The places after reading a symbol, or at the end of the text, and whether the expression matches before that.
    fn step(&self, state: &[usize], symbol: Option<usize>, symbols: &Symbols) -> (Vec<usize>, bool) {
        let mut followers = Vec::new();
        let mut seen = vec![false; self.list.len()];
        let mut open: Vec<usize> = state.iter().rev().copied().collect();
        while let Some(at) = open.pop() {
            if std::mem::replace(&mut seen[at], true) {
                continue;
            }
            match self.list[at] {
                Place::Read { class, next } => {
                    let reads = symbol.is_some_and(|symbol| symbols.is_in(symbol, class));
                    if reads && !followers.contains(&next) {
                        followers.push(next);
                    }
                }
                Place::Either(first, second) => open.extend([second, first]),
                Place::NotBefore { class, next } => {
                    if symbol.is_none_or(|symbol| !symbols.is_in(symbol, class)) {
                        open.push(next);
                    }
                }
                Place::AtEnd(next) => open.extend(symbol.is_none().then_some(next)),
                Place::End => return (followers, true),
            }
        }
        (followers, false)
    }
}
