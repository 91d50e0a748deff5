//! Whether the files of a complete run fit together.
//!
//! A run says the same thing several times: the checksums cover every file, the configuration covers the probes, the results
//! have one row a probe, most values of a row follow from others, the evidence shows every positive, and the summary follows
//! from the results. Whoever changes a number has to change all of that; and then the run's digest is another one, and the
//! model gives other answers.

use std::path::Path;

use goldfish_remedy::{Remedy, Setting};
use goldfish_shard::Problem;
use serde_json::Value;

use crate::aggregate::summarize;
use crate::backend::TokenScore;
use crate::config::{RUN_VERSION, RunConfig, probes_hash};
use crate::control::Decode;
use crate::error::AuditError;
use crate::evidence::Evidence;
use crate::files::read_json;
use crate::in_context::{InContextConfig, rows_in_prompt};
use crate::measured::dropped_columns;
use crate::options::{AuditOptions, Decide};
use crate::probe::{Passage, ProbeId, Set};
use crate::rows::{ProbeRow, ResultRow};
use crate::score::extraction::ln_draws;
use crate::score::prior::prior_gain;
use crate::score::{self, Observation, ScoreValues, trivial};
use crate::selftest::SelfTest;
use crate::store::{CONFIG, EVIDENCE, FILES, PROBES, RESULTS, SELF_TEST, SUMMARY};
use crate::summary::Summary;
use crate::sums::{self, SUMS};
use crate::table::{check_key, read_rows};

/// Problems of rows that are listed; the others are counted.
const LISTED: usize = 20;

/// Recomputed numbers may differ by this, relatively: the functions of another platform's mathematics library round otherwise.
const ROUNDING: f64 = 1e-9;

/// A run, and what is wrong with it.
#[derive(Debug)]
pub struct Checked {
    /// What was measured.
    pub config: RunConfig,
    /// The summary, computed again from the results.
    pub summary: Summary,
    /// The probes in order.
    pub probes: Vec<ProbeRow>,
    /// The results in order.
    pub results: Vec<ResultRow>,
    /// What the self-test found when the run was made.
    pub self_test: SelfTest,
    /// SHA-256 of the file of checksums.
    pub digest: String,
}

/// Checks a complete run. With `decode`, values that need text are computed again too.
///
/// Returns the problems, and the run unless some of its files can't be read.
///
/// # Errors
///
/// If the folder holds no run, one that is not complete, or one of another version.
pub fn check(
    folder: &Path,
    decode: Option<&Decode<'_>>,
) -> Result<(Vec<Problem>, Option<Checked>), AuditError> {
    require_complete(folder)?;
    let config: RunConfig = read_json(&folder.join(CONFIG))?;
    if config.run_version != RUN_VERSION {
        let reason = format!("a run of version {}, not {RUN_VERSION}; start a new run", config.run_version);
        return Err(AuditError::bad_run(folder, reason));
    }
    let (digest, problems) = sums::check(folder, &FILES)?;
    let mut check = Check { folder, decode, problems };
    let checked = check.all(config, digest);
    Ok((check.problems, checked))
}

/// Whether a folder holds the run of an audit, complete or not.
#[must_use]
pub fn is_run(folder: &Path) -> bool {
    folder.join(CONFIG).is_file() && folder.join(PROBES).is_file()
}

/// Whether a folder holds the run of an audit that has come to its end.
#[must_use]
pub fn is_complete(folder: &Path) -> bool {
    folder.join(SUMMARY).is_file() && folder.join(SUMS).is_file()
}

/// Refuses what is no complete run.
fn require_complete(folder: &Path) -> Result<(), AuditError> {
    if !folder.join(CONFIG).is_file() {
        return Err(AuditError::bad_run(folder, "there is no audit run"));
    }
    if !is_complete(folder) {
        let remedies = vec![Remedy::give(Setting::Resume).to("complete it")];
        return Err(AuditError::refused(folder, "the run is not complete", remedies));
    }
    Ok(())
}

