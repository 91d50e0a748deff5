//! A model with a pool of memory in each layer ([Wang et al. 2024](https://arxiv.org/abs/2402.04624), section 3).

use candle_core::{Result, bail};

use super::facts::VOCABULARY;
use super::options::MemoryOptions;
use crate::architecture::Vocabulary;
use crate::architectures::architecture;
use crate::error::LabError;
use crate::graph::Graph;
use crate::layered::decoder_layers;
use crate::ops::{Join, Select};
use crate::options::ModelOptions;
use crate::parameter::{Initial, Parameter};
use crate::stack::{Rows, Stack};
use crate::tape::Variable;

/// A Llama whose layers see vectors of a pool before the tokens.
pub(super) struct Pooled {
    stack: Stack,
    parameters: Vec<Parameter>,
    /// Vectors of a layer's pool.
    slots: usize,
    /// Of them, replaced when a text is injected.
    replaced: usize,
}

/// The pools of some sequences: for each layer `[sequences * slots, width]`.
pub(super) struct Pools {
    layers: Vec<Variable>,
    sequences: usize,
}

/// The name of the parameter with the vectors that a layer's pool has at first.
fn pool_name(layer: usize) -> String {
    format!("memory.{layer}")
}

impl Pooled {
    pub(super) fn new(options: &MemoryOptions, longest: usize) -> std::result::Result<Self, LabError> {
        let MemoryOptions { slots, replaced, layers, width, heads, .. } = *options;
        let model = ModelOptions { layers, width, heads, tied: true, ..ModelOptions::default() };
        let vocabulary = Vocabulary { size: VOCABULARY, bos_id: None, eos_id: None };
        let config = architecture(&model, &vocabulary, slots + longest)?.config();
        let (stack, mut parameters) = decoder_layers(config, model.initial_deviation)?;
        parameters.extend((0..layers).map(|layer| Parameter {
            name: pool_name(layer),
            shape: vec![slots, width],
            initial: Initial::Normal(model.initial_deviation),
            decays: false,
        }));
        parameters.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { stack, parameters, slots, replaced })
    }

    pub(super) fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The pools before anything was injected.
    pub(super) fn start(&self, graph: &Graph, sequences: usize) -> Result<Pools> {
        let all = (0..sequences).flat_map(|_| 0..self.slots);
        let layers = (0..self.stack.mixers.len())
            .map(|layer| select(graph, graph.weight(&pool_name(layer))?, all.clone()))
            .collect::<Result<_>>()?;
        Ok(Pools { layers, sequences })
    }

    /// The pools after a text was injected into each: a layer reads the last vectors of its pool and the text, and what it makes
    /// of the text's last tokens becomes the end of the pool, in place of the slots in `replaced`. Texts have the same length.
    pub(super) fn inject(
        &self,
        graph: &Graph,
        pools: &Pools,
        texts: &[Vec<u32>],
        replaced: &[&[usize]],
    ) -> Result<Pools> {
        let (slots, sequences) = (self.slots, pools.sequences);
        let length = self.length(pools, texts)?;
        if length < self.replaced {
            bail!("a text of {length} tokens replaces {}", self.replaced);
        }
        let mut x = self.stack.embed(graph, &texts.concat())?;
        let mut layers = Vec::with_capacity(pools.layers.len());
        for (number, pool) in pools.layers.iter().enumerate() {
            let last = (0..sequences).flat_map(|s| (s + 1) * slots - self.replaced..(s + 1) * slots);
            let last = select(graph, pool, last)?;
            x = self.layer(graph, number, (&last, self.replaced), (&x, length), sequences)?;
            let all = graph.apply(Join, &[pool, &x])?;
            let kept = (0..sequences).flat_map(|s| {
                let old = (0..slots)
                    .filter(move |slot| !replaced[s].contains(slot))
                    .map(move |slot| s * slots + slot);
                let end = sequences * slots + (s + 1) * length;
                old.chain(end - self.replaced..end)
            });
            layers.push(select(graph, &all, kept)?);
        }
        Ok(Pools { layers, sequences })
    }

    /// What the head reads, `[sequences * tokens, width]`, of texts with the pools before them. Texts have the same length.
    pub(super) fn hidden(&self, graph: &Graph, pools: &Pools, texts: &[Vec<u32>]) -> Result<Variable> {
        let length = self.length(pools, texts)?;
        let mut x = self.stack.embed(graph, &texts.concat())?;
        for (number, pool) in pools.layers.iter().enumerate() {
            x = self.layer(graph, number, (pool, self.slots), (&x, length), pools.sequences)?;
        }
        self.stack.last_norm(graph, &x)
    }

    /// Logits of some rows of [`Pooled::hidden`].
    pub(super) fn logits(
        &self,
        graph: &Graph,
        hidden: &Variable,
        rows: impl Iterator<Item = usize>,
    ) -> Result<Variable> {
        self.stack.logits(graph, &select(graph, hidden, rows)?)
    }

    fn length(&self, pools: &Pools, texts: &[Vec<u32>]) -> Result<usize> {
        let length = texts.first().map_or(0, Vec::len);
        if texts.len() != pools.sequences || texts.iter().any(|text| text.len() != length) {
            bail!("{} texts for {} pools, of different lengths", texts.len(), pools.sequences);
        }
        Ok(length)
    }

    /// The tokens' states after a layer that sees the memory of each sequence and then its tokens.
    fn layer(
        &self,
        graph: &Graph,
        number: usize,
        (memory, slots): (&Variable, usize),
        (x, tokens): (&Variable, usize),
        sequences: usize,
    ) -> Result<Variable> {
        let length = slots + tokens;
        let all = graph.apply(Join, &[memory, x])?;
        let order = (0..sequences).flat_map(|s| {
            let first = sequences * slots + s * tokens;
            (s * slots..(s + 1) * slots).chain(first..first + tokens)
        });
        let rows = Rows {
            sequences: (0..sequences).map(|s| s * length..(s + 1) * length).collect(),
            positions: (0..sequences).flat_map(|_| 0..length as u32).collect(),
        };
        let after = self.stack.layer(graph, number, &select(graph, &all, order)?, &rows)?;
        select(graph, &after, (0..sequences).flat_map(|s| s * length + slots..(s + 1) * length))
    }
}

