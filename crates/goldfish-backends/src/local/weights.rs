//! The tensors of a decoder, read by the names and in the layouts of its family.

use candle_core::{DType, Device, Tensor};

use super::config::{Activation, BlockLayout, DecoderConfig, LatentConfig, NormKind, QkNorm, Xielu};
use super::feed_forward::FeedForward;
use super::latent::{Latent, Projection};
use super::math::softplus;
use super::mlp::Mlp;
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
    pub(super) embedding_norm: Option<Norm>,
    pub(super) final_norm: Option<Norm>,
}

/// The tensors of one layer; norms where the block layout has them.
#[derive(Debug)]
pub(super) struct LayerWeights {
    pub(super) before_attention: Option<Norm>,
    pub(super) after_attention: Option<Norm>,
    pub(super) before_mlp: Option<Norm>,
    pub(super) after_mlp: Option<Norm>,
    pub(super) query_key_norms: Option<(Norm, Norm)>,
    pub(super) projection: Projection,
    pub(super) attention_out: Linear,
    /// One for each head.
    pub(super) sinks: Option<Vec<f32>>,
    pub(super) feed_forward: FeedForward,
}

impl Weights {
    pub(super) fn load<E: From<candle_core::Error>>(
        config: &DecoderConfig,
        get: &mut GetTensor<'_, E>,
    ) -> Result<Self, E> {
        let mut loader = Loader { config, get };
        let (hidden, names) = (config.hidden_size, config.tensors);
        let vocabulary = loader.vocabulary()?;
        let norm = names.embedding_norm.map(|name| loader.norm(name, &[hidden], config.norm));
        let embedding_norm = norm.transpose()?;
        let positions = names.positions.map(|name| {
            let (first, context) = (names.first_position, config.context_length);
            let table = (loader.get)(&format!("{name}.weight"), &[first + context, hidden])?;
            Ok::<_, E>(table.narrow(0, first, context)?)
        });
        let positions = positions.transpose()?;
        let layers = (0..config.layers.len()).map(|index| loader.layer(index)).collect::<Result<_, E>>()?;
        let norm = config.final_norm.then(|| loader.norm(names.final_norm, &[hidden], config.norm));
        Ok(Self { vocabulary, positions, layers, embedding_norm, final_norm: norm.transpose()? })
    }

    /// Applies the norm before the head.
    pub(super) fn finish(&self, x: &mut [f32]) {
        if let Some(norm) = &self.final_norm {
            norm.apply(x);
        }
    }

    /// Bytes of all matrices and their biases in memory.
    pub(super) fn bytes(&self) -> usize {
        let of_layer = |layer: &LayerWeights| {
            layer.projection.bytes() + layer.attention_out.bytes() + layer.feed_forward.bytes()
        };
        let layers: usize = self.layers.iter().map(of_layer).sum();
        self.vocabulary.bytes() + self.positions.as_ref().map_or(0, bytes) + layers
    }
}

/// Reads tensors by the names of a family.
pub(super) struct Loader<'a, 'g, E> {
    pub(super) config: &'a DecoderConfig,
    pub(super) get: &'a mut GetTensor<'g, E>,
}

impl<E: From<candle_core::Error>> Loader<'_, '_, E> {
    /// Embeddings and head, as wide as the hidden states.
    fn vocabulary(&mut self) -> Result<Vocabulary, E> {
        let (config, names) = (self.config, self.config.tensors);
        let (vocab, hidden) = (config.vocab_size, config.hidden_size);
        let stored = config.embedding_size.unwrap_or(hidden);
        let mut embeddings = (self.get)(&format!("{}.weight", names.embeddings), &[vocab, stored])?;
        let bias = config.biases.head.then(|| (self.get)(&format!("{}.bias", names.head), &[vocab]));
        let bias = bias.transpose()?;
        let own_head = !config.tied || config.embedding_size.is_some();
        let mut head = match config.tied {
            true => embeddings.clone(),
            false => (self.get)(&format!("{}.weight", names.head), &[vocab, stored])?,
        };
        if config.embedding_size.is_some() {
            let [into, out] = names.projections.map(|name| format!("{name}.weight"));
            let into = (self.get)(&into, &[hidden, stored])?.to_dtype(DType::F32)?;
            let out = (self.get)(&out, &[stored, hidden])?.to_dtype(DType::F32)?;
            embeddings = embeddings.to_dtype(DType::F32)?.matmul(&into.t()?)?;
            head = head.to_dtype(DType::F32)?.matmul(&out)?;
        }
        Ok(Vocabulary {
            head: Linear::new(&head.t()?, bias.as_ref())?,
            embeddings: own_head.then_some(embeddings),
            softcap: config.logit_softcap.map(|cap| cap as f32),
            scale: config.logit_scale.map(|scale| scale as f32),
        })
    }

