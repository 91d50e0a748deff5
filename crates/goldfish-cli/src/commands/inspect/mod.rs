//! `goldfish inspect`.

mod samples;
mod table;

use std::path::Path;

use goldfish_inspect::{DuplicateOptions, InspectOptions, Inspection, inspect};
use goldfish_pipeline::{ShardText, check_tokenizer};
use goldfish_remedy::Remedies;
use goldfish_report::{InspectPage, inspect_page};
use goldfish_shard::Manifest;
use goldfish_tokenize::Tokenizer;
use serde_json::json;

use crate::advice::advised;
use crate::args::InspectArgs;
use crate::files;
use crate::print;
use crate::progress::Bar;
use crate::verdict::Verdict;
use crate::works;
use samples::{Sample, samples};

pub(crate) fn run(args: &InspectArgs) -> anyhow::Result<Verdict> {
    let manifest = Manifest::read(&args.folder)?;
    let tokenizer = args.tokenizer.as_deref().map(Tokenizer::from_file).transpose()?;
    let text = shard_text(args, &manifest, tokenizer.as_ref())?;
    let options = InspectOptions {
        by: args.by.clone(),
        sample_tokens: args.sample,
        seed: args.seed,
        duplicates: args.duplicates.then_some(DuplicateOptions {
            least_characters: args.passage as usize,
            pairs: args.pairs as usize,
            shown: args.documents,
        }),
    };
    let documents = manifest.totals.documents_out * if args.duplicates { 3 } else { 1 };
    let bar = Bar::share(documents, "the documents");
    let inspection = inspect(&args.folder, &manifest, text.as_ref(), &options, &mut |documents| {
        bar.set_position(documents)
    });
    bar.finish_and_clear();
    let mut inspection = inspection?;
    let leak = inspection.duplicates.as_ref().and_then(|found| found.warning(&manifest.rule));
    inspection.warnings.extend(leak.map(|warning| advised(&warning, &warning.remedies())));
    let mut input_bytes = 0u64;
    for input in manifest.read_inputs(&args.folder)? {
        input_bytes = input_bytes.saturating_add(input?.size);
    }
    let samples = samples(args, &manifest)?;
    let works = works::copies(&args.folder, &manifest)?;
    if let Some(path) = &args.html {
        write_page(path, args, (&manifest, input_bytes), &inspection, tokenizer.as_ref())?;
    }
    if args.json {
        print::json(&summary(&manifest, &inspection, &samples, &works))?;
    } else {
        print::out(&table::report(
            args,
            (&manifest, input_bytes),
            &inspection,
            (&samples, &works),
            tokenizer.as_ref(),
        ))?;
    }
    inspection.warnings.iter().for_each(|warning| print::warn(warning));
    Ok(Verdict::Clean)
}

/// The text of the documents, where a tokenizer was given. It is an error if that can't give the text, but only where
/// the text is needed.
fn shard_text(
    args: &InspectArgs,
    manifest: &Manifest,
    tokenizer: Option<&Tokenizer>,
) -> anyhow::Result<Option<ShardText>> {
    let Some(tokenizer) = tokenizer else { return Ok(None) };
    check_tokenizer(manifest, tokenizer)?;
    let by_text = manifest.rules().iter().any(|(rule, _)| rule.definition().needs_text());
    match ShardText::new(manifest, tokenizer) {
        Ok(text) => Ok(Some(text)),
        Err(error) if args.duplicates || by_text => Err(error.into()),
        Err(_) => Ok(None),
    }
}

/// Writes the page with plots, whole or not at all.
fn write_page(
    path: &Path,
    args: &InspectArgs,
    (manifest, input_bytes): (&Manifest, u64),
    inspection: &Inspection,
    tokenizer: Option<&Tokenizer>,
) -> anyhow::Result<()> {
    let decode = |id: u32| tokenizer.and_then(|tokenizer| tokenizer.decode(&[id]).ok());
    let page = inspect_page(&InspectPage {
        inspection,
        manifest,
        input_bytes,
        folder: &args.folder.display().to_string(),
        command: &print::command_line(),
        token_text: tokenizer.is_some().then_some(&decode),
    })?;
    files::write_page(path, &page, "--html")
}

fn summary(
    manifest: &Manifest,
    inspection: &Inspection,
    samples: &[Sample],
    works: &[works::Copies],
) -> serde_json::Value {
    let shards: Vec<_> = manifest
        .shards
        .iter()
        .map(|shard| {
            json!({
                "name": shard.name,
                "documents": shard.documents,
                "tokens": shard.tokens,
                "dropped": shard.dropped,
                "drop_rate": if shard.tokens == 0 { 0.0 } else { shard.dropped as f64 / shard.tokens as f64 },
            })
        })
        .collect();
    json!({
        "drop_rate": manifest.drop_rate(),
        "expected_rate": manifest.policy.is_empty().then(|| manifest.rule.rate()),
        "inspection": inspection,
        "shards": shards,
        "protected_works": works,
        "documents": samples,
        "manifest": manifest,
    })
}