fn select(graph: &Graph, x: &Variable, rows: impl Iterator<Item = usize>) -> Result<Variable> {
    graph.apply(Select(rows.map(|row| row as u32).collect()), &[x])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::facts::{FACT, injected};
    use crate::optimizer::Weights;
    use crate::tape::Tape;

    #[test]
    fn injections_replace_some_vectors_and_leave_the_others() {
        let options =
            MemoryOptions { slots: 9, replaced: 4, width: 16, heads: 2, ..MemoryOptions::default() };
        let model = Pooled::new(&options, FACT + 1).unwrap();
        let tensors = Weights::new(model.parameters(), 1).tensors(model.parameters()).unwrap();
        let graph = Graph::new(Tape::without_gradients(), model.parameters(), &tensors).unwrap();
        let vectors = |pools: &Pools| -> Vec<Vec<Vec<f32>>> {
            pools.layers.iter().map(|layer| layer.tensor().to_vec2().unwrap()).collect()
        };
        let before = model.start(&graph, 2).unwrap();
        let texts = [injected(&[1; FACT]), injected(&[2; FACT])];
        let replaced: [&[usize]; 2] = [&[0, 2, 7, 8], &[3, 4, 5, 6]];
        let after = model.inject(&graph, &before, &texts, &replaced).unwrap();
        for (before, after) in vectors(&before).iter().zip(vectors(&after)) {
            assert_eq!((before.len(), after.len()), (18, 18));
            for (sequence, replaced) in replaced.iter().enumerate() {
                let (before, after) = (&before[sequence * 9..][..9], &after[sequence * 9..][..9]);
                let kept: Vec<&Vec<f32>> =
                    (0..9).filter(|slot| !replaced.contains(slot)).map(|slot| &before[slot]).collect();
                assert_eq!(after[..5].iter().collect::<Vec<_>>(), kept);
                assert!(after[5..].iter().all(|new| !before.contains(new)));
            }
            // Each text is in the pool of its own sequence.
            assert_ne!(after[5..9], after[14..]);
        }
        let again = model.inject(&graph, &after, &texts, &replaced).unwrap();
        assert_ne!(vectors(&again), vectors(&after));
        assert!(model.inject(&graph, &before, &texts[..1], &replaced[..1]).is_err());
    }
}
