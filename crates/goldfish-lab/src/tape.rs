//! Operations in the order in which they were applied, for the gradients of what they computed.

use std::cell::{Cell, RefCell};

use candle_core::{Device, Result, Tensor, bail};

use crate::ops::{Add, Operation};

/// A tensor on a [`Tape`].
#[derive(Debug, Clone)]
pub struct Variable {
    tensor: Tensor,
    /// `None` for a constant: no gradient is computed for it.
    number: Option<usize>,
}

impl Variable {
    /// Its value.
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// Whether no gradient is computed for it.
    pub(crate) fn is_constant(&self) -> bool {
        self.number.is_none()
    }
}

/// Operations in the order in which they were applied.
#[derive(Default)]
pub struct Tape {
    steps: RefCell<Vec<Step>>,
    variables: Cell<usize>,
    forgets: bool,
}

struct Step {
    operation: Box<dyn Operation>,
    inputs: Vec<Variable>,
    output: Variable,
}

impl Tape {
    /// A tape on which all is constant, and which keeps nothing: for values without gradients.
    pub(crate) fn without_gradients() -> Self {
        Self { forgets: true, ..Self::default() }
    }

    /// A value that no operation computed.
    pub fn variable(&self, tensor: Tensor) -> Variable {
        if self.forgets {
            return Self::constant(tensor);
        }
        let number = self.variables.get();
        self.variables.set(number + 1);
        Variable { tensor, number: Some(number) }
    }

    /// A value that gets no gradient.
    #[must_use]
    pub fn constant(tensor: Tensor) -> Variable {
        Variable { tensor, number: None }
    }

    /// Applies an operation. What is computed from constants alone is constant.
    ///
    /// # Errors
    ///
    /// Those of [`Operation::forward`].
    pub fn apply(&self, operation: impl Operation + 'static, inputs: &[&Variable]) -> Result<Variable> {
        let tensors: Vec<&Tensor> = inputs.iter().map(|input| &input.tensor).collect();
        let output = operation.forward(&tensors)?;
        if inputs.iter().all(|input| input.is_constant()) {
            return Ok(Self::constant(output));
        }
        let output = self.variable(output);
        let inputs = inputs.iter().map(|input| (*input).clone()).collect();
        let step = Step { operation: Box::new(operation), inputs, output: output.clone() };
        self.steps.borrow_mut().push(step);
        Ok(output)
    }

    /// The gradient of a scalar with respect to some variables; `None` for those that it doesn't depend on.
    pub(crate) fn gradients(self, of: &Variable, by: &[Variable]) -> Result<Vec<Option<Tensor>>> {
        let mut found: Vec<Option<Tensor>> = vec![None; self.variables.get()];
        if let Some(number) = of.number {
            found[number] = Some(Tensor::ones(of.tensor.shape(), of.tensor.dtype(), &Device::Cpu)?);
        }
        // Popped, so that intermediate results are dropped as soon as nothing needs them.
        let mut steps = self.steps.into_inner();
        while let Some(Step { operation, inputs, output }) = steps.pop() {
            let Some(gradient) = output.number.and_then(|number| found[number].take()) else { continue };
            let tensors: Vec<&Tensor> = inputs.iter().map(|input| &input.tensor).collect();
            let gradients = operation.backward(&tensors, &output.tensor, &gradient)?;
            if gradients.len() != inputs.len() {
                bail!("{} gradients for {} inputs", gradients.len(), inputs.len());
            }
            for (input, gradient) in inputs.iter().zip(gradients) {
                let Some(number) = input.number else { continue };
                let entry = &mut found[number];
                *entry = Some(match entry.take() {
                    Some(other) => Add.forward(&[&other, &gradient])?,
                    None => gradient,
                });
            }
        }
        Ok(by.iter().map(|variable| variable.number.and_then(|number| found[number].take())).collect())
    }
}
