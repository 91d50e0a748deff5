//! `goldfish audit`.

mod canary;
mod in_context;
mod near;
mod plan;
mod resumed;
mod sample;
mod sources;
mod table;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, ensure};
use goldfish_audit::AuditError;
use goldfish_audit::backend::{Backend, SamplingScheme};
use goldfish_audit::canary::CanarySource;
use goldfish_audit::config::{Origin, RunConfig};
use goldfish_audit::control::{Contamination, ControlCounts, Decode, match_controls};
use goldfish_audit::engine::Engine;
use goldfish_audit::gate;
use goldfish_audit::options::{AuditOptions, Extraction, StatisticsOptions};
use goldfish_audit::plausible::{self, plausible_loss};
use goldfish_audit::probe::{Allocation, Grid, ProbeTable, Sample, Start};
use goldfish_audit::score::near_verbatim::NearVerbatim;
use goldfish_audit::selftest::{Check, CheckName, Outcome, SelfTest, SelfTestOptions, self_test};
use goldfish_audit::stat::Bootstrap;
use goldfish_audit::store::{Finished, RunStore};
use goldfish_audit::tokens::TokenCheck;
use goldfish_shard::ToolEntry;
use goldfish_tokenize::Tokenizer;

use crate::args::{AuditArgs, AuditCommand, Metric};
use crate::model::{self, Asking, Model, text};
use crate::print;
use crate::progress::Bar;
use crate::signals::stop_on_signals;
use crate::verdict::Verdict;
use in_context::InContext;
use sources::Sources;

/// Starts whose tokens a server is tested with.
const TESTED: usize = 4;

/// Starts that a model in this process is tested with, which no server changes.
const TESTED_IN_PROCESS: usize = 2;

/// Results that are written together.
const SEGMENT_ROWS: usize = 1024;

pub(crate) fn run(args: &AuditArgs) -> anyhow::Result<Verdict> {
    match &args.command {
        Some(AuditCommand::Plan(args)) => return plan::run(args),
        Some(AuditCommand::Sample(args)) => return sample::run(args),
        None => {}
    }
    let args = &args.resolved();
    ensure!(
        args.temperature.is_some()
            || (args.top_k.is_none() && args.top_p.is_none() && args.near_distance.is_none()),
        "--top-k, --top-p and --near-distance are about tokens that are drawn; give --temperature too"
    );
    let output = args.output.as_deref().context("--output names no folder for the run")?;
    let stop = stop_on_signals()?;
    let sources = Sources::find(args)?;
    let tokenizer = sources.tokenizer();
    let decode = |ids: &[u32]| tokenizer.map_or_else(String::new, |tokenizer| text(tokenizer, ids));
    let decode: Option<&Decode<'_>> = tokenizer.is_some().then_some(&decode);
    let options = options(args, tokenizer.map(|tokenizer| &**tokenizer));
    options.check()?;
    let asking =
        Asking { tokenizer: tokenizer.cloned(), bos: args.bos_id, top_k: args.temperature.and(args.top_k) };
    let model = model::open(&args.model, asking)?;
    let mut probes = Probes::choose(args, &sources, decode)?;
    // Before the self-test, which would only say that an id is none of the model's.
    let tokens = sources.check_tokens(args, &*model.backend, &probes.tables())?;
    probes.add_in_context(args, &sources, &*model.backend)?;
    let eos = tokenizer.and_then(|tokenizer| tokenizer.eos_id());
    let mut tested = probes.test(&*model.backend, &options, eos, args.model.model.is_some())?;
    tested.checks.push(probes.plausible_loss(&*model.backend, options.bos, args.allow_tokenizer_mismatch)?);
    probes.add_canary(args, &sources, &*model.backend, output)?;
    let origin = &sources.origin();
    let audit = Audit { args, model: &model, probes: &probes, options, tokens, origin, decode, stop: &stop };
    let Finished { summary, digest, .. } = audit.run(output, tested)?;
    if args.json {
        let mut json = serde_json::to_value(&summary)?;
        json["digest"] = digest.into();
        print::json(&json)?;
    } else {
        print::out(&table::report(output, &summary, &digest))?;
    }
    summary.notes.iter().for_each(|note| print::warn(note));
    let failures = gate::audit_failures(&args.fail_if, &summary)?;
    failures.iter().for_each(|failure| print::gate_failed(&failure.to_string()));
    Ok(if failures.is_empty() { Verdict::Clean } else { Verdict::Findings })
}

