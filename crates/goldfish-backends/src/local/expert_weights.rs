//! The tensors of experts.

use candle_core::{Device, Tensor};

use super::config::{ExpertsConfig, StoredExperts, Weighting};
use super::experts::Experts;
use super::experts_config::APART;
use super::mlp::Mlp;
use super::precision::elements;
use super::product::Linear;
use super::weights::Loader;

impl<E: From<candle_core::Error>> Loader<'_, '_, E> {
    /// The experts of a layer, one after the other.
    pub(super) fn experts(&mut self, layer: &str, config: &ExpertsConfig) -> Result<Experts, E> {
        let names = config.tensors;
        let router = [(format!("{layer}.{}", names.router), config.count)];
        let biases = names.stored == StoredExperts::Alternating;
        let correction = match config.weighting {
            Weighting::Logistic(_) => {
                let name = format!("{layer}.{}.{}", names.router, names.correction);
                elements(&(self.get)(&name, &[config.count])?)?
            }
            _ => Vec::new(),
        };
        let shared = config
            .shared_size
            .map(|width| self.mlp(&format!("{layer}.{}", names.shared), APART.up, APART.down, width));
        Ok(Experts {
            shared: shared.transpose()?,
            correction,
            router: self.linear(&router, self.config.hidden_size, biases)?,
            experts: match names.stored {
                StoredExperts::Apart(each) => (0..config.count)
                    .map(|expert| {
                        let expert = format!("{layer}.{each}.{expert}");
                        self.mlp(&expert, names.up, names.down, config.intermediate_size)
                    })
                    .collect::<Result<_, E>>()?,
                StoredExperts::Joined => self.joined(layer, config)?,
                StoredExperts::Transposed => self.transposed(layer, config)?,
                StoredExperts::Alternating => self.alternating(layer, config)?,
            },
            taken: config.taken,
            weighting: config.weighting,
        })
    }

    fn joined(&mut self, layer: &str, config: &ExpertsConfig) -> Result<Vec<Mlp>, E> {
        let (count, hidden, width) = (config.count, self.config.hidden_size, config.intermediate_size);
        let name = |name: &str| format!("{layer}.{name}.weight");
        let up = (self.get)(&name(config.tensors.up[0]), &[count, 2 * width, hidden])?;
        let down = (self.get)(&name(config.tensors.down), &[count, hidden, width])?;
        let linear = |all: &Tensor, expert: usize| Linear::new(&all.get(expert)?.t()?, None);
        let expert = |number| Ok(self.expert(linear(&up, number)?, linear(&down, number)?));
        (0..count).map(expert).collect()
    }

    fn transposed(&mut self, layer: &str, config: &ExpertsConfig) -> Result<Vec<Mlp>, E> {
        let (count, hidden, width) = (config.count, self.config.hidden_size, config.intermediate_size);
        let name = |name: &str| format!("{layer}.{name}");
        let up = (self.get)(&name(config.tensors.up[0]), &[count, hidden, 2 * width])?;
        let down = (self.get)(&name(config.tensors.down), &[count, width, hidden])?;
        let linear = |all: &Tensor, expert: usize| Linear::new(&all.get(expert)?, None);
        let expert = |number| Ok(self.expert(linear(&up, number)?, linear(&down, number)?));
        (0..count).map(expert).collect()
    }

    fn alternating(&mut self, layer: &str, config: &ExpertsConfig) -> Result<Vec<Mlp>, E> {
        let (count, hidden, width) = (config.count, self.config.hidden_size, config.intermediate_size);
        let mut both = |name: &str, inputs: usize, outputs: usize| -> Result<(Tensor, Tensor), E> {
            let weight = (self.get)(&format!("{layer}.{name}"), &[count, inputs, outputs])?;
            Ok((weight, (self.get)(&format!("{layer}.{name}_bias"), &[count, outputs])?))
        };
        let (up, up_bias) = both(config.tensors.up[0], hidden, 2 * width)?;
        let (down, down_bias) = both(config.tensors.down, width, hidden)?;
        let gate_first = (0..2).flat_map(|part| (0..width as u32).map(move |output| 2 * output + part));
        let order = Tensor::new(gate_first.collect::<Vec<u32>>(), &Device::Cpu)?;
        let expert = |number: usize| {
            let bias = up_bias.get(number)?.index_select(&order, 0)?;
            let up = Linear::new(&up.get(number)?.contiguous()?.index_select(&order, 1)?, Some(&bias))?;
            let down = Linear::new(&down.get(number)?, Some(&down_bias.get(number)?))?;
            Ok(self.expert(up, down))
        };
        (0..count).map(expert).collect()
    }

    fn expert(&self, up: Linear, down: Linear) -> Mlp {
        Mlp { up, down, gated: self.config.gated, activation: self.config.activation }
    }
}
