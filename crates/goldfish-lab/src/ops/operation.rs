use candle_core::{Result, Tensor};

/// An operation on tensors in memory, with the gradients of its inputs.
pub trait Operation {
    /// Computes the output.
    ///
    /// # Errors
    ///
    /// If the inputs don't have the shapes that the operation takes.
    fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor>;

    /// From the gradient of the output to that of each input, in their order and with their shapes.
    ///
    /// # Errors
    ///
    /// Those of [`Operation::forward`].
    fn backward(&self, inputs: &[&Tensor], output: &Tensor, gradient: &Tensor) -> Result<Vec<Tensor>>;
}
