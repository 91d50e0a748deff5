//! Llama, and models that are stored as one.

use crate::local::family::{BASE, Family, Keys};

pub(super) static FAMILY: Family =
    Family { model_type: "llama", keys: Keys { mlp_bias: Some("mlp_bias"), ..BASE.keys }, ..BASE };