/// The run itself.
struct Audit<'a> {
    args: &'a AuditArgs,
    model: &'a Model,
    probes: &'a Probes,
    options: AuditOptions,
    tokens: TokenCheck,
    origin: &'a Origin,
    decode: Option<&'a Decode<'a>>,
    stop: &'a AtomicBool,
}

impl Audit<'_> {
    /// Measures in a folder, and sums up.
    fn run(self, output: &Path, tested: SelfTest) -> anyhow::Result<Finished> {
        let model = self.model.backend.describe()?;
        let options = AuditOptions { decide: tested.verdict(&model.name)?, ..self.options };
        ensure!(
            !(options.continuations && tested.outcome(CheckName::EosSuppressed) == Outcome::Failed),
            "{} ends continuations before their length: leave them out with --metrics exact-match",
            model.name
        );
        let Probes { grid, sample, audited, control, canary, in_context } = self.probes;
        let mut config = RunConfig::new(
            ToolEntry::goldfish(),
            model,
            grid.clone(),
            sample.clone(),
            options,
            audited,
            control.as_ref().map(|(table, counts, contamination)| (table, counts.clone(), *contamination)),
        )
        .with_tokens(self.tokens);
        if let Some((table, source)) = canary {
            config = config.with_canary(*source, table);
        }
        if let Some(InContext { separator, .. }) = in_context {
            config = config.with_in_context(separator.clone());
        }
        let tables = self.probes.tables();
        let engine = Engine {
            backend: &*self.model.backend,
            options: &config.options,
            decode: self.decode,
            batch: self.model.batch,
            segment_rows: SEGMENT_ROWS,
            stop: self.stop,
        };
        // Before there is a folder.
        engine.check()?;
        if self.args.resume {
            resumed::check_complete(output)?;
        }
        let mut store = RunStore::open(output, &config, &tables, self.args.resume)?;
        store.origin(self.origin)?;
        let tested = store.self_test(tested)?;
        if store.done() > 0 {
            resumed::check_model(&engine, &tested, &tables, &store, config.separator())?;
        }
        let bar = Bar::of(0, "probes");
        let done = engine.run(&tables, &mut store, &mut |progress| {
            if bar.length() != Some(progress.probes) {
                bar.set_length(progress.probes);
                // The progress of an earlier process says nothing about the speed of this one.
                bar.set_position(progress.done);
                bar.reset_eta();
            }
            bar.set_position(progress.done);
        });
        bar.finish_and_clear();
        done.map_err(|error| unfinished(error, &store, self.probes.number()))?;
        let finished = store.finish(&tested)?;
        if self.args.resume {
            resumed::check_complete(output)?;
        }
        Ok(finished)
    }
}

/// An error with the command that resumes the run.
fn unfinished(error: AuditError, store: &RunStore, probes: usize) -> anyhow::Error {
    let done = format!(
        "{} of {} probes are done; resume after them with",
        print::count(store.done() as u64),
        print::count(probes as u64),
    );
    print::advised(error, vec![done, format!("  {}", print::resume_command(std::env::args_os()))])
}

/// What the model is asked.
struct Probes {
    grid: Grid,
    sample: Sample,
    audited: ProbeTable,
    control: Option<(ProbeTable, ControlCounts, Contamination)>,
    canary: Option<(ProbeTable, CanarySource)>,
    in_context: Option<InContext>,
}

