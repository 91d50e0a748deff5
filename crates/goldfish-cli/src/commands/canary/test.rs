//! `goldfish canary test`.

use std::sync::Arc;

use anyhow::{Context, ensure};
use goldfish_audit::backend::{Backend, BackendError};
use goldfish_audit::canaries::{Asked, CanaryResult, Opened, PLAN_NAME, score};
use goldfish_audit::options::Decide;
use goldfish_audit::selftest::{SelfTest, SelfTestOptions, self_test};
use goldfish_audit::{Ability, AuditError, gate};
use goldfish_shard::ToolEntry;
use goldfish_tokenize::Tokenizer;

use super::table;
use crate::args::TestArgs;
use crate::files::write_file;
use crate::model::{self, Asking, Model};
use crate::print;
use crate::progress::Bar;
use crate::signals::stop_on_signals;
use crate::verdict::Verdict;

pub(crate) fn run(args: &TestArgs) -> anyhow::Result<Verdict> {
    let stop = stop_on_signals()?;
    let opened = Opened::open(&args.folder)?;
    if let Some(expected) = &args.digest {
        let found = &opened.digest;
        ensure!(
            found.eq_ignore_ascii_case(expected),
            "{} has the SHA-256 {found}, not {expected}: it is another plan",
            args.folder.join(PLAN_NAME).display()
        );
    }
    let tokenizer = Arc::new(tokenizer(args)?);
    let asking = Asking { tokenizer: Some(tokenizer.clone()), bos: args.bos_id, top_k: None };
    let model = model::open(&args.model, asking)?;
    let passages = encoded(&opened, &tokenizer)?;
    check_ids(args, &opened, &passages, &*model.backend)?;
    let self_test = tested(args, &model, &passages, &tokenizer)?;
    let asked = Asked {
        tool: ToolEntry::goldfish(),
        model: model.backend.describe()?,
        tokenizer: tokenizer.sha256().to_owned(),
        bos: args.bos_id,
        self_test,
    };
    let bar = Bar::of(passages.len() as u64, "pairs");
    let losses = score(&*model.backend, &passages, args.bos_id, model.batch, &stop, &mut |pairs| {
        bar.set_position(pairs as u64);
    });
    bar.finish_and_clear();
    let result = CanaryResult::new(&opened, asked, &losses?);
    if let Some(path) = &args.output {
        write_file(path, &(serde_json::to_string_pretty(&result)? + "\n"), "--output")?;
    }
    if args.json {
        print::json(&result)?;
    } else {
        print::out(&table::report(&args.folder, &opened.plan, &result))?;
    }
    result.notes.iter().for_each(|note| print::warn(note));
    let failures = gate::failures(&args.fail_if, &result)?;
    failures.iter().for_each(|failure| print::gate_failed(&failure.to_string()));
    Ok(if failures.is_empty() { Verdict::Clean } else { Verdict::Findings })
}

/// The tokenizer that was named, or the checkpoint's.
fn tokenizer(args: &TestArgs) -> anyhow::Result<Tokenizer> {
    let path = args.tokenizer.clone().or_else(|| args.model.tokenizer());
    let path = path.context("passages are text: give --tokenizer, the model's own")?;
    Ok(Tokenizer::from_file(&path)?)
}

/// The token ids of each pair's passages.
fn encoded(opened: &Opened, tokenizer: &Tokenizer) -> anyhow::Result<Vec<[Vec<u32>; 2]>> {
    let mut passages = Vec::with_capacity(opened.plan.pairs.len());
    for pair in &opened.plan.pairs {
        let mut twins = [Vec::new(), Vec::new()];
        for (text, ids) in pair.twins.iter().zip(&mut twins) {
            tokenizer.encode_into(text, ids)?;
        }
        passages.push(twins);
    }
    Ok(passages)
}

/// Pairs whose passages a server is asked to tokenize.
const TOKENIZED: usize = 16;

/// Whether the model's own tokenizer, where there is one to ask, gives the same ids: with those of another one the test would find
/// nothing, whatever the model knows.
fn check_ids(
    args: &TestArgs,
    opened: &Opened,
    passages: &[[Vec<u32>; 2]],
    backend: &dyn Backend,
) -> anyhow::Result<()> {
    let texts = || opened.plan.pairs.iter().flat_map(|pair| &pair.twins);
    let own = args.tokenizer.as_ref().and_then(|_| args.model.tokenizer());
    let same = if let Some(own) = own {
        encoded(opened, &Tokenizer::from_file(&own)?)? == passages
    } else if let Some(server) = backend.tokenizer() {
        let mut same = true;
        for (text, ids) in texts().zip(passages.iter().flatten()).take(2 * TOKENIZED) {
            same &= match server.encode(text) {
                Ok(own) => own == *ids,
                Err(BackendError::Unsupported { .. }) => break,
                Err(error) => return Err(error.into()),
            };
        }
        same
    } else {
        true
    };
    ensure!(
        same,
        "the model's own tokenizer gives other ids for the passages; give its tokenizer.json as --tokenizer"
    );
    Ok(())
}

/// Tests the model with the shortest and the longest passage, and with the one that has the largest id.
fn tested(
    args: &TestArgs,
    model: &Model,
    passages: &[[Vec<u32>; 2]],
    tokenizer: &Tokenizer,
) -> anyhow::Result<SelfTest> {
    let all = || passages.iter().flatten().map(Vec::as_slice);
    let mut sequences: Vec<&[u32]> = Vec::new();
    sequences.extend(all().min_by_key(|ids| ids.len()));
    sequences.extend(all().max_by_key(|ids| ids.len()));
    sequences.extend(all().max_by_key(|ids| ids.iter().max()));
    sequences.dedup();
    let options = SelfTestOptions {
        bos: args.bos_id,
        eos: tokenizer.eos_id(),
        scheme: None,
        // A server's continuations also show whether its scores are those of its own choices.
        continuations: args.model.model.is_none(),
    };
    let tested = self_test(&*model.backend, &sequences, &options)?;
    let name = model.backend.describe()?.name;
    if tested.verdict(&name)? != Decide::Score {
        return Err(AuditError::Missing { backend: name, ability: Ability::Score }.into());
    }
    Ok(tested)
}
