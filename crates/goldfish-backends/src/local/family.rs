//! A family of models as data: how its `config.json` is read, and what its defaults are.

use std::ops::Range;

use super::config::{
    Activation, Biases, BlockLayout, DecoderConfig, LayerAttention, MAX_CONTEXT_LENGTH, MAX_LAYERS,
    MAX_VOCABULARY, MAX_WIDTH, NormKind, Positions, QkNorm, TensorNames,
};
use super::error::CheckpointError;
use super::rope::{Pairs, RotaryDefaults, longest, rotary_settings, rotary_speeds};
use super::settings::Settings;

/// A family of models. Most are [`BASE`] with a few differences.
pub(super) struct Family {
    pub(super) name: ModelName,
    pub(super) keys: Keys,
    /// Keys that describe what this decoder doesn't compute.
    pub(super) refused: &'static [&'static str],
    /// The width of the MLP in hidden sizes, if the settings may leave it out.
    pub(super) mlp_factor: Option<usize>,
    /// The longest context, if the settings may leave it out.
    pub(super) context_length: Option<usize>,
    pub(super) layout: BlockLayout,
    pub(super) norm: NormKind,
    pub(super) norm_epsilon: f64,
    pub(super) qk_norm: QkNorm,
    /// The activation, if the settings may leave it out.
    pub(super) activation: Option<Activation>,
    pub(super) gated: bool,
    pub(super) biases: Biases,
    /// `None` for learned positions.
    pub(super) rotary: Option<RotaryDefaults>,
    pub(super) window: WindowUse,
    pub(super) layer_kinds: fn(&Settings, usize) -> Result<Vec<LayerKind>, CheckpointError>,
    pub(super) tied: bool,
    pub(super) tensors: TensorNames,
    /// What is particular to the family, after everything else was read.
    pub(super) adjust: fn(&Settings, &mut DecoderConfig) -> Result<(), CheckpointError>,
}

/// What `config.json` calls a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ModelName {
    pub(super) model_type: &'static str,
    /// `mixer`, of the models of the lab.
    pub(super) mixer: Option<&'static str>,
}

impl ModelName {
    /// A family with a `model_type` of its own.
    pub(super) const fn of(model_type: &'static str) -> Self {
        Self { model_type, mixer: None }
    }

    /// A model of the lab with this mixer.
    pub(super) const fn lab(mixer: &'static str) -> Self {
        Self { model_type: "goldfish_lab", mixer: Some(mixer) }
    }
}

/// What a family calls its settings.
pub(super) struct Keys {
    /// The first that is set counts, as of all that are lists.
    pub(super) hidden_size: &'static [&'static str],
    pub(super) heads: &'static [&'static str],
    /// `None` if there are as many as heads.
    pub(super) kv_heads: Option<&'static str>,
    /// `None` if it is the hidden size over the heads.
    pub(super) head_dim: Option<&'static str>,
    pub(super) intermediate_size: &'static str,
    pub(super) context_length: &'static str,
    pub(super) layers: &'static [&'static str],
    pub(super) norm_epsilon: &'static str,
    /// Empty if the settings don't name it.
    pub(super) activation: &'static [&'static str],
    pub(super) attention_bias: Option<&'static str>,
    pub(super) mlp_bias: Option<&'static str>,
}

