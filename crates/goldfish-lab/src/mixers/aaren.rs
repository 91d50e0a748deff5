use std::sync::Arc;

use candle_core::Result;

use super::project_out;
use crate::graph::Graph;
use crate::ops::{AsRow, ScanSoftmax};
use crate::stack::{Mixer, Rows};
use crate::tape::Variable;

/// Attention of one learned query, the same at all positions.
pub(crate) struct Aaren {
    pub(crate) heads: usize,
}

impl Mixer for Aaren {
    fn mix(&self, graph: &Graph, layer: &str, x: &Variable, rows: &Rows) -> Result<Variable> {
        let query = graph.apply(AsRow, &[graph.weight(&format!("{layer}self_attn.query"))?])?;
        let query = graph.project(layer, &["self_attn.q_proj"], &query)?;
        let keys_values = graph.project(layer, &["self_attn.k_proj", "self_attn.v_proj"], x)?;
        let scan = ScanSoftmax { sequences: Arc::clone(&rows.sequences), heads: self.heads };
        project_out(graph, layer, &graph.apply(scan, &[&keys_values, &query])?)
    }
}
