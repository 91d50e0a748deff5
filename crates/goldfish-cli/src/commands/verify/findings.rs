//! What was found in a folder.

use goldfish_shard::Problem;
use serde_json::Value;

/// The result for a folder.
pub(super) struct Findings {
    pub(super) problems: Vec<Problem>,
    /// What `--json` prints besides the problems.
    pub(super) json: Value,
    /// What is printed about a folder without problems.
    pub(super) sound: String,
    /// What to do about problems.
    pub(super) advice: &'static str,
}