struct Check<'a> {
    folder: &'a Path,
    decode: Option<&'a Decode<'a>>,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn all(&mut self, config: RunConfig, digest: String) -> Option<Checked> {
        if config.key != config.computed_key() {
            self.problem(CONFIG, "its key is not that of its values");
        }
        let probes: Vec<ProbeRow> = self.read(PROBES, read_rows)?;
        self.probes(&config, &probes);
        let results: Vec<ResultRow> = self.read(RESULTS, |path| {
            check_key(path, &config.key)?;
            read_rows(path)
        })?;
        self.results(&config, &probes, &results);
        let evidence: Vec<Evidence> = self.read(EVIDENCE, |path| Evidence::read(path)?.collect())?;
        self.evidence(&config, &probes, &results, &evidence);
        let self_test: SelfTest = self.read(SELF_TEST, read_json)?;
        match self_test.verdict(&config.model.name) {
            Ok(decide) if decide == config.options.decide => {}
            Ok(_) => {
                self.problem(SELF_TEST, "exact match is decided in another way than the self-test allows")
            }
            Err(error) => self.problem(SELF_TEST, error.to_string()),
        }
        let found: Value = self.read(SUMMARY, read_json)?;
        let summary = summarize(&config, &results, &self_test);
        let expected = serde_json::to_value(&summary).unwrap_or_default();
        if let Some(difference) = difference("", &found, &expected) {
            self.problem(SUMMARY, format!("it does not follow from the results: {difference}"));
        }
        Some(Checked { config, summary, probes, results, self_test, digest })
    }

    fn problem(&mut self, file: &str, description: impl Into<String>) {
        self.problems.push(Problem { file: file.to_owned(), description: description.into() });
    }

    fn read<T>(&mut self, file: &str, read: impl FnOnce(&Path) -> Result<T, AuditError>) -> Option<T> {
        match read(&self.folder.join(file)) {
            Ok(value) => Some(value),
            Err(AuditError::BadRun { reason, .. }) => {
                self.problem(file, reason);
                None
            }
            Err(error) => {
                self.problem(file, error.to_string());
                None
            }
        }
    }

    /// Notes what is wrong with rows; long lists end with a count.
    fn rows(&mut self, file: &str, found: impl Iterator<Item = Option<String>>) {
        let mut more = 0;
        for (row, problem) in found.enumerate().filter_map(|(row, problem)| Some((row, problem?))) {
            if self.problems.len() < LISTED {
                self.problem(file, format!("row {row}: {problem}"));
            } else {
                more += 1;
            }
        }
        if more > 0 {
            self.problem(file, format!("{more} more rows have problems"));
        }
    }

    fn probes(&mut self, config: &RunConfig, probes: &[ProbeRow]) {
        let in_prompt = probes.iter().position(|probe| probe.passage != Passage::Absent.name());
        let (probes, in_prompt) = probes.split_at(in_prompt.unwrap_or(probes.len()));
        let expected = match &config.in_context {
            Some(InContextConfig { separator }) => rows_in_prompt(probes, separator),
            None => Vec::new(),
        };
        if in_prompt != expected {
            let reason = "the rows with the passage in the prompt are not those that config.json and the others ask for";
            self.problem(PROBES, reason);
        }
        let canaries = probes.iter().position(|probe| probe.set == Set::Canary.name());
        let (others, canaries) = probes.split_at(canaries.unwrap_or(probes.len()));
        let same_canaries = match &config.canary {
            Some(canary) => canary.hash == probes_hash(canaries),
            None => canaries.is_empty(),
        };
        if probes_hash(others) != config.probes || !same_canaries {
            self.problem(PROBES, "these are not the probes of config.json");
        }
        self.rows(PROBES, probes.iter().map(|probe| probe_problem(probe, config.options.redact)));
        let count = |set| probes.iter().filter(|probe| probe.set == set).count() as u64;
        let control = config.control.as_ref().map_or(0, |control| control.probes.probes);
        let canaries = config.canary.as_ref().map_or(0, |canary| canary.probes);
        for (set, expected) in
            [(Set::Audited, config.audited.probes), (Set::Control, control), (Set::Canary, canaries)]
        {
            let set = set.name();
            if count(set) != expected {
                let found = count(set);
                self.problem(PROBES, format!("{found} {set} probes, but config.json has {expected}"));
            }
        }
    }

    fn results(&mut self, config: &RunConfig, probes: &[ProbeRow], results: &[ResultRow]) {
        if probes.len() != results.len() {
            let (found, expected) = (results.len(), probes.len());
            self.problem(RESULTS, format!("{found} rows for {expected} probes"));
        }
        let decode = self.decode;
        let pairs = probes.iter().zip(results);
        self.rows(RESULTS, pairs.map(|(probe, row)| result_problem(&config.options, probe, row, decode)));
    }

    fn evidence(
        &mut self,
        config: &RunConfig,
        probes: &[ProbeRow],
        results: &[ResultRow],
        evidence: &[Evidence],
    ) {
        let positives: Vec<_> = probes.iter().zip(results).filter(|(_, row)| row.exact_match).collect();
        if positives.len() != evidence.len() {
            let (found, expected) = (evidence.len(), positives.len());
            self.problem(EVIDENCE, format!("{found} lines for {expected} positives"));
        }
        let pairs = positives.into_iter().zip(evidence);
        self.rows(
            EVIDENCE,
            pairs.map(|((probe, row), evidence)| evidence_problem(config, probe, row, evidence)),
        );
    }
}