    fn layer(&mut self, index: usize) -> Result<LayerWeights, E> {
        let config = self.config;
        let layer = &*format!("{}.{index}", config.tensors.layers);
        let (hidden, own) = (config.hidden_size, config.heads * config.value_dim);
        let (names, biases) = (config.tensors, config.biases);
        let before = !matches!(config.layout, BlockLayout::PostNorm | BlockLayout::SumNorm);
        let after = !before || config.layout == BlockLayout::SandwichNorm;
        let before_mlp = before && config.layout != BlockLayout::ParallelSharedNorm;
        let mut norm = |index: usize, present: bool| {
            let name = format!("{layer}.{}", names.norms[index]);
            present.then(|| self.norm(&name, &[hidden], config.norm)).transpose()
        };
        Ok(LayerWeights {
            before_attention: norm(0, before)?,
            after_attention: norm(1, after)?,
            before_mlp: norm(2, before_mlp)?,
            after_mlp: norm(3, after)?,
            query_key_norms: self.query_key_norms(layer, config.layers[index].rotary.is_some())?,
            projection: match &config.latent {
                None => Projection::Joined(self.query_key_value(layer)?),
                Some(latent) => Projection::Latent(Box::new(self.latent(layer, latent)?)),
            },
            attention_out: self.linear(
                &[(format!("{layer}.{}", names.attention_out), hidden)],
                own,
                biases.attention_out,
            )?,
            sinks: match names.sinks {
                None => None,
                Some(name) => Some(elements(&(self.get)(&format!("{layer}.{name}"), &[config.heads])?)?),
            },
            feed_forward: match config.experts.as_ref().filter(|experts| experts.layers[index]) {
                Some(experts) => FeedForward::Experts(self.experts(layer, experts)?),
                None => FeedForward::Mlp(self.mlp(layer, names.up, names.down, config.intermediate_size)?),
            },
        })
    }

    /// A norm over the last dimension of a shape.
    fn norm(&mut self, name: &str, shape: &[usize], kind: NormKind) -> Result<Norm, E> {
        let width = shape.last().copied().unwrap_or_default();
        let weight = match kind {
            NormKind::LayerBare => vec![1.0; width],
            _ => elements(&(self.get)(&format!("{name}.weight"), shape)?)?,
        };
        let bias = match kind {
            NormKind::Layer => Some(elements(&(self.get)(&format!("{name}.bias"), shape)?)?),
            _ => None,
        };
        let mut norm = self.norm_of(weight, width, kind);
        if kind == NormKind::RmsMinusOne {
            norm.weight.iter_mut().for_each(|weight| *weight += 1.0);
        }
        norm.bias = bias;
        Ok(norm)
    }

    fn norm_of(&self, weight: Vec<f32>, width: usize, kind: NormKind) -> Norm {
        let centered = !matches!(kind, NormKind::Rms | NormKind::RmsMinusOne);
        Norm { weight, bias: None, width, epsilon: self.config.norm_epsilon as f32, centered }
    }

