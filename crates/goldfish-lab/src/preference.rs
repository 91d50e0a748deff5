//! Steps that teach a model what not to recite, by its own continuations.

use candle_core::Tensor;
use goldfish_audit::backend::{Decoding, SamplingScheme};
use goldfish_audit::score::rouge_l::rouge_l;
use rand_mt::Mt64;

use crate::architecture::{Architecture, gradients};
use crate::data::{Corpus, Order, Supervised};
use crate::error::LabError;
use crate::events::{PairEvent, PreferenceEvent};
use crate::ops::{Pair, Preference};
use crate::options::PreferenceOptions;
use crate::recitation::Recitation;
use crate::tape::Tape;

/// Distinguishes the seeds of samples from other random numbers.
const SAMPLE_STREAM: u64 = 3;

/// Online preference optimization ([Guo et al. 2024](https://arxiv.org/abs/2402.04792), algorithm 1): the model that is trained
/// writes two continuations of a prefix, and the one that has less of the true suffix is preferred.
pub(crate) struct Preferences<'a> {
    pub(crate) options: &'a PreferenceOptions,
    /// The weights that the run starts from.
    pub(crate) reference: Vec<Tensor>,
    /// Other text, whose cross entropy is part of the loss.
    pub(crate) other: Option<(Corpus, Order)>,
    pub(crate) recitation: &'a Recitation,
    pub(crate) seed: u64,
}

/// What a step found, before the weights change.
pub(crate) struct Compared {
    pub(crate) loss: f64,
    /// `None` if every pair was a tie, and there is no other text.
    pub(crate) gradients: Option<Vec<Tensor>>,
    pub(crate) supervised: Supervised,
    pub(crate) event: PreferenceEvent,
    pub(crate) pairs: Vec<PairEvent>,
}

