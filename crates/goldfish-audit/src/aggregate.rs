//! From rows to the summary.

use std::collections::{BTreeMap, HashMap};

use crate::backend::Caveat;
use crate::canary::CanarySummary;
use crate::config::{RUN_VERSION, RunConfig};
use crate::control::Lacking;
use crate::options::{Decide, Extraction, StatisticsOptions};
use crate::probe::{Passage, Set};
use crate::rows::ResultRow;
use crate::score::trivial::Triviality;
use crate::score::{Scale, Score, Statistic, position};
use crate::selftest::SelfTest;
use crate::stat::{Bootstrap, Clusters, Joined, Range, Rate, auc, excess_rate, mcnemar, rate, rate_interval};
use crate::summary::*;
use crate::works::works;

const LOSS_DROPPED: usize = position("loss_dropped");
const LOSS_KEPT: usize = position("loss_kept");
const LN_DRAWS: usize = position("ln_draws");
const NEAR_LN_DRAWS: usize = position("near_ln_draws");
const PRIOR_LOG_P: usize = position("prior_log_p");

/// Draws for which extraction is reported.
const DRAWS: [u64; 7] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000];

/// A margin below this, in nats, is within the rounding of other hardware.
const CLOSE: f64 = 1e-3;

/// Below this, bootstrap intervals of skewed scores cover 92% rather than 95% (see `tests/coverage.rs`).
const FEW_CLUSTERS: usize = 50;

/// Summarizes a run. Rows are those of the audited set and of the control, in any order of sets.
#[must_use]
pub fn summarize<'r>(config: &RunConfig, rows: &'r [ResultRow], self_test: &SelfTest) -> Summary {
    let asked = |passage: Passage, set: Set| -> Vec<&'r ResultRow> {
        rows.iter().filter(|row| row.is_of(set, passage)).collect()
    };
    let [audited, control, canaries] =
        [Set::Audited, Set::Control, Set::Canary].map(|set| asked(Passage::Absent, set));
    let method = config.options.statistics.rates;
    let canary = config.canary.as_ref().map(|canary| CanarySummary::new(canary.source, &canaries, method));
    let with_control = config.control.is_some();
    let plain = |rows: &[&'r ResultRow]| -> Vec<&'r ResultRow> {
        rows.iter().copied().filter(|row| row.trivial.is_empty()).collect()
    };
    let (plain_audited, plain_control) = (plain(&audited), plain(&control));
    let statistics = Statistics(&config.options.statistics);
    let in_prompt = [Set::Audited, Set::Control].map(|set| asked(Passage::InPrompt, set));
    let in_context = config
        .in_context
        .is_some()
        .then(|| statistics.in_context([&audited, &control], [&in_prompt[0], &in_prompt[1]], with_control));
    Summary {
        run_version: RUN_VERSION,
        tool: config.tool.clone(),
        key: config.key.clone(),
        model: config.model.clone(),
        notes: notes(config, self_test, &audited, canary.as_ref(), in_context.as_ref(), &in_prompt.concat()),
        scores: statistics.scores(&audited),
        control: with_control.then(|| statistics.scores(&control)),
        excess: with_control.then(|| statistics.excess(&audited, &control)),
        canary,
        in_context,
        nontrivial: Nontrivial {
            audited: statistics.scores(&plain_audited),
            control: with_control.then(|| statistics.scores(&plain_control)),
            excess: with_control.then(|| statistics.excess(&plain_audited, &plain_control)),
        },
        trivial: Triviality::ALL.iter().map(|filter| trivial_count(*filter, &audited, &control)).collect(),
        strata: statistics.strata(&audited, &control),
        works: works(&audited, with_control.then_some(&*control)),
        extraction: config
            .options
            .extraction
            .map(|asked| statistics.extraction(asked, &audited, with_control.then_some(&control))),
        membership: if with_control { statistics.membership(&audited, &control) } else { Vec::new() },
        goldfish: statistics.goldfish(&audited),
        probes: config.audited,
        control_probes: config.control.clone(),
        cost: cost(config, rows),
        close_calls: audited.iter().filter(|row| row.margin.is_some_and(|margin| margin < CLOSE)).count()
            as u64,
        self_test: self_test.clone(),
    }
}

