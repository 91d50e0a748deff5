//! Operations on tensors `[rows, width]` with their gradients.
//!
//! A row is computed by one thread, and sums over rows are taken in blocks that don't depend on the threads: their number
//! changes no bit.

mod add;
mod attention;
mod gate;
mod loss;
mod multiply;
mod normalize;
mod operation;
mod rotate;
mod rows;
mod select;

pub(crate) use add::Add;
pub(crate) use attention::{Attend, Sequence};
pub(crate) use gate::Gate;
pub(crate) use loss::CrossEntropy;
pub(crate) use multiply::{Join, Multiply};
pub(crate) use normalize::Normalize;
pub use operation::Operation;
pub(crate) use rotate::{Angles, Rotate};
pub(crate) use select::Select;