/// Whether `sliding_window` counts.
pub(super) enum WindowUse {
    Never,
    Always,
    /// If this key is true.
    If(&'static str),
}

/// What is particular to one layer.
#[derive(Clone, Copy)]
pub(super) struct LayerKind {
    /// Whether it rotates queries and keys, in a model that does.
    pub(super) rotates: bool,
    /// Whether it has the sliding window, in a model with one.
    pub(super) slides: bool,
}

/// Names and defaults that most families share: Llama's.
pub(super) const BASE: Family = Family {
    name: ModelName::of(""),
    keys: Keys {
        hidden_size: &["hidden_size"],
        heads: &["num_attention_heads"],
        kv_heads: Some("num_key_value_heads"),
        head_dim: Some("head_dim"),
        intermediate_size: "intermediate_size",
        context_length: "max_position_embeddings",
        layers: &["num_hidden_layers"],
        norm_epsilon: "rms_norm_eps",
        activation: &["hidden_act"],
        attention_bias: Some("attention_bias"),
        mlp_bias: None,
    },
    refused: &[
        "quantization_config",
        "compression_config",
        "num_local_experts",
        "num_experts",
        "is_encoder_decoder",
        "add_cross_attention",
    ],
    mlp_factor: None,
    context_length: None,
    layout: BlockLayout::PreNorm,
    norm: NormKind::Rms,
    norm_epsilon: 1e-6,
    qk_norm: QkNorm::None,
    activation: None,
    gated: true,
    biases: Biases { query_key_value: false, attention_out: false, mlp: false, head: false },
    rotary: Some(RotaryDefaults { base: 1e4, fraction: 1.0, pairs: Pairs::Halves }),
    window: WindowUse::Never,
    layer_kinds: all_alike,
    tied: false,
    tensors: TensorNames {
        embeddings: "model.embed_tokens",
        embedding_norm: None,
        projections: ["", ""],
        positions: None,
        first_position: 0,
        layers: "model.layers",
        final_norm: "model.norm",
        head: "lm_head",
        norms: ["input_layernorm", "", "post_attention_layernorm", ""],
        query_key_norms: ["self_attn.q_norm", "self_attn.k_norm"],
        sinks: None,
        query_key_value: &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        query_key_value_order: None,
        attention_out: "self_attn.o_proj",
        up: &["mlp.gate_proj", "mlp.up_proj"],
        down: "mlp.down_proj",
        transposed: false,
        ignored: &[".rotary_emb.inv_freq"],
    },
    adjust: |_, _| Ok(()),
};

impl Family {
    /// Reads the settings of a model of this family.
    pub(super) fn config(&'static self, settings: &Settings) -> Result<DecoderConfig, CheckpointError> {
        for key in self.refused {
            settings.refuse(key, "save the model without it")?;
        }
        let keys = &self.keys;
        let heads_key = first_set(settings, keys.heads);
        let hidden_size = settings.needed_count(first_set(settings, keys.hidden_size), MAX_WIDTH)?;
        let heads = settings.needed_count(heads_key, hidden_size.max(MAX_LAYERS))?;
        let optional = |key: Option<&str>, cap| key.map_or(Ok(None), |key| settings.count(key, cap));
        let kv_heads = optional(keys.kv_heads, heads)?.unwrap_or(heads);
        let head_dim = match optional(keys.head_dim, MAX_WIDTH)? {
            Some(head_dim) => head_dim,
            None => head_dim(settings, heads_key, hidden_size, heads)?,
        };
        if self.rotary.is_some() && head_dim % 2 != 0 {
            let reason = format!("make heads of {head_dim} elements, which can't be rotated in pairs");
            return Err(settings.wrong(heads_key, reason));
        }
        if heads % kv_heads != 0 {
            let reason = format!("is {kv_heads}, which doesn't divide {heads} heads");
            return Err(settings.wrong(keys.kv_heads.unwrap_or(heads_key), reason));
        }
        if heads * head_dim > MAX_WIDTH {
            return Err(CheckpointError::TooLarge {
                path: settings.path.clone(),
                what: "heads times head_dim".into(),
                found: (heads * head_dim) as u64,
                cap: MAX_WIDTH as u64,
            });
        }
        let intermediate_size = settings.count(keys.intermediate_size, MAX_WIDTH)?;
        let intermediate_size = intermediate_size
            .or(self.mlp_factor.map(|factor| factor * hidden_size))
            .ok_or_else(|| settings.wrong(keys.intermediate_size, "is missing"))?;
        let context_length = settings.count(keys.context_length, MAX_CONTEXT_LENGTH)?;
        let context_length = context_length
            .or(self.context_length)
            .ok_or_else(|| settings.wrong(keys.context_length, "is missing"))?;
        let (positions, context_length) = match &self.rotary {
            None => (Positions::Learned, context_length),
            Some(defaults) => {
                let context = defaults.context(settings, head_dim, context_length)?;
                let rotary = rotary_settings(settings)?;
                let speeds = rotary_speeds(rotary.as_ref(), &context)?;
                (Positions::Rotary(vec![speeds]), longest(rotary.as_ref(), &context)?)
            }
        };
        let mut config = DecoderConfig {
            tensors: &self.tensors,
            vocab_size: settings.needed_count("vocab_size", MAX_VOCABULARY)?,
            hidden_size,
            intermediate_size,
            heads,
            kv_heads,
            head_dim,
            value_dim: head_dim,
            latent: None,
            context_length,
            layout: self.layout,
            norm: self.norm,
            norm_epsilon: settings.positive(keys.norm_epsilon)?.unwrap_or(self.norm_epsilon),
            qk_norm: self.qk_norm,
            activation: activation(settings, keys.activation, self.activation)?,
            gated: self.gated,
            biases: self.biases(settings)?,
            positions,
            layers: self.layers(settings, head_dim)?,
            experts: None,
            attention_softcap: None,
            clip: None,
            logit_softcap: None,
            logit_scale: None,
            embedding_scale: None,
            residual_scale: None,
            embedding_size: None,
            final_norm: true,
            tied: settings.flag_or("tie_word_embeddings", self.tied)?,
        };
        (self.adjust)(settings, &mut config)?;
        Ok(config)
    }

    fn biases(&self, settings: &Settings) -> Result<Biases, CheckpointError> {
        let mut biases = self.biases;
        if let Some(key) = self.keys.attention_bias {
            biases.query_key_value = settings.flag_or(key, biases.query_key_value)?;
            biases.attention_out = biases.query_key_value;
        }
        if let Some(key) = self.keys.mlp_bias {
            biases.mlp = settings.flag_or(key, biases.mlp)?;
        }
        Ok(biases)
    }