/// Compares two runs on the probes that both have.
#[must_use]
pub fn compare(first: &[ResultRow], second: &[ResultRow], bootstrap: &Bootstrap) -> Comparison {
    let others: HashMap<&str, &ResultRow> = second.iter().map(|row| (row.probe_id.as_str(), row)).collect();
    let pairs: Vec<(&ResultRow, &ResultRow)> =
        first.iter().filter_map(|row| Some((row, *others.get(row.probe_id.as_str())?))).collect();
    let longest = longest(pairs.iter().map(|(row, _)| *row));
    let clusters = shared_clusters(&pairs);
    let difference = |score: &'static Score| {
        let value = ResultRow::reader(score);
        let differences = (clusters.iter().zip(&pairs))
            .filter_map(|(cluster, (a, b))| Some((*cluster, value(a)? - value(b)?)));
        bootstrap.paired(&Clusters::new(differences), range(score, longest).map(Range::differences))
    };
    Comparison {
        probes: pairs.len() as u64,
        unpaired: (first.len() + second.len() - 2 * pairs.len()) as u64,
        exact_match_test: mcnemar(
            (clusters.iter().zip(&pairs)).map(|(cluster, (a, b))| (*cluster, a.exact_match, b.exact_match)),
        ),
        differences: PerScore::new(difference),
    }
}

/// The cluster of each pair, where what either run takes for dependent is so.
fn shared_clusters(pairs: &[(&ResultRow, &ResultRow)]) -> Vec<usize> {
    let mut joined = Joined::new(pairs.len());
    let (mut first, mut second) = (HashMap::new(), HashMap::new());
    for (number, (a, b)) in pairs.iter().enumerate() {
        joined.join(*first.entry(a.cluster.as_str()).or_insert(number), number);
        joined.join(*second.entry(b.cluster.as_str()).or_insert(number), number);
    }
    (0..pairs.len()).map(|number| joined.first(number)).collect()
}

/// The values that a score can take where suffixes have `longest` tokens at most.
fn range(score: &Score, longest: u32) -> Option<Range> {
    match score.scale {
        Scale::Fraction => Some(Range::UNIT),
        Scale::Tokens => Some(Range::up_to(longest)),
        Scale::Unbounded => None,
    }
}

/// Tokens of the longest suffix.
fn longest<'r>(rows: impl Iterator<Item = &'r ResultRow>) -> u32 {
    rows.map(|row| row.suffix_tokens).max().unwrap_or(0)
}

fn exact(row: &ResultRow) -> Option<f64> {
    Some(f64::from(u8::from(row.exact_match)))
}

fn clusters(rows: &[&ResultRow], value: impl Fn(&ResultRow) -> Option<f64>) -> Clusters {
    Clusters::new(rows.iter().filter_map(|row| Some((&row.cluster, value(row)?))))
}

fn notes(
    config: &RunConfig,
    self_test: &SelfTest,
    audited: &[&ResultRow],
    canary: Option<&CanarySummary>,
    in_context: Option<&InContextSummary>,
    in_prompt: &[&ResultRow],
) -> Vec<String> {
    let mut notes: Vec<String> = config.tokens.note().into_iter().collect();
    if config.model.template.is_some() {
        notes.push(
            "the model was asked in words, through a prompt template: rates are lower bounds, and a zero is no all-clear; what it knows \
             it may refuse to say, paraphrase or comment on, and the server may filter it"
                .into(),
        );
    }
    match canary {
        None => notes.push(
            "no positive control: that this audit finds recitation where there is some was not shown".into(),
        ),
        Some(canary) => notes.extend(canary.note()),
    }
    match &config.control {
        None => notes.push("no control: how much a model scores that never saw the text is unknown".into()),
        Some(control) => {
            let matching = &control.matching;
            if matching.unmatched > 0 {
                let lacking: Vec<String> = matching.lacking.iter().map(Lacking::to_string).collect();
                notes.push(format!(
                    "{} of {} audited starts have no matching control (same stratum and offset); held-out documents to add: {}",
                    matching.unmatched,
                    matching.wanted,
                    lacking.join(", ")
                ));
            }
            if matching.contaminated > 0 {
                notes.push(format!(
                    "{} of {} control documents share long runs with the audited corpus and were removed",
                    matching.contaminated, matching.checked
                ));
            }
            if !matching.normalised_checked {
                notes.push(
                    "the control was compared by token ids only, since text needs the tokenizer".into(),
                );
            }
        }
    }
    notes.extend(in_context.and_then(InContextSummary::note));
    for (set, counts) in
        [("audited", Some(config.audited)), ("control", config.control.as_ref().map(|c| c.probes))]
    {
        if let Some(counts) = counts.filter(|counts| counts.joined > 0) {
            notes.push(format!(
                "near-copies among the {set} passages: {} documents count as {} independent passages, {} fewer than without looking for near-copies",
                counts.probed, counts.clusters, counts.joined
            ));
        }
    }
    let independent = clusters(audited, exact).clusters();
    if independent < FEW_CLUSTERS {
        notes.push(format!(
            "only {independent} independent passage{}: the intervals of means may cover the truth in fewer than 95% of cases",
            if independent == 1 { "" } else { "s" }
        ));
    }
    let trivial = audited.iter().filter(|row| !row.trivial.is_empty()).count();
    if trivial > 0 {
        notes.push(format!("{trivial} of {} audited probes are trivial; see nontrivial", audited.len()));
    }
    for (rows, what) in [(audited, "audited probes"), (in_prompt, "probes with the passage in the prompt")] {
        notes.extend(caveats(rows, what));
        notes.extend(refused(rows, what));
    }
    if config.options.decide == Decide::Generate {
        notes.push(
            "continuations decided exact match, because the backend's scores of prompts are not reliable"
                .into(),
        );
    }
    notes.extend(self_test.notes());
    notes
}

