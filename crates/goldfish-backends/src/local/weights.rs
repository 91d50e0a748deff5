//! The names and shapes of each family's tensors.

use candle_core::{Device, Tensor};

use super::config::{DecoderConfig, Family, HeadNorm, NormKind, Wiring};
use super::ops::Norm;
use super::product::Linear;

/// Gives the tensor of a name and shape.
pub type GetTensor<'a, E> = dyn FnMut(&str, &[usize]) -> Result<Tensor, E> + 'a;

/// All tensors of a decoder.
#[derive(Debug)]
pub(super) struct Weights {
    /// `[vocab_size, hidden_size]`; where they are the head's weights too, they are kept there alone.
    pub(super) embeddings: Option<Tensor>,
    /// `[context_length, hidden_size]`, of a model that learned its positions.
    pub(super) positions: Option<Tensor>,
    pub(super) layers: Vec<LayerWeights>,
    pub(super) final_norm: Norm,
    pub(super) head: Linear,
}

/// The tensors of one layer; norms where the wiring has them.
#[derive(Debug)]
pub(super) struct LayerWeights {
    pub(super) before_attention: Option<Norm>,
    pub(super) after_attention: Option<Norm>,
    pub(super) before_mlp: Option<Norm>,
    pub(super) after_mlp: Option<Norm>,
    pub(super) head_norms: Option<(Norm, Norm)>,
    /// Outputs: queries of all heads, keys, values.
    pub(super) query_key_value: Linear,
    pub(super) attention_out: Linear,
    /// Outputs: the gate before the rest if the MLP is gated.
    pub(super) up: Linear,
    pub(super) down: Linear,
}

