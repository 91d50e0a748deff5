//! The weights of a model on a tape.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, bail};

use crate::ops::Operation;
use crate::parameter::Parameter;
use crate::tape::{Tape, Variable};

/// The weights of a model, to which operations are applied.
pub struct Graph {
    tape: Tape,
    /// In the order of the parameters.
    weights: Vec<Variable>,
    numbers: BTreeMap<String, usize>,
}

impl Graph {
    /// Weights, one tensor a parameter, in their order.
    pub(crate) fn new(tape: Tape, parameters: &[Parameter], weights: &[Tensor]) -> Result<Self> {
        check(parameters, weights)?;
        let numbers = parameters.iter().enumerate().map(|(number, p)| (p.name.clone(), number)).collect();
        let weights = weights.iter().map(|weight| tape.variable(weight.clone())).collect();
        Ok(Self { tape, weights, numbers })
    }

    /// The weight of this name.
    ///
    /// # Errors
    ///
    /// If no parameter has it.
    pub fn weight(&self, name: &str) -> Result<&Variable> {
        match self.numbers.get(name) {
            Some(number) => Ok(&self.weights[*number]),
            None => bail!("there is no weight {name}"),
        }
    }

    /// Applies an operation.
    ///
    /// # Errors
    ///
    /// Those of [`Operation::forward`].
    pub fn apply(&self, operation: impl Operation + 'static, inputs: &[&Variable]) -> Result<Variable> {
        self.tape.apply(operation, inputs)
    }

    /// The gradient of a scalar with respect to each weight, in the order of the parameters.
    pub(crate) fn gradients(self, of: &Variable) -> Result<Vec<Option<Tensor>>> {
        self.tape.gradients(of, &self.weights)
    }
}

/// Checks that there is one tensor a parameter, of its shape.
pub(crate) fn check(parameters: &[Parameter], weights: &[Tensor]) -> Result<()> {
    if parameters.len() != weights.len() {
        bail!("{} weights for {} parameters", weights.len(), parameters.len());
    }
    let mut named = parameters.iter().zip(weights);
    if let Some((parameter, weight)) = named.find(|(p, weight)| weight.dims() != p.shape) {
        bail!("{} has shape {:?}, not {:?}", parameter.name, weight.dims(), parameter.shape);
    }
    Ok(())
}
