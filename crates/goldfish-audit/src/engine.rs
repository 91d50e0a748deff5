//! The run itself: score first, generate second.
//!
//! One teacher-forced pass over a start gives the rank of every token after it, and with that the first divergence of
//! every (prefix, suffix) split: all ranks 1 is an exact match under greedy decoding. Only scores that compare whole
//! continuations need decoding, and only where there is a divergence, from the divergence on; splits of one prefix
//! share the longest continuation.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::answers::Answers;
use crate::backend::{
    Backend, Decoding, GenerateRequest, Generated, SamplingScheme, ScoreRequest, Scored, TokenScore, Wants,
};
use crate::control::Decode;
use crate::error::{Ability, AuditError};
use crate::evidence::Evidence;
use crate::measured::{Measured, evidence, result_row};
use crate::options::{AuditOptions, Decide};
use crate::probe::{Probe, ProbeTable, Start};
use crate::rows::ResultRow;
use crate::score::near_verbatim::{Beams, NearVerbatim};
use crate::set::Passage;
use crate::store::RunStore;
use crate::unrelated::Unrelated;

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Probes with a result, those of an earlier run included.
    pub done: u64,
    /// Probes in all.
    pub probes: u64,
}

/// A backend and what to measure with it.
pub struct Engine<'a> {
    /// The model.
    pub backend: &'a dyn Backend,
    /// What is measured.
    pub options: &'a AuditOptions,
    /// Turns ids to text, if there is a tokenizer.
    pub decode: Option<&'a Decode<'a>>,
    /// Sequences in one call of the backend. Changes no result of a backend that keeps its contract.
    pub batch: usize,
    /// Results that are written to disk together: what a killed run can lose. 1024 is usual.
    pub segment_rows: usize,
    /// Ends the run before its next batch once it is set.
    pub stop: &'a AtomicBool,
}

/// Tokens that a beam is continued with at most, besides that of the suffix.
const CANDIDATES: u32 = 64;

/// Results are written after this time, however few they are.
const SEGMENT_TIME: Duration = Duration::from_secs(5);

