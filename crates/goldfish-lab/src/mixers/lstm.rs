use candle_core::Result;

use crate::graph::Graph;
use crate::ops::Recur;
use crate::stack::{Mixer, Rows};
use crate::tape::Variable;

/// A layer of `torch.nn.LSTM`.
pub(crate) struct Lstm;

impl Mixer for Lstm {
    fn mix(&self, graph: &Graph, layer: &str, x: &Variable, rows: &Rows) -> Result<Variable> {
        let weight = |name: &str| graph.weight(&format!("{layer}lstm.{name}_l0"));
        let gates = graph.multiply(x, weight("weight_ih")?)?;
        let others = [weight("weight_hh")?, weight("bias_ih")?, weight("bias_hh")?];
        graph.apply(Recur::new(&rows.sequences), &[&gates, others[0], others[1], others[2]])
    }
}
