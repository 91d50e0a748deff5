//! A pool of memory that texts are injected into, after MEMORYLLM ([Wang et al. 2024](https://arxiv.org/abs/2402.04624)): how long
//! it keeps a fact, and whether a loss mask keeps it from being recited.

mod facts;
mod model;
pub(crate) mod options;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::Tensor;
use goldfish_mask::rules::Hash;
use goldfish_mask::{Masker, RuleSpec, TokenSpan};
use goldfish_report::{MemoryArm, MemoryPage, MemoryPoint, memory_page};
use rand_mt::Mt64;

use self::facts::{Episode, FACT, Fact, NAME, asked, injected};
use self::model::Pooled;
use self::options::{MemoryOptions, MemoryResults};
use crate::commands;
use crate::copy::evaluate::{Marks, rates};
use crate::draw::below;
use crate::error::LabError;
use crate::events::{StepEvent, TrainEvent};
use crate::experiment::error::ExperimentError;
use crate::experiment::{Event, Observe, make_folder, open_folder, read_json, write_json, write_whole};
use crate::graph::Graph;
use crate::ops::{CrossEntropy, LogProbs};
use crate::optimizer::{Gradients, Weights, learning_rate};
use crate::options::OptimizerOptions;
use crate::tape::{Tape, Variable};

/// Distinguishes the episodes of training from those of the evaluation.
const TRAINING: u64 = 1;
const EVALUATION: u64 = 2;

/// Episodes that are evaluated at once.
const BATCH: usize = 40;

/// Mean losses on the curve of an arm.
const CURVE: u64 = 30;

/// The letters that are asked for: all but the name.
const ANSWER: Range<usize> = NAME..FACT;

/// Trains a model whose layers have pools of memory, with the standard loss and with a mask, and asks it for facts after others were
/// injected.
///
/// In an episode facts are injected one after the other, each with a pass that replaces vectors of the pools; then the model is asked for
/// the first of them, in another pass. The loss is that of the answer, and its gradient goes back through all of these passes.
///
/// | in the folder | what |
/// |---|---|
/// | `memory.json` | the options |
/// | `arms/NAME.json` | what is known of a model that is finished |
/// | `results.json`, `memory.html` | [`MemoryResults`] and their page |
///
/// A stopped run trains the model again that it was at. The same options give the same bytes.
///
/// # Errors
///
/// If the options are invalid, the folder has other contents, a file can't be written, or `stop` is set.
pub fn memory(
    options: &MemoryOptions,
    folder: &Path,
    stop: &AtomicBool,
    observe: &mut Observe<'_>,
) -> Result<MemoryResults, ExperimentError> {
    options.check()?;
    open_folder(folder, "memory.json", options)?;
    make_folder(&folder.join("arms"))?;
    let mut results = MemoryResults { options: options.clone(), arms: Vec::new() };
    for name in [STANDARD, MASKED] {
        let path = folder.join("arms").join(format!("{name}.json"));
        if !path.is_file() {
            observe(Event::Step(&format!("the model with the {name} loss")));
            write_json(&path, &arm(options, name, stop, observe)?)?;
        }
        results.arms.push(read_json(&path)?);
    }
    write_json(&folder.join("results.json"), &results)?;
    let page = memory_page(&MemoryPage {
        arms: &results.arms,
        facts: &about(options),
        command: &commands::memory(options, folder),
    })?;
    write_whole(&memory_page_path(folder), page.as_bytes())?;
    Ok(results)
}

const STANDARD: &str = "standard";
const MASKED: &str = "masked";

/// The page of an experiment with a pool of memory.
#[must_use]
pub fn memory_page_path(folder: &Path) -> PathBuf {
    folder.join("memory.html")
}