    fn layers(&self, settings: &Settings, head_dim: usize) -> Result<Vec<LayerAttention>, CheckpointError> {
        let count = settings.needed_count(first_set(settings, self.keys.layers), MAX_LAYERS)?;
        let slides = match self.window {
            WindowUse::Never => false,
            WindowUse::Always => true,
            WindowUse::If(key) => settings.flag(key)?,
        };
        let window = if slides { settings.count("sliding_window", MAX_CONTEXT_LENGTH)? } else { None };
        let layer = |kind: LayerKind| LayerAttention {
            window: window.filter(|_| kind.slides),
            growing_windows: 0,
            chunk: None,
            temperature: None,
            rotary: (kind.rotates && self.rotary.is_some()).then_some(0),
            scale: (head_dim as f64).powf(-0.5),
        };
        Ok((self.layer_kinds)(settings, count)?.into_iter().map(layer).collect())
    }
}

/// The first of some keys that is set, or else the first of all; empty if there are none.
pub(super) fn first_set<'a>(settings: &Settings, keys: &[&'a str]) -> &'a str {
    keys.iter().find(|key| settings.get(key).is_some()).or(keys.first()).copied().unwrap_or_default()
}

/// The activation that the first of some keys names.
pub(super) fn activation(
    settings: &Settings,
    keys: &[&str],
    absent: Option<Activation>,
) -> Result<Activation, CheckpointError> {
    let key = first_set(settings, keys);
    match (settings.text(key)?, absent) {
        (Some("silu" | "swish"), _) => Ok(Activation::Silu),
        (Some("gelu"), _) => Ok(Activation::Gelu),
        (Some("gelu_new" | "gelu_pytorch_tanh" | "gelu_fast"), _) => Ok(Activation::GeluTanh),
        (Some("relu"), _) => Ok(Activation::Relu),
        // Its numbers are weights, which other families don't have.
        (Some("xielu"), Some(xielu @ Activation::Xielu(_))) => Ok(xielu),
        (Some(_), _) => {
            Err(settings.unsupported(key, "known are silu, gelu, gelu_new, gelu_pytorch_tanh and relu"))
        }
        (None, absent) => absent.ok_or_else(|| settings.wrong(key, "is missing")),
    }
}

/// The size of a head, if it is the hidden size over the heads.
pub(super) fn head_dim(
    settings: &Settings,
    key: &str,
    hidden: usize,
    heads: usize,
) -> Result<usize, CheckpointError> {
    if hidden.is_multiple_of(heads) {
        return Ok(hidden / heads);
    }
    Err(settings.wrong(key, format!("is {heads}, which doesn't divide the hidden size {hidden}")))
}

/// The rows of one tensor that has, for each head of keys, its queries, its key and its value.
pub(super) fn by_group(config: &DecoderConfig) -> Vec<u32> {
    let (groups, dim) = (config.kv_heads, config.head_dim);
    let queries = config.heads / groups;
    let of_parts = |parts: Range<usize>| {
        (0..groups).flat_map(move |group| {
            let start = group * (queries + 2);
            (start + parts.start) * dim..(start + parts.end) * dim
        })
    };
    let parts = [0..queries, queries..queries + 1, queries + 1..queries + 2];
    parts.into_iter().flat_map(of_parts).map(|row| row as u32).collect()
}

/// Every layer rotates, and has the window.
fn all_alike(_: &Settings, count: usize) -> Result<Vec<LayerKind>, CheckpointError> {
    Ok(vec![LayerKind { rotates: true, slides: true }; count])
}

/// Rotating layers, of which some have the window: those that `layer_types` names, or else those that `slides` says.
pub(super) fn sliding(
    settings: &Settings,
    count: usize,
    slides: impl Fn(usize) -> bool,
) -> Result<Vec<LayerKind>, CheckpointError> {
    let slides = match layer_types(settings, count)? {
        Some(slides) => slides,
        None => (0..count).map(slides).collect(),
    };
    Ok(slides.into_iter().map(|slides| LayerKind { rotates: true, slides }).collect())
}

/// Which layers have a window by `layer_types`, if it is there.
pub(super) fn layer_types(settings: &Settings, count: usize) -> Result<Option<Vec<bool>>, CheckpointError> {
    let Some(kinds) = settings.texts("layer_types")? else { return Ok(None) };
    if kinds.len() != count {
        let reason = format!("has {} entries for {count} layers", kinds.len());
        return Err(settings.wrong("layer_types", reason));
    }
    let known = ["full_attention", "sliding_attention"];
    if kinds.iter().any(|kind| !known.contains(kind)) {
        return Err(settings.unsupported("layer_types", "known are full_attention and sliding_attention"));
    }
    Ok(Some(kinds.iter().map(|kind| *kind == known[1]).collect()))
}