/// That continuations of text-only servers have caveats.
fn caveats(rows: &[&ResultRow], what: &str) -> Option<String> {
    let found = rows.iter().filter(|row| !row.caveats.is_empty()).count();
    (found > 0).then(|| {
        format!(
            "the continuations of {found} of {} {what} have caveats, since the server takes and gives only text",
            rows.len()
        )
    })
}

/// That there are answers which say nothing of what the model knows.
fn refused(rows: &[&ResultRow], what: &str) -> Option<String> {
    let is_refused = |row: &&&ResultRow| row.caveats.split(',').any(|name| name == Caveat::Refused.name());
    let found = rows.iter().filter(is_refused).count();
    (found > 0).then(|| {
        format!(
            "{found} of {} {what} were refused by the model or filtered by the server: they count as not recited, and show nothing",
            rows.len()
        )
    })
}

fn trivial_count(filter: Triviality, audited: &[&ResultRow], control: &[&ResultRow]) -> TrivialCount {
    let found = |rows: &[&ResultRow]| {
        let hit = |row: &&&ResultRow| row.trivial.split(',').any(|name| name == filter.name());
        let exact = rows.iter().filter(hit).filter(|row| row.exact_match).count() as u64;
        (rows.iter().filter(hit).count() as u64, exact)
    };
    let ((audited, audited_exact), (control, control_exact)) = (found(audited), found(control));
    TrivialCount { filter, audited, audited_exact, control, control_exact }
}

/// The plan's cost, from the rows alone, so that a resumed run has the same.
fn cost(config: &RunConfig, rows: &[ResultRow]) -> Cost {
    /// Set, document and offset of a start, and of one with the passage in the prompt the lengths of its prefix and suffix.
    type StartKey<'r> = (&'r str, &'r str, u64, Option<(u32, u32)>);
    let options = &config.options;
    let mut cost = Cost::default();
    // Start -> longest sequence; (start, prefix) -> longest suffix that needs a continuation, what is known of it, and what is before
    // the prefix.
    let mut sequences: HashMap<StartKey<'_>, u64> = HashMap::new();
    let mut prompts: HashMap<(StartKey<'_>, u32), (u64, u64, u64)> = HashMap::new();
    // Suffixes after unrelated prefixes. Where a run has fewer of these than asked for, this is more than was scored.
    let mut unrelated = 0;
    for row in rows {
        let (prefix, suffix) = (u64::from(row.prefix_tokens), u64::from(row.suffix_tokens));
        let in_prompt = row.passage == Passage::InPrompt.name();
        let passage = if in_prompt { prefix + suffix + config.separator().len() as u64 } else { 0 };
        let lead = u64::from(options.bos.is_some()) + passage;
        if row.scores[PRIOR_LOG_P].is_some() {
            unrelated += u64::from(options.unrelated_prefixes.unwrap_or(0)) * (lead + prefix + suffix);
        }
        cost.naive_forward_tokens += lead + prefix + suffix;
        cost.naive_decoded_tokens += suffix;
        let split = in_prompt.then_some((row.prefix_tokens, row.suffix_tokens));
        let start = (row.set.as_str(), row.doc_id.as_str(), row.offset, split);
        let longest = sequences.entry(start).or_default();
        *longest = (*longest).max(lead + prefix + suffix);
        let known = match options.decide {
            Decide::Score if row.exact_match || !options.continuations => continue,
            Decide::Score => u64::from(row.match_length) + 1,
            Decide::Generate => 0,
        };
        let longest = prompts.entry((start, row.prefix_tokens)).or_insert((0, known, lead));
        longest.0 = longest.0.max(suffix);
    }
    if options.decide == Decide::Score {
        cost.scored_tokens = sequences.values().sum();
    }
    cost.scored_tokens += unrelated;
    for ((_, prefix), (suffix, known, lead)) in prompts {
        if suffix > known {
            cost.prompt_tokens += lead + u64::from(prefix) + known;
            cost.decoded_tokens += suffix - known;
        }
    }
    cost.forward_tokens = cost.scored_tokens + cost.prompt_tokens + cost.decoded_tokens;
    cost
}

struct Statistics<'a>(&'a StatisticsOptions);

