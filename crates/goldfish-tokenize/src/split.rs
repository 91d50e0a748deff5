//! Cutting text into words, by a sequence of regular expressions.
//!
//! Each expression is applied within the pieces that the ones before it left, and a piece is the whole text for it.
//! Its matches are pieces, and so is the text between two of them. `fancy-regex` has a stack and a limit for
//! backtracking; where a text exceeds one of them, it ceases to cut, which is followed here.

use regex_syntax::hir::ClassUnicode;

use crate::automaton::{Automaton, collect_classes};
use crate::regex::{Alternative, Regex};
use crate::segments::Declined;
use crate::symbols::{Symbols, Units};

/// Text in which `fancy-regex` finds nothing is left to it from this many bytes, times alternatives, on. It gives up
/// after a million steps back, one for each alternative that fails.
const MAX_GAP: usize = 900_000;

/// How much more than a text may be read to cut it: beyond that, the exact path may be faster.
const MAX_READS: usize = 8;

/// One or more expressions, applied one after the other.
pub(crate) struct Splitter {
    /// Expressions for one or more characters of a class: characters of these are cut out first, and what is
    /// between is a text of its own for the others.
    runs: Vec<ClassRun>,
    /// For each symbol the index of its run plus one, or 0.
    run_of: Vec<u8>,
    /// The first of the other expressions.
    words: Automaton,
    limits: Option<Limits>,
    /// The expressions after that.
    rest: Option<Box<Splitter>>,
}

/// `class{1,limit}`.
struct ClassRun {
    limit: usize,
    /// The expressions after this one.
    rest: Option<Box<Splitter>>,
}

/// Where `fancy-regex` gives up on an expression with `\s+(?!\S)`.
struct Limits {
    alternatives: usize,
    longest_run: usize,
    /// Whether a symbol is in the class of the run.
    in_run: Vec<bool>,
    /// What is tried before the run.
    before: Automaton,
}

impl Splitter {
    /// Splits by some expressions in this order. Also returns the symbols of their characters.
    pub(crate) fn new(stages: &[Regex]) -> Result<(Self, Symbols), String> {
        let mut classes = Vec::new();
        for stage in stages {
            collect_classes(&stage.alternatives, &mut classes)?;
        }
        let symbols = Symbols::new(&classes).ok_or("its regexes have too many classes")?;
        Ok((Self::build(stages, &classes, &symbols)?, symbols))
    }

    fn build(stages: &[Regex], classes: &[ClassUnicode], symbols: &Symbols) -> Result<Self, String> {
        let rest = |after: usize| -> Result<Option<Box<Self>>, String> {
            let stages = &stages[after..];
            if stages.is_empty() {
                Ok(None)
            } else {
                Self::build(stages, classes, symbols).map(|rest| Some(Box::new(rest)))
            }
        };
        let mut runs = Vec::new();
        let mut run_of = vec![0; symbols.len()];
        for (stage, (class, limit)) in stages.iter().map_while(Regex::as_class).enumerate() {
            let class = classes.iter().position(|known| known == class).ok_or("a class is missing")?;
            let number = u8::try_from(stage + 1).map_err(|_| "it splits too often")?;
            for (symbol, run) in run_of.iter_mut().enumerate() {
                if *run == 0 && symbols.is_in(symbol, class) {
                    *run = number;
                }
            }
            runs.push(ClassRun {
                limit: limit.map_or(usize::MAX, |limit| limit as usize),
                rest: rest(stage + 1)?,
            });
        }
        let automaton =
            |alternatives: &[_]| Automaton::new(alternatives, classes, symbols, |symbol| run_of[symbol] > 0);
        let words = stages.get(runs.len());
        let automaton_of_words = automaton(words.map_or(&[], |words| &words.alternatives))?;
        let limits = match words.and_then(|words| Some((words, words.run?, words.longest_run()?))) {
            None => None,
            Some((words, run, longest_run)) => {
                let mut in_run = in_run(&words.alternatives[run], classes, symbols)?;
                // A symbol that is cut out ends the text.
                in_run.iter_mut().zip(&run_of).for_each(|(inside, run)| *inside &= *run == 0);
                if (0..symbols.len())
                    .any(|symbol| in_run[symbol] && !automaton_of_words.always_matches(symbol))
                {
                    return Err("its regex may leave white space unmatched".to_owned());
                }
                let before = automaton(&words.alternatives[..run])?;
                Some(Limits { alternatives: words.alternatives.len(), longest_run, in_run, before })
            }
        };
        let rest = if words.is_some() { rest(runs.len() + 1)? } else { None };
        Ok(Self { runs, run_of, words: automaton_of_words, limits, rest })
    }

