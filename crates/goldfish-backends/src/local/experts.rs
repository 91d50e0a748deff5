//! A mixture of experts: MLPs of which a token takes those with the highest scores ([Shazeer et al. 2017](https://arxiv.org/abs/1701.06538)).

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::block::{BLOCK, whole_product};
use super::config::{ExpertsConfig, LogisticWeights, StoredExperts, Weighting};
use super::experts_config::APART;
use super::feed_forward::{Mlp, Scratch};
use super::math::{exp, highest, sigmoid, sum, vectorized};
use super::ops::add;
use super::precision::elements;
use super::product::Linear;
use super::weights::Loader;

/// Rows whose experts are computed together: what the experts make of them is in memory at the same time.
const ROWS: usize = 8 * BLOCK;

/// The experts of one layer.
#[derive(Debug)]
pub(super) struct Experts {
    /// Outputs: the score of each expert.
    pub(super) router: Linear,
    pub(super) experts: Vec<Mlp>,
    /// How many a token takes.
    pub(super) taken: usize,
    pub(super) weighting: Weighting,
    /// Added to the weight of each expert where experts are chosen, with [`Weighting::Logistic`].
    pub(super) correction: Vec<f32>,
    /// What every token takes besides.
    pub(super) shared: Option<Mlp>,
}

/// Rows that take an expert, with its weight in their sums.
type Taken = Vec<(usize, f32)>;

impl Experts {
    /// What the experts make of rows: each is computed for those that take it, and its results are added in the order of the experts.
    pub(super) fn apply(&self, x: &[f32]) -> Vec<f32> {
        let hidden = self.router.inputs();
        let mut out = vec![0f32; x.len()];
        for (x, out) in x.chunks(ROWS * hidden).zip(out.chunks_mut(ROWS * hidden)) {
            self.chunk(x, out);
        }
        out
    }

    fn chunk(&self, x: &[f32], out: &mut [f32]) {
        let hidden = self.router.inputs();
        let mut taken: Vec<Taken> = vec![Vec::new(); self.experts.len()];
        let scores = whole_product(&self.router, x);
        for (row, scores) in scores.chunks_exact(self.experts.len()).enumerate() {
            for (expert, weight) in self.choose(scores) {
                taken[expert].push((row, weight));
            }
        }
        let all = || (0..x.len() / hidden).map(|row| (row, 1.0)).collect();
        let used = self.experts.iter().zip(taken).chain(self.shared.iter().map(|shared| (shared, all())));
        let used: Vec<(&Mlp, Taken)> = used.filter(|(_, rows)| !rows.is_empty()).collect();
        let few = used.len() < rayon::current_num_threads();
        let made = used.into_par_iter().map_init(Buffers::default, |buffers, (expert, rows)| {
            let made = buffers.rows_of(expert, x, &rows, self.weighting == Weighting::OfInputs, few);
            (rows, made)
        });
        for (rows, made) in made.collect::<Vec<_>>() {
            for ((row, _), made) in rows.into_iter().zip(made.chunks_exact(hidden)) {
                add(&mut out[row * hidden..][..hidden], made);
            }
        }
    }

    /// The experts of a row, with their weights, from its scores; of equal scores the first counts.
    fn choose(&self, scores: &[f32]) -> Vec<(usize, f32)> {
        if let Weighting::Logistic(weights) = &self.weighting {
            return self.choose_logistic(weights, scores);
        }
        let order = highest_of(scores, self.taken);
        if self.weighting == Weighting::OfInputs {
            return order.into_iter().map(|expert| (expert, sigmoid(scores[expert]))).collect();
        }
        let chosen: Vec<f32> = order.iter().map(|expert| scores[*expert]).collect();
        let among = if self.weighting == Weighting::AmongAll { scores } else { &chosen };
        let top = highest(among);
        let total = vectorized(
            #[inline(always)]
            || sum(among, |score| exp(score - top)),
        );
        order.into_iter().zip(chosen).map(|(expert, score)| (expert, exp(score - top) / total)).collect()
    }

    fn choose_logistic(&self, weights: &LogisticWeights, scores: &[f32]) -> Vec<(usize, f32)> {
        let each: Vec<f32> = scores.iter().map(|score| sigmoid(*score)).collect();
        let mut corrected: Vec<f32> =
            each.iter().zip(&self.correction).map(|(one, more)| one + more).collect();
        let size = scores.len() / weights.groups;
        let of_group = |group: &[f32]| highest_of(group, 2).into_iter().map(|expert| group[expert]).sum();
        let groups: Vec<f32> = corrected.chunks_exact(size).map(of_group).collect();
        let taken = highest_of(&groups, weights.groups_taken);
        for (number, group) in corrected.chunks_exact_mut(size).enumerate() {
            if !taken.contains(&number) {
                group.fill(f32::NEG_INFINITY);
            }
        }
        let chosen = highest_of(&corrected, self.taken);
        let total: f32 = chosen.iter().map(|expert| each[*expert]).sum();
        let factor = if weights.sum_to_one { weights.factor / (total + 1e-20) } else { weights.factor };
        chosen.into_iter().map(|expert| (expert, each[expert] * factor)).collect()
    }

    /// Bytes of the weights.
    pub(super) fn bytes(&self) -> usize {
        self.router.bytes() + self.experts.iter().chain(&self.shared).map(Mlp::bytes).sum::<usize>()
    }
}

/// The numbers of the highest scores, of equal ones the first.
fn highest_of(scores: &[f32], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    order.truncate(count);
    order
}