/// What was done, for the page.
fn about(options: &MemoryOptions) -> Vec<(String, String)> {
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let MemoryOptions { slots, replaced, most_later, samples, k, steps, batch, layers, width, seed, .. } =
        options;
    vec![
        fact(
            "Facts",
            format!(
                "{FACT} random letters, of which the first {NAME} are the name; each is injected by a pass of its own and replaces {replaced} of {slots} vectors in every layer"
            ),
        ),
        fact(
            "Training",
            format!(
                "{steps} steps of {batch} episodes with up to {most_later} later facts; the loss of the answer goes back through all passes"
            ),
        ),
        fact(
            "Mask",
            format!("the rule hash with k = {k} and a context of {NAME} tokens, over the letters of a fact"),
        ),
        fact("Model", format!("{layers} layers, width {width}")),
        fact(
            "Evaluation",
            format!("{samples} episodes for each number of later facts, the same for both models"),
        ),
        fact("Seed", seed.to_string()),
    ]
}

/// Trains and evaluates one model.
fn arm(
    options: &MemoryOptions,
    name: &str,
    stop: &AtomicBool,
    observe: &mut Observe<'_>,
) -> Result<MemoryArm, ExperimentError> {
    let model = Pooled::new(options, FACT + 1)?;
    let masker = match name {
        MASKED => Some(masker(options.k)?),
        _ => None,
    };
    let (weights, losses) = train(options, &model, masker.as_ref(), stop, observe)?;
    let tensors = weights.tensors(model.parameters()).map_err(LabError::from)?;
    let mut points = Vec::new();
    for later in &options.later {
        if stop.load(Ordering::Relaxed) {
            return Err(LabError::Stopped { step: options.steps, steps: options.steps }.into());
        }
        points.push(evaluated(options, &model, &tensors, *later).map_err(LabError::from)?);
    }
    Ok(MemoryArm { name: name.to_owned(), k: masker.map(|_| options.k), losses, points })
}

fn masker(k: u32) -> Result<Masker, ExperimentError> {
    let rule = RuleSpec::new(Hash::new(k).context(NAME as u32));
    let built = rule.build(None).map_err(|error| LabError::option("k", error.to_string()))?;
    Ok(Masker::new(built, &[]))
}

/// The letters of an answer that are included in the loss.
fn supervised(fact: &Fact, masker: Option<&Masker>) -> Vec<usize> {
    let mut mask = [1; FACT];
    if let Some(masker) = masker {
        masker.decide(&TokenSpan::document(fact), &mut mask);
    }
    ANSWER.filter(|letter| mask[*letter] == 1).collect()
}

/// The weights, and mean losses by steps.
fn train(
    options: &MemoryOptions,
    model: &Pooled,
    masker: Option<&Masker>,
    stop: &AtomicBool,
    observe: &mut Observe<'_>,
) -> Result<(Weights, Vec<(u64, f64)>), LabError> {
    let steps = options.steps;
    let parameters = model.parameters();
    let optimizer = OptimizerOptions {
        learning_rate: options.learning_rate,
        weight_decay: 0.0,
        warmup: steps.div_ceil(20),
        ..OptimizerOptions::default()
    };
    let mut weights = Weights::new(parameters, options.seed);
    let mut random = Mt64::new_with_key([options.seed, TRAINING]);
    let (mut losses, mut recent) = (Vec::new(), Vec::new());
    let every = steps.div_ceil(CURVE);
    let count = weights.values.len() as u64;
    observe(Event::Train(&TrainEvent::Start {
        step: 0,
        steps,
        parameters: count,
        supervised_tokens: 0,
        tokens: 0,
    }));
    let mut supervised_total = 0;
    for step in 1..=steps {
        if stop.load(Ordering::Relaxed) {
            return Err(LabError::Stopped { step: step - 1, steps });
        }
        let later = below(&mut random, options.most_later as u64 + 1) as usize;
        let slots = [options.slots, options.replaced];
        let episodes: Vec<Episode> =
            (0..options.batch).map(|_| Episode::draw(&mut random, later, slots)).collect();
        let (mut rows, mut ids) = (Vec::new(), Vec::new());
        for (number, episode) in episodes.iter().enumerate() {
            for letter in supervised(&episode.facts[0], masker) {
                rows.push(number * FACT + letter);
                ids.push(episode.facts[0][letter]);
            }
        }
        if ids.is_empty() {
            continue;
        }
        let tensors = weights.tensors(parameters)?;
        let graph = Graph::new(Tape::default(), parameters, &tensors)?;
        let hidden = asked_after(&graph, model, &episodes)?;
        let logits = model.logits(&graph, &hidden, rows.into_iter())?;
        let log_probs = graph.apply(LogProbs::new(&ids), &[&logits])?;
        let loss = graph.apply(CrossEntropy, &[&log_probs])?;
        let (value, found) = graph.gradients(&loss, parameters)?;
        let gradients = Gradients::of(parameters, &found)?;
        let norm = weights.update(parameters, &gradients, &optimizer, [step, steps]);
        if !value.is_finite() || !norm.is_finite() {
            return Err(LabError::Diverged { step, loss: value, norm });
        }
        recent.push(value);
        if step.is_multiple_of(every) || step == steps {
            losses.push((step, recent.iter().sum::<f64>() / recent.len() as f64));
            recent.clear();
        }
        let read = (options.batch * ((later + 1) * (FACT + 1) + FACT)) as u64;
        supervised_total += ids.len() as u64;
        observe(Event::Train(&TrainEvent::Step(StepEvent {
            step,
            steps,
            loss: value,
            tokens: read,
            supervised: ids.len() as u64,
            supervised_total,
            learning_rate: learning_rate(&optimizer, [step, steps]),
            gradient_norm: norm,
            preference: None,
        })));
    }
    Ok((weights, losses))
}

