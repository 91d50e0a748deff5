//! The tensors of a decoder, read by the names and in the layouts of its family.

use candle_core::{Device, Tensor};

use super::config::{BlockLayout, DecoderConfig, NormKind, QkNorm};
use super::ops::Norm;
use super::precision::{bytes, elements, joined};
use super::product::Linear;
use super::vocabulary::Vocabulary;

/// Gives the tensor of a name and shape, in `f32`, `bf16` or `f16`.
pub type GetTensor<'a, E> = dyn FnMut(&str, &[usize]) -> Result<Tensor, E> + 'a;

/// All tensors of a decoder.
#[derive(Debug)]
pub(super) struct Weights {
    pub(super) vocabulary: Vocabulary,
    /// `[context_length, hidden_size]` in the precision of the checkpoint, of a model with learned positions.
    pub(super) positions: Option<Tensor>,
    pub(super) layers: Vec<LayerWeights>,
    pub(super) final_norm: Norm,
}

/// The tensors of one layer; norms where the block layout has them.
#[derive(Debug)]
pub(super) struct LayerWeights {
    pub(super) before_attention: Option<Norm>,
    pub(super) after_attention: Option<Norm>,
    pub(super) before_mlp: Option<Norm>,
    pub(super) after_mlp: Option<Norm>,
    pub(super) query_key_norms: Option<(Norm, Norm)>,
    /// Outputs: queries of all heads, keys, values.
    pub(super) query_key_value: Linear,
    pub(super) attention_out: Linear,
    /// Outputs: the gate first, if the MLP is gated.
    pub(super) up: Linear,
    pub(super) down: Linear,
}

impl Weights {
    pub(super) fn load<E: From<candle_core::Error>>(
        config: &DecoderConfig,
        get: &mut GetTensor<'_, E>,
    ) -> Result<Self, E> {
        let mut loader = Loader { config, get };
        let (vocab, hidden) = (config.vocab_size, config.hidden_size);
        let names = config.tensors;
        let embeddings = (loader.get)(&format!("{}.weight", names.embeddings), &[vocab, hidden])?;
        let positions = names
            .positions
            .map(|name| (loader.get)(&format!("{name}.weight"), &[config.context_length, hidden]))
            .transpose()?;
        let layers = (0..config.layers.len())
            .map(|index| loader.layer(&format!("{}.{index}", names.layers)))
            .collect::<Result<_, E>>()?;
        let final_norm = loader.norm(names.final_norm, hidden)?;
        let (embeddings, head) = if config.tied {
            let bias = config.biases.head.then(|| (loader.get)(&format!("{}.bias", names.head), &[vocab]));
            let bias = bias.transpose()?;
            (None, Linear::new(&embeddings.t()?, bias.as_ref())?)
        } else {
            (Some(embeddings), loader.linear(&[(names.head.into(), vocab)], hidden, config.biases.head)?)
        };
        let softcap = config.logit_softcap.map(|cap| cap as f32);
        Ok(Self { vocabulary: Vocabulary { embeddings, head, softcap }, positions, layers, final_norm })
    }

    /// Bytes of all matrices and their biases in memory.
    pub(super) fn bytes(&self) -> usize {
        let of_layer = |layer: &LayerWeights| {
            let all = [&layer.query_key_value, &layer.attention_out, &layer.up, &layer.down];
            all.into_iter().map(Linear::bytes).sum::<usize>()
        };
        let layers: usize = self.layers.iter().map(of_layer).sum();
        self.vocabulary.bytes() + self.positions.as_ref().map_or(0, bytes) + layers
    }
}

struct Loader<'a, 'g, E> {
    config: &'a DecoderConfig,
    get: &'a mut GetTensor<'g, E>,
}

impl<E: From<candle_core::Error>> Loader<'_, '_, E> {
    fn layer(&mut self, layer: &str) -> Result<LayerWeights, E> {
        let config = self.config;
        let (hidden, own) = (config.hidden_size, config.heads * config.head_dim);
        let (names, biases) = (config.tensors, config.biases);
        let before = config.layout != BlockLayout::PostNorm;
        let after = matches!(config.layout, BlockLayout::PostNorm | BlockLayout::SandwichNorm);
        let before_mlp = before && config.layout != BlockLayout::ParallelSharedNorm;
        let mut norm = |index: usize, present: bool| {
            let name = format!("{layer}.{}", names.norms[index]);
            present.then(|| self.norm(&name, hidden)).transpose()
        };
        Ok(LayerWeights {
            before_attention: norm(0, before)?,
            after_attention: norm(1, after)?,
            before_mlp: norm(2, before_mlp)?,
            after_mlp: norm(3, after)?,
            query_key_norms: self.query_key_norms(layer)?,
            query_key_value: self.query_key_value(layer)?,
            attention_out: self.linear(
                &[(format!("{layer}.{}", names.attention_out), hidden)],
                own,
                biases.attention_out,
            )?,
            up: self.up(layer)?,
            down: self.linear(
                &[(format!("{layer}.{}", names.down), hidden)],
                config.intermediate_size,
                biases.mlp,
            )?,
        })
    }

