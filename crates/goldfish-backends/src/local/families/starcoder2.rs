//! StarCoder2 ([Lozhkov et al. 2024](https://arxiv.org/abs/2402.19173)).

use crate::local::config::{Activation, Biases, NormKind, TensorNames};
use crate::local::family::{BASE, Family, Keys, ModelName, WindowUse};

pub(super) static FAMILY: Family = Family {
    name: ModelName::of("starcoder2"),
    keys: Keys {
        norm_epsilon: "norm_epsilon",
        attention_bias: Some("use_bias"),
        mlp_bias: Some("use_bias"),
        ..BASE.keys
    },
    norm: NormKind::Layer,
    norm_epsilon: 1e-5,
    activation: Some(Activation::GeluTanh),
    gated: false,
    biases: Biases { query_key_value: true, attention_out: true, mlp: true, head: false },
    window: WindowUse::Always,
    tied: true,
    tensors: TensorNames { up: &["mlp.c_fc"], down: "mlp.c_proj", ..BASE.tensors },
    ..BASE
};