impl<E: From<candle_core::Error>> Loader<'_, '_, E> {
    /// The experts of a layer, one after the other.
    pub(super) fn experts(&mut self, layer: &str, config: &ExpertsConfig) -> Result<Experts, E> {
        let names = config.tensors;
        let router = [(format!("{layer}.{}", names.router), config.count)];
        let biases = names.stored == StoredExperts::Alternating;
        let correction = match config.weighting {
            Weighting::Logistic(_) => {
                let name = format!("{layer}.{}.{}", names.router, names.correction);
                elements(&(self.get)(&name, &[config.count])?)?
            }
            _ => Vec::new(),
        };
        let shared = config
            .shared_size
            .map(|width| self.mlp(&format!("{layer}.{}", names.shared), APART.up, APART.down, width));
        Ok(Experts {
            shared: shared.transpose()?,
            correction,
            router: self.linear(&router, self.config.hidden_size, biases)?,
            experts: match names.stored {
                StoredExperts::Apart(each) => (0..config.count)
                    .map(|expert| {
                        let expert = format!("{layer}.{each}.{expert}");
                        self.mlp(&expert, names.up, names.down, config.intermediate_size)
                    })
                    .collect::<Result<_, E>>()?,
                StoredExperts::Joined => self.joined(layer, config)?,
                StoredExperts::Transposed => self.transposed(layer, config)?,
                StoredExperts::Alternating => self.alternating(layer, config)?,
            },
            taken: config.taken,
            weighting: config.weighting,
        })
    }

    fn joined(&mut self, layer: &str, config: &ExpertsConfig) -> Result<Vec<Mlp>, E> {
        let (count, hidden, width) = (config.count, self.config.hidden_size, config.intermediate_size);
        let name = |name: &str| format!("{layer}.{name}.weight");
        let up = (self.get)(&name(config.tensors.up[0]), &[count, 2 * width, hidden])?;
        let down = (self.get)(&name(config.tensors.down), &[count, hidden, width])?;
        let linear = |all: &Tensor, expert: usize| Linear::new(&all.get(expert)?.t()?, None);
        let expert = |number| Ok(self.expert(linear(&up, number)?, linear(&down, number)?));
        (0..count).map(expert).collect()
    }

    fn transposed(&mut self, layer: &str, config: &ExpertsConfig) -> Result<Vec<Mlp>, E> {
        let (count, hidden, width) = (config.count, self.config.hidden_size, config.intermediate_size);
        let name = |name: &str| format!("{layer}.{name}");
        let up = (self.get)(&name(config.tensors.up[0]), &[count, hidden, 2 * width])?;
        let down = (self.get)(&name(config.tensors.down), &[count, width, hidden])?;
        let linear = |all: &Tensor, expert: usize| Linear::new(&all.get(expert)?, None);
        let expert = |number| Ok(self.expert(linear(&up, number)?, linear(&down, number)?));
        (0..count).map(expert).collect()
    }

    fn alternating(&mut self, layer: &str, config: &ExpertsConfig) -> Result<Vec<Mlp>, E> {
        let (count, hidden, width) = (config.count, self.config.hidden_size, config.intermediate_size);
        let mut both = |name: &str, inputs: usize, outputs: usize| -> Result<(Tensor, Tensor), E> {
            let weight = (self.get)(&format!("{layer}.{name}"), &[count, inputs, outputs])?;
            Ok((weight, (self.get)(&format!("{layer}.{name}_bias"), &[count, outputs])?))
        };
        let (up, up_bias) = both(config.tensors.up[0], hidden, 2 * width)?;
        let (down, down_bias) = both(config.tensors.down, width, hidden)?;
        let gate_first = (0..2).flat_map(|part| (0..width as u32).map(move |output| 2 * output + part));
        let order = Tensor::new(gate_first.collect::<Vec<u32>>(), &Device::Cpu)?;
        let expert = |number: usize| {
            let bias = up_bias.get(number)?.index_select(&order, 0)?;
            let up = Linear::new(&up.get(number)?.contiguous()?.index_select(&order, 1)?, Some(&bias))?;
            let down = Linear::new(&down.get(number)?, Some(&down_bias.get(number)?))?;
            Ok(self.expert(up, down))
        };
        (0..count).map(expert).collect()
    }

    fn expert(&self, up: Linear, down: Linear) -> Mlp {
        Mlp { up, down, gated: self.config.gated, activation: self.config.activation }
    }
}

/// Buffers of a thread.
#[derive(Default)]
struct Buffers {
    gathered: Vec<f32>,
    block: Vec<f32>,
    scratch: Scratch,
}

impl Buffers {
    /// What an expert makes of some rows of `x`; they, or what it makes of them, are multiplied with their weights.
    fn rows_of(
        &mut self,
        expert: &Mlp,
        x: &[f32],
        rows: &[(usize, f32)],
        of_inputs: bool,
        few: bool,
    ) -> Vec<f32> {
        let hidden = expert.up.inputs();
        let mut made = Vec::with_capacity(rows.len() * hidden);
        for rows in rows.chunks(BLOCK) {
            self.gathered.clear();
            for (row, weight) in rows {
                let factor = if of_inputs { *weight } else { 1.0 };
                self.gathered.extend(x[row * hidden..][..hidden].iter().map(|value| value * factor));
            }
            expert.apply(&self.gathered, few, &mut self.block, &mut self.scratch);
            for ((_, weight), block) in rows.iter().zip(self.block.chunks_exact(hidden)) {
                let factor = if of_inputs { 1.0 } else { *weight };
                made.extend(block.iter().map(|value| value * factor));
            }
        }
        made
    }
}
