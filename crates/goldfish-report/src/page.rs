//! What all pages share: style, parts and layout.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use goldfish_audit::score::score;
use minijinja::{Environment, UndefinedBehavior, Value};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::ReportError;
use crate::{number, text};

/// Characters shown of a text where the template says no other limit.
const LIMIT: usize = 160;

/// The templates. The ending `.html` turns escaping on.
const TEMPLATES: [(&str, &str); 11] = [
    ("page.html", include_str!("../templates/page.html")),
    ("parts.html", include_str!("../templates/parts.html")),
    ("audit.html", include_str!("../templates/audit.html")),
    ("compare.html", include_str!("../templates/compare.html")),
    ("copy.html", include_str!("../templates/copy.html")),
    ("experiment.html", include_str!("../templates/experiment.html")),
    ("inspect.html", include_str!("../templates/inspect.html")),
    ("memory.html", include_str!("../templates/memory.html")),
    ("repair.html", include_str!("../templates/repair.html")),
    ("sweep.html", include_str!("../templates/sweep.html")),
    ("trace.html", include_str!("../templates/trace.html")),
];

/// The style of all pages.
pub(crate) const STYLE: &str = include_str!("../templates/style.css");

/// The script of all pages.
const SCRIPT: &str = include_str!("../templates/page.js");

/// A script with the source that a content security policy allows it by.
#[derive(Debug, Serialize)]
struct Script {
    text: Value,
    source: String,
}

/// Writes a page. A value that a template misses is an error, never empty.
pub(crate) fn render(template: &str, context: &impl Serialize) -> Result<String, ReportError> {
    render_with(template, context, "")
}

/// The same with a script of its own, which may use the functions of that of all pages.
pub(crate) fn render_with(
    template: &str,
    context: &impl Serialize,
    script: &str,
) -> Result<String, ReportError> {
    let script = SCRIPT.to_owned() + script;
    let source = format!("'sha256-{}'", STANDARD.encode(Sha256::digest(script.as_bytes())));
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.add_global("style", Value::from_safe_string(STYLE.to_owned()));
    let script = Script { text: Value::from_safe_string(script), source };
    environment.add_global("script", Value::from_serialize(script));
    environment.add_global("tool_version", env!("CARGO_PKG_VERSION"));
    environment.add_filter("count", number::count);
    environment.add_filter("bytes", number::bytes);
    environment.add_filter("plural", number::plural);
    environment.add_filter("percent", number::percent);
    environment.add_filter("decimal", number::decimal);
    environment.add_filter("points", number::points);
    environment.add_filter("of", of);
    environment.add_filter("label", label);
    environment.add_filter("shown", |text: &str, limit: Option<usize>| {
        Value::from_serialize(text::shown(text, limit.unwrap_or(LIMIT)))
    });
    environment.add_filter("plain", |text: &str| text::plain(text, LIMIT));
    environment.add_filter("short", |hash: &str| Value::from_serialize(Short::of(hash)));
    for (name, source) in TEMPLATES {
        environment.add_template(name, source)?;
    }
    Ok(environment.get_template(template)?.render(context)?)
}

/// A hash as a page shows it: its beginning, and the rest, which is there to be copied.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Short {
    start: String,
    /// Empty where all is shown.
    rest: String,
}

impl Short {
    /// Characters shown, after the name of the function if it is there. The tables of probes show as many.
    const SHOWN: usize = 12;
    /// Characters kept of what should be a hash.
    const MOST: usize = 300;

    fn of(hash: &str) -> Self {
        let whole = text::plain(hash, Self::MOST);
        let named = whole.find(':').map_or(0, |at| at + 1);
        let end = whole[named..].char_indices().nth(Self::SHOWN).map(|(at, _)| named + at);
        let (start, rest) = whole.split_at(end.unwrap_or(whole.len()));
        Self { start: start.into(), rest: rest.into() }
    }
}

/// `part` of `whole` as a length in per cent, for bars: from 0 to 100, and 0 where there is no whole.
fn of(part: f64, whole: f64) -> f64 {
    let length = 100.0 * part / whole;
    if length.is_finite() { (length * 1000.0).round().clamp(0.0, 100_000.0) / 1000.0 } else { 0.0 }
}

/// The label of a score at the start of a line.
fn label(name: &str) -> String {
    let label = score(name).map_or(name, |score| score.label);
    let mut characters = label.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_cut_after_twelve_digits() {
        let short = |hash: &str| {
            let Short { start, rest } = Short::of(hash);
            (start, rest)
        };
        let pair = |start: &str, rest: &str| (start.to_owned(), rest.to_owned());
        assert_eq!(short("xxh3_128:0123456789abcdef"), pair("xxh3_128:0123456789ab", "cdef"));
        assert_eq!(short("0123456789abcdef"), pair("0123456789ab", "cdef"));
        assert_eq!(short("fake"), pair("fake", ""));
        assert_eq!(short("ключ:вопрос\u{202E}"), pair("ключ:вопрос\\u{202", "e}"));
    }
}
