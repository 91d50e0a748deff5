//! What a decoder is built like, read from the `config.json` of its family.

use super::error::CheckpointError;
use super::rope::{RotaryContext, RotarySpeeds, rotary_speeds};
use super::settings::Settings;

/// Most ids of a vocabulary.
pub const MAX_VOCABULARY: usize = 1 << 24;
/// Most layers.
pub const MAX_LAYERS: usize = 1024;
/// Largest width of hidden states, MLPs, or all heads together.
pub const MAX_WIDTH: usize = 1 << 20;
/// Longest context in tokens.
pub const MAX_CONTEXT_LENGTH: usize = 1 << 24;

/// A family of models, by the names and shapes of its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "proper names")]
pub enum Family {
    Llama,
    Mistral,
    Gpt2,
    GptNeox,
    Qwen2,
    Qwen3,
    Olmo2,
    Gemma,
    Gemma2,
    Gemma3,
    Phi,
    Phi3,
    SmolLm3,
}

impl Family {
    /// Each with its `model_type`.
    const ALL: [(&'static str, Self); 13] = [
        ("llama", Self::Llama),
        ("mistral", Self::Mistral),
        ("gpt2", Self::Gpt2),
        ("gpt_neox", Self::GptNeox),
        ("qwen2", Self::Qwen2),
        ("qwen3", Self::Qwen3),
        ("olmo2", Self::Olmo2),
        ("gemma", Self::Gemma),
        ("gemma2", Self::Gemma2),
        ("gemma3_text", Self::Gemma3),
        ("phi", Self::Phi),
        ("phi3", Self::Phi3),
        ("smollm3", Self::SmolLm3),
    ];
}

/// The function between the layers of an MLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "names of functions")]
pub enum Activation {
    Silu,
    Gelu,
    GeluTanh,
    Relu,
}

/// How attention, MLP, norms and the residual stream are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wiring {
    /// Norm before attention and before MLP.
    Before,
    /// Norm of what attention and MLP give.
    After,
    /// Both.
    Around,
    /// Attention and MLP side by side, each with a norm of its own.
    Parallel,
    /// Attention and MLP side by side behind one norm.
    ParallelOneNorm,
}

/// Which norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// Layer norm with weight and bias.
    Layer,
    /// RMS norm.
    Rms,
    /// RMS norm whose weight is stored less 1.
    RmsLessOne,
}

/// Norms of queries and keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadNorm {
    /// None.
    None,
    /// Of each head.
    Each,
    /// Of all heads together.
    Whole,
}

/// How a model knows positions.
#[derive(Debug, Clone, PartialEq)]
pub enum Positions {
    /// By a table of embeddings.
    Learned,
    /// By rotation.
    Rotary(Vec<RotarySpeeds>),
}

/// Attention of one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerAttention {
    /// How many positions a token sees, its own included; all of them if absent.
    pub window: Option<usize>,
    /// Which of the rotations, if the layer knows positions by one.
    pub rotary: Option<usize>,
    /// What products of queries and keys are multiplied with.
    pub scale: f64,
}

/// Which linear layers have a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "names of layers")]
pub struct Biases {
    pub query_key_value: bool,
    pub attention_out: bool,
    pub mlp: bool,
    pub head: bool,
}

/// A decoder, without its weights.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "names of sizes")]
pub struct DecoderConfig {
    pub family: Family,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    /// Longest sequence in tokens.
    pub context_length: usize,
    pub wiring: Wiring,
    pub norm: NormKind,
    pub norm_epsilon: f64,
    pub head_norm: HeadNorm,
    pub activation: Activation,
    /// Whether the MLP is gated.
    pub gated: bool,
    pub biases: Biases,
    pub positions: Positions,
    /// One for each layer.
    pub layers: Vec<LayerAttention>,
    /// Products of queries and keys are held within this by a hyperbolic tangent.
    pub attention_softcap: Option<f64>,
    /// Logits are held within this.
    pub logit_softcap: Option<f64>,
    /// What embeddings are multiplied with.
    pub embedding_scale: Option<f64>,
    /// Whether the head is the table of embeddings.
    pub tied: bool,
}

impl DecoderConfig {
    /// Reads a `config.json`.
    ///
    /// # Errors
    ///
    /// If it is none, describes a model that is not supported, or sizes beyond the caps.
    pub fn open(path: &std::path::Path) -> Result<Self, CheckpointError> {
        Self::from_settings(&Settings::open(path)?)
    }

    /// The same of settings at hand; errors call them by `path`.
    ///
    /// # Errors
    ///
    /// Those of [`DecoderConfig::open`].
    pub fn from_value(path: &std::path::Path, settings: serde_json::Value) -> Result<Self, CheckpointError> {
        Self::from_settings(&Settings::of(path, settings)?)
    }

