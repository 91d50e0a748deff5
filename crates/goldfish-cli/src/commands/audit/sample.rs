//! `goldfish audit sample`.

use anyhow::{Context, bail, ensure};
use goldfish_audit::AuditError;
use goldfish_audit::backend::{Backend, Decoding, GenerateRequest, SamplingScheme, TextTokenizer};
use goldfish_audit::sampling::{Prompt, Sampled, SampledCounts, Sampler, SamplingConfig};
use goldfish_audit::tokens::other_text;
use goldfish_corpus::{Content, ReadOptions, for_each_text, resolve};
use goldfish_tokenize::Tokenizer;
use serde_json::json;

use super::sources::Asked;
use crate::args::SampleArgs;
use crate::describe::ALREADY_COMPLETE;
use crate::model::{self, Asking, text};
use crate::print::{self, BOLD, count, plural};
use crate::progress::Bar;
use crate::signals::stop_on_signals;
use crate::verdict::Verdict;

pub(crate) fn run(args: &SampleArgs) -> anyhow::Result<Verdict> {
    let scheme = SamplingScheme { temperature: args.temperature, top_k: args.top_k, top_p: args.top_p };
    scheme.check()?;
    let file = args.tokenizer.clone().or_else(|| args.model.tokenizer());
    let file = file
        .context("the samples' text needs the model's tokenizer: give its tokenizer.json with --tokenizer")?;
    let asked = Asked::open(&file)?;
    let tokenizer = asked.tokenizer.clone();
    let prompts = prompts(args, &tokenizer)?;
    let asking = Asking { tokenizer: Some(tokenizer.clone()), bos: args.bos_id, top_k: args.top_k };
    let model = model::open(&args.model, asking)?;
    let description = model.backend.describe()?;
    ensure!(
        description.template.is_none() || !args.prompts.is_empty(),
        "a prompt template needs a text to be continued: give --prompts"
    );
    check_tokenizer(args, &asked, &*model.backend, &prompts, scheme)?;
    let size = (args.samples, args.tokens);
    let config = SamplingConfig::new(description, tokenizer.sha256(), &prompts, size, scheme, args.seed);
    let stop = stop_on_signals()?;
    let sampler = Sampler {
        backend: &*model.backend,
        config: &config,
        prompts: &prompts,
        decode: &|ids| text(&tokenizer, ids),
        encode: &|text| encoded(&tokenizer, text).unwrap_or_default(),
        batch: model.batch,
        stop: &stop,
    };
    let bar = Bar::of(args.samples, "samples");
    let mut done = 0;
    let drawn = sampler.draw(&args.output, args.resume, &mut |samples| {
        done = samples;
        bar.set_position(samples);
    });
    bar.finish_and_clear();
    let Sampled { counts, was_complete } = drawn.map_err(|error| match error {
        error @ (AuditError::Interrupted | AuditError::Backend(_)) if done > 0 => {
            print::unfinished(error, &plural(done, "sample"), &args.output)
        }
        error => error.into(),
    })?;
    if args.json {
        print::json(&json!({ "output": args.output, "already_complete": was_complete, "counts": counts }))?;
    } else {
        let complete = if was_complete { format!("\n{ALREADY_COMPLETE}") } else { String::new() };
        print::out(&format!("{}{complete}\n", line(args, &counts)))?;
    }
    if let Some(note) = counts.note() {
        print::warn(&note);
    }
    Ok(Verdict::Clean)
}

/// Samples that are compared, and the tokens of each.
const COMPARED: (usize, usize) = (8, 64);

/// Text that another tokenizer than the model's gives to its ids is not what the model said: nothing of it would be found.
fn check_tokenizer(
    args: &SampleArgs,
    given: &Asked,
    backend: &dyn Backend,
    prompts: &[Prompt],
    scheme: SamplingScheme,
) -> anyhow::Result<()> {
    let own = args.model.tokenizer().map(|path| Asked::open(&path)).transpose()?;
    let model: &dyn TextTokenizer = match (&own, backend.tokenizer()) {
        (Some(own), _) if own.tokenizer.sha256() == given.tokenizer.sha256() => return Ok(()),
        (Some(own), _) => own,
        (None, Some(of_server)) => of_server,
        (None, None) => return Ok(()),
    };
    let tokens = COMPARED.1.min(args.tokens as usize);
    let requests: Vec<_> = prompts
        .iter()
        .cycle()
        .take(COMPARED.0)
        .map(|prompt| GenerateRequest { prompt: &prompt.ids, tokens })
        .collect();
    let drawn = backend.generate(&requests, &Decoding::Sampled { scheme, seed: args.seed, first: 0 })?;
    let drawn: Vec<Vec<u32>> = drawn.into_iter().map(|answer| answer.ids).collect();
    match other_text(given, model, &drawn)? {
        None => Ok(()),
        Some(detail) => bail!("--tokenizer is not the model's: {detail}; give the model's own"),
    }
}

fn line(args: &SampleArgs, counts: &SampledCounts) -> String {
    let SampledCounts { samples, tokens, ended_early, .. } = *counts;
    let early = if ended_early > 0 { format!("; {} ended early", count(ended_early)) } else { String::new() };
    let folder = print::path(&args.output);
    format!("{BOLD}{folder}{BOLD:#}  {}, {}{early}", plural(samples, "sample"), plural(tokens, "token"))
}

/// What the samples continue.
fn prompts(args: &SampleArgs, tokenizer: &Tokenizer) -> anyhow::Result<Vec<Prompt>> {
    if args.prompts.is_empty() {
        let bos = args.bos_id.or_else(|| tokenizer.bos_id()).or_else(|| tokenizer.eos_id());
        let bos =
            bos.context("the tokenizer names no BOS and no EOS to start with; give --bos-id or --prompts")?;
        return Ok(vec![Prompt { id: None, ids: vec![bos], text: text(tokenizer, &[bos]) }]);
    }
    let resolved = resolve(&args.prompts, None)?;
    print::note_unread(&resolved);
    let mut read = ReadOptions::new(Content::Text { column: "text".into() });
    read.id_column = Some("id".into());
    read.refuse_masks = false;
    let mut prompts = Vec::new();
    let bad = |reject: goldfish_corpus::Reject| {
        anyhow::anyhow!(
            "{}: row {}: {}; each row needs a text and an id",
            reject.file,
            reject.row,
            reject.reason
        )
    };
    for_each_text(&resolved.inputs, &read, bad, &mut |id, text| {
        let ids = args.bos_id.into_iter().chain(encoded(tokenizer, text)?).collect::<Vec<u32>>();
        ensure!(!ids.is_empty(), "the prompt {id:?} has no tokens; give --bos-id, or leave it out");
        prompts.push(Prompt { id: Some(id.to_owned()), ids, text: text.to_owned() });
        Ok(())
    })?;
    ensure!(!prompts.is_empty(), "there are no prompts in the files of --prompts");
    Ok(prompts)
}

fn encoded(tokenizer: &Tokenizer, text: &str) -> anyhow::Result<Vec<u32>> {
    let mut ids = Vec::new();
    tokenizer.encode_into(text, &mut ids)?;
    Ok(ids)
}