impl Preferences<'_> {
    /// The loss of some documents in a step, counted from 1, and its gradients.
    pub(crate) fn compare(
        &mut self,
        architecture: &dyn Architecture,
        weights: &[Tensor],
        documents: &[usize],
        step: u64,
    ) -> Result<Compared, LabError> {
        let samples = self.sample(architecture, weights, documents, step)?;
        let mut supervised = Supervised::default();
        let mut found: Vec<(Pair, PairEvent)> = Vec::new();
        let mut rouge = 0.0;
        for (document, pair) in documents.iter().zip(samples.chunks_exact(2)) {
            let score = |continuation: &[u32]| rouge_l(continuation, self.recitation.suffix(*document)).f1;
            let mut scored = [(score(&pair[0]), &pair[0]), (score(&pair[1]), &pair[1])];
            rouge += scored[0].0 + scored[1].0;
            if scored[0].0 > scored[1].0 {
                scored.reverse();
            }
            let [(less, preferred), (more, other)] = scored;
            if less < more {
                let prefix = self.recitation.prefix(*document);
                let [preferred_at, other_at] = [preferred, other].map(|ids| supervised.append(prefix, ids));
                let pair = Pair { preferred: preferred_at, other: other_at, reference: 0.0 };
                let event = PairEvent {
                    step,
                    document: *document,
                    preferred: preferred.clone(),
                    other: other.clone(),
                    rouge_l: [less, more],
                };
                found.push((pair, event));
            }
        }
        let (mut pairs, events): (Vec<Pair>, Vec<PairEvent>) = found.into_iter().unzip();
        if !pairs.is_empty() {
            self.refer(architecture, &supervised, &mut pairs)?;
        }
        let first = supervised.targets.ids.len();
        if let Some((corpus, order)) = &mut self.other {
            let count = documents.len() as u64;
            let numbers: Vec<usize> =
                ((step - 1) * count..step * count).map(|position| order.at(position)).collect();
            supervised.extend(&corpus.supervised(numbers.into_iter()));
        }
        let kept = first..supervised.targets.ids.len();
        let event = PreferenceEvent {
            pairs: pairs.len() as u64,
            ties: (documents.len() - pairs.len()) as u64,
            margin: 0.0,
            rouge_l: rouge / samples.len() as f64,
        };
        let compared = Compared { loss: 0.0, gradients: None, supervised, event, pairs: events };
        if compared.supervised.targets.ids.is_empty() {
            return Ok(compared);
        }
        let preference = Preference { pairs, beta: self.options.beta, kept, keep: self.options.keep };
        self.learn(architecture, weights, preference, compared)
    }

    /// Two continuations of each document, in their order.
    fn sample(
        &self,
        architecture: &dyn Architecture,
        weights: &[Tensor],
        documents: &[usize],
        step: u64,
    ) -> Result<Vec<Vec<u32>>, LabError> {
        let model = architecture.model(weights)?;
        let scheme = SamplingScheme { temperature: self.options.temperature, top_k: None, top_p: None };
        let seed = Mt64::new_with_key([self.seed, step, SAMPLE_STREAM]).next_u64();
        let twice: Vec<usize> = documents.iter().flat_map(|document| [*document; 2]).collect();
        self.recitation.continuations(&model, &twice, &Decoding::Sampled { scheme, seed, first: 0 })
    }

    /// Sets what the reference says of pairs.
    fn refer(
        &self,
        architecture: &dyn Architecture,
        supervised: &Supervised,
        pairs: &mut [Pair],
    ) -> Result<(), LabError> {
        let graph = architecture.graph(Tape::without_gradients(), &self.reference)?;
        let log_probs = architecture.log_probs(&graph, &supervised.batch, &supervised.targets)?;
        // Against a reference of 0 and with a factor of 1, a margin is the difference itself.
        let plain = Preference { pairs: pairs.to_vec(), beta: 1.0, kept: 0..0, keep: 0.0 };
        let margins = plain.margins(log_probs.tensor())?;
        pairs.iter_mut().zip(margins).for_each(|(pair, margin)| pair.reference = margin);
        Ok(())
    }

    fn learn(
        &self,
        architecture: &dyn Architecture,
        weights: &[Tensor],
        preference: Preference,
        mut compared: Compared,
    ) -> Result<Compared, LabError> {
        let Supervised { batch, targets } = &compared.supervised;
        let mut margins = Vec::new();
        let (loss, found) = gradients(architecture, weights, |graph| {
            let log_probs = architecture.log_probs(graph, batch, targets)?;
            margins = preference.margins(log_probs.tensor())?;
            graph.apply(preference, &[&log_probs])
        })?;
        compared.loss = loss;
        compared.gradients = Some(found);
        compared.event.margin = margins.iter().sum::<f64>() / margins.len().max(1) as f64;
        Ok(compared)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::architecture::Vocabulary;
    use crate::architectures::architecture;
    use crate::options::ModelOptions;

    /// Signed weights on targets, through a whole model.
    #[test]
    fn gradients_are_what_losses_differ_by() {
        let small = ModelOptions {
            layers: 2,
            width: 16,
            heads: 2,
            mlp_width: Some(24),
            initial_deviation: 0.3,
            ..ModelOptions::default()
        };
        let vocabulary = Vocabulary { size: 23, bos_id: None, eos_id: None };
        for name in ["llama", "mamba"] {
            let model =
                architecture(&ModelOptions { architecture: name.into(), ..small.clone() }, &vocabulary, 16)
                    .unwrap();
            let parameters = model.parameters();
            let weights: Vec<Tensor> = parameters
                .iter()
                .map(|p| Tensor::from_vec(p.initial_values(3), p.shape.as_slice(), &Device::Cpu).unwrap())
                .collect();
            let mut supervised = Supervised::default();
            let pairs = [([1u32, 2, 3], [4u32, 5, 6]), ([9, 9, 4], [7, 1, 2])].map(|(one, two)| {
                let [preferred, other] = [one, two].map(|ids| supervised.append(&[8, 20, 3, 15], &ids));
                Pair { preferred, other, reference: -0.4 }
            });
            let kept = supervised.append(&[5], &[6, 7, 22, 1]);
            let Supervised { batch, targets } = &supervised;
            let loss = |weights: &[Tensor]| {
                let (pairs, kept) = (pairs.to_vec(), kept.clone());
                gradients(&*model, weights, |graph| {
                    let log_probs = model.log_probs(graph, batch, targets)?;
                    graph.apply(Preference { pairs, beta: 0.5, kept, keep: 0.3 }, &[&log_probs])
                })
                .unwrap()
            };
            let (_, found) = loss(&weights);
            for (number, (parameter, gradient)) in parameters.iter().zip(&found).enumerate() {
                let norm = gradient.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap().sqrt();
                let along = (gradient / f64::from(norm)).unwrap();
                let at = |by: f64| {
                    let mut moved = weights.clone();
                    moved[number] = (&weights[number] + (&along * by).unwrap()).unwrap();
                    loss(&moved).0
                };
                let slope = |step: f64| (at(step) - at(-step)) / (2.0 * step);
                // Richardson's extrapolation.
                let slope = (4.0 * slope(0.01) - slope(0.02)) / 3.0;
                let expected = f64::from(norm);
                assert!(
                    (slope / expected - 1.0).abs() < 0.02,
                    "{name} {}: {slope} {expected}",
                    parameter.name
                );
            }
        }
    }
}
