//! What follows attention in a layer: an MLP, or several of which each token takes a few.

use super::experts::Experts;
use super::mlp::Mlp;

/// What follows attention in a layer.
#[derive(Debug)]
pub(super) enum FeedForward {
    Mlp(Mlp),
    Experts(Experts),
}

impl FeedForward {
    /// Bytes of the weights.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Mlp(mlp) => mlp.bytes(),
            Self::Experts(experts) => experts.bytes(),
        }
    }
}