impl Engine<'_> {
    /// Measures every probe that the store has no result of, and appends the results. What was appended stays, also
    /// if the backend fails later on.
    ///
    /// # Errors
    ///
    /// If the backend fails or gives an impossible answer, writing fails, or the run was stopped.
    pub fn run(
        &self,
        tables: &[&ProbeTable],
        store: &mut RunStore,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), AuditError> {
        self.check()?;
        let unrelated = self.options.unrelated_prefixes.map(|count| (Unrelated::new(tables), count as usize));
        let probes = tables.iter().map(|table| table.probes.len() as u64).sum();
        let mut done = 0;
        let (mut rows, mut proofs) = (Vec::new(), Vec::new());
        let mut flushed = Instant::now();
        for table in tables {
            let pending: Vec<&Probe> =
                table.probes.iter().filter(|probe| !store.has(&probe.id.to_string())).collect();
            done += (table.probes.len() - pending.len()) as u64;
            progress(Progress { done, probes });
            for batch in batches(&pending, self.batch.max(1)) {
                let measured = match self.stop.load(Ordering::Relaxed) {
                    true => Err(AuditError::Interrupted),
                    false => self.measure(table, &batch, unrelated.as_ref()),
                };
                let (new, evidence) = match measured {
                    Ok(measured) => measured,
                    Err(error) => {
                        store.append(&rows, &proofs)?;
                        return Err(error);
                    }
                };
                done += new.len() as u64;
                rows.extend(new);
                proofs.extend(evidence);
                if rows.len() >= self.segment_rows || flushed.elapsed() >= SEGMENT_TIME {
                    store.append(&rows, &proofs)?;
                    (rows, proofs) = (Vec::new(), Vec::new());
                    flushed = Instant::now();
                }
                progress(Progress { done, probes });
            }
        }
        store.append(&rows, &proofs)
    }

    /// Measures every probe of a table, unrelated prefixes apart, and keeps nothing.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn ask(&self, table: &ProbeTable) -> Result<Vec<ResultRow>, AuditError> {
        self.check()?;
        let probes: Vec<&Probe> = table.probes.iter().collect();
        let mut rows = Vec::with_capacity(probes.len());
        for batch in batches(&probes, self.batch.max(1)) {
            if self.stop.load(Ordering::Relaxed) {
                return Err(AuditError::Interrupted);
            }
            rows.extend(self.measure(table, &batch, None)?.0);
        }
        Ok(rows)
    }

    /// Checks that the backend can do what the options need.
    ///
    /// # Errors
    ///
    /// If it can't, or an option is out of its range.
    pub fn check(&self) -> Result<(), AuditError> {
        self.options.check()?;
        let missing = |ability| Err(AuditError::Missing { backend: Answers(self.backend).name(), ability });
        let capabilities = self.backend.capabilities();
        let generates = self.options.continuations || self.options.decide == Decide::Generate;
        let scores = self.options.decide == Decide::Score || self.options.unrelated_prefixes.is_some();
        if scores && !capabilities.score {
            return missing(Ability::Score);
        }
        if generates && !capabilities.generate {
            return missing(Ability::Continue);
        }
        if self.options.extraction.is_some() && !capabilities.schemes {
            return missing(Ability::Schemes);
        }
        let near = self.options.extraction.is_some_and(|extraction| extraction.near.is_some());
        if near && !capabilities.candidates {
            return missing(Ability::Candidates);
        }
        Ok(())
    }

    /// Measures the probes of some starts.
    fn measure(
        &self,
        table: &ProbeTable,
        probes: &[&Probe],
        unrelated: Option<&(Unrelated<'_>, usize)>,
    ) -> Result<(Vec<ResultRow>, Vec<Evidence>), AuditError> {
        let scored = match self.options.decide {
            Decide::Score => self.score(table, probes)?,
            Decide::Generate => BTreeMap::new(),
        };
        let mut measured: Vec<Measured<'_>> = Vec::with_capacity(probes.len());
        for probe in probes {
            let (_, truth) = table.tokens(probe);
            let tokens = match scored.get(&probe.start) {
                None => None,
                Some((from, answer)) => {
                    let first = self.lead(&table.starts[probe.start]) + probe.prefix as usize - from;
                    Some(&answer.tokens[first..first + probe.suffix as usize])
                }
            };
            let match_length = tokens.map(|tokens| {
                let diverges = |(token, id): (&TokenScore, &u32)| {
                    token.rank != 1 || token.greedy.is_some_and(|greedy| greedy != *id)
                };
                tokens.iter().zip(truth).position(diverges).unwrap_or(truth.len())
            });
            let exchange = scored.get(&probe.start).and_then(|(_, answer)| answer.exchange.clone());
            let (continuation, caveats, after_others, near_log_p) = (None, Vec::new(), None, None);
            measured.push(Measured {
                table,
                probe,
                tokens,
                match_length,
                after_others,
                near_log_p,
                continuation,
                caveats,
                exchange,
            });
        }
        if let Some((scheme, near)) =
            self.options.extraction.and_then(|extraction| Some((extraction.scheme, extraction.near?)))
        {
            self.near_verbatim(&mut measured, scheme, near)?;
        }
        if let Some((unrelated, count)) = unrelated {
            self.after_others(&mut measured, unrelated, *count)?;
        }
        if self.options.continuations || self.options.decide == Decide::Generate {
            self.continue_all(&mut measured)?;
        }
        let rows =
            measured.iter().map(|probe| result_row(probe, self.options, self.decode)).collect::<Vec<_>>();
        let positive = |(_, row): &(&Measured<'_>, &ResultRow)| row.exact_match;
        let pairs = measured.iter().zip(&rows).filter(positive);
        let proofs = pairs.map(|(probe, row)| evidence(probe, row, self.options, self.decode)).collect();
        Ok((rows, proofs))
    }

    /// Tokens before a start's own: the BOS, and a passage in the prompt.
    fn lead(&self, start: &Start) -> usize {
        usize::from(self.options.bos.is_some()) + start.before.len()
    }

    fn sequence(&self, start: &Start, ids: &[u32]) -> Vec<u32> {
        self.options.bos.iter().chain(&start.before).chain(ids).copied().collect()
    }

    /// One pass a start; returns the first scored position (BOS included) and the answer.
    fn score(
        &self,
        table: &ProbeTable,
        probes: &[&Probe],
    ) -> Result<BTreeMap<usize, (usize, Scored)>, AuditError> {
        // First and last position that any split of the start asks for.
        let mut spans: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        for probe in probes {
            let (from, end) = (probe.prefix as usize, (probe.prefix + probe.suffix) as usize);
            let span = spans.entry(probe.start).or_insert((from, end));
            *span = (span.0.min(from), span.1.max(end));
        }
        let sequences: Vec<(usize, usize, Vec<u32>)> = spans
            .into_iter()
            .map(|(number, (from, end))| {
                let start = &table.starts[number];
                (number, from + self.lead(start), self.sequence(start, &start.ids[..end]))
            })
            .collect();
        let requests: Vec<_> =
            sequences.iter().map(|(_, from, ids)| ScoreRequest { ids, from: *from }).collect();
        let scheme = self.options.extraction.map(|extraction| extraction.scheme);
        let moments = self.options.membership && self.backend.capabilities().moments;
        let answers = self.backend.score(&requests, &Wants { moments, scheme, candidates: 0 })?;
        Answers(self.backend).check_scores(&requests, &answers)?;
        let keyed = sequences.iter().zip(answers);
        Ok(keyed.map(|((start, from, _), answer)| (*start, (*from, answer))).collect())
    }

    /// Searches for continuations near the suffixes, position by position.
    fn near_verbatim(
        &self,
        measured: &mut [Measured<'_>],
        scheme: SamplingScheme,
        near: NearVerbatim,
    ) -> Result<(), AuditError> {
        let mut searches: Vec<(Vec<u32>, Beams<'_>)> = Vec::with_capacity(measured.len());
        for probe in measured.iter() {
            let (prefix, suffix) = probe.table.tokens(probe.probe);
            let prompt = self.sequence(&probe.table.starts[probe.probe.start], prefix);
            searches.push((prompt, Beams::new(suffix, near)));
        }
        let wants = Wants { moments: false, scheme: Some(scheme), candidates: CANDIDATES };
        loop {
            let mut asked: Vec<(usize, Vec<u32>)> = Vec::new();
            for (number, (prompt, beams)) in searches.iter().enumerate() {
                // Its token at the next position is asked for too: it may be a less likely one.
                let Some(next) = beams.next() else { continue };
                let sequence = |ids: &[u32]| prompt.iter().chain(ids).copied().chain([next]).collect();
                asked.extend(beams.beginnings().map(|ids| (number, sequence(ids))));
            }
            if asked.is_empty() {
                break;
            }
            let mut found: BTreeMap<usize, Vec<Vec<(u32, f64)>>> = BTreeMap::new();
            let requests: Vec<_> =
                asked.iter().map(|(_, ids)| ScoreRequest { ids, from: ids.len() - 1 }).collect();
            for ((number, ids), mut answer) in asked.iter().zip(self.score_all(&requests, &wants)?) {
                let mut candidates = answer.candidates.pop().unwrap_or_default();
                let expected = ids.last().zip(answer.tokens.first().and_then(|token| token.scheme_log_prob));
                if let Some((id, log_prob)) = expected
                    && candidates.iter().all(|(candidate, _)| candidate != id)
                {
                    candidates.push((*id, log_prob));
                }
                found.entry(*number).or_default().push(candidates);
            }
            for (number, candidates) in found {
                searches[number].1.advance(&candidates);
            }
        }
        for (probe, (_, beams)) in measured.iter_mut().zip(&searches) {
            probe.near_log_p = Some(beams.log_p());
        }
        Ok(())
    }

    /// Scores the suffixes after unrelated prefixes.
    fn after_others(
        &self,
        measured: &mut [Measured<'_>],
        unrelated: &Unrelated<'_>,
        count: usize,
    ) -> Result<(), AuditError> {
        let sequence = |prefix: &[u32], suffix: &[u32]| -> Vec<u32> {
            self.options.bos.iter().chain(prefix).chain(suffix).copied().collect()
        };
        let mut sequences: Vec<(usize, usize, Vec<u32>)> = Vec::new();
        for (number, probe) in measured.iter().enumerate() {
            // With the passage in the prompt, the prefix is not all that comes before the suffix.
            if probe.table.starts[probe.probe.start].passage() != Passage::Absent {
                continue;
            }
            let (prefix, suffix) = probe.table.tokens(probe.probe);
            let from = usize::from(self.options.bos.is_some()) + prefix.len();
            let others = unrelated.prefixes(probe.table, probe.probe, count);
            sequences.extend(others.into_iter().map(|other| (number, from, sequence(other, suffix))));
        }
        // Those that begin alike beside each other.
        sequences.sort_by(|a, b| a.2.cmp(&b.2));
        let requests: Vec<_> =
            sequences.iter().map(|(_, from, ids)| ScoreRequest { ids, from: *from }).collect();
        for ((number, ..), answer) in sequences.iter().zip(self.score_all(&requests, &Wants::default())?) {
            let log_prob = answer.tokens.iter().map(|token| token.log_prob).sum();
            measured[*number].after_others.get_or_insert_default().push(log_prob);
        }
        Ok(())
    }

    /// Scores any number of sequences, so many in one call as a batch has.
    fn score_all(&self, requests: &[ScoreRequest<'_>], wants: &Wants) -> Result<Vec<Scored>, AuditError> {
        let mut all = Vec::with_capacity(requests.len());
        for batch in requests.chunks(self.batch.max(1)) {
            let answers = self.backend.score(batch, wants)?;
            Answers(self.backend).check_scores(batch, &answers)?;
            all.extend(answers);
        }
        Ok(all)
    }

    /// Greedy continuations for the probes whose continuation isn't known, one for each start and prefix.
    fn continue_all(&self, measured: &mut [Measured<'_>]) -> Result<(), AuditError> {
        // (start, prefix) -> the prompt's own part of the continuation, and the longest suffix.
        let mut wanted: BTreeMap<(usize, u32), (Vec<u32>, usize)> = BTreeMap::new();
        for probe in measured.iter_mut() {
            let (_, truth) = probe.table.tokens(probe.probe);
            let known = match (probe.match_length, probe.tokens) {
                (Some(length), _) if length == truth.len() => {
                    probe.continuation = Some(truth.to_vec());
                    continue;
                }
                // Up to the divergence it is the truth, and there the greedy token of the pass, if the backend gave it.
                (Some(length), Some(tokens)) => {
                    truth[..length].iter().copied().chain(tokens[length].greedy).collect()
                }
                _ => Vec::new(),
            };
            let entry = wanted.entry((probe.probe.start, probe.probe.prefix)).or_insert((known, 0));
            entry.1 = entry.1.max(truth.len());
        }
        let Some(table) = measured.first().map(|probe| probe.table) else { return Ok(()) };
        let mut prompts: Vec<((usize, u32), Vec<u32>, usize)> = wanted
            .iter()
            .filter(|(_, (known, suffix))| suffix > &known.len())
            .map(|(key, (known, suffix))| {
                let start = &table.starts[key.0];
                let prefix = &start.ids[..key.1 as usize];
                (*key, self.sequence(start, &[prefix, known].concat()), suffix - known.len())
            })
            .collect();
        prompts.sort_by(|a, b| a.1.cmp(&b.1));
        let mut continued: BTreeMap<(usize, u32), Generated> = BTreeMap::new();
        for batch in prompts.chunks(self.batch.max(1)) {
            let requests: Vec<_> =
                batch.iter().map(|(_, prompt, tokens)| GenerateRequest { prompt, tokens: *tokens }).collect();
            let answers = self.backend.generate(&requests, &Decoding::Greedy)?;
            let check = Answers(self.backend);
            check.check_count(answers.len(), requests.len(), "continuations")?;
            for ((key, prompt, tokens), answer) in batch.iter().zip(answers) {
                check.check_evaluated(answer.evaluated, prompt.len())?;
                let fewer = answer.caveats.iter().any(|caveat| caveat.allows_fewer());
                if !fewer || answer.ids.len() > *tokens {
                    check.check_count(answer.ids.len(), *tokens, "tokens of continuation")?;
                }
                continued.insert(*key, answer);
            }
        }
        for probe in measured.iter_mut().filter(|probe| probe.continuation.is_none()) {
            let key = (probe.probe.start, probe.probe.prefix);
            let Some((known, _)) = wanted.get(&key) else { continue };
            let mut ids = known.clone();
            if let Some(answer) = continued.get(&key) {
                ids.extend(&answer.ids);
                probe.caveats.clone_from(&answer.caveats);
                probe.exchange = probe.exchange.take().or_else(|| answer.exchange.clone());
            }
            ids.truncate(probe.probe.suffix as usize);
            probe.continuation = Some(ids);
        }
        Ok(())
    }
}

/// Probes in groups of whole starts, `size` starts each.
fn batches<'p>(probes: &[&'p Probe], size: usize) -> Vec<Vec<&'p Probe>> {
    let starts: Vec<&[&Probe]> = probes.chunk_by(|a, b| a.start == b.start).collect();
    starts.chunks(size).map(|starts| starts.concat()).collect()
}
