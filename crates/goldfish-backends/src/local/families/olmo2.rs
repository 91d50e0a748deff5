//! OLMo 2.

use crate::local::config::{BlockLayout, QkNorm, TensorNames};
use crate::local::family::{BASE, Family, ModelName};

pub(super) static FAMILY: Family = OLMO2;

/// Also what OLMo 3 differs from.
pub(super) const OLMO2: Family = Family {
    name: ModelName::of("olmo2"),
    layout: BlockLayout::PostNorm,
    norm_epsilon: 1e-5,
    qk_norm: QkNorm::AllHeads,
    tensors: TensorNames {
        norms: ["", "post_attention_layernorm", "", "post_feedforward_layernorm"],
        ..BASE.tensors
    },
    ..BASE
};