    fn norm(&mut self, name: &str, width: usize) -> Result<Norm, E> {
        let mut weight = elements(&(self.get)(&format!("{name}.weight"), &[width])?)?;
        if self.config.norm == NormKind::RmsMinusOne {
            weight.iter_mut().for_each(|weight| *weight += 1.0);
        }
        let bias = match self.config.norm {
            NormKind::Layer => Some(elements(&(self.get)(&format!("{name}.bias"), &[width])?)?),
            _ => None,
        };
        Ok(Norm {
            weight,
            bias,
            epsilon: self.config.norm_epsilon as f32,
            centered: self.config.norm == NormKind::Layer,
        })
    }

    fn query_key_norms(&mut self, layer: &str) -> Result<Option<(Norm, Norm)>, E> {
        let config = self.config;
        let (queries, keys) = match config.qk_norm {
            QkNorm::None => return Ok(None),
            QkNorm::PerHead => (config.head_dim, config.head_dim),
            QkNorm::AllHeads => (config.heads * config.head_dim, config.kv_heads * config.head_dim),
        };
        let [query, key] = config.tensors.query_key_norms.map(|name| format!("{layer}.{name}"));
        Ok(Some((self.norm(&query, queries)?, self.norm(&key, keys)?)))
    }

    fn query_key_value(&mut self, layer: &str) -> Result<Linear, E> {
        let (config, names) = (self.config, self.config.tensors);
        let (own, shared) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
        let widths = [own, shared, shared];
        let parts = parts(layer, names.query_key_value, &widths);
        let (mut weight, mut bias) =
            self.tensors(&parts, config.hidden_size, config.biases.query_key_value)?;
        if let Some(order) = names.query_key_value_order {
            let order = Tensor::new(order(config), &Device::Cpu)?;
            weight = weight.t()?.index_select(&order, 0)?.t()?;
            bias = bias.map(|bias| bias.index_select(&order, 0)).transpose()?;
        }
        Ok(Linear::new(&weight, bias.as_ref())?)
    }

    fn up(&mut self, layer: &str) -> Result<Linear, E> {
        let config = self.config;
        let widths = [config.intermediate_size; 2];
        let parts = parts(layer, config.tensors.up, &widths[..if config.gated { 2 } else { 1 }]);
        self.linear(&parts, config.hidden_size, config.biases.mlp)
    }

    /// Linear layers with one input, joined into one.
    fn linear(&mut self, parts: &[(String, usize)], inputs: usize, bias: bool) -> Result<Linear, E> {
        let (weight, bias) = self.tensors(parts, inputs, bias)?;
        Ok(Linear::new(&weight, bias.as_ref())?)
    }

    /// Their weights `[inputs, outputs]` and biases.
    fn tensors(
        &mut self,
        parts: &[(String, usize)],
        inputs: usize,
        bias: bool,
    ) -> Result<(Tensor, Option<Tensor>), E> {
        let transposed = self.config.tensors.is_transposed(&parts[0].0);
        let mut weights = Vec::new();
        let mut biases = Vec::new();
        for (name, outputs) in parts {
            let shape = if transposed { [inputs, *outputs] } else { [*outputs, inputs] };
            weights.push((self.get)(&format!("{name}.weight"), &shape)?);
            if bias {
                biases.push((self.get)(&format!("{name}.bias"), &[*outputs])?);
            }
        }
        let weight = joined(&weights)?;
        let bias = if bias { Some(joined(&biases)?) } else { None };
        Ok((if transposed { weight } else { weight.t()? }, bias))
    }
}

/// Tensors of a layer with their numbers of outputs: a single one has all.
fn parts(layer: &str, names: &[&str], widths: &[usize]) -> Vec<(String, usize)> {
    let named = |name: &&str| format!("{layer}.{name}");
    match names {
        [one] => vec![(named(one), widths.iter().sum())],
        several => several.iter().map(named).zip(widths.iter().copied()).collect(),
    }
}