    fn query_key_norms(&mut self, layer: &str, rotates: bool) -> Result<Option<(Norm, Norm)>, E> {
        let config = self.config;
        let [query, key] = config.tensors.query_key_norms.map(|name| format!("{layer}.{name}"));
        let mut norm = |name: &str, heads: usize| match config.qk_norm {
            QkNorm::PerHead => self.norm(name, &[config.head_dim], config.norm),
            QkNorm::AllHeads => self.norm(name, &[heads * config.head_dim], config.norm),
            QkNorm::OwnWeights => self.norm(name, &[heads, config.head_dim], NormKind::LayerWeight),
            // Without weights the order of norm and rotation doesn't matter.
            QkNorm::None | QkNorm::Bare => {
                Ok(self.norm_of(vec![1.0; config.head_dim], config.head_dim, NormKind::Rms))
            }
            QkNorm::OwnTensors => {
                let mut weight = Vec::with_capacity(heads * config.head_dim);
                for head in 0..heads {
                    weight.extend(
                        self.norm(&format!("{name}.{head}"), &[config.head_dim], NormKind::LayerWeight)?
                            .weight,
                    );
                }
                Ok(self.norm_of(weight, config.head_dim, NormKind::LayerWeight))
            }
        };
        match config.qk_norm {
            QkNorm::None => Ok(None),
            QkNorm::Bare if !rotates => Ok(None),
            _ => Ok(Some((norm(&query, config.heads)?, norm(&key, config.kv_heads)?))),
        }
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

    fn latent(&mut self, layer: &str, latent: &LatentConfig) -> Result<Latent, E> {
        let DecoderConfig { heads, head_dim, value_dim, hidden_size, .. } = *self.config;
        let one = |name: &str, outputs: usize| [(format!("{layer}.self_attn.{name}"), outputs)];
        let norm = |loader: &mut Self, name: &str, width: usize| -> Result<Norm, E> {
            let norm = loader.norm(&format!("{layer}.self_attn.{name}"), &[width], NormKind::Rms)?;
            // No setting changes it.
            Ok(Norm { epsilon: 1e-6, ..norm })
        };
        let (query_latent, queries) = match latent.query_rank {
            None => (None, self.linear(&one("q_proj", heads * head_dim), hidden_size, false)?),
            Some(rank) => {
                let down = self.linear(&one("q_a_proj", rank), hidden_size, latent.biases)?;
                let norm = norm(self, "q_a_layernorm", rank)?;
                (Some((down, norm)), self.linear(&one("q_b_proj", heads * head_dim), rank, false)?)
            }
        };
        let rotated = latent.rotated;
        let key_values = heads * (head_dim - rotated + value_dim);
        let down = one("kv_a_proj_with_mqa", latent.rank + rotated);
        Ok(Latent {
            query_latent,
            queries,
            latent: self.linear(&down, hidden_size, latent.biases)?,
            norm: norm(self, "kv_a_layernorm", latent.rank)?,
            keys_values: self.linear(&one("kv_b_proj", key_values), latent.rank, false)?,
            heads,
            rotated,
            head_dim,
            value_dim,
        })
    }

    /// An MLP of so many elements between its linear layers.
    pub(super) fn mlp(&mut self, layer: &str, up: &[&str], down: &str, width: usize) -> Result<Mlp, E> {
        let config = self.config;
        let widths = [width; 2];
        let up = parts(layer, up, &widths[..if config.gated { 2 } else { 1 }]);
        let down = [(format!("{layer}.{down}"), config.hidden_size)];
        Ok(Mlp {
            up: self.linear(&up, config.hidden_size, config.biases.mlp)?,
            down: self.linear(&down, width, config.biases.mlp)?,
            gated: config.gated,
            activation: self.activation(layer)?,
        })
    }

    /// The activation of a layer, with the numbers that are among its weights.
    fn activation(&mut self, layer: &str) -> Result<Activation, E> {
        let Activation::Xielu(_) = self.config.activation else { return Ok(self.config.activation) };
        let mut number = |name: &str, shape: &[usize]| -> Result<f32, E> {
            let tensor = (self.get)(&format!("{layer}.mlp.act_fn.{name}"), shape)?;
            Ok(elements(&tensor)?.first().copied().unwrap_or_default())
        };
        let (positive, negative) = (number("alpha_p", &[1])?, number("alpha_n", &[1])?);
        let (beta, highest) = (number("beta", &[])?, number("eps", &[])?);
        // Stored so that the factors are above 0, and that below 0 the slope falls.
        let (positive, negative) = (softplus(positive), beta + softplus(negative));
        Ok(Activation::Xielu(Xielu { positive, negative, beta, highest }))
    }

    /// Linear layers with one input, joined into one.
    pub(super) fn linear(
        &mut self,
        parts: &[(String, usize)],
        inputs: usize,
        bias: bool,
    ) -> Result<Linear, E> {
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
