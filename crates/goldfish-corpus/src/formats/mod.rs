//! The formats that are read, each in a file of its own.

use crate::input::Format;

mod arrow;
mod datatrove;
mod json;
mod jsonl;
mod megatron;
mod olmo;
mod parquet;
mod text;
#[cfg(test)]
mod toy;

pub(crate) use jsonl::FORMAT as JSONL;

/// Every format.
static FORMATS: &[Format] = &[
    Format(&jsonl::FORMAT),
    Format(&json::FORMAT),
    Format(&text::FORMAT),
    Format(&parquet::FORMAT),
    Format(&arrow::FORMAT),
    Format(&megatron::FORMAT),
    Format(&olmo::FORMAT),
    Format(&datatrove::FORMAT),
    #[cfg(test)]
    Format(&toy::FORMAT),
];

impl Format {
    /// Every format.
    #[must_use]
    pub fn all() -> &'static [Self] {
        FORMATS
    }

    /// The format of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        FORMATS.iter().copied().find(|format| format.name() == name)
    }
}

#[cfg(feature = "clap")]
impl clap::ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Self] {
        FORMATS
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.name()).help(self.about()))
    }
}