/// Names of a layer's norms: before and after attention, before and after the MLP.
struct LayerNames {
    norms: [&'static str; 4],
    attention_out: &'static str,
    down: &'static str,
}

impl Weights {
    pub(super) fn load<E: From<candle_core::Error>>(
        config: &DecoderConfig,
        get: &mut GetTensor<'_, E>,
    ) -> Result<Self, E> {
        let mut loader = Loader { config, get };
        let (vocab, hidden) = (config.vocab_size, config.hidden_size);
        let [embeddings, layers, norm, head] = match config.family {
            Family::Gpt2 => ["transformer.wte", "transformer.h", "transformer.ln_f", "lm_head"],
            Family::GptNeox => {
                ["gpt_neox.embed_in", "gpt_neox.layers", "gpt_neox.final_layer_norm", "embed_out"]
            }
            Family::Phi => ["model.embed_tokens", "model.layers", "model.final_layernorm", "lm_head"],
            _ => ["model.embed_tokens", "model.layers", "model.norm", "lm_head"],
        };
        let embeddings = (loader.get)(&format!("{embeddings}.weight"), &[vocab, hidden])?;
        let positions = match config.family {
            Family::Gpt2 => Some((loader.get)("transformer.wpe.weight", &[config.context_length, hidden])?),
            _ => None,
        };
        let layers = (0..config.layers.len())
            .map(|index| loader.layer(&format!("{layers}.{index}")))
            .collect::<Result<_, E>>()?;
        let final_norm = loader.norm(norm, hidden)?;
        let (embeddings, head) = if config.tied {
            let bias =
                config.biases.head.then(|| (loader.get)(&format!("{head}.bias"), &[vocab])).transpose()?;
            (None, Linear::new(&embeddings.t()?, bias.as_ref())?)
        } else {
            (Some(embeddings), loader.linear(&[(head.into(), vocab)], hidden, config.biases.head)?)
        };
        Ok(Self { embeddings, positions, layers, final_norm, head })
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
        let names = LayerNames::of(config);
        let biases = config.biases;
        let mut norm =
            |name: &str, here: bool| here.then(|| self.norm(&format!("{layer}.{name}"), hidden)).transpose();
        let before = config.wiring != Wiring::After;
        let after = matches!(config.wiring, Wiring::After | Wiring::Around);
        let before_attention = norm(names.norms[0], before)?;
        let after_attention = norm(names.norms[1], after)?;
        let before_mlp = norm(names.norms[2], before && config.wiring != Wiring::ParallelOneNorm)?;
        let after_mlp = norm(names.norms[3], after)?;
        Ok(LayerWeights {
            before_attention,
            after_attention,
            before_mlp,
            after_mlp,
            head_norms: self.head_norms(layer)?,
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
        let mut weight = (self.get)(&format!("{name}.weight"), &[width])?;
        if self.config.norm == NormKind::RmsLessOne {
            weight = (weight + 1.0)?;
        }
        let bias = match self.config.norm {
            NormKind::Layer => Some((self.get)(&format!("{name}.bias"), &[width])?),
            _ => None,
        };
        Ok(Norm {
            weight: weight.to_vec1()?,
            bias: bias.map(|bias| bias.to_vec1()).transpose()?,
            epsilon: self.config.norm_epsilon as f32,
            centred: self.config.norm == NormKind::Layer,
        })
    }

    fn head_norms(&mut self, layer: &str) -> Result<Option<(Norm, Norm)>, E> {
        let config = self.config;
        let (queries, keys) = match config.head_norm {
            HeadNorm::None => return Ok(None),
            HeadNorm::Each => (config.head_dim, config.head_dim),
            HeadNorm::Whole => (config.heads * config.head_dim, config.kv_heads * config.head_dim),
        };
        let [query, key] = match config.family {
            Family::Phi => ["q_layernorm", "k_layernorm"],
            _ => ["q_norm", "k_norm"],
        };
        let query = self.norm(&format!("{layer}.self_attn.{query}"), queries)?;
        Ok(Some((query, self.norm(&format!("{layer}.self_attn.{key}"), keys)?)))
    }

    fn query_key_value(&mut self, layer: &str) -> Result<Linear, E> {
        let config = self.config;
        let (hidden, dim) = (config.hidden_size, config.head_dim);
        let (own, shared) = (config.heads * dim, config.kv_heads * dim);
        let bias = config.biases.query_key_value;
        match config.family {
            Family::Gpt2 => self.linear(&[(format!("{layer}.attn.c_attn"), 3 * own)], hidden, bias),
            Family::Phi3 => {
                self.linear(&[(format!("{layer}.self_attn.qkv_proj"), own + 2 * shared)], hidden, bias)
            }
            Family::GptNeox => {
                let parts = [(format!("{layer}.attention.query_key_value"), 3 * own)];
                let (weight, bias) = self.tensors(&parts, hidden, bias)?;
                // Stored as query, key and value of one head after the other.
                let order: Vec<u32> = (0..3)
                    .flat_map(|part| {
                        (0..config.heads)
                            .flat_map(move |head| (0..dim).map(move |d| ((head * 3 + part) * dim + d) as u32))
                    })
                    .collect();
                let order = Tensor::new(order, &Device::Cpu)?;
                let weight = weight.t()?.index_select(&order, 0)?.t()?;
                let bias = bias.map(|bias| bias.index_select(&order, 0)).transpose()?;
                Ok(Linear::new(&weight, bias.as_ref())?)
            }
            _ => {
                let parts = [("q_proj", own), ("k_proj", shared), ("v_proj", shared)];
                self.linear(
                    &parts.map(|(part, width)| (format!("{layer}.self_attn.{part}"), width)),
                    hidden,
                    bias,
                )
            }
        }
    }

    fn up(&mut self, layer: &str) -> Result<Linear, E> {
        let (hidden, width) = (self.config.hidden_size, self.config.intermediate_size);
        let parts: &[(&str, usize)] = match self.config.family {
            Family::Gpt2 => &[("c_fc", width)],
            Family::GptNeox => &[("dense_h_to_4h", width)],
            Family::Phi => &[("fc1", width)],
            Family::Phi3 => &[("gate_up_proj", 2 * width)],
            _ => &[("gate_proj", width), ("up_proj", width)],
        };
        let parts: Vec<_> =
            parts.iter().map(|(part, width)| (format!("{layer}.mlp.{part}"), *width)).collect();
        self.linear(&parts, hidden, self.config.biases.mlp)
    }

    /// Linear layers with one input side by side.
    fn linear(&mut self, parts: &[(String, usize)], inputs: usize, bias: bool) -> Result<Linear, E> {
        let (weight, bias) = self.tensors(parts, inputs, bias)?;
        Ok(Linear::new(&weight, bias.as_ref())?)
    }

    /// Their weights `[inputs, outputs]` and biases. All are stored `[outputs, inputs]`, except GPT-2's.
    fn tensors(
        &mut self,
        parts: &[(String, usize)],
        inputs: usize,
        bias: bool,
    ) -> Result<(Tensor, Option<Tensor>), E> {
        let turned = self.config.family == Family::Gpt2 && parts[0].0 != "lm_head";
        let mut weights = Vec::new();
        let mut biases = Vec::new();
        for (name, outputs) in parts {
            let shape = if turned { [inputs, *outputs] } else { [*outputs, inputs] };
            weights.push((self.get)(&format!("{name}.weight"), &shape)?);
            if bias {
                biases.push((self.get)(&format!("{name}.bias"), &[*outputs])?);
            }
        }
        let weight = Tensor::cat(&weights, 0)?;
        let bias = if bias { Some(Tensor::cat(&biases, 0)?) } else { None };
        Ok((if turned { weight } else { weight.t()? }, bias))
    }
}

impl LayerNames {
    fn of(config: &DecoderConfig) -> Self {
        let norms = |norms, attention_out, down| Self { norms, attention_out, down };
        let (none, input, post) = ("", "input_layernorm", "post_attention_layernorm");
        match (config.family, config.wiring) {
            (Family::Gpt2, _) => norms(["ln_1", none, "ln_2", none], "attn.c_proj", "mlp.c_proj"),
            (Family::GptNeox, _) => norms([input, none, post, none], "attention.dense", "mlp.dense_4h_to_h"),
            (Family::Phi, _) => norms([input, none, none, none], "self_attn.dense", "mlp.fc2"),
            (_, Wiring::After) => {
                norms([none, post, none, "post_feedforward_layernorm"], "self_attn.o_proj", "mlp.down_proj")
            }
            (_, Wiring::Around) => norms(
                [input, post, "pre_feedforward_layernorm", "post_feedforward_layernorm"],
                "self_attn.o_proj",
                "mlp.down_proj",
            ),
            _ => norms([input, none, post, none], "self_attn.o_proj", "mlp.down_proj"),
        }
    }
}
