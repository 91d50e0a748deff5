//! The weights of a model on a tape.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use candle_core::{Result, Tensor, bail};

use crate::ops::{Join, Multiply, MultiplyBy, Operation};
use crate::parameter::Parameter;
use crate::tape::{Tape, Variable};

/// The weights of a model, to which operations are applied.
pub struct Graph {
    tape: Tape,
    /// What gradients are computed of: one variable a parameter, in their order.
    parameters: Vec<Variable>,
    weights: BTreeMap<String, Variable>,
    /// Names of the weights of [`Graph::project`].
    projected: RefCell<BTreeSet<String>>,
}

impl Graph {
    /// Weights, one tensor a parameter, in their order.
    pub(crate) fn new(tape: Tape, parameters: &[Parameter], weights: &[Tensor]) -> Result<Self> {
        check(parameters, weights)?;
        let variables: Vec<Variable> = weights.iter().map(|weight| tape.variable(weight.clone())).collect();
        let names = parameters.iter().map(|parameter| parameter.name.clone());
        let weights = names.zip(variables.iter().cloned()).collect();
        Ok(Self { tape, parameters: variables, weights, projected: RefCell::default() })
    }

    /// Adds a weight that is computed from the parameters, or constant.
    pub(crate) fn add_weight(&mut self, name: String, weight: Variable) {
        self.weights.insert(name, weight);
    }

    /// The weight of this name.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn weight(&self, name: &str) -> Result<&Variable> {
        match self.weights.get(name) {
            Some(weight) => Ok(weight),
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

    /// The products of rows `[rows, inputs]` with a transposed matrix `[outputs, inputs]`.
    ///
    /// # Errors
    ///
    /// If the inputs of the two differ.
    pub fn multiply(&self, x: &Variable, weight: &Variable) -> Result<Variable> {
        match weight.is_constant() {
            true => self.apply(MultiplyBy(weight.tensor().clone()), &[x]),
            false => self.apply(Multiply, &[x, weight]),
        }
    }

    /// What linear layers without biases compute from the same rows, side by side. Their weights have the names
    /// `{layer}{part}.weight`; these layers can have adapters.
    ///
    /// # Errors
    ///
    /// If there is no such weight, or the inputs differ.
    pub fn project(&self, layer: &str, parts: &[&str], x: &Variable) -> Result<Variable> {
        let names: Vec<String> = parts.iter().map(|part| format!("{layer}{part}.weight")).collect();
        let weights = names.iter().map(|name| self.weight(name)).collect::<Result<Vec<_>>>()?;
        self.projected.borrow_mut().extend(names.iter().cloned());
        match weights.as_slice() {
            [one] => self.multiply(x, one),
            several => self.multiply(x, &self.apply(Join, several)?),
        }
    }

    /// Names of the weights of all layers that were computed by [`Graph::project`].
    pub(crate) fn into_projected(self) -> BTreeSet<String> {
        self.projected.into_inner()
    }

    /// A loss, and its gradient with respect to each parameter, in their order.
    ///
    /// # Errors
    ///
    /// If the loss is no scalar, or doesn't depend on a parameter.
    pub(crate) fn gradients(self, loss: &Variable, parameters: &[Parameter]) -> Result<(f64, Vec<Tensor>)> {
        let value = f64::from(loss.tensor().to_scalar::<f32>()?);
        let found = self.tape.gradients(loss, &self.parameters)?;
        let gradients = parameters.iter().zip(found).map(|(parameter, gradient)| {
            let Some(gradient) = gradient else { bail!("the loss gives no gradient to {}", parameter.name) };
            Ok(gradient)
        });
        Ok((value, gradients.collect::<Result<_>>()?))
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