impl Statistics<'_> {
    fn rate(&self, rows: &[&ResultRow], value: impl Fn(&ResultRow) -> Option<f64>) -> Rate {
        rate(&clusters(rows, value), self.0.rates)
    }

    fn scores(&self, rows: &[&ResultRow]) -> Scores {
        let longest = longest(rows.iter().copied());
        let mean = |score: &'static Score| {
            self.0.bootstrap.mean(&clusters(rows, ResultRow::reader(score)), range(score, longest))
        };
        Scores { exact_match: self.rate(rows, exact), means: PerScore::new(mean) }
    }

    fn excess(&self, first: &[&ResultRow], second: &[&ResultRow]) -> Excess {
        let longest = longest(first.iter().chain(second).copied());
        PerScore::new(|score| {
            let value = ResultRow::reader(score);
            let (first, second) = (clusters(first, value), clusters(second, value));
            if score.has(Statistic::Rate) {
                excess_rate(&first, &second)
            } else {
                self.0.bootstrap.difference(&first, &second, range(score, longest))
            }
        })
    }

    /// What is continued with the passage in the prompt, of audited and control probes, beside what is continued without it.
    fn in_context(
        &self,
        [audited, control]: [&[&ResultRow]; 2],
        [audited_in, control_in]: [&[&ResultRow]; 2],
        with_control: bool,
    ) -> InContextSummary {
        let held_out = with_control.then(|| self.scores(control_in));
        InContextSummary {
            scores: self.scores(audited_in),
            copying: held_out.as_ref().map(|held_out| Copying::of(&held_out.exact_match)),
            control: held_out,
            excess: with_control.then(|| self.excess(audited_in, control_in)),
            gain: self.gain(audited_in, audited),
            control_gain: with_control.then(|| self.gain(control_in, control)),
        }
    }

    /// The scores of probes with the passage in the prompt less those of the same probes without it. Both are in the same order.
    fn gain(&self, in_prompt: &[&ResultRow], absent: &[&ResultRow]) -> Excess {
        let longest = longest(absent.iter().copied());
        PerScore::new(|score| {
            let value = ResultRow::reader(score);
            let pairs = in_prompt.iter().zip(absent);
            let gains =
                pairs.filter_map(|(with, without)| Some((&with.cluster, value(with)? - value(without)?)));
            self.0.bootstrap.paired(&Clusters::new(gains), range(score, longest).map(Range::differences))
        })
    }

    fn strata(&self, audited: &[&ResultRow], control: &[&ResultRow]) -> Vec<Stratum> {
        type Key = (u64, String);
        type Kind = (StratifiedBy, fn(&ResultRow) -> Key);
        let kinds: [Kind; 5] = [
            (StratifiedBy::Source, |row| (0, row.stratum.clone())),
            (StratifiedBy::Copies, |row| copies_class(row.copies)),
            (StratifiedBy::Offset, |row| (row.offset, row.offset.to_string())),
            (StratifiedBy::Prefix, |row| (row.prefix_tokens.into(), row.prefix_tokens.to_string())),
            (StratifiedBy::Suffix, |row| (row.suffix_tokens.into(), row.suffix_tokens.to_string())),
        ];
        let mut strata = Vec::new();
        for (by, key) in kinds {
            let mut groups: BTreeMap<Key, (Vec<&ResultRow>, Vec<&ResultRow>)> = BTreeMap::new();
            for row in audited {
                groups.entry(key(row)).or_default().0.push(row);
            }
            // A single stratum is the whole set.
            if groups.len() < 2 {
                continue;
            }
            for row in control {
                groups.entry(key(row)).or_default().1.push(row);
            }
            let number = groups.len() as u64;
            strata.extend(groups.into_iter().map(|((_, value), (audited, control))| Stratum {
                by,
                value,
                audited: self.scores(&audited),
                control: (!control.is_empty()).then(|| self.scores(&control)),
                simultaneous: self.simultaneous(number, &audited, &control),
            }));
        }
        strata
    }

    fn simultaneous(&self, groups: u64, audited: &[&ResultRow], control: &[&ResultRow]) -> Simultaneous {
        let confidence = 1.0 - 0.05 / groups as f64;
        let ends = |rows: &[&ResultRow]| {
            let (_, (lower, upper)) = rate_interval(&clusters(rows, exact), self.0.rates, confidence);
            Ends { lower, upper }
        };
        let control = (!control.is_empty()).then(|| ends(control));
        Simultaneous { groups, confidence, audited: ends(audited), control }
    }

    fn extraction(
        &self,
        asked: Extraction,
        audited: &[&ResultRow],
        control: Option<&Vec<&ResultRow>>,
    ) -> ExtractionSummary {
        let within = |rows: &[&ResultRow], draws: u64, column: usize| {
            // One draw suffices up to rounding: n(p) counts whole draws.
            let limit = (draws as f64).ln() + 1e-12;
            let seen = rows
                .iter()
                .filter_map(|row| Some((&row.cluster, f64::from(u8::from(row.scores[column]? <= limit)))));
            rate(&Clusters::new(seen), self.0.rates)
        };
        let lines = |column| {
            let line = |draws| WithinDraws {
                draws,
                audited: within(audited, draws, column),
                control: control.map(|rows| within(rows, draws, column)),
            };
            DRAWS.map(line).to_vec()
        };
        ExtractionSummary {
            asked,
            within: lines(LN_DRAWS),
            near_within: asked.near.map(|_| lines(NEAR_LN_DRAWS)).unwrap_or_default(),
        }
    }

    fn membership(&self, audited: &[&ResultRow], control: &[&ResultRow]) -> Vec<MembershipSummary> {
        // The statistics take a score that is lower for members.
        let values = |rows: &[&ResultRow], score: &'static Score| -> Vec<(String, f64)> {
            let value = ResultRow::reader(score);
            let sign = if score.higher_is_worse { -1.0 } else { 1.0 };
            rows.iter().filter_map(|row| Some((row.cluster.clone(), sign * value(row)?))).collect()
        };
        let summary = |score: MembershipScore| {
            let (members, others) = (values(audited, score.0), values(control, score.0));
            if members.is_empty() || others.is_empty() {
                return None;
            }
            let auc = auc(&members, &others, &self.0.bootstrap);
            Some(MembershipSummary {
                score,
                auc,
                true_positives_at_1_percent: at_1_percent(&members, &others),
            })
        };
        MembershipScore::all().filter_map(summary).collect()
    }

    fn goldfish(&self, audited: &[&ResultRow]) -> Option<GoldfishSummary> {
        let masked: Vec<&ResultRow> = audited.iter().filter(|row| row.dropped.is_some()).copied().collect();
        if masked.is_empty() {
            return None;
        }
        let tokens: u64 = masked.iter().map(|row| u64::from(row.suffix_tokens)).sum();
        let dropped: u64 = masked.iter().filter_map(|row| row.dropped).map(u64::from).sum();
        let difference = clusters(&masked, |row| Some(row.scores[LOSS_DROPPED]? - row.scores[LOSS_KEPT]?));
        let mean = |column| self.0.bootstrap.mean(&clusters(&masked, |row| row.scores[column]), None);
        let diverged = masked.iter().filter(|row| row.divergence_at_dropped.is_some());
        let since = |row: &ResultRow| row.divergence_since_dropped.map(|distance| distance as i64);
        Some(GoldfishSummary {
            probes: masked.len() as u64,
            drop_rate: dropped as f64 / tokens as f64,
            loss_dropped: mean(LOSS_DROPPED),
            loss_kept: mean(LOSS_KEPT),
            loss_difference: self.0.bootstrap.paired(&difference, None),
            at_dropped: self.rate(&masked, |row| Some(f64::from(u8::from(row.divergence_at_dropped?)))),
            nearest: histogram(masked.iter().filter_map(|row| row.divergence_nearest)),
            since_dropped: histogram(masked.iter().filter_map(|row| since(row))),
            without_dropped: diverged.filter(|row| row.divergence_nearest.is_none()).count() as u64,
        })
    }
}

