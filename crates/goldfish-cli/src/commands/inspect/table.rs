//! The tables of `goldfish inspect`.

use std::path::Path;

use goldfish_inspect::{
    Duplicates, Gaps, Groups, IdList, Inspection, KeptStretch, Leak, LeakingPair, LongestKept, TallyReport,
    Windows, WorstKey,
};
use goldfish_mask::diagnostics::Tally;
use goldfish_shard::{Manifest, ShardEntry};
use goldfish_tokenize::Tokenizer;

use super::samples::Sample;
use crate::describe::{
    decided_run, describe_rule, describe_tally, dropped_line, policy_lines, protected_line, token_run,
};
use crate::passage::{self, Marked};
use crate::print::{BOLD, FAINT, bytes, count, name, path, percent, plural, share};
use crate::terminal::lines_of;
use crate::works::{self, Copies};

/// Rows of a table that are shown.
const SHOWN_ROWS: usize = 20;

/// Ids that are named in a line.
const SHOWN_IDS: usize = 8;

pub(super) fn report(
    folder: &Path,
    (manifest, input_bytes): (&Manifest, u64),
    inspection: &Inspection,
    (samples, works): (&[Sample], &[Copies]),
    tokenizer: Option<&Tokenizer>,
) -> String {
    let mut lines = head(folder, (manifest, input_bytes), inspection);
    if manifest.protected.as_ref().is_some_and(|protected| protected.only) {
        lines.extend(works::table(works));
        lines.extend(shards(manifest));
        return lines.join("\n") + "\n";
    }
    lines.extend(gaps(&inspection.gaps));
    lines.extend(longest_kept(&inspection.longest_kept));
    lines.extend(undropped(inspection));
    lines.extend(inspection.windows.as_ref().map(windows).unwrap_or_default());
    lines.extend(ids(inspection, tokenizer));
    lines.extend(inspection.groups.as_ref().map(groups).unwrap_or_default());
    lines.extend(works::table(works));
    lines.extend(inspection.duplicates.as_ref().map(duplicates).unwrap_or_default());
    lines.extend(shards(manifest));
    for sample in samples {
        let shown = if sample.input_ids.len() < sample.tokens {
            format!(", first {}", sample.input_ids.len())
        } else {
            String::new()
        };
        lines.push(format!(
            "\n{FAINT}{}: {} dropped of {}{shown}:{FAINT:#}\n{}",
            name(&sample.doc_id),
            count(sample.dropped as u64),
            plural(sample.tokens as u64, "token"),
            passage::render(&sample.input_ids, &sample.loss_mask, tokenizer).trim_end_matches('\n'),
        ));
    }
    lines.join("\n") + "\n"
}

fn head(folder: &Path, (manifest, input_bytes): (&Manifest, u64), inspection: &Inspection) -> Vec<String> {
    let totals = &manifest.totals;
    let mut lines = vec![
        format!(
            "{BOLD}{}{BOLD:#}  {}, {}",
            path(folder),
            plural(totals.documents_out, "document"),
            plural(totals.tokens, "token")
        ),
        format!("rule       {}", describe_rule(manifest)),
        format!("inputs     {}, {}", plural(manifest.input_count(), "file"), bytes(input_bytes)),
    ];
    if let Some(entry) = &manifest.tokenizer {
        lines.push(format!(
            "tokenizer  SHA-256 {}…, vocabulary {}",
            name(entry.sha256.get(..16).unwrap_or(&entry.sha256)),
            count(entry.vocab_size.into())
        ));
    }
    if totals.documents_rejected > 0 {
        lines.push(format!(
            "rejected   {}, listed in {}",
            plural(totals.documents_rejected, "row"),
            goldfish_shard::REJECTS_NAME
        ));
    }
    let protected = manifest.protected.as_ref();
    if protected.is_some_and(|protected| protected.only) {
        lines.extend(protected.map(protected_line));
        return lines;
    }
    lines.push(dropped_line(totals));
    lines.extend(policy_lines(&manifest.policy));
    lines.extend(protected.map(protected_line));
    lines.push(match &inspection.tally {
        Some(_) if manifest.existing_mask.is_some() => {
            "           the shards don't say which tokens were excluded by the rule and which by existing masks".into()
        }
        Some(tally) => {
            format!("           {}", describe_tally(&counts(tally), manifest.k(), totals.tokens))
        }
        None => "           the rule decides by text: give --tokenizer to see which tokens it decided".into(),
    });
    lines
}

fn counts(tally: &TallyReport) -> Tally {
    Tally {
        tokens: tally.tokens,
        special: tally.special,
        present: tally.head + tally.decided,
        decided: tally.decided,
        dropped: tally.dropped,
    }
}