    /// Whether all text is part of a match, so that it makes no difference to remove what is between matches. Only
    /// for a single expression.
    pub(crate) fn covers(&self) -> bool {
        self.runs.is_empty() && (0..self.run_of.len()).all(|symbol| self.words.always_matches(symbol))
    }

    /// Calls `word` with the start and end of each word in `text[from..]`, in order, without gaps.
    #[inline]
    pub(crate) fn split<U: Units, F: FnMut(usize, usize)>(
        &self,
        units: &U,
        text: &[u8],
        from: usize,
        word: &mut F,
    ) -> Result<(), Declined> {
        let mut reads_left = MAX_READS * (text.len() - from) + 1024;
        // `done` is the end of the last word; up to `at` there is no match.
        let (mut done, mut at) = (from, from);
        while at < text.len() {
            let (found, read) = self.words.find(units, text, at);
            reads_left = reads_left.checked_sub(read - at).ok_or(Declined)?;
            let Some(mut end) = found else {
                let (symbol, len) = units.at(text, at);
                match self.run_of[usize::from(symbol)] {
                    0 => at += len,
                    run => {
                        self.piece(units, text, (done, at), word)?;
                        at = self.run(units, text, at, run, word)?;
                        done = at;
                    }
                }
                continue;
            };
            if let Some(limits) = &self.limits {
                if end - at >= limits.longest_run
                    && let Some(piece_end) = self.overflow(limits, units, text, at)
                {
                    (at, end) = (done, piece_end);
                } else if (at - done) * limits.alternatives > MAX_GAP {
                    return Err(Declined);
                }
            }
            self.piece(units, text, (done, at), word)?;
            self.piece(units, text, (at, end), word)?;
            (done, at) = (end, end);
        }
        self.piece(units, text, (done, at), word)
    }

    /// Hands a piece, which may be empty, to the expressions after those of this splitter.
    #[inline(always)]
    fn piece<U: Units, F: FnMut(usize, usize)>(
        &self,
        units: &U,
        text: &[u8],
        (from, to): (usize, usize),
        word: &mut F,
    ) -> Result<(), Declined> {
        match &self.rest {
            _ if from == to => {}
            None => word(from, to),
            Some(rest) => rest.split(units, &text[..to], from, word)?,
        }
        Ok(())
    }

    /// Cuts out characters of the run with this number from `at` on, and returns where they end.
    fn run<U: Units, F: FnMut(usize, usize)>(
        &self,
        units: &U,
        text: &[u8],
        at: usize,
        number: u8,
        word: &mut F,
    ) -> Result<usize, Declined> {
        let run = &self.runs[usize::from(number) - 1];
        let end =
            self.end_of(units, text, at, run.limit, |symbol| self.run_of[usize::from(symbol)] == number);
        match &run.rest {
            None => word(at, end),
            Some(rest) => rest.split(units, &text[..end], at, word)?,
        }
        Ok(end)
    }

    /// The end of the piece in which `fancy-regex` overflows its stack, if it does so at `at`.
    #[cold]
    fn overflow<U: Units>(&self, limits: &Limits, units: &U, text: &[u8], at: usize) -> Option<usize> {
        let longest = limits.longest_run;
        let end = self.end_of(units, text, at, longest, |symbol| limits.in_run[usize::from(symbol)]);
        if end == text.len() || limits.before.find(units, text, at).0.is_some() {
            return None;
        }
        let overflows = limits.in_run[usize::from(units.at(text, end).0)];
        overflows
            .then(|| self.end_of(units, text, at, usize::MAX, |symbol| self.run_of[usize::from(symbol)] == 0))
    }

    /// The end of at most `limit` characters from `at` on of which `member` is true.
    fn end_of<U: Units>(
        &self,
        units: &U,
        text: &[u8],
        mut at: usize,
        limit: usize,
        member: impl Fn(u8) -> bool,
    ) -> usize {
        for _ in 0..limit {
            if at == text.len() {
                break;
            }
            let (symbol, len) = units.at(text, at);
            if !member(symbol) {
                break;
            }
            at += len;
        }
        at
    }
}

