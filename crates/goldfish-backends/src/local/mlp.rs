//! The MLP of a layer, or of an expert.

use super::block::product;
use super::config::Activation;
use super::ops::activate;
use super::product::Linear;

/// Two linear layers and an activation between them.
#[derive(Debug)]
pub(super) struct Mlp {
    /// Outputs: the gate first, if it is gated.
    pub(super) up: Linear,
    pub(super) down: Linear,
    pub(super) gated: bool,
    pub(super) activation: Activation,
}

/// Buffers of a thread.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    up: Vec<f32>,
    activated: Vec<f32>,
}

impl Mlp {
    /// Writes what it makes of a block of rows to `out`; `few` as in [`product`].
    pub(super) fn apply(&self, x: &[f32], few: bool, out: &mut Vec<f32>, scratch: &mut Scratch) {
        let (rows, width) = (x.len() / self.up.inputs(), self.up.outputs());
        let Scratch { up, activated } = scratch;
        up.resize(rows * width, 0.0);
        product(&self.up, x, up, few);
        activated.resize(rows * self.down.inputs(), 0.0);
        activate(self.activation, self.gated, width, up, activated);
        out.resize(rows * self.down.outputs(), 0.0);
        product(&self.down, activated, out, few);
    }

    /// Bytes of the weights.
    pub(super) fn bytes(&self) -> usize {
        self.up.bytes() + self.down.bytes()
    }
}