/// What the head reads of the questions, after the facts of each episode were injected.
fn asked_after(graph: &Graph, model: &Pooled, episodes: &[Episode]) -> candle_core::Result<Variable> {
    let mut pools = model.start(graph, episodes.len())?;
    let injections = episodes.first().map_or(0, |episode| episode.facts.len());
    for number in 0..injections {
        let texts: Vec<Vec<u32>> = episodes.iter().map(|episode| injected(&episode.facts[number])).collect();
        let replaced: Vec<&[usize]> =
            episodes.iter().map(|episode| episode.replaced[number].as_slice()).collect();
        pools = model.inject(graph, &pools, &texts, &replaced)?;
    }
    let questions: Vec<Vec<u32>> = episodes.iter().map(|episode| asked(&episode.facts[0])).collect();
    model.hidden(graph, &pools, &questions)
}

/// How well a model answers after so many later facts: a letter is right if it has the largest logit after the right ones before it.
fn evaluated(
    options: &MemoryOptions,
    model: &Pooled,
    tensors: &[Tensor],
    later: usize,
) -> candle_core::Result<MemoryPoint> {
    let mut random = Mt64::new_with_key([options.seed, EVALUATION, later as u64]);
    let slots = [options.slots, options.replaced];
    let episodes: Vec<Episode> =
        (0..options.samples).map(|_| Episode::draw(&mut random, later, slots)).collect();
    let mut marks: Vec<Marks> = Vec::with_capacity(episodes.len());
    for some in episodes.chunks(BATCH) {
        let graph = Graph::new(Tape::without_gradients(), model.parameters(), tensors)?;
        let hidden = asked_after(&graph, model, some)?;
        let rows = (0..some.len()).flat_map(|number| ANSWER.map(move |letter| number * FACT + letter));
        let logits = model.logits(&graph, &hidden, rows)?;
        let found: Vec<u32> = logits.tensor().argmax(1)?.to_vec1()?;
        for (episode, found) in some.iter().zip(found.chunks(ANSWER.len())) {
            marks.push(
                found.iter().zip(&episode.facts[0][NAME..]).map(|(found, right)| found == right).collect(),
            );
        }
    }
    let [facts, letters] = rates(&marks);
    let kept = 1.0 - options.replaced as f64 / options.slots as f64;
    Ok(MemoryPoint { later, letters, facts, kept: kept.powi(i32::try_from(later).unwrap_or(i32::MAX)) })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn options() -> MemoryOptions {
        MemoryOptions {
            slots: 12,
            replaced: 5,
            layers: 2,
            width: 16,
            heads: 2,
            batch: 3,
            ..MemoryOptions::default()
        }
    }

    fn episodes(options: &MemoryOptions, later: usize) -> Vec<Episode> {
        let mut random = Mt64::new(5);
        let slots = [options.slots, options.replaced];
        (0..options.batch).map(|_| Episode::draw(&mut random, later, slots)).collect()
    }

    /// The loss of the answers with given weights.
    fn loss(model: &Pooled, weights: &Weights, episodes: &[Episode]) -> (f64, Vec<Tensor>) {
        let tensors = weights.tensors(model.parameters()).unwrap();
        let graph = Graph::new(Tape::default(), model.parameters(), &tensors).unwrap();
        let hidden = asked_after(&graph, model, episodes).unwrap();
        let rows = (0..episodes.len()).flat_map(|number| ANSWER.map(move |letter| number * FACT + letter));
        let ids: Vec<u32> = episodes.iter().flat_map(|episode| episode.facts[0][NAME..].to_vec()).collect();
        let logits = model.logits(&graph, &hidden, rows).unwrap();
        let log_probs = graph.apply(LogProbs::new(&ids), &[&logits]).unwrap();
        let loss = graph.apply(CrossEntropy, &[&log_probs]).unwrap();
        graph.gradients(&loss, model.parameters()).unwrap()
    }

    #[test]
    fn gradients_through_all_passes_are_those_of_finite_differences() {
        let options = options();
        let model = Pooled::new(&options, FACT + 1).unwrap();
        let mut weights = Weights::new(model.parameters(), 1);
        // Larger matrices than at the start, so that every part matters; norms stay 1.
        weights.values.iter_mut().filter(|value| **value != 1.0).for_each(|value| *value *= 8.0);
        let episodes = episodes(&options, 2);
        let (_, gradients) = loss(&model, &weights, &episodes);
        let mut random = Mt64::new(9);
        let mut first = 0;
        for (parameter, gradient) in model.parameters().iter().zip(&gradients) {
            let count = parameter.elements();
            let direction: Vec<f32> =
                (0..count).map(|_| below(&mut random, 2001) as f32 / 1000.0 - 1.0).collect();
            let gradient: Vec<f32> = gradient.flatten_all().unwrap().to_vec1().unwrap();
            let expected: f64 =
                gradient.iter().zip(&direction).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            let moved = |by: f32| {
                let mut values = weights.values.clone();
                let own = values[first..first + count].iter_mut().zip(&direction);
                own.for_each(|(value, direction)| *value += by * direction);
                loss(&model, &Weights::of(values), &episodes).0
            };
            let step = 1e-3;
            let found = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
            assert!(
                (found - expected).abs() < 2e-2 * expected.abs().max(0.05),
                "{}: {found} and {expected}",
                parameter.name
            );
            first += count;
        }
    }

    #[test]
    fn sequences_do_not_see_each_other() {
        let options = options();
        let model = Pooled::new(&options, FACT + 1).unwrap();
        let weights = Weights::new(model.parameters(), 1);
        let tensors = weights.tensors(model.parameters()).unwrap();
        let hidden = |episodes: &[Episode]| -> Vec<Vec<f32>> {
            let graph = Graph::new(Tape::without_gradients(), model.parameters(), &tensors).unwrap();
            asked_after(&graph, &model, episodes).unwrap().tensor().to_vec2().unwrap()
        };
        let together = episodes(&options, 3);
        let all = hidden(&together);
        let mut by_number = BTreeMap::new();
        for (number, episode) in together.iter().enumerate() {
            let alone = Episode { facts: episode.facts.clone(), replaced: episode.replaced.clone() };
            by_number.insert(number, hidden(&[alone]));
        }
        for (number, alone) in by_number {
            for (a, b) in alone.iter().flatten().zip(all[number * FACT..][..FACT].iter().flatten()) {
                assert!((a - b).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn masks_exclude_letters_by_those_before_them() {
        let masker = masker(2).unwrap();
        let mut random = Mt64::new(1);
        let mut kept = 0;
        for _ in 0..400 {
            let fact: Fact = std::array::from_fn(|_| below(&mut random, 26) as u32);
            let letters = supervised(&fact, Some(&masker));
            assert_eq!(supervised(&fact, None), [3, 4, 5, 6, 7]);
            kept += letters.len();
        }
        // Half of 2,000.
        assert!((850..1150).contains(&kept), "{kept}");
    }
}