/// What is wrong with a probe, whatever its result is.
fn probe_problem(probe: &ProbeRow, redact: bool) -> Option<String> {
    let (prefix, suffix) = match (&probe.prefix, &probe.suffix) {
        (Some(prefix), Some(suffix)) if !redact => (prefix, suffix),
        (None, None) if redact => return None,
        _ => return Some("tokens are there just where the run is not redacted, which is not so here".into()),
    };
    if prefix.len() as u64 != u64::from(probe.prefix_tokens)
        || suffix.len() as u64 != u64::from(probe.suffix_tokens)
    {
        return Some("prefix and suffix have other lengths than the row says".into());
    }
    let ids = [prefix.as_slice(), suffix].concat();
    let id = ProbeId::of(&probe.doc_id, probe.offset, probe.prefix_tokens, &ids).to_string();
    (id != probe.probe_id).then(|| format!("the probe's name is that of other tokens, not {id}"))
}

/// What is wrong with a result.
fn result_problem(
    options: &AuditOptions,
    probe: &ProbeRow,
    row: &ResultRow,
    decode: Option<&Decode<'_>>,
) -> Option<String> {
    if let Some(column) = other_column(probe, row) {
        return Some(format!("{column} is not that of the probe"));
    }
    let decided_by = options.decide.name();
    if row.decided_by != decided_by {
        return Some(format!("decided by {:?} in a run that decides by {decided_by:?}", row.decided_by));
    }
    if row.match_length > row.suffix_tokens || row.exact_match != (row.match_length == row.suffix_tokens) {
        return Some(format!(
            "exact_match is {} with {} of {} tokens matched",
            row.exact_match, row.match_length, row.suffix_tokens
        ));
    }
    ranks_problem(options, row).or_else(|| tokens_problem(options, probe, row, decode))
}

/// The first of the columns that probe and result share in which they differ.
fn other_column(probe: &ProbeRow, row: &ResultRow) -> Option<&'static str> {
    let columns = [
        ("probe_id", probe.probe_id == row.probe_id),
        ("set", probe.set == row.set),
        ("passage", probe.passage == row.passage),
        ("doc_id", probe.doc_id == row.doc_id),
        ("cluster", probe.cluster == row.cluster),
        ("stratum", probe.stratum == row.stratum),
        ("offset", probe.offset == row.offset),
        ("prefix_tokens", probe.prefix_tokens == row.prefix_tokens),
        ("suffix_tokens", probe.suffix_tokens == row.suffix_tokens),
        ("copies", probe.copies == row.copies),
    ];
    first_unequal(&columns)
}

