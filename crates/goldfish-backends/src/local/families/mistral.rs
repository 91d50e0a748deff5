//! Mistral.

use crate::local::family::{BASE, Family, Keys, WindowUse};

pub(super) static FAMILY: Family = Family {
    model_type: "mistral",
    keys: Keys { attention_bias: None, ..BASE.keys },
    window: WindowUse::Always,
    ..BASE
};
