//! A mixture of experts: MLPs of which a token takes those with the highest scores ([Shazeer et al. 2017](https://arxiv.org/abs/1701.06538)).

use rayon::prelude::*;

use super::block::{BLOCK, whole_product};
use super::config::{LogisticWeights, Weighting};
use super::math::{exp, highest, sigmoid, sum, vectorized};
use super::mlp::{Mlp, Scratch};
use super::ops::add;
use super::product::Linear;

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
