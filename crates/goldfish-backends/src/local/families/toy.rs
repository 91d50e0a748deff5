//! What a new family takes: this file, and its lines in the list.

use crate::local::config::{BlockLayout, DecoderConfig, TensorNames};
use crate::local::error::CheckpointError;
use crate::local::family::{BASE, Family, Keys, LayerKind, ModelName};
use crate::local::settings::Settings;

pub(super) static FAMILY: Family = Family {
    name: ModelName::of("toy"),
    keys: Keys { hidden_size: &["width"], kv_heads: None, ..BASE.keys },
    layout: BlockLayout::Parallel,
    layer_kinds,
    tensors: TensorNames {
        query_key_value: &["mixer.values_keys_queries"],
        query_key_value_order: Some(reversed),
        norms: ["first", "", "second", ""],
        ..BASE.tensors
    },
    adjust,
    ..BASE
};

fn layer_kinds(_: &Settings, count: usize) -> Result<Vec<LayerKind>, CheckpointError> {
    Ok((0..count).map(|index| LayerKind { rotates: index > 0, slides: false }).collect())
}

/// Stored as values, keys, queries.
fn reversed(config: &DecoderConfig) -> Vec<u32> {
    let width = (config.heads * config.head_dim) as u32;
    (0..3).rev().flat_map(|part| part * width..(part + 1) * width).collect()
}

fn adjust(settings: &Settings, config: &mut DecoderConfig) -> Result<(), CheckpointError> {
    config.logit_softcap = settings.positive("cap")?;
    Ok(())
}

#[test]
fn a_family_of_ones_own_is_read_and_run() {
    use candle_core::{Device, Tensor};
    use std::path::Path;

    use crate::local::attention::Span;
    use crate::local::decoder::{Decoder, Pass};

    let settings = serde_json::json!({
        "model_type": "toy", "vocab_size": 5, "width": 4, "num_attention_heads": 2, "intermediate_size": 6,
        "max_position_embeddings": 8, "num_hidden_layers": 2, "hidden_act": "relu", "cap": 0.25,
    });
    let config = DecoderConfig::from_value(Path::new("config.json"), settings).unwrap();
    assert_eq!((config.heads, config.kv_heads, config.logit_softcap), (2, 2, Some(0.25)));
    assert_eq!(config.layers.iter().map(|layer| layer.rotary).collect::<Vec<_>>(), [None, Some(0)]);
    let mut asked = Vec::new();
    let mut weight = |name: &str, shape: &[usize]| {
        asked.push((name.to_owned(), shape.to_vec()));
        let count = shape.iter().product::<usize>();
        let values = (0..count).map(|index| ((index * 7 + asked.len()) % 11) as f32 / 5.0 - 1.0).collect();
        Tensor::from_vec(values, shape, &Device::Cpu)
    };
    let decoder = Decoder::new::<candle_core::Error>(config, &mut weight).unwrap();
    for (name, shape) in [
        ("model.layers.1.mixer.values_keys_queries.weight", vec![12, 4]),
        ("model.layers.0.second.weight", vec![4]),
    ] {
        assert!(asked.contains(&(name.into(), shape)), "{name}: {asked:?}");
    }
    let pass = Pass {
        tokens: vec![1, 4, 2],
        positions: [0, 1, 2].into(),
        spans: [Span { rows: 0..3, first: 0, path: vec![0, 1, 2] }].into(),
    };
    let logits = decoder.logits(&decoder.hidden(&pass, None).unwrap()).unwrap();
    let logits: Vec<f32> = logits.flatten_all().unwrap().to_vec1().unwrap();
    assert!(logits.iter().all(|logit| logit.abs() <= 0.25) && logits.iter().any(|logit| *logit != 0.0));
}
