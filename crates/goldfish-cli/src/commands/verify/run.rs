//! The run of an audit.

use std::sync::Arc;

use anyhow::ensure;
use goldfish_audit::backend::BlockMemory;
use goldfish_audit::check::{Checked, check};
use goldfish_audit::control::Decode;
use goldfish_audit::engine::Engine;
use goldfish_audit::replay::{self, Changed, Replay};
use goldfish_shard::Problem;
use goldfish_tokenize::Tokenizer;
use serde_json::json;

use super::findings::Findings;
use crate::args::VerifyArgs;
use crate::model::{self, Asking, text};
use crate::print::{self, plural};
use crate::progress::Bar;
use crate::signals::stop_on_signals;

/// Checks a run's files against its checksums, against each other, and against a digest.
pub(super) fn check_run(args: &VerifyArgs) -> anyhow::Result<Findings> {
    ensure!(
        !args.recompute,
        "--recompute is for folders of shards; the scores of a run are always computed again"
    );
    let tokenizer = args.tokenizer.as_deref().map(Tokenizer::from_file).transpose()?.map(Arc::new);
    let decode = |ids: &[u32]| tokenizer.as_ref().map_or_else(String::new, |tokenizer| text(tokenizer, ids));
    let decode: Option<&Decode<'_>> = tokenizer.is_some().then_some(&decode);
    let waiting = Bar::waiting("checking the run");
    let (mut problems, run) = check(&args.folder, decode)?;
    waiting.finish_and_clear();
    let mut json = json!({});
    let mut advice = "; the files are not as the audit wrote them: restore the folder from a copy, or make the audit again";
    let mut sound = String::new();
    if let Some(run) = &run {
        same_tokenizer(run, tokenizer.as_deref())?;
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
        if args.replay.is_some() && !problems.is_empty() {
            print::note("the model was not asked again, since the files have problems");
        } else if let Some(n) = args.replay {
            let replay = ask_again(args, run, n, tokenizer.clone(), decode)?;
            json["replay"] = serde_json::to_value(&replay)?;
            sound += &described(&replay);
            if !replay.changed.is_empty() {
                advice = "; the files fit together: this is another model than the one that was audited, or it answers otherwise now";
            }
            problems.extend(replay.changed.iter().map(changed));
        }
    }
    Ok(Findings { problems, json, sound, advice })
}

/// Asks the model for `n` probes and all positives again.
fn ask_again(
    args: &VerifyArgs,
    run: &Checked,
    n: usize,
    tokenizer: Option<Arc<Tokenizer>>,
    decode: Option<&Decode<'_>>,
) -> anyhow::Result<Replay> {
    let options = &run.config.options;
    let stop = stop_on_signals()?;
    let top_k = options.extraction.and_then(|extraction| extraction.scheme.top_k);
    let model = model::open(&args.model, Asking { tokenizer, bos: options.bos, top_k })?;
    let found = model.backend.describe()?;
    if found.fingerprint != run.config.model.fingerprint {
        print::note(&format!(
            "the model's fingerprint is {}, the run's is {}",
            found.fingerprint, run.config.model.fingerprint
        ));
    }
    if found.memory != run.config.model.memory {
        let named = |memory: Option<BlockMemory>| {
            memory
                .map_or_else(|| "each token attends to all before it".to_owned(), |memory| memory.to_string())
        };
        print::note(&format!(
            "{}; in the run {}: give the --memory-window, --memory-blocks and --memory-init of the run",
            named(found.memory),
            named(run.config.model.memory)
        ));
    }
    if found.template != run.config.model.template {
        print::note(
            "the run was made with another prompt template: give the --protocol, --prompt-template and --system-prompt of the run",
        );
    }
    let chosen = replay::choose(&run.results, n, args.seed);
    let probes: Vec<_> = chosen.iter().map(|at| &run.probes[*at]).collect();
    let results: Vec<_> = chosen.iter().map(|at| &run.results[*at]).collect();
    let waiting = Bar::waiting("asking the model again");
    let engine = Engine {
        backend: &*model.backend,
        options,
        decode,
        batch: model.batch,
        segment_rows: 1,
        stop: &stop,
    };
    let replay = replay::replay(&engine, &run.self_test, &probes, &results, run.config.separator())?;
    waiting.finish_and_clear();
    Ok(replay)
}

/// A replay without changes, in words.
fn described(replay: &Replay) -> String {
    let differ = replay.largest_difference.map_or_else(String::new, |largest| {
        if largest == 0.0 {
            ", with the same log-probabilities".into()
        } else {
            format!(", with log-probabilities that differ by {largest:.1e} nats at most")
        }
    });
    format!(
        "\nthe model answers {} as in the run, {} among them{differ}",
        plural(replay.asked, "probe"),
        plural(replay.positives, "positive")
    )
}

/// A probe with another answer, as a problem.
fn changed(changed: &Changed) -> Problem {
    let Changed { probe_id, doc_id, offset, match_length_then, match_length_now, .. } = changed;
    let differ = changed.difference.map_or_else(String::new, |difference| {
        format!("; log-probabilities differ by {difference:.2e} nats")
    });
    Problem {
        file: "results.parquet".into(),
        description: format!(
            "the model now answers otherwise to probe {probe_id} ({doc_id}, token {offset}): {match_length_then} tokens matched then, {match_length_now} now{differ}"
        ),
    }
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