impl Probes {
    fn choose(args: &AuditArgs, sources: &Sources, decode: Option<&Decode<'_>>) -> anyhow::Result<Self> {
        let grid = Grid::new(args.offset.clone(), args.stride, args.prefix.clone(), args.suffix.clone())?;
        let sample = Sample {
            starts: (!args.work).then_some(args.samples),
            seed: args.seed,
            allocation: if args.equal { Allocation::Equal } else { Allocation::Proportional },
        };
        let waiting = Bar::waiting("choosing probes");
        let corpus = sources.corpus();
        let mut audited = ProbeTable::sample(corpus, &grid, &sample)?;
        ensure!(
            !audited.probes.is_empty(),
            "none of {} has the {} tokens of the shortest probe; choose a shorter --prefix or --suffix, or a smaller --offset",
            print::plural(audited.counts.documents, "document"),
            grid.shortest(),
        );
        near::join(&mut audited, decode);
        let control = if let Some(held_out) = sources.control() {
            waiting.set_message("matching the control, and comparing it with the audited corpus");
            let contamination =
                Contamination { tokens: args.shared_run, characters: args.shared_run.saturating_mul(4) };
            let (mut table, counts) =
                match_controls(&audited, corpus, held_out, &grid, args.seed, contamination, decode)?;
            ensure!(
                !table.probes.is_empty(),
                "no control probe is left: of {} candidates {} share long runs with the audited corpus; give other held-out documents",
                print::count(counts.checked),
                print::count(counts.contaminated),
            );
            near::join(&mut table, decode);
            Some((table, counts, contamination))
        } else {
            None
        };
        waiting.finish_and_clear();
        if let Some(advice) = more_starts(args, &grid, &audited) {
            print::note(&advice);
        }
        Ok(Self { grid, sample, audited, control, canary: None, in_context: None })
    }

    /// Chooses the positive control, if there is to be one. After the tests of the model, which may have to answer for it.
    fn add_canary(
        &mut self,
        args: &AuditArgs,
        sources: &Sources,
        backend: &dyn Backend,
        output: &Path,
    ) -> anyhow::Result<()> {
        if args.canary.is_empty() {
            return Ok(());
        }
        let waiting = Bar::waiting("choosing the positive control");
        let table = match sources.canary() {
            Some(documents) => canary::of_documents(documents, &self.grid, &self.sample)?,
            None => {
                let resumed = args.resume.then_some(output);
                canary::of_own_output(backend, &self.audited, &self.grid, args.bos_id, resumed)?
            }
        };
        waiting.finish_and_clear();
        self.canary = Some((table, canary::source(&args.canary)));
        Ok(())
    }

    /// Adds the control of copying, if there is to be one: all probes with the passage in the prompt.
    fn add_in_context(
        &mut self,
        args: &AuditArgs,
        sources: &Sources,
        backend: &dyn Backend,
    ) -> anyhow::Result<()> {
        if args.in_context_control {
            let separator = in_context::separator(&args.separator_ids, sources.text_tokenizer(), backend)?;
            self.in_context = Some(InContext::new(&self.tables(), separator, args.bos_id, backend)?);
        }
        Ok(())
    }

    /// The sets, the audited one first, and those with the passage in the prompt last.
    fn tables(&self) -> Vec<&ProbeTable> {
        let control = self.control.as_ref().map(|(table, ..)| table);
        let canary = self.canary.as_ref().map(|(table, _)| table);
        let in_context = self.in_context.iter().flat_map(|in_context| &in_context.tables);
        std::iter::once(&self.audited).chain(control).chain(canary).chain(in_context).collect()
    }

    /// Number of probes in all sets.
    fn number(&self) -> usize {
        self.tables().iter().map(|table| table.probes.len()).sum()
    }

