//! The regular expressions that the fast path can follow, read with the parser of the exact path.
//!
//! `fancy-regex` tries the alternatives of an expression one after the other. Those without lookaround it hands to
//! `regex-automata` as text; the same text is parsed here, so that neither classes nor precedence can differ. The
//! one lookaround that tokenizers use is `\s+(?!\S)`: a run of one class, not followed by another.

use fancy_regex::{Assertion, Expr, LookAround};
use regex_syntax::hir::{Class, ClassUnicode, Hir, HirKind};

/// Entries of the stack on which `fancy-regex` keeps what it may try later.
const STACK: usize = 1_000_000;

/// One alternative of an expression.
pub(crate) enum Alternative {
    /// Without lookaround; never empty.
    Plain(Hir),
    /// `run+(?!end)`: as many characters as possible, but one less where `end` would follow.
    Run { run: ClassUnicode, end: ClassUnicode },
}

/// A regular expression: the alternatives, of which the first that matches wins.
pub(crate) struct Regex {
    pub(crate) alternatives: Vec<Alternative>,
    /// Which of them is the `Run`, if one is.
    pub(crate) run: Option<usize>,
}

impl Regex {
    /// Parses an expression, or says why the fast path cannot follow it.
    pub(crate) fn parse(pattern: &str) -> Result<Self, String> {
        let tree = Expr::parse_tree(pattern).map_err(|error| error.to_string())?;
        let alternatives = match &tree.expr {
            Expr::Alt(alternatives) => alternatives.iter().map(alternative).collect(),
            single => alternative(single).map(|one| vec![one]),
        };
        let alternatives = alternatives.map_err(|reason| format!("its regex {pattern:?} {reason}"))?;
        let mut runs =
            (0..alternatives.len()).filter(|&at| matches!(alternatives[at], Alternative::Run { .. }));
        let run = runs.next();
        if runs.next().is_some() {
            return Err(format!("its regex {pattern:?} looks ahead twice"));
        }
        Ok(Self { alternatives, run })
    }

    /// An expression for one to `limit` characters of a class, or any number of them.
    pub(crate) fn class(class: ClassUnicode, limit: Option<u32>) -> Self {
        let sub = Box::new(Hir::class(Class::Unicode(class)));
        let repetition = regex_syntax::hir::Repetition { min: 1, max: limit, greedy: true, sub };
        Self { alternatives: vec![Alternative::Plain(Hir::repetition(repetition))], run: None }
    }

    /// The class and the limit, if the expression is what [`Regex::class`] makes.
    pub(crate) fn as_class(&self) -> Option<(&ClassUnicode, Option<u32>)> {
        let [Alternative::Plain(hir)] = self.alternatives.as_slice() else { return None };
        match hir.kind() {
            HirKind::Class(Class::Unicode(class)) => Some((class, Some(1))),
            HirKind::Repetition(repetition) if repetition.min == 1 && repetition.greedy => {
                match repetition.sub.kind() {
                    HirKind::Class(Class::Unicode(class)) => Some((class, repetition.max)),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// The most characters of the `Run` that `fancy-regex` can match before its stack is full.
    ///
    /// The stack holds an entry for the search from later characters, one for the next alternative if there is one, and
    /// one for each character of the run.
    pub(crate) fn longest_run(&self) -> Option<usize> {
        let run = self.run?;
        Some(STACK - 1 - usize::from(run + 1 < self.alternatives.len()))
    }
}

fn alternative(expr: &Expr) -> Result<Alternative, &'static str> {
    if let Expr::Concat(parts) = expr
        && let [
            Expr::Repeat { child, lo: 1, hi: usize::MAX, greedy: true },
            Expr::LookAround(end, LookAround::LookAheadNeg),
        ] = parts.as_slice()
        && let (Some(run), Some(end)) = (class(child), class(end))
    {
        // Then the run can always do with one character less.
        let mut both = run.clone();
        both.intersect(&end);
        if both.ranges().is_empty() && !run.ranges().is_empty() {
            return Ok(Alternative::Run { run, end });
        }
    }
    let hir = plain(expr)?;
    match hir.properties().minimum_len() {
        Some(1..) => Ok(Alternative::Plain(hir)),
        _ => Err("may match nothing"),
    }
}

/// The class of an expression that matches exactly one character.
fn class(expr: &Expr) -> Option<ClassUnicode> {
    match plain(expr).ok()?.into_kind() {
        HirKind::Class(Class::Unicode(class)) => Some(class),
        _ => None,
    }
}

fn plain(expr: &Expr) -> Result<Hir, &'static str> {
    if !is_plain(expr) {
        return Err("has lookaround, anchors, atomic groups or references");
    }
    let mut text = String::new();
    expr.to_str(&mut text, 1);
    regex_syntax::parse(&text).map_err(|_| "is not valid without lookaround")
}

fn is_plain(expr: &Expr) -> bool {
    match expr {
        Expr::Any { .. }
        | Expr::Literal { .. }
        | Expr::Delegate { .. }
        | Expr::Assertion(Assertion::EndText) => true,
        Expr::Concat(parts) | Expr::Alt(parts) => parts.iter().all(is_plain),
        Expr::Group(part) | Expr::Repeat { child: part, .. } => is_plain(part),
        _ => false,
    }
}