    pub(crate) fn from_settings(settings: &Settings) -> Result<Self, CheckpointError> {
        let kind = settings.text("model_type")?.ok_or_else(|| settings.wrong("model_type", "is missing"))?;
        let Some((_, family)) = Family::ALL.into_iter().find(|(name, _)| *name == kind) else {
            let known = Family::ALL.map(|(name, _)| name).join(", ");
            return Err(settings.unsupported(
                "model_type",
                &format!("known are {known}; audit another model behind a server with --server"),
            ));
        };
        let server = "save the model without it, or audit it behind a server";
        for key in [
            "quantization_config",
            "compression_config",
            "num_local_experts",
            "num_experts",
            "is_encoder_decoder",
            "add_cross_attention",
        ] {
            settings.refuse(key, server)?;
        }
        Reader { settings, family }.read()
    }
}

struct Reader<'a> {
    settings: &'a Settings,
    family: Family,
}

impl Reader<'_> {
    fn read(&self) -> Result<DecoderConfig, CheckpointError> {
        use Family::*;
        let (settings, family) = (self.settings, self.family);
        let gpt2 = family == Gpt2;
        let key = |name, gpt2_name| if gpt2 { gpt2_name } else { name };
        let hidden_size = settings.needed_count(key("hidden_size", "n_embd"), MAX_WIDTH)?;
        let heads_key = key("num_attention_heads", "n_head");
        let heads = settings.needed_count(heads_key, hidden_size.max(MAX_LAYERS))?;
        let kv_heads = match family {
            Gpt2 | GptNeox => heads,
            _ => settings.count("num_key_value_heads", heads)?.unwrap_or(heads),
        };
        let head_dim = match settings.count("head_dim", MAX_WIDTH)? {
            Some(head_dim) if !matches!(family, Gpt2 | GptNeox | Phi) => head_dim,
            _ if hidden_size % heads == 0 => hidden_size / heads,
            _ => {
                return Err(settings.wrong(
                    heads_key,
                    format!("is {heads}, which doesn't divide the hidden size {hidden_size}"),
                ));
            }
        };
        if family != Gpt2 && head_dim % 2 != 0 {
            return Err(settings.wrong(
                heads_key,
                format!("make heads of {head_dim} elements, which can't be rotated in pairs"),
            ));
        }
        if heads % kv_heads != 0 {
            return Err(settings
                .wrong("num_key_value_heads", format!("is {kv_heads}, which doesn't divide {heads} heads")));
        }
        if heads * head_dim > MAX_WIDTH {
            return Err(CheckpointError::TooLarge {
                path: settings.path.clone(),
                what: "heads times head_dim".into(),
                found: (heads * head_dim) as u64,
                cap: MAX_WIDTH as u64,
            });
        }
        let intermediate_size = match settings.count(key("intermediate_size", "n_inner"), MAX_WIDTH)? {
            Some(size) => size,
            None if gpt2 => 4 * hidden_size,
            None => return Err(settings.wrong("intermediate_size", "is missing")),
        };
        let context_length =
            settings.needed_count(key("max_position_embeddings", "n_positions"), MAX_CONTEXT_LENGTH)?;
        let (positions, local) = self.positions(head_dim, context_length)?;
        Ok(DecoderConfig {
            family,
            vocab_size: settings.needed_count("vocab_size", MAX_VOCABULARY)?,
            hidden_size,
            intermediate_size,
            heads,
            kv_heads,
            head_dim,
            context_length,
            wiring: match family {
                Olmo2 => Wiring::After,
                Gemma2 | Gemma3 => Wiring::Around,
                Phi => Wiring::ParallelOneNorm,
                GptNeox if settings.flag_or("use_parallel_residual", true)? => Wiring::Parallel,
                _ => Wiring::Before,
            },
            norm: match family {
                Gpt2 | GptNeox | Phi => NormKind::Layer,
                Gemma | Gemma2 | Gemma3 => NormKind::RmsLessOne,
                _ => NormKind::Rms,
            },
            norm_epsilon: self.epsilon()?,
            head_norm: match family {
                Olmo2 => HeadNorm::Whole,
                Qwen3 | Gemma3 => HeadNorm::Each,
                Phi if settings.flag("qk_layernorm")? => HeadNorm::Each,
                _ => HeadNorm::None,
            },
            activation: self.activation()?,
            gated: !matches!(family, Gpt2 | GptNeox | Phi),
            biases: self.biases()?,
            positions,
            layers: self.layers(head_dim, local)?,
            attention_softcap: self.softcap("attn_logit_softcapping")?,
            logit_softcap: self.softcap("final_logit_softcapping")?,
            embedding_scale: matches!(family, Gemma | Gemma2 | Gemma3).then(|| (hidden_size as f64).sqrt()),
            tied: settings
                .flag_or("tie_word_embeddings", matches!(family, Gpt2 | Gemma | Gemma2 | Gemma3 | SmolLm3))?,
        })
    }

    fn epsilon(&self) -> Result<f64, CheckpointError> {
        let key = match self.family {
            Family::Gpt2 => "layer_norm_epsilon",
            Family::GptNeox | Family::Phi => "layer_norm_eps",
            _ => "rms_norm_eps",
        };
        let absent = match self.family {
            Family::Gpt2 | Family::GptNeox | Family::Phi | Family::Phi3 | Family::Olmo2 => 1e-5,
            _ => 1e-6,
        };
        Ok(self.settings.positive(key)?.unwrap_or(absent))
    }

    fn softcap(&self, key: &str) -> Result<Option<f64>, CheckpointError> {
        if matches!(self.family, Family::Gemma2 | Family::Gemma3) {
            self.settings.positive(key)
        } else {
            Ok(None)
        }
    }

    fn activation(&self) -> Result<Activation, CheckpointError> {
        let key = match self.family {
            Family::Gpt2 => "activation_function",
            Family::Gemma if self.settings.get("hidden_activation").is_none() => "hidden_act",
            Family::Gemma | Family::Gemma2 | Family::Gemma3 => "hidden_activation",
            _ => "hidden_act",
        };
        match self.settings.text(key)? {
            // The first Gemma files say "gelu" and were trained with the approximation.
            Some("gelu") | None if self.family == Family::Gemma => Ok(Activation::GeluTanh),
            Some("silu" | "swish") => Ok(Activation::Silu),
            Some("gelu") => Ok(Activation::Gelu),
            Some("gelu_new" | "gelu_pytorch_tanh" | "gelu_fast") => Ok(Activation::GeluTanh),
            Some("relu") => Ok(Activation::Relu),
            Some(_) => Err(self
                .settings
                .unsupported(key, "known are silu, gelu, gelu_new, gelu_pytorch_tanh and relu")),
            None => Err(self.settings.wrong(key, "is missing")),
        }
    }

    fn biases(&self) -> Result<Biases, CheckpointError> {
        let attention = self.settings.flag_or("attention_bias", self.family == Family::GptNeox)?;
        let all = |yes, head| Biases { query_key_value: yes, attention_out: yes, mlp: yes, head };
        Ok(match self.family {
            Family::Gpt2 => all(true, false),
            Family::Phi => all(true, true),
            Family::GptNeox => {
                Biases { query_key_value: attention, attention_out: attention, mlp: true, head: false }
            }
            Family::Qwen2 => Biases { query_key_value: true, ..all(false, false) },
            Family::Llama | Family::SmolLm3 => {
                let mlp = self.settings.flag("mlp_bias")?;
                Biases { query_key_value: attention, attention_out: attention, mlp, head: false }
            }
            Family::Mistral | Family::Phi3 => all(false, false),
            _ => Biases { query_key_value: attention, attention_out: attention, mlp: false, head: false },
        })
    }

    /// The rotations, and which of them layers with a window have.
    fn positions(
        &self,
        head_dim: usize,
        context_length: usize,
    ) -> Result<(Positions, usize), CheckpointError> {
        let settings = self.settings;
        if self.family == Family::Gpt2 {
            return Ok((Positions::Learned, 0));
        }
        let base = match settings.positive("rope_theta")? {
            Some(base) => base,
            None => settings.positive("rotary_emb_base")?.unwrap_or(match self.family {
                Family::Gemma3 => 1e6,
                Family::SmolLm3 => 2e6,
                _ => 1e4,
            }),
        };
        let share = match settings.positive("partial_rotary_factor")? {
            Some(share) => share,
            None => settings.positive("rotary_pct")?.unwrap_or(match self.family {
                Family::GptNeox => 0.25,
                Family::Phi => 0.5,
                _ => 1.0,
            }),
        };
        if share > 1.0 {
            return Err(settings.wrong("partial_rotary_factor", "must be at most 1"));
        }
        let context = RotaryContext { head_dim, context_length, base, share };
        let parameters = match settings.object("rope_parameters")? {
            Some(parameters) => Some(parameters),
            None => settings.object("rope_scaling")?,
        };
        if self.family != Family::Gemma3 {
            return Ok((Positions::Rotary(vec![rotary_speeds(parameters.as_ref(), &context)?]), 0));
        }
        let local_base = settings.positive("rope_local_base_freq")?.unwrap_or(1e4);
        let local_context = RotaryContext { base: local_base, ..context };
        let by_kind = |key| parameters.as_ref().map_or(Ok(None), |parameters| parameters.object(key));
        let (global, local) = match (by_kind("full_attention")?, by_kind("sliding_attention")?) {
            (None, None) => {
                (rotary_speeds(parameters.as_ref(), &context)?, rotary_speeds(None, &local_context)?)
            }
            (global, local) => {
                (rotary_speeds(global.as_ref(), &context)?, rotary_speeds(local.as_ref(), &local_context)?)
            }
        };
        Ok((Positions::Rotary(vec![global, local]), 1))
    }

    fn layers(&self, head_dim: usize, local: usize) -> Result<Vec<LayerAttention>, CheckpointError> {
        use Family::*;
        let (settings, family) = (self.settings, self.family);
        let count = settings
            .needed_count(if family == Gpt2 { "n_layer" } else { "num_hidden_layers" }, MAX_LAYERS)?;
        let window = match family {
            Mistral | Phi3 | Gemma2 | Gemma3 => settings.count("sliding_window", MAX_CONTEXT_LENGTH)?,
            Qwen2 | Qwen3 | SmolLm3 if settings.flag("use_sliding_window")? => {
                settings.count("sliding_window", MAX_CONTEXT_LENGTH)?
            }
            _ => None,
        };
        if matches!(family, Gemma2 | Gemma3) {
            settings.refuse("use_bidirectional_attention", "an audit needs a causal model")?;
        }
        let rotates = self.rotating_layers(count)?;
        let slides = self.sliding_layers(&rotates)?;
        let scale = match family {
            Gpt2 if !settings.flag_or("scale_attn_weights", true)? => 1.0,
            Gemma2 | Gemma3 => settings.positive("query_pre_attn_scalar")?.unwrap_or(256.0).powf(-0.5),
            _ => (head_dim as f64).powf(-0.5),
        };
        let by_depth = family == Gpt2 && settings.flag("scale_attn_by_inverse_layer_idx")?;
        let layer = |index: usize| LayerAttention {
            window: window.filter(|_| slides[index]),
            rotary: rotates[index].then_some(if slides[index] { local } else { 0 }),
            scale: if by_depth { scale / (index + 1) as f64 } else { scale },
        };
        Ok((0..count).map(layer).collect())
    }

    /// Which layers rotate queries and keys. The others of `SmolLM3` know no positions.
    fn rotating_layers(&self, count: usize) -> Result<Vec<bool>, CheckpointError> {
        let (settings, key) = (self.settings, "no_rope_layers");
        match self.family {
            Family::Gpt2 => Ok(vec![false; count]),
            Family::SmolLm3 => match settings.flags(key)? {
                // The name says the opposite of the values: 1 rotates.
                Some(rotates) if rotates.len() >= count => Ok(rotates[..count].to_vec()),
                Some(rotates) => {
                    Err(settings.wrong(key, format!("has {} entries for {count} layers", rotates.len())))
                }
                None => {
                    let interval = settings.count("no_rope_layer_interval", MAX_LAYERS)?.unwrap_or(4);
                    Ok((1..=count).map(|layer| layer % interval != 0).collect())
                }
            },
            _ => Ok(vec![true; count]),
        }
    }

    /// Which layers have a sliding window, if the model has one.
    fn sliding_layers(&self, rotates: &[bool]) -> Result<Vec<bool>, CheckpointError> {
        use Family::*;
        let (settings, family, count) = (self.settings, self.family, rotates.len());
        if !matches!(family, Qwen2 | Qwen3 | Gemma2 | Gemma3 | SmolLm3) {
            return Ok(vec![true; count]);
        }
        if let Some(kinds) = settings.texts("layer_types")? {
            if kinds.len() != count {
                return Err(
                    settings.wrong("layer_types", format!("has {} entries for {count} layers", kinds.len()))
                );
            }
            if kinds.iter().any(|kind| !["full_attention", "sliding_attention"].contains(kind)) {
                return Err(
                    settings.unsupported("layer_types", "known are full_attention and sliding_attention")
                );
            }
            return Ok(kinds.iter().map(|kind| *kind == "sliding_attention").collect());
        }
        if family == SmolLm3 {
            return Ok(rotates.iter().map(|rotates| !rotates).collect());
        }
        let from = settings.whole("max_window_layers", MAX_LAYERS)?.unwrap_or(28);
        let pattern =
            match settings.count("sliding_window_pattern", MAX_LAYERS)? {
                Some(pattern) => pattern,
                None => settings
                    .count("_sliding_window_pattern", MAX_LAYERS)?
                    .unwrap_or(if family == Gemma2 { 2 } else { 6 }),
            };
        let slides = |layer| match family {
            Qwen2 | Qwen3 => layer >= from,
            _ => (layer + 1) % pattern != 0,
        };
        Ok((0..count).map(slides).collect())
    }
}
