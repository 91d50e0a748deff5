//! What mixes the tokens of a sequence, one file each.

mod aaren;
mod attention;
mod hedgehog;
mod linear;
mod lstm;
mod mamba;

pub(crate) use aaren::Aaren;
pub(crate) use attention::Attention;
pub(crate) use hedgehog::Hedgehog;
pub(crate) use linear::Linear;
pub(crate) use lstm::Lstm;
pub(crate) use mamba::Mamba;

use candle_core::Result;

use crate::graph::Graph;
use crate::tape::Variable;

/// The projections of attention and of what replaces it.
const QUERY_KEY_VALUE: [&str; 3] = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"];

/// The projection of what the heads saw.
fn project_out(graph: &Graph, layer: &str, seen: &Variable) -> Result<Variable> {
    graph.project(layer, &["self_attn.o_proj"], seen)
}