fn gaps(gaps: &Gaps) -> Vec<String> {
    let found = &gaps.measured;
    let law = gaps
        .law
        .as_ref()
        .map(|law| format!(" (independent tosses: {:.2}, {}, {})", law.mean, law.p50, law.p99));
    vec![
        format!(
            "gaps       mean {:.2}, median {}, 99% up to {}, longest {} tokens{}",
            found.mean,
            count(found.p50),
            count(found.p99),
            count(found.max.unwrap_or(0)),
            law.unwrap_or_default(),
        ),
        format!(
            "stretches  up to {} without a drop, up to {} dropped in a row",
            plural(gaps.longest_kept, "token"),
            count(gaps.longest_dropped)
        ),
    ]
}

/// Characters that are shown of a stretch.
const SHOWN_TEXT: usize = 240;

fn longest_kept(longest: &LongestKept) -> Vec<String> {
    let mut lines = Vec::new();
    let mut add = |line: String, stretch: &KeptStretch| {
        lines.push(format!("{}{line}", if lines.is_empty() { "kept       " } else { "           " }));
        if let Some(text) = stretch.text.as_ref().filter(|_| stretch.length > 0) {
            let cut = text
                .char_indices()
                .nth(SHOWN_TEXT)
                .map_or(text.clone(), |(end, _)| format!("{}…", &text[..end]));
            lines.push(format!("           {FAINT}“{}”{FAINT:#}", passage::printable(&cut)));
        }
    };
    if let Some(stretch) = &longest.decided {
        let place = (stretch.doc_id.as_str(), stretch.position);
        add(decided_run(stretch.length, stretch.unit, longest.bound, place), stretch);
    }
    let (stretch, unit) = (&longest.tokens, longest.decided.as_ref().map(|decided| decided.unit));
    add(token_run(stretch.length, unit, (&stretch.doc_id, stretch.position)), stretch);
    lines
}

fn undropped(inspection: &Inspection) -> Vec<String> {
    let undropped = inspection.undropped;
    if undropped.documents == 0 {
        return Vec::new();
    }
    let short = inspection.tally.as_ref().filter(|tally| tally.too_short > 0);
    let short = short.map(|tally| {
        format!("; {} of {} looked at are too short for any", count(tally.too_short), count(tally.documents))
    });
    vec![format!(
        "undropped  {} with {} without a drop{}",
        plural(undropped.documents, "document"),
        plural(undropped.tokens, "token"),
        short.unwrap_or_default()
    )]
}

fn windows(windows: &Windows) -> Vec<String> {
    let looked = format!(
        "of {} different windows{}",
        count(windows.distinct),
        if windows.complete { "" } else { ", a sample" }
    );
    if windows.degenerate_keys == 0 {
        return vec![format!(
            "windows    {looked} none shares its key with more others than chance would have it"
        )];
    }
    let mut lines = vec![format!(
        "windows    {} of the positions ({looked}) share {} with {} windows or more, more than chance would have it",
        share(windows.degenerate_share),
        plural(windows.degenerate_keys, "key"),
        windows.threshold
    )];
    let row = |worst: &WorstKey| {
        let mut example: Vec<String> = worst.example.iter().take(8).map(u32::to_string).collect();
        if worst.example.len() > 8 {
            example.push("…".into());
        }
        [
            worst.key.to_string(),
            count(worst.windows),
            percent(worst.positions, windows.positions),
            if worst.dropped { "drop" } else { "keep" }.into(),
            example.join(" "),
        ]
    };
    let rows: Vec<_> = windows.worst.iter().map(row).collect();
    lines.extend(lines_of(&["key", "windows", "positions", "decision", "a window"], &rows));
    lines
}

fn ids(inspection: &Inspection, tokenizer: Option<&Tokenizer>) -> Vec<String> {
    let ids = &inspection.ids;
    let list = |name: &str, list: &IdList| {
        if list.count == 0 {
            return format!("{name} dropped: none");
        }
        let shown: Vec<String> =
            list.most_frequent.iter().take(SHOWN_IDS).map(|found| show_id(found.id, tokenizer)).collect();
        let more = if list.count > SHOWN_IDS as u64 { " …" } else { "" };
        format!(
            "{name} dropped: {} ({}) {}{more}",
            count(list.count),
            plural(list.tokens, "token"),
            shown.join(" ")
        )
    };
    vec![
        format!(
            "ids        {} different; of those that occur {} times or more",
            count(ids.distinct),
            ids.least_tokens
        ),
        format!("           {}", list("always", &ids.always)),
        format!("           {}", list("never", &ids.never)),
    ]
}

/// A token as text in quotes, else as id.
fn show_id(id: u32, tokenizer: Option<&Tokenizer>) -> String {
    match tokenizer.and_then(|tokenizer| tokenizer.decode(&[id]).ok()) {
        Some(text) if !text.is_empty() => format!("{:?}", passage::printable(&text)),
        _ => id.to_string(),
    }
}

