//! The run of an audit.

use anyhow::ensure;
use goldfish_audit::check::{Checked, check};
use goldfish_audit::control::Decode;
use goldfish_shard::Problem;
use goldfish_tokenize::Tokenizer;
use serde_json::json;

use super::Findings;
use crate::args::VerifyArgs;
use crate::model::text;
use crate::print::plural;

/// Checks a run's files against its checksums, against each other, and against a digest.
pub(super) fn check_run(args: &VerifyArgs) -> anyhow::Result<Findings> {
    ensure!(
        !args.recompute,
        "--recompute is for folders of shards; the scores of a run are always computed again"
    );
    let tokenizer = args.tokenizer.as_deref().map(Tokenizer::from_file).transpose()?;
    let decode = |ids: &[u32]| tokenizer.as_ref().map_or_else(String::new, |tokenizer| text(tokenizer, ids));
    let decode: Option<&Decode<'_>> = tokenizer.is_some().then_some(&decode);
    let (mut problems, run) = check(&args.folder, decode)?;
    let mut json = json!({});
    let mut sound = String::new();
    if let Some(run) = &run {
        same_tokenizer(run, tokenizer.as_ref())?;
        problems.extend(other_digest(run, args.digest.as_deref()));
        let positives = run.results.iter().filter(|row| row.exact_match).count() as u64;
        let probes = run.results.len() as u64;
        json = json!({ "probes": probes, "positives": positives, "digest": run.digest });
        let computed = match (run.config.options.text, &tokenizer) {
            (true, None) => "every number but those that need text (give --tokenizer) computed again",
            _ => "every number computed again",
        };
        let signed = if args.digest.is_some() {
            "which is the one given"
        } else {
            "compare it with the one that was signed"
        };
        sound = format!(
            ": {}, {}, {computed}\ndigest {}, {signed}",
            plural(probes, "probe"),
            plural(positives, "positive"),
            run.digest
        );
    }
    let advice = "; the files are not as the audit wrote them: restore the folder from a copy, or make the audit again";
    Ok(Findings { problems, json, sound, advice })
}

/// Refuses a tokenizer that is not the run's.
fn same_tokenizer(run: &Checked, tokenizer: Option<&Tokenizer>) -> anyhow::Result<()> {
    let Some(tokenizer) = tokenizer else { return Ok(()) };
    match &run.config.options.tokenizer {
        Some(sha256) if sha256 == tokenizer.sha256() => Ok(()),
        Some(sha256) => anyhow::bail!(
            "the run was made with the tokenizer of SHA-256 {sha256}, but --tokenizer has {}",
            tokenizer.sha256()
        ),
        None => anyhow::bail!("the run was made without a tokenizer; leave out --tokenizer"),
    }
}

/// That the digest is another one.
fn other_digest(run: &Checked, expected: Option<&str>) -> Option<Problem> {
    let expected = expected?;
    let hex = |digest: &str| digest.trim().trim_start_matches("sha256:").to_ascii_lowercase();
    (hex(expected) != hex(&run.digest)).then(|| Problem {
        file: "SHA256SUMS".into(),
        description: format!(
            "the digest is {}, not {expected}: this is not the run that was signed",
            run.digest
        ),
    })
}
