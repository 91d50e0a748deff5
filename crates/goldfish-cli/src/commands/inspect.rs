//! `goldfish inspect`.

use anyhow::ensure;
use goldfish_shard::{Manifest, ShardReader};
use goldfish_tokenize::Tokenizer;
use serde::Serialize;
use serde_json::json;

use crate::Verdict;
use crate::args::InspectArgs;
use crate::commands::mask::describe_rule;
use crate::passage;
use crate::print::{self, BOLD, FAINT, bytes, count, percent, plural};

/// Tokens shown of each document.
const SHOWN_TOKENS: usize = 160;

/// Shards listed in the table.
const SHOWN_SHARDS: usize = 20;

/// The start of a document.
#[derive(Serialize)]
struct Sample {
    doc_id: String,
    tokens: usize,
    dropped: usize,
    input_ids: Vec<u32>,
    loss_mask: Vec<u8>,
}

pub(crate) fn run(args: &InspectArgs) -> anyhow::Result<Verdict> {
    let manifest = Manifest::read(&args.folder)?;
    let tokenizer = args.tokenizer.as_deref().map(Tokenizer::from_file).transpose()?;
    if let (Some(tokenizer), Some(entry)) = (&tokenizer, &manifest.tokenizer) {
        ensure!(
            tokenizer.sha256() == entry.sha256,
            "the shards were made with another tokenizer.json (SHA-256 {}, this one has {})",
            entry.sha256,
            tokenizer.sha256()
        );
    }
    let samples = samples(args, &manifest)?;
    if args.json {
        let shards = manifest.shards.iter().map(|shard| {
            json!({
                "name": shard.name,
                "documents": shard.documents,
                "tokens": shard.tokens,
                "dropped": shard.dropped,
                "drop_rate": if shard.tokens == 0 { 0.0 } else { shard.dropped as f64 / shard.tokens as f64 },
            })
        });
        let shards = shards.collect();
        print::json(&json!({
            "drop_rate": manifest.drop_rate(),
            "expected_rate": 1.0 / f64::from(manifest.rule.k()),
            "shards": serde_json::Value::Array(shards),
            "documents": samples,
            "manifest": manifest,
        }))?;
    } else {
        print::out(&report(args, &manifest, &samples, tokenizer.as_ref()))?;
    }
    Ok(Verdict::Clean)
}

/// The first documents.
fn samples(args: &InspectArgs, manifest: &Manifest) -> anyhow::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for shard in &manifest.shards {
        if samples.len() >= args.documents {
            break;
        }
        for batch in ShardReader::open(&args.folder.join(&shard.name), manifest.output.format)? {
            let batch = batch?;
            for row in 0..batch.len().min(args.documents - samples.len()) {
                let (ids, mask) = (batch.ids(row), batch.mask(row));
                ensure!(
                    ids.len() == mask.len(),
                    "{}: row {row}: loss_mask and input_ids differ in length; run goldfish verify",
                    shard.name
                );
                let shown = ids.len().min(SHOWN_TOKENS);
                samples.push(Sample {
                    doc_id: batch.doc_ids().value(row).to_owned(),
                    tokens: ids.len(),
                    dropped: mask.iter().filter(|&&keep| keep == 0).count(),
                    input_ids: ids[..shown].iter().map(|id| id.cast_unsigned()).collect(),
                    loss_mask: mask[..shown].to_vec(),
                });
            }
            if samples.len() >= args.documents {
                break;
            }
        }
    }
    Ok(samples)
}

fn report(
    args: &InspectArgs,
    manifest: &Manifest,
    samples: &[Sample],
    tokenizer: Option<&Tokenizer>,
) -> String {
    let totals = &manifest.totals;
    let mut lines = vec![
        format!(
            "{BOLD}{}{BOLD:#}  {}, {}",
            args.folder.display(),
            plural(totals.documents_out, "document"),
            plural(totals.tokens, "token")
        ),
        format!("rule       {}", describe_rule(manifest)),
        format!(
            "dropped    {} tokens, {} (1/k is {})",
            count(totals.dropped),
            percent(totals.dropped, totals.tokens),
            percent(1, manifest.rule.k().into())
        ),
        format!(
            "inputs     {}, {}",
            plural(manifest.inputs.len() as u64, "file"),
            bytes(manifest.inputs.iter().map(|input| input.size).sum())
        ),
    ];
    if let Some(entry) = &manifest.tokenizer {
        lines.push(format!(
            "tokenizer  SHA-256 {}…, vocabulary {}",
            entry.sha256.get(..16).unwrap_or(&entry.sha256),
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
    lines.push(format!(
        "\n{FAINT}{:32} {:>12} {:>16} {:>9}{FAINT:#}",
        "shard", "documents", "tokens", "dropped"
    ));
    for shard in manifest.shards.iter().take(SHOWN_SHARDS) {
        let rate = percent(shard.dropped, shard.tokens);
        lines.push(format!(
            "{:32} {:>12} {:>16} {rate:>9}",
            shard.name,
            count(shard.documents),
            count(shard.tokens)
        ));
    }
    if manifest.shards.len() > SHOWN_SHARDS {
        lines.push(format!("… and {} more; --json lists all", manifest.shards.len() - SHOWN_SHARDS));
    }
    for sample in samples {
        let shown = if sample.input_ids.len() < sample.tokens {
            format!(", first {}", sample.input_ids.len())
        } else {
            String::new()
        };
        lines.push(format!(
            "\n{FAINT}{}: {} dropped of {}{shown}:{FAINT:#}\n{}",
            print::harmless(&sample.doc_id),
            count(sample.dropped as u64),
            plural(sample.tokens as u64, "token"),
            passage::render(&sample.input_ids, &sample.loss_mask, tokenizer).trim_end_matches('\n'),
        ));
    }
    lines.join("\n") + "\n"
}