fn groups(groups: &Groups) -> Vec<String> {
    let rows = groups.rows.iter().take(SHOWN_ROWS).map(|row| {
        [
            name(row.value.as_deref().unwrap_or("(none)")),
            count(row.rates.documents),
            count(row.rates.tokens),
            percent(row.rates.dropped, row.rates.tokens),
            if row.decided == 0 { "–".into() } else { share(row.decided_drop_rate) },
            count(row.longest_kept),
            count(row.longest_dropped),
        ]
    });
    let column = name(&groups.column);
    let heads = [&*column, "documents", "tokens", "dropped", "of decided", "kept run", "drop run"];
    let mut lines = lines_of(&heads, &rows.collect::<Vec<_>>());
    if groups.rows.len() > SHOWN_ROWS {
        lines.push(format!("… and {} more; --json lists all", groups.rows.len() - SHOWN_ROWS));
    }
    lines
}

fn duplicates(found: &Duplicates) -> Vec<String> {
    let mut lines = vec![format!(
        "\n{BOLD}recurring passages{BOLD:#}  {} of the text of {} recurs, in {}",
        share(found.recurring_share),
        plural(found.documents, "document"),
        plural(found.searched, "document"),
    )];
    if found.pairs == 0 {
        lines.push(format!(
            "           no two passages of {} letters or more were found to be alike",
            found.least_characters
        ));
        return lines;
    }
    lines.push(format!(
        "           {} of {} compared, {} of them with words that differ",
        plural(found.pairs, "pair"),
        plural(found.passages, "passage"),
        count(found.near)
    ));
    let rows = found.rules.iter().map(|rule| {
        let rule_name = if rule.own { format!("{} (this folder)", rule.rule) } else { rule.rule.clone() };
        let leak = rule.leak;
        let excess = rule.excess.map(|excess| {
            let error = excess.standard_error.map(|error| format!(" ± {:.2}", 100.0 * error));
            format!("{:.2}{} points", 100.0 * excess.share, error.unwrap_or_default())
        });
        let (dropped, leaked) = (count(leak.dropped), count(leak.leaked));
        [rule_name, dropped, leaked, share(leak.share), excess.unwrap_or_default()]
    });
    let independent = ["independent masks".into(), String::new(), String::new(), share(found.independent)];
    let rows: Vec<Vec<String>> =
        rows.map(Vec::from).chain([[&independent[..], &[String::new()]].concat()]).collect();
    let heads = ["leak by rule", "dropped", "leaked", "share", "less than this folder"];
    lines.extend(lines_of(&heads, &rows));
    let headings: Vec<String> = found.rules.iter().map(|rule| rule.heading().to_string()).collect();
    let row = |name: &str, leaks: &[Leak]| -> Option<Vec<String>> {
        let dropped = leaks.first().map_or(0, |own| own.dropped);
        let shares = leaks.iter().map(|leak| if leak.dropped == 0 { "–".into() } else { share(leak.share) });
        let cells = [name.to_owned(), count(dropped)].into_iter().chain(shares);
        leaks.iter().any(|leak| leak.dropped > 0).then(|| cells.collect())
    };
    let mut leaks = |first: &str, rows: Vec<Vec<String>>| {
        let heads = [first, "dropped"].into_iter().chain(headings.iter().map(String::as_str));
        lines.extend(lines_of(&heads.collect::<Vec<_>>(), &rows));
    };
    let nearby = found.differences.iter().filter_map(|found| row(found.difference.name(), &found.leaks));
    leaks("leak by what differs nearby", nearby.collect());
    let since = found.distances.iter().filter_map(|found| row(&found.name(), &found.leaks));
    leaks("leak by words since an edit", since.collect());
    found.worst.iter().for_each(|pair| lines.push(side_by_side(pair)));
    lines
}

fn side_by_side(pair: &LeakingPair) -> String {
    let mut lines = vec![format!(
        "\n{FAINT}{} letters in common, differing in {}: {} of {} dropped tokens leak{FAINT:#}",
        count(pair.characters),
        pair.kind,
        count(pair.leak.leaked),
        count(pair.leak.dropped)
    )];
    for copy in &pair.copies {
        lines.push(format!("{FAINT}{}, token {}:{FAINT:#}", name(&copy.doc_id), count(copy.token)));
        let marked = copy.tokens.iter().map(|token| {
            let mark = match (token.dropped, token.leaked) {
                (_, true) => Marked::Leaked,
                (true, _) => Marked::Dropped,
                _ => Marked::Kept,
            };
            (mark, passage::printable(&token.text))
        });
        lines.push(passage::wrap(&marked.collect::<Vec<_>>()).trim_end_matches('\n').to_owned());
    }
    lines.join("\n")
}

fn shards(manifest: &Manifest) -> Vec<String> {
    let row = |shard: &ShardEntry| {
        let dropped = percent(shard.dropped, shard.tokens);
        [name(&shard.name), count(shard.documents), count(shard.tokens), dropped]
    };
    let rows: Vec<_> = manifest.shards.iter().take(SHOWN_ROWS).map(row).collect();
    let mut lines = lines_of(&["shard", "documents", "tokens", "dropped"], &rows);
    if manifest.shards.len() > SHOWN_ROWS {
        lines.push(format!("… and {} more; --json lists all", manifest.shards.len() - SHOWN_ROWS));
    }
    lines
}
