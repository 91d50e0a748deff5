//! What the checkpoints of the lab's own models have in common: Llama's layers with another mixer, and no positions. `transformers`
//! runs them by the file that is saved beside them.

use serde_json::{Value, json};

use super::llama;
use crate::architecture::Vocabulary;
use crate::error::LabError;
use crate::options::ModelOptions;

/// The `config.json` of a model with this mixer.
pub(super) fn config(
    mixer: &str,
    options: &ModelOptions,
    vocabulary: &Vocabulary,
    context_length: usize,
) -> Result<Value, LabError> {
    if options.kv_heads.is_some_and(|kv_heads| kv_heads != options.heads) {
        return Err(LabError::option("kv_heads", format!("{mixer} has as many as heads")));
    }
    let mut config = llama::config(options, vocabulary, context_length)?;
    config["architectures"] = json!(["GoldfishLabForCausalLM"]);
    config["model_type"] = json!("goldfish_lab");
    config["auto_map"] = json!({
        "AutoConfig": "modeling_goldfish_lab.GoldfishLabConfig",
        "AutoModelForCausalLM": "modeling_goldfish_lab.GoldfishLabForCausalLM",
    });
    config["mixer"] = json!(mixer);
    if let Some(settings) = config.as_object_mut() {
        for key in ["num_key_value_heads", "rope_theta", "attention_bias", "attention_dropout", "mlp_bias"] {
            settings.remove(key);
        }
    }
    Ok(config)
}

/// Whether a `config.json` is of a model with this mixer.
pub(super) fn has_mixer(config: &Value, mixer: &str) -> bool {
    config["model_type"] == "goldfish_lab" && config["mixer"] == mixer
}

/// Heads, and the elements of each. Zeros for settings that are damaged, which audits refuse with a reason.
pub(super) fn heads(config: &Value) -> [usize; 2] {
    let setting = |name: &str| config[name].as_u64().unwrap_or_default() as usize;
    let heads = setting("num_attention_heads");
    [heads, setting("hidden_size").checked_div(heads).unwrap_or_default()]
}
