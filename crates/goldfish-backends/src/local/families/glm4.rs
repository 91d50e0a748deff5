//! GLM-4 of 2025: GLM with norms before and after attention and MLP.

use super::glm::GLM;
use crate::local::config::{BlockLayout, TensorNames};
use crate::local::family::{Family, ModelName};

pub(super) static FAMILY: Family = Family {
    name: ModelName::of("glm4"),
    layout: BlockLayout::SandwichNorm,
    tensors: TensorNames {
        norms: [
            "input_layernorm",
            "post_self_attn_layernorm",
            "post_attention_layernorm",
            "post_mlp_layernorm",
        ],
        ..GLM.tensors
    },
    ..GLM
};
