//! What all pages share: style, parts and layout.

use goldfish_audit::score::score;
use minijinja::{Environment, UndefinedBehavior, Value};
use serde::Serialize;

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

/// Writes a page. A value that a template misses is an error, never empty.
pub(crate) fn render(template: &str, context: &impl Serialize) -> Result<String, ReportError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.add_global("style", Value::from_safe_string(STYLE.to_owned()));
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
    for (name, source) in TEMPLATES {
        environment.add_template(name, source)?;
    }
    Ok(environment.get_template(template)?.render(context)?)
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