/// For each symbol whether it is in the class of the run.
fn in_run(run: &Alternative, classes: &[ClassUnicode], symbols: &Symbols) -> Result<Vec<bool>, String> {
    let Alternative::Run { run, .. } = run else { return Err("a run is missing".to_owned()) };
    let class = classes.iter().position(|known| known == run).ok_or("a class is missing")?;
    Ok((0..symbols.len()).map(|symbol| symbols.is_in(symbol, class)).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// `SplitMix64` (Steele, Lea, Flood 2014).
    struct Random(u64);

    impl Random {
        fn below(&mut self, n: usize) -> usize {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) % n as u64) as usize
        }

        fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
            from[self.below(from.len())]
        }

        fn alternative(&mut self) -> String {
            const ATOMS: [&str; 20] = [
                "a",
                "b",
                " ",
                "\\n",
                "é",
                ".",
                "[ab]",
                "[^\\s]",
                "\\s",
                "\\S",
                "\\p{L}",
                "\\p{N}",
                "(?i:s)",
                "(?:a|ab)",
                "(?:ab|a|b)",
                "(b|1)",
                "[^\\s\\p{L}]",
                "[\\p{L}&&[^a]]",
                "(?i:'s|'re)",
                "'",
            ];
            const TIMES: [&str; 12] = ["", "", "", "", "?", "*", "+", "{1,2}", "{2,}", "+?", "*?", "??"];
            (0..1 + self.below(3)).map(|_| self.pick(&ATOMS).to_owned() + self.pick(&TIMES)).collect()
        }

        fn regex(&mut self) -> String {
            if self.below(4) == 0 {
                return self.pick(&["\\p{N}{1,2}", "[a1]", "\\s+", "\\p{L}+", " "]).to_owned();
            }
            let mut alternatives: Vec<String> = (0..1 + self.below(4)).map(|_| self.alternative()).collect();
            if self.below(2) == 0 {
                let at = self.below(alternatives.len() + 1);
                alternatives.insert(at, "\\s+(?!\\S)".to_owned());
                alternatives.push("\\s+".to_owned());
            }
            if self.below(6) == 0 {
                alternatives.push("a+$".to_owned());
            }
            alternatives.join("|")
        }

        fn text(&mut self) -> String {
            const CHARACTERS: [&str; 16] =
                ["a", "a", "b", "b", " ", " ", " ", "\n", "\t", "1", "2", "é", "s", "S", "ſ", "'"];
            (0..self.below(14)).map(|_| self.pick(&CHARACTERS)).collect()
        }
    }

    /// What `fancy-regex` makes of it.
    fn pieces(regexes: &[fancy_regex::Regex], text: &str) -> Vec<(usize, usize)> {
        let mut pieces = vec![(0, text.len())];
        for regex in regexes {
            let mut next = Vec::new();
            for (from, to) in pieces {
                let mut at = from;
                for found in regex.find_iter(&text[from..to]).map_while(Result::ok) {
                    next.extend([(at, from + found.start()), (from + found.start(), from + found.end())]);
                    at = from + found.end();
                }
                next.push((at, to));
            }
            next.retain(|(from, to)| from < to);
            pieces = next;
        }
        pieces
    }

    #[test]
    fn random_regexes_cut_like_fancy_regex() {
        let mut random = Random(1);
        let mut followed = 0;
        for _ in 0..2_000 {
            let regexes: Vec<String> = (0..1 + random.below(3)).map(|_| random.regex()).collect();
            let parsed: Result<Vec<Regex>, String> =
                regexes.iter().map(|regex| Regex::parse(regex)).collect();
            let Ok((splitter, symbols)) = parsed.and_then(|parsed| Splitter::new(&parsed)) else { continue };
            followed += 1;
            let theirs: Vec<_> =
                regexes.iter().map(|regex| fancy_regex::Regex::new(regex).unwrap()).collect();
            for _ in 0..30 {
                let text = random.text();
                let mut words = Vec::new();
                splitter.split(&symbols, text.as_bytes(), 0, &mut |from, to| words.push((from, to))).unwrap();
                assert_eq!(words, pieces(&theirs, &text), "{regexes:?} on {text:?}");
                if splitter.covers() {
                    let found = theirs[0].find_iter(&text).map(|found| found.unwrap().range());
                    let found: Vec<_> = found.map(|range| (range.start, range.end)).collect();
                    assert_eq!(pieces(&theirs[..1], &text), found, "{regexes:?} on {text:?}");
                }
            }
        }
        assert!(followed > 500, "only {followed} of the regexes were followed");
    }
}
