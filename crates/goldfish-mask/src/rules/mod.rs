//! The rules: one file each, with parameters, validation, kernel and what diagnostics ask.
//!
//! A rule is a struct of parameters with a [`RuleDefinition`](crate::RuleDefinition). Its `new` takes `k` and sets
//! everything else to the documented default; setters of the same names as the fields change it.

mod anchor;
mod anchor_keys;
mod anchor_runs;
mod coefficient_sum;
mod full_windows;
mod hash;
mod hash_avalanche;
mod hash_table;
pub(crate) mod lanes;
mod no_rule;
mod prefix;
mod product;
mod random;
mod static_rule;
pub(crate) mod table;
mod text;
mod text_keys;
mod text_tokens;
mod text_v1;
pub(crate) mod xxh3;

pub use anchor::Anchor;
pub use coefficient_sum::CoefficientSum;
pub use hash::Hash;
pub use hash_avalanche::HashAvalanche;
pub use hash_table::HashTable;
pub use no_rule::NoRule;
pub use prefix::AfterPrefix;
pub use random::Random;
pub use static_rule::Static;
pub use text::Text;
pub use text_v1::TextV1;
