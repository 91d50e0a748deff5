//! Hard-`ALiBi` ([Jelassi et al. 2024, "Repeat After Me"](https://arxiv.org/abs/2402.01032), section 3.1): some heads see only the last
//! few positions, the others all, and nothing else tells positions apart.

use serde_json::json;

use super::lab;
use crate::architecture::{ArchitectureKind, Size};
use crate::error::LabError;
use crate::layered;

const NAME: &str = "hard-alibi";
const WINDOWED_HEADS: &str = "windowed-heads";

pub(super) static KIND: ArchitectureKind = ArchitectureKind {
    name: NAME,
    summary: "no positions, some heads see only the last few tokens",
    sizes: &[Size {
        name: WINDOWED_HEADS,
        summary: "heads that see only so many tokens as their number, counted from 1 (default: half of the heads)",
    }],
    config: |options, vocabulary, context_length| {
        let windowed = options.sizes.get(WINDOWED_HEADS).copied().unwrap_or(options.heads / 2);
        if windowed > options.heads {
            let reason = format!("{WINDOWED_HEADS} is {windowed}, more than {} heads", options.heads);
            return Err(LabError::option("sizes", reason));
        }
        let mut config = lab::config(NAME, options, vocabulary, context_length)?;
        config["num_windowed_heads"] = json!(windowed);
        Ok(config)
    },
    recognizes: |config| lab::has_mixer(config, NAME),
    open: layered::decoder,
};
