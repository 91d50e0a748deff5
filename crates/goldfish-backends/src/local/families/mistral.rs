//! Mistral.

use crate::local::family::{BASE, Family, Keys, ModelName, WindowUse};

pub(super) static FAMILY: Family = Family {
    name: ModelName::of("mistral"),
    keys: Keys { attention_bias: None, ..BASE.keys },
    window: WindowUse::Always,
    ..BASE
};