/// Copies by powers of two: 1, 2-3, 4-7 and so on.
fn copies_class(copies: u64) -> (u64, String) {
    let low = 1u64 << copies.max(1).ilog2();
    let high = low + (low - 1);
    (low, if low == high { low.to_string() } else { format!("{low}-{high}") })
}

fn histogram(distances: impl Iterator<Item = i64>) -> Vec<DistanceCount> {
    let mut counts: BTreeMap<i64, u64> = BTreeMap::new();
    distances.for_each(|distance| *counts.entry(distance).or_default() += 1);
    counts.into_iter().map(|(distance, count)| DistanceCount { distance, count }).collect()
}

/// Share of members strictly below the value that at most 1% of the others are below.
fn at_1_percent(members: &[(String, f64)], others: &[(String, f64)]) -> Option<f64> {
    let mut values: Vec<f64> = others.iter().map(|(_, value)| *value).collect();
    values.sort_by(f64::total_cmp);
    let threshold = *values.get(values.len() / 100).filter(|_| values.len() >= 100)?;
    let below = members.iter().filter(|(_, value)| *value < threshold).count();
    Some(below as f64 / members.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Gate;
    use crate::rows::tables_reference;
    use crate::score::{Observation, ScoreValues};
    use crate::table::{read_results, write_rows};

    fn row(number: u32, truth: &[u32]) -> ResultRow {
        let observation = Observation {
            truth,
            continuation: None,
            tokens: None,
            mask: None,
            truth_text: None,
            continuation_text: None,
            after_others: None,
            near_log_p: None,
            min_k: 0.2,
            extraction: None,
        };
        ResultRow {
            probe_id: number.to_string(),
            doc_id: number.to_string(),
            cluster: number.to_string(),
            suffix_tokens: 4,
            scores: ScoreValues::compute(&observation, true),
            ..ResultRow::default()
        }
    }

    /// The toy score is a file and a line of the registry, and nothing else in this crate names it.
    #[test]
    fn a_registered_score_is_everywhere() {
        let rows: Vec<ResultRow> = (0..60).map(|number| row(number, &[2, 4, 5, number])).collect();
        assert_eq!(rows[0].scores["toy"], Some(0.75));
        assert!(tables_reference().contains("| `toy` | `float64` | yes | Share of the true suffix's ids"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        let opened = goldfish_storage::Folder::open(folder.path()).unwrap();
        write_rows(&opened, "rows.parquet", "key", &rows).unwrap();
        assert_eq!(read_results(&path).unwrap(), rows);

        let options = StatisticsOptions::default();
        let (statistics, rows) = (Statistics(&options), rows.iter().collect::<Vec<_>>());
        let scores = statistics.scores(&rows);
        assert_eq!(scores.means["toy"].mean, Some(0.625));
        let json = serde_json::to_string(&scores).unwrap();
        assert!(json.contains("\"toy\":{\"mean\":0.625"), "{json}");
        assert_eq!(serde_json::from_str::<Scores>(&json).unwrap(), scores);
        assert_eq!(statistics.excess(&rows[..30], &rows[..30])["toy"].difference, Some(0.0));
        let membership = statistics.membership(&rows[..30], &rows[30..]);
        assert_eq!(
            membership.last().map(|last| (last.score.0.name, last.auc.difference)),
            Some(("toy", Some(0.5)))
        );
        for gate in ["toy.mean > 0.1", "excess.toy.lower > 0", "strata.toy > 0"] {
            assert_eq!(gate.parse::<Gate<Summary>>().is_ok(), !gate.starts_with("strata"), "{gate}");
        }
    }
}
