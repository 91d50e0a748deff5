//! Which set a probe belongs to, and whether its prompt has the passage that it asks for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which set a probe belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Set {
    /// Documents whose memorization is asked for.
    Audited,
    /// Documents that the model cannot have seen.
    Control,
    /// Texts that the model is known to recite.
    Canary,
}

impl Set {
    /// The name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Audited => "audited",
            Self::Control => "control",
            Self::Canary => "canary",
        }
    }
}

/// Whether the prompt has a probe's whole passage, its prefix and suffix, before the prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Passage {
    /// The prompt is the prefix alone: what the model continues comes from its weights.
    Absent,
    /// The prompt is the passage, a separator and the prefix: the model may copy.
    InPrompt,
}

impl Passage {
    /// The name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::InPrompt => "in_prompt",
        }
    }

    /// What comes before the prefix in the prompt, a BOS apart.
    pub(crate) fn before(self, prefix: &[u32], suffix: &[u32], separator: &[u32]) -> Vec<u32> {
        match self {
            Self::Absent => Vec::new(),
            Self::InPrompt => [prefix, suffix, separator].concat(),
        }
    }
}
