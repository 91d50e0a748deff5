use std::sync::Arc;

use candle_core::Result;

use super::{QUERY_KEY_VALUE, project_out};
use crate::graph::Graph;
use crate::ops::{ScanLinear, SoftmaxFeatures};
use crate::stack::{Mixer, Rows};
use crate::tape::Variable;

/// Linear attention with learned features.
pub(crate) struct Hedgehog {
    pub(crate) heads: usize,
    pub(crate) head_dim: usize,
}

impl Mixer for Hedgehog {
    fn mix(&self, graph: &Graph, layer: &str, x: &Variable, rows: &Rows) -> Result<Variable> {
        let all = graph.project(layer, &QUERY_KEY_VALUE, x)?;
        let weight = |name: &str| graph.weight(&format!("{layer}self_attn.{name}_features.weight"));
        let features = SoftmaxFeatures { heads: self.heads };
        let all = graph.apply(features, &[&all, weight("q")?, weight("k")?])?;
        let sequences = Arc::clone(&rows.sequences);
        let scan = ScanLinear { sequences, heads: self.heads, features: 2 * self.head_dim };
        project_out(graph, layer, &graph.apply(scan, &[&all])?)
    }
}
