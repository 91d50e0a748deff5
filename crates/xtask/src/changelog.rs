//! `CHANGELOG.md`: the changes that are not released become a version's section, which is also its release notes.

use std::fs;

use anyhow::{Context, ensure};

use crate::tools::root;

/// The version of all crates.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

const FILE: &str = "CHANGELOG.md";

/// The heading of what is not released.
const UNRELEASED: &str = "## Unreleased";

/// Puts the changes that are not released under a heading with the version and its date; returns its release notes.
pub(crate) fn cut(version: &str, date: &str) -> anyhow::Result<String> {
    let path = root().join(FILE);
    let text = cut_text(&fs::read_to_string(&path).context(FILE)?, version, date)?;
    fs::write(&path, &text).context(FILE)?;
    notes(&text, version)
}

/// The release notes of this version.
pub(crate) fn current() -> anyhow::Result<String> {
    notes(&fs::read_to_string(root().join(FILE)).context(FILE)?, VERSION)
}

fn cut_text(text: &str, version: &str, date: &str) -> anyhow::Result<String> {
    ensure!(
        version == VERSION,
        "Cargo.toml has version {VERSION}, not {version}: change it there first, in [workspace.package] and in \
         [workspace.dependencies]"
    );
    ensure!(is_date(date), "{date} is no date: write it as 2026-01-31");
    ensure!(section(text, &format!("## {version} ")).is_none(), "{FILE} has a section of {version} already");
    let changes = section(text, UNRELEASED).with_context(|| format!("{FILE} has no line `{UNRELEASED}`"))?;
    ensure!(!is_empty(changes), "{FILE} has no changes below `{UNRELEASED}`: there is nothing to release");
    Ok(text.replacen(&format!("{UNRELEASED}\n"), &format!("{UNRELEASED}\n\n## {version} ({date})\n"), 1))
}

fn notes(text: &str, version: &str) -> anyhow::Result<String> {
    let notes = section(text, &format!("## {version} ")).with_context(|| {
        format!("{FILE} has no section of {version}: run `cargo xtask changelog {version} DATE` and commit the result")
    })?;
    Ok(notes.trim().to_owned() + "\n")
}

/// What is below a heading of the second level that starts so, up to the next one.
fn section<'a>(text: &'a str, heading: &str) -> Option<&'a str> {
    let mut rest = text;
    while let Some(start) = rest.find("\n## ") {
        let (line, below) = rest[start + 1..].split_once('\n').unwrap_or((&rest[start + 1..], ""));
        if format!("{line} ").starts_with(heading) {
            // A heading may follow at once.
            let end = if below.starts_with("## ") { 0 } else { below.find("\n## ").unwrap_or(below.len()) };
            return Some(&below[..end]);
        }
        rest = &rest[start + 1..];
    }
    None
}

/// Whether a section has nothing but headings.
fn is_empty(section: &str) -> bool {
    section.lines().all(|line| line.trim().is_empty() || line.starts_with('#'))
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_number = |part: &str, digits: usize, values: std::ops::RangeInclusive<u32>| {
        part.len() == digits && part.parse().is_ok_and(|number| values.contains(&number))
    };
    matches!(parts[..], [year, month, day]
        if is_number(year, 4, 2000..=9999) && is_number(month, 2, 1..=12) && is_number(day, 2, 1..=31))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: &str =
        "# Changelog\n\nAll.\n\n## Unreleased\n\n### Added\n- A thing.\n\n## 0.0.1 (2020-01-02)\n- Old.\n";

    #[test]
    fn changes_become_the_section_of_a_version() {
        let text = cut_text(OPEN, VERSION, "2026-12-01").unwrap();
        let expected =
            format!("## Unreleased\n\n## {VERSION} (2026-12-01)\n\n### Added\n- A thing.\n\n## 0.0.1 ");
        assert!(text.contains(&expected), "{text}");
        assert_eq!(notes(&text, VERSION).unwrap(), "### Added\n- A thing.\n");
        assert_eq!(notes(&text, "0.0.1").unwrap(), "- Old.\n");
        let error = cut_text(&text, VERSION, "2026-12-02").unwrap_err().to_string();
        assert!(error.contains("already"), "{error}");
    }

    #[test]
    fn what_can_not_be_released_is_refused() {
        let empty = "# Changelog\n\n## Unreleased\n\n### Added\n\n## 0.0.1 (2020-01-02)\n- Old.\n";
        for (text, version, date, words) in [
            (empty, VERSION, "2026-12-01", "nothing to release"),
            (
                "# Changelog\n\n## Unreleased\n## 0.0.1 (2020-01-02)\n- Old.\n",
                VERSION,
                "2026-12-01",
                "nothing to release",
            ),
            (OPEN, "9.9.9", "2026-12-01", "not 9.9.9"),
            (OPEN, VERSION, "2026-13-01", "no date"),
            (OPEN, VERSION, "yesterday", "no date"),
            ("# Changelog\n", VERSION, "2026-12-01", "no line"),
        ] {
            let error = cut_text(text, version, date).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        assert!(notes(OPEN, "0.0").unwrap_err().to_string().contains("cargo xtask changelog 0.0 DATE"));
    }
}