    /// Tests the backend with starts of different lengths, the longest among them.
    fn test(
        &self,
        backend: &dyn Backend,
        options: &AuditOptions,
        eos: Option<u32>,
        in_process: bool,
    ) -> anyhow::Result<SelfTest> {
        let waiting = Bar::waiting("testing the model's answers");
        let starts = self.tables().into_iter().flat_map(|table| &table.starts);
        let mut starts: Vec<Vec<u32>> = starts.map(Start::sequence).collect();
        starts.sort_by_key(Vec::len);
        let tested = if in_process { TESTED_IN_PROCESS } else { TESTED };
        let steps = tested.min(starts.len()) - 1;
        let mut sequences: Vec<&[u32]> =
            (0..=steps).map(|i| starts[(starts.len() - 1) * i / steps.max(1)].as_slice()).collect();
        // The largest id is in none of them perhaps, and must be one of the model's.
        sequences.extend(starts.iter().max_by_key(|ids| ids.iter().max()).map(Vec::as_slice));
        sequences.dedup();
        let options = SelfTestOptions {
            bos: options.bos,
            eos,
            scheme: options.extraction.map(|extraction| extraction.scheme),
            // A server's continuations also show whether its scores are those of its own choices.
            continuations: options.continuations || !in_process,
        };
        let tested = self_test(backend, &sequences, &options)?;
        waiting.finish_and_clear();
        Ok(tested)
    }

    /// Checks the loss on some audited and some control starts, evenly spaced.
    fn plausible_loss(
        &self,
        backend: &dyn Backend,
        bos: Option<u32>,
        allowed: bool,
    ) -> anyhow::Result<Check> {
        let some = |table: &ProbeTable| -> Vec<Vec<u32>> {
            let step = table.starts.len().div_ceil(plausible::SEQUENCES).max(1);
            let starts = table.starts.iter().step_by(step);
            starts.map(|start| bos.iter().chain(&start.ids).copied().collect()).collect()
        };
        let control = self.control.as_ref().map_or_else(Vec::new, |(table, ..)| some(table));
        let mut check = plausible_loss(backend, &some(&self.audited), &control)?;
        if check.outcome == Outcome::Failed {
            if allowed {
                check.outcome = Outcome::Flagged;
            } else {
                check.detail += "; --allow-tokenizer-mismatch audits it all the same";
            }
        }
        Ok(check)
    }
}

/// Starts that are few, if there could be more.
const FEW_STARTS: usize = 30;

/// How to take more starts from few long documents, such as books.
fn more_starts(args: &AuditArgs, grid: &Grid, audited: &ProbeTable) -> Option<String> {
    let longest = audited.starts.iter().map(|start| start.document_tokens).max()?;
    let few = args.stride.is_none() && audited.starts.len() < FEW_STARTS;
    (few && longest >= 10 * grid.shortest()).then(|| {
        format!(
            "note: only {} from documents of up to {}: give --stride {} to probe all of them, or a list of values for --offset",
            print::plural(audited.starts.len() as u64, "start"),
            print::plural(longest, "token"),
            grid.shortest(),
        )
    })
}

/// What is measured, as far as the command line says.
fn options(args: &AuditArgs, tokenizer: Option<&Tokenizer>) -> AuditOptions {
    let extraction = args.temperature.map(|temperature| Extraction {
        scheme: SamplingScheme { temperature, top_k: args.top_k, top_p: args.top_p },
        p: args.p,
        near: args.near_distance.map(|distance| NearVerbatim { distance, beams: args.beams }),
    });
    AuditOptions {
        continuations: args.metrics.contains(&Metric::Continuations),
        extraction,
        unrelated_prefixes: args.metrics.contains(&Metric::Prior).then_some(args.unrelated_prefixes),
        membership: args.metrics.contains(&Metric::Membership),
        bos: args.bos_id,
        text: tokenizer.is_some(),
        tokenizer: tokenizer.map(|tokenizer| tokenizer.sha256().to_owned()),
        redact: args.redact,
        statistics: StatisticsOptions { rates: args.interval, bootstrap: Bootstrap::new(args.seed) },
        ..AuditOptions::default()
    }
}
