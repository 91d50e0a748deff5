//! `goldfish policy`.

use std::sync::Arc;

use goldfish_corpus::{ReadOptions, resolve};
use goldfish_pipeline::{DocumentKind, MaskOptions, Policy, SampledEntry, resolve_content};
use goldfish_tokenize::Tokenizer;
use serde_json::json;

use crate::args::{CheckArgs, PolicyArgs, PolicyCommand};
use crate::files::{read_policy, works_of};
use crate::print::{self, BOLD, bytes, name, percent, plural};
use crate::verdict::Verdict;

pub(crate) fn run(args: &PolicyArgs) -> anyhow::Result<Verdict> {
    let PolicyCommand::Check(args) = &args.command;
    check(args)
}

fn check(args: &CheckArgs) -> anyhow::Result<Verdict> {
    let inputs = resolve(&args.inputs, args.format)?.inputs;
    let tokenizer = args.tokenizer.as_deref().map(Tokenizer::from_file).transpose()?.map(Arc::new);
    let (text, ids) = (args.text_column.clone(), args.ids_column.clone());
    let content = resolve_content(text, ids, &inputs, tokenizer.is_some())?;
    let documents = DocumentKind::from(&content);
    let is_text = documents == DocumentKind::Text;
    let options = MaskOptions { documents, tokenizer, ..MaskOptions::default() };
    let (policy, _) = read_policy(&args.policy, &options)?;
    let works = policy.protect().map(|protect| works_of(&args.policy, protect)).transpose()?;
    let works = works.map(|works| works.inputs.len() as u64);
    let mut read = ReadOptions::new(content);
    read.id_column = args.id_column.clone();
    read.conditions = policy.columns().to_vec();
    read.refuse_masks = false;
    let (entries, rejected) = policy.sample(&inputs, &read, args.documents)?;
    if args.json {
        print::json(&summary_json(&policy, &entries, rejected, works))?;
    } else {
        print::out(&summary(&policy, &entries, (rejected, works), is_text))?;
    }
    // A default that decides nothing is as it should be where every document has an entry.
    let idle = entries[..entries.len() - 1].iter().any(|entry| entry.documents == 0);
    Ok(if idle { Verdict::Findings } else { Verdict::Clean })
}

fn summary(
    policy: &Policy,
    entries: &[SampledEntry],
    (rejected, works): (u64, Option<u64>),
    is_text: bool,
) -> String {
    let documents = entries.iter().map(|entry| entry.documents).sum();
    let size: u64 = entries.iter().map(|entry| entry.size).sum();
    let sized = |size| if is_text { format!("{} of text", bytes(size)) } else { plural(size, "token") };
    let mut lines = vec![format!(
        "{BOLD}{}{BOLD:#}, {}: {}",
        plural(documents, "document"),
        sized(size),
        if entries.len() == 1 { "1 entry".to_owned() } else { format!("{} entries", entries.len()) }
    )];
    for (entry, found) in policy.entries().iter().zip(entries) {
        lines.push(format!("{BOLD}{}{BOLD:#}  {}", name(&entry.name), entry.rule.in_short()));
        lines.push(match found.documents {
            0 => "  decides none of these documents".to_owned(),
            documents => format!(
                "  {} ({}), {}, such as {}",
                plural(documents, "document"),
                percent(found.size, size),
                sized(found.size),
                found.examples.iter().map(|id| name(id)).collect::<Vec<_>>().join(", ")
            ),
        });
    }
    lines.extend(works.map(|files| format!("{} with protected works", plural(files, "file"))));
    if rejected > 0 {
        lines.push(format!("{} are no documents", plural(rejected, "row")));
    }
    lines.join("\n") + "\n"
}

fn summary_json(
    policy: &Policy,
    entries: &[SampledEntry],
    rejected: u64,
    works: Option<u64>,
) -> serde_json::Value {
    let entries = policy.entries().iter().zip(entries).map(|(entry, found)| {
        json!({
            "name": entry.name,
            "where": entry.when,
            "rule": entry.rule,
            "documents": found.documents,
            "size": found.size,
            "examples": found.examples,
        })
    });
    json!({ "entries": entries.collect::<Vec<_>>(), "rejected": rejected, "files_of_works": works })
}
