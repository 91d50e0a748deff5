//! Llama, and models that are stored as one.

use crate::local::family::{BASE, Family, Keys, ModelName};

pub(super) static FAMILY: Family =
    Family { name: ModelName::of("llama"), keys: Keys { mlp_bias: Some("mlp_bias"), ..BASE.keys }, ..BASE };
