//! Operations on tensors `[rows, width]` with their gradients.
//!
//! A row is computed by one thread, and sums over rows are taken in blocks that don't depend on the threads: their number
//! changes no bit.

mod aaren;
mod add;
mod as_row;
mod attention;
mod columns;
mod gate;
mod gate_by;
mod hedgehog;
mod linear_attention;
mod loss;
mod low_rank;
mod lstm;
mod multiply;
mod normalize;
mod operation;
mod preference;
mod rotate;
mod rows;
mod select;
mod selective;
mod sequences;
mod tiles;

pub(crate) use aaren::ScanSoftmax;
pub(crate) use add::Add;
pub(crate) use as_row::AsRow;
pub(crate) use attention::Attend;
pub(crate) use columns::Columns;
pub(crate) use gate::Gate;
pub(crate) use gate_by::GateBy;
pub(crate) use hedgehog::SoftmaxFeatures;
pub(crate) use linear_attention::{EluFeatures, ScanLinear};
pub(crate) use loss::{CrossEntropy, LogProbs};
pub(crate) use low_rank::AddLowRank;
pub(crate) use lstm::Recur;
pub(crate) use multiply::{Join, Multiply, MultiplyBy};
pub(crate) use normalize::Normalize;
pub use operation::Operation;
pub(crate) use preference::{Pair, Preference};
pub(crate) use rotate::{Angles, Rotate};
pub(crate) use select::Select;
pub(crate) use selective::{Convolve, ScanSelective};
pub(crate) use sequences::Sequence;
