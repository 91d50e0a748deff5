use std::sync::Arc;

use candle_core::Result;

use crate::graph::Graph;
use crate::ops::{Columns, Convolve, GateBy, ScanSelective};
use crate::stack::{Mixer, Rows};
use crate::tape::Variable;

/// A selective state space after a short convolution, and a gate.
pub(crate) struct Mamba {
    /// Channels.
    pub(crate) inner: usize,
    /// Rank of the time steps.
    pub(crate) rank: usize,
    /// Numbers in the state of a channel.
    pub(crate) states: usize,
}

impl Mixer for Mamba {
    fn mix(&self, graph: &Graph, layer: &str, x: &Variable, rows: &Rows) -> Result<Variable> {
        let Self { inner, rank, states } = *self;
        let weight = |name: &str| graph.weight(&format!("{layer}mixer.{name}"));
        let joined = graph.project(layer, &["mixer.in_proj"], x)?;
        let convolve = Convolve { sequences: Arc::clone(&rows.sequences) };
        let u = graph.apply(Columns(0..inner), &[&joined])?;
        let u = graph.apply(convolve, &[&u, weight("conv1d.weight")?, weight("conv1d.bias")?])?;
        let selected = graph.project(layer, &["mixer.x_proj"], &u)?;
        let low = graph.apply(Columns(0..rank), &[&selected])?;
        let time = graph.project(layer, &["mixer.dt_proj"], &low)?;
        let bc = graph.apply(Columns(rank..rank + 2 * states), &[&selected])?;
        let scan = ScanSelective { sequences: Arc::clone(&rows.sequences) };
        let others = [weight("dt_proj.bias")?, weight("A_log")?, weight("D")?];
        let seen = graph.apply(scan, &[&u, &time, &bc, others[0], others[1], others[2]])?;
        let gate = graph.apply(Columns(inner..2 * inner), &[&joined])?;
        let gated = graph.apply(GateBy, &[&seen, &gate])?;
        graph.project(layer, &["mixer.out_proj"], &gated)
    }
}