/// The first of some names of which the values are not equal.
fn first_unequal(values: &[(&'static str, bool)]) -> Option<&'static str> {
    values.iter().find(|(_, equal)| !equal).map(|(name, _)| *name)
}

/// What is wrong with the model's answers about the suffix's tokens.
fn ranks_problem(options: &AuditOptions, row: &ResultRow) -> Option<String> {
    let (ranks, log_probs) = match (&row.ranks, &row.log_probs) {
        (Some(ranks), Some(log_probs)) if options.decide == Decide::Score => (ranks, log_probs),
        (None, None) if options.decide == Decide::Generate => return None,
        _ => {
            return Some(
                "ranks and log-probabilities are there just where scores decide, which is not so here".into(),
            );
        }
    };
    let suffix = row.suffix_tokens as usize;
    if ranks.len() != suffix || log_probs.len() != suffix {
        return Some("there is not one rank and one log-probability for each token of the suffix".into());
    }
    if let Some(bad) = log_probs.iter().find(|value| value.is_nan() || **value > 1e-6) {
        return Some(format!("{bad} is no log-probability"));
    }
    let length = ranks.iter().position(|rank| *rank != 1).unwrap_or(suffix);
    (length != row.match_length as usize)
        .then(|| format!("match_length is {}, but by the ranks {length}", row.match_length))
}

/// What is wrong with the values that follow from the tokens.
fn tokens_problem(
    options: &AuditOptions,
    probe: &ProbeRow,
    row: &ResultRow,
    decode: Option<&Decode<'_>>,
) -> Option<String> {
    let length = row.match_length as usize;
    let mask = probe.mask();
    let mut expected = ResultRow::default();
    dropped_columns(&mut expected, mask.as_deref(), probe.prefix_tokens as usize, length);
    let columns = [
        ("dropped", expected.dropped == row.dropped),
        ("divergence_at_dropped", expected.divergence_at_dropped == row.divergence_at_dropped),
        ("divergence_nearest", expected.divergence_nearest == row.divergence_nearest),
        ("divergence_since_dropped", expected.divergence_since_dropped == row.divergence_since_dropped),
    ];
    if let Some(name) = first_unequal(&columns) {
        return Some(format!("{name} does not follow from the mask and match_length"));
    }
    let (Some(prefix), Some(truth)) = (&probe.prefix, &probe.suffix) else {
        let redacted = row.generated.is_some().then(|| "tokens in a redacted run".to_owned());
        return redacted.or_else(|| loss_problem(row, mask.as_deref(), probe.prefix_tokens as usize));
    };
    let text = decode.map(|decode| decode(truth));
    if let Some(problem) = trivial_problem(options, row, prefix, truth, text.as_deref()) {
        return Some(problem);
    }
    if let Some(generated) = &row.generated {
        let common = generated.iter().zip(truth).take_while(|(a, b)| a == b).count();
        let fits = match options.decide {
            // Where a divergence is a tie, a continuation may take the other token.
            Decide::Score => common >= length && (!row.exact_match || generated == truth),
            Decide::Generate => common == length,
        };
        if !fits {
            return Some(format!("match_length is {length}, but the continuation matches {common} tokens"));
        }
    } else if options.continuations || options.decide == Decide::Generate {
        return Some("the continuation is missing".into());
    }
    let compared = row.generated.as_deref().filter(|_| options.continuations);
    let tokens = token_scores(row);
    let continuation_text = decode.zip(compared).map(|(decode, ids)| decode(ids));
    let observation = Observation {
        truth,
        continuation: compared,
        tokens: tokens.as_deref(),
        mask: mask.as_ref().map(|mask| &mask[prefix.len()..]),
        truth_text: text.as_deref(),
        continuation_text: continuation_text.as_deref(),
        after_others: None,
        near_log_p: None,
        min_k: options.min_k,
        extraction: options.extraction.map(|extraction| extraction.p),
    };
    let mut scores = ScoreValues::compute(&observation, options.membership);
    // The draws follow from a probability that the row alone has.
    let log_p = row.scores["log_p_z"];
    scores["ln_draws"] =
        options.extraction.zip(log_p).map(|(asked, log_p)| ln_draws(log_p.min(0.0), asked.p));
    scores["near_ln_draws"] = options
        .extraction
        .zip(row.scores["near_log_p_z"])
        .map(|(asked, log_p)| ln_draws(log_p.min(0.0), asked.p));
    scores["prior_gain"] =
        tokens.as_deref().zip(row.scores["prior_log_p"]).map(|(tokens, prior)| prior_gain(tokens, prior));
    scores_problem(options, &scores, row, decode.is_some())
}

/// Losses of a redacted run, whose other scores need tokens.
fn loss_problem(row: &ResultRow, mask: Option<&[u8]>, prefix: usize) -> Option<String> {
    let mut values = [None; 3];
    let tokens = token_scores(row);
    score::loss::losses(tokens.as_deref(), mask.map(|mask| &mask[prefix..]), &mut values);
    let names = ["loss", "loss_dropped", "loss_kept"];
    let wrong = names.into_iter().zip(values).find(|(name, value)| !same(row.scores[*name], *value));
    wrong.map(|(name, _)| format!("{name} does not follow from the log-probabilities"))
}

fn token_scores(row: &ResultRow) -> Option<Vec<TokenScore>> {
    let (ranks, log_probs) = row.ranks.as_ref().zip(row.log_probs.as_ref())?;
    let score = |(rank, log_prob): (&u32, &f64)| TokenScore {
        log_prob: *log_prob,
        rank: *rank,
        greedy: None,
        rival: None,
        moments: None,
        scheme_log_prob: None,
    };
    Some(ranks.iter().zip(log_probs).map(score).collect())
}

fn trivial_problem(
    options: &AuditOptions,
    row: &ResultRow,
    prefix: &[u32],
    truth: &[u32],
    text: Option<&str>,
) -> Option<String> {
    let boilerplate = trivial::Triviality::Boilerplate.name();
    // Without the text that the run had, what needs text is taken as it is.
    let unseen = text.is_none() && options.text;
    let found: Vec<&str> = row.trivial.split(',').filter(|name| !name.is_empty()).collect();
    let found = found.into_iter().filter(|name| !(unseen && *name == boilerplate));
    let text = text.filter(|_| options.text);
    let expected = trivial::trivialities(prefix, truth, text).into_iter().map(trivial::Triviality::name);
    (!found.eq(expected)).then(|| format!("trivial is {:?}, which the tokens do not show", row.trivial))
}

/// The first score that differs from what was computed again.
fn scores_problem(
    options: &AuditOptions,
    expected: &ScoreValues,
    row: &ResultRow,
    with_text: bool,
) -> Option<String> {
    // What needs more of the model's answer than a run keeps, or text that is not there now, is taken as it is.
    let unknown = |name: &str| match name {
        "log_p_z" => options.extraction.is_some(),
        "near_log_p_z" => options.extraction.is_some_and(|extraction| extraction.near.is_some()),
        "prior_log_p" => options.unrelated_prefixes.is_some(),
        "min_k_plus_plus" => options.membership,
        "rouge_l_words" | "zlib_ratio" => options.text && !with_text,
        _ => false,
    };
    let wrong =
        |(name, ..): &(&'static str, &str, bool)| !unknown(name) && !same(expected[*name], row.scores[*name]);
    let (name, ..) = score::columns().find(wrong)?;
    Some(format!("{name} does not follow from the row's tokens and log-probabilities"))
}

/// What is wrong with the evidence of a positive.
fn evidence_problem(
    config: &RunConfig,
    probe: &ProbeRow,
    row: &ResultRow,
    evidence: &Evidence,
) -> Option<String> {
    let same_lists = |a: &Option<Vec<f64>>, b: &Option<Vec<f64>>| match (a, b) {
        (Some(a), Some(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(Some(*a), Some(*b))),
        (a, b) => a.is_none() && b.is_none(),
    };
    let fields = [
        ("probe_id", evidence.probe_id == row.probe_id),
        ("set", evidence.set == row.set),
        ("passage", evidence.passage == row.passage),
        ("doc_id", evidence.doc_id == row.doc_id),
        ("offset", evidence.offset == row.offset),
        ("decided_by", evidence.decided_by == row.decided_by),
        ("ranks", evidence.ranks == row.ranks),
        ("log_probs", same_lists(&evidence.log_probs, &row.log_probs)),
        ("tokens", evidence.tokens.is_none() == config.options.redact),
    ];
    if let Some(name) = first_unequal(&fields) {
        return Some(format!("{name} is not that of the positive {}", row.probe_id));
    }
    let (Some(tokens), Some(prefix), Some(suffix)) = (&evidence.tokens, &probe.prefix, &probe.suffix) else {
        return None;
    };
    let before = probe.before(config.separator()).unwrap_or_default();
    let prompt: Vec<u32> = config.options.bos.iter().chain(&before).chain(prefix).copied().collect();
    (tokens.prompt != prompt || tokens.expected != *suffix)
        .then(|| format!("the tokens are not those of the probe {}", row.probe_id))
}

/// Whether two numbers are equal up to rounding.
fn same(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => {
            a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= ROUNDING * a.abs().max(b.abs()).max(1.0)
        }
        (a, b) => a.is_none() && b.is_none(),
    }
}

/// The first place where two JSON values differ, in words.
fn difference(path: &str, found: &Value, expected: &Value) -> Option<String> {
    let inner = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            let names = expected.keys().chain(found.keys().filter(|name| !expected.contains_key(*name)));
            names.into_iter().find_map(|name| {
                let value =
                    |object: &serde_json::Map<String, Value>| object.get(name).cloned().unwrap_or_default();
                difference(&inner(name), &value(found), &value(expected))
            })
        }
        (Value::Array(found), Value::Array(expected)) if found.len() == expected.len() => {
            let pairs = found.iter().zip(expected).enumerate();
            pairs
                .into_iter()
                .find_map(|(i, (found, expected))| difference(&inner(&i.to_string()), found, expected))
        }
        (Value::Number(found), Value::Number(expected)) if same(found.as_f64(), expected.as_f64()) => None,
        _ if found == expected => None,
        _ => Some(format!("{path} is {}, computed again {}", shown(found), shown(expected))),
    }
}

/// A value, or that it is a long one.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(list) => format!("a list of {}", list.len()),
        Value::Object(_) => "an object".into(),
        value => value.to_string().chars().take(80).collect(),
    }
}
