use std::sync::Arc;

use candle_core::Result;

use super::{QUERY_KEY_VALUE, project_out};
use crate::graph::Graph;
use crate::ops::{Angles, Attend, Rotate};
use crate::stack::{Mixer, Rows};
use crate::tape::Variable;

/// Softmax attention, with rotated queries and keys or without positions.
pub(crate) struct Attention {
    pub(crate) rotation: Option<Arc<Angles>>,
    pub(crate) head_dim: usize,
    pub(crate) kv_heads: usize,
    pub(crate) scale: f32,
    /// How many positions each head sees at most.
    pub(crate) windows: Arc<[usize]>,
}

impl Mixer for Attention {
    fn mix(&self, graph: &Graph, layer: &str, x: &Variable, rows: &Rows) -> Result<Variable> {
        let mut all = graph.project(layer, &QUERY_KEY_VALUE, x)?;
        if let Some(angles) = &self.rotation {
            let rotate = Rotate {
                angles: Arc::clone(angles),
                positions: Arc::clone(&rows.positions),
                head_dim: self.head_dim,
                columns: (self.windows.len() + self.kv_heads) * self.head_dim,
            };
            all = graph.apply(rotate, &[&all])?;
        }
        let attend = Attend {
            sequences: Arc::clone(&rows.sequences),
            kv_heads: self.kv_heads,
            scale: self.scale,
            windows: Arc::clone(&self.windows),
        };
        project_out(graph, layer, &graph.apply(attend, &[&all])?)
    }
}
