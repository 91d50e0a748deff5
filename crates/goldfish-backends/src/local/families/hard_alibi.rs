//! `Hard-ALiBi` ([Jelassi et al. 2024](https://arxiv.org/abs/2402.01032)): some heads see a few positions each, the others all, and nothing else
//! tells positions apart.

use crate::local::config::{DecoderConfig, MAX_WIDTH, Positions};
use crate::local::error::CheckpointError;
use crate::local::family::{BASE, Family, Keys, ModelName};
use crate::local::settings::Settings;

pub(super) static FAMILY: Family = Family {
    name: ModelName::lab("hard-alibi"),
    keys: Keys { kv_heads: None, head_dim: None, attention_bias: None, ..BASE.keys },
    norm_epsilon: 1e-5,
    rotary: None,
    adjust,
    ..BASE
};

fn adjust(settings: &Settings, config: &mut DecoderConfig) -> Result<(), CheckpointError> {
    let key = "num_windowed_heads";
    let windowed = settings.whole(key, MAX_WIDTH)?.ok_or_else(|| settings.wrong(key, "is missing"))?;
    if windowed > config.heads {
        return Err(settings.wrong(key, format!("is {windowed}, which is more than {} heads", config.heads)));
    }
    config.positions = Positions::None;
    config.layers.iter_mut().for_each(|layer| layer.growing_windows = windowed);
    Ok(())
}
