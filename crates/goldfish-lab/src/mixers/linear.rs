use std::sync::Arc;

use candle_core::Result;

use super::{QUERY_KEY_VALUE, project_out};
use crate::graph::Graph;
use crate::ops::{EluFeatures, ScanLinear};
use crate::stack::{Mixer, Rows};
use crate::tape::Variable;

/// Linear attention with `elu + 1` as features.
pub(crate) struct Linear {
    pub(crate) heads: usize,
    pub(crate) head_dim: usize,
}

impl Mixer for Linear {
    fn mix(&self, graph: &Graph, layer: &str, x: &Variable, rows: &Rows) -> Result<Variable> {
        let all = graph.project(layer, &QUERY_KEY_VALUE, x)?;
        let all = graph.apply(EluFeatures, &[&all])?;
        let sequences = Arc::clone(&rows.sequences);
        let scan = ScanLinear { sequences, heads: self.heads, features: self.head_dim };
        project_out(graph, layer, &graph.apply(scan, &[&all])?)
    }
}
