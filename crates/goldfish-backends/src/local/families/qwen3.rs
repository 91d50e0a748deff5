//! Qwen3.

use super::qwen2;
use crate::local::config::QkNorm;
use crate::local::family::{BASE, Family, ModelName, WindowUse};

pub(super) static FAMILY: Family = Family {
    name: ModelName::of("qwen3"),
    qk_norm: QkNorm::PerHead,
    window: WindowUse::If("use_sliding_window"),
    layer_kinds: qwen2::layer_kinds,
    ..BASE
};
