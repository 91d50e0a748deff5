//! What a token costs by its position, and what a model keeps of the tokens before it.

use std::time::Instant;

use candle_core::Tensor;
use goldfish_report::{SweepCost, SweepCostAt};

use crate::architecture::{Architecture, Vocabulary, logits};
use crate::architectures::architecture;
use crate::batch::Batch;
use crate::error::LabError;
use crate::optimizer::Weights;
use crate::options::ModelOptions;

/// Tokens after which costs are measured.
const POSITIONS: [usize; 2] = [1024, 8192];

/// Tokens before a position over which its time is the median.
const TIMED: usize = 65;

/// Measures a model with its initial weights, which has as many layers as the other models of a sweep. Times depend on the machine and
/// on what else runs on it.
pub(super) fn costs(model: &ModelOptions, vocabulary: &Vocabulary) -> Result<SweepCost, LabError> {
    let longest = POSITIONS.into_iter().max().unwrap_or(0);
    let model = ModelOptions { context_length: Some(longest), ..model.clone() };
    let architecture = architecture(&model, vocabulary, longest)?;
    let parameters = architecture.parameters();
    let weights = Weights::new(parameters, 0).tensors(parameters)?;
    let tokens: Vec<u32> = (0..longest).map(|at| (at * 7919 % vocabulary.size) as u32).collect();
    Ok(SweepCost { architecture: model.architecture, at: steps(&*architecture, &weights, &tokens)? })
}

fn steps(
    architecture: &dyn Architecture,
    weights: &[Tensor],
    tokens: &[u32],
) -> candle_core::Result<Vec<SweepCostAt>> {
    let mut generation = architecture.generation(weights, tokens.len())?;
    let mut times = Vec::with_capacity(tokens.len());
    let mut found = Vec::new();
    for token in tokens {
        let start = Instant::now();
        generation.step(*token)?;
        times.push(milliseconds(start));
        if POSITIONS.contains(&times.len()) {
            let mut last = times[times.len() - TIMED..].to_vec();
            last.sort_by(f64::total_cmp);
            found.push(SweepCostAt {
                tokens: times.len() as u64,
                state_bytes: generation.state_bytes() as u64,
                step_ms: last[TIMED / 2],
                whole_ms: 0.0,
            });
        }
    }
    for at in &mut found {
        let tokens = tokens[..at.tokens as usize].to_vec();
        let batch = Batch { lengths: vec![tokens.len()], tokens };
        let start = Instant::now();
        logits(architecture, weights, &batch)?;
        at.whole_ms = milliseconds(start);
    }
    Ok(found)
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}
