//! Phi 3 and Phi 4.

use crate::local::config::TensorNames;
use crate::local::family::{BASE, Family, Keys, ModelName, WindowUse};

pub(super) static FAMILY: Family = Family {
    name: ModelName::of("phi3"),
    keys: Keys { attention_bias: None, ..BASE.keys },
    norm_epsilon: 1e-5,
    window: WindowUse::Always,
    tensors: TensorNames {
        query_key_value: &["self_attn.qkv_proj"],
        up: &["mlp.gate_up_proj"],
        ..BASE.tensors
    },
    ..BASE
};
