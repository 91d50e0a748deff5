//! `goldfish inspect`.

mod samples;
mod table;

use std::path::Path;

use anyhow::bail;
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
    let tokenizer = args.tokenizer.as_deref().map(Tokenizer::from_file).transpose()?;
    if let ([_, _, ..], Some(path)) = (&*args.folders, &args.html) {
        bail!("{}: a page shows one folder; inspect the others without --html", path.display());
    }
    let mut objects = Vec::new();
    for (at, folder) in args.folders.iter().enumerate() {
        if at > 0 && !args.json {
            print::out("\n")?;
        }
        objects.extend(inspect_folder(args, folder, tokenizer.as_ref())?);
    }
    if args.json {
        print::json_of_each(&objects)?;
    }
    Ok(Verdict::Clean)
}

/// Prints what is in a folder, or returns it with `--json`.
fn inspect_folder(
    args: &InspectArgs,
    folder: &Path,
    tokenizer: Option<&Tokenizer>,
) -> anyhow::Result<Option<serde_json::Value>> {
    let manifest = Manifest::read(folder)?;
    let text = shard_text(args, &manifest, tokenizer)?;
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
    let inspection =
        inspect(folder, &manifest, text.as_ref(), &options, &mut |documents| bar.set_position(documents));
    bar.finish_and_clear();
    let mut inspection = inspection?;
    let leak = inspection.duplicates.as_ref().and_then(|found| found.warning(&manifest.rule));
    inspection.warnings.extend(leak.map(|warning| advised(&warning, &warning.remedies())));
    let mut input_bytes = 0u64;
    for input in manifest.read_inputs(folder)? {
        input_bytes = input_bytes.saturating_add(input?.size);
    }
    let samples = samples(args, folder, &manifest)?;
    let works = works::copies(folder, &manifest)?;
    if let Some(path) = &args.html {
        write_page(path, folder, (&manifest, input_bytes), &inspection, tokenizer)?;
    }
    let object = args.json.then(|| summary(folder, &manifest, &inspection, &samples, &works));
    if object.is_none() {
        let found = (&samples[..], &works[..]);
        print::out(&table::report(folder, (&manifest, input_bytes), &inspection, found, tokenizer))?;
    }
    inspection.warnings.iter().for_each(|warning| print::warn(warning));
    Ok(object)
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
    folder: &Path,
    (manifest, input_bytes): (&Manifest, u64),
    inspection: &Inspection,
    tokenizer: Option<&Tokenizer>,
) -> anyhow::Result<()> {
    let decode = |id: u32| tokenizer.and_then(|tokenizer| tokenizer.decode(&[id]).ok());
    let page = inspect_page(&InspectPage {
        inspection,
        manifest,
        input_bytes,
        folder: &folder.display().to_string(),
        command: &print::command_line(),
        token_text: tokenizer.is_some().then_some(&decode),
    })?;
    files::write_page(path, &page, "--html")
}

fn summary(
    folder: &Path,
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
        "folder": folder,
        "drop_rate": manifest.drop_rate(),
        "expected_rate": manifest.policy.is_empty().then(|| manifest.rule.rate()),
        "inspection": inspection,
        "shards": shards,
        "protected_works": works,
        "documents": samples,
        "manifest": manifest,
    })
}
