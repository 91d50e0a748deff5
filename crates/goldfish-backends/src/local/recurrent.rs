//! One recurrent network for all families: its memory of a sequence is a state of constant size.

use std::ops::Range;

use candle_core::{Device, Result, Tensor, bail};
use rayon::prelude::*;

use super::block::{BLOCK, few, normalized};
use super::mixer::{Mixer, Reading};
use super::mlp::{self, Mlp};
use super::ops::{Norm, add};
use super::precision::{elements, joined};
use super::product::Linear;
use super::recurrent_family::RecurrentConfig;
use super::vocabulary::Vocabulary;
use super::walk::Stateful;
use super::weights::GetTensor;

/// What a network keeps of a sequence.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// The states of all layers, one after the other.
    values: Vec<f32>,
}

impl State {
    /// Its bytes, whatever the length of the sequence.
    pub fn bytes(&self) -> usize {
        self.values.len() * size_of::<f32>()
    }
}

/// A recurrent network with its weights.
#[derive(Debug)]
pub struct Recurrent {
    config: RecurrentConfig,
    vocabulary: Vocabulary,
    layers: Vec<Layer>,
    final_norm: Norm,
    beginning: State,
}

#[derive(Debug)]
struct Layer {
    norm: Norm,
    mixer: Box<dyn Mixer>,
    mlp: Option<(Norm, Mlp)>,
    /// Where its state is among those of all layers.
    state: Range<usize>,
}

impl Recurrent {
    /// A network with weights that `get` returns by name and shape.
    ///
    /// # Errors
    ///
    /// Those of `get`.
    pub fn new<E: From<candle_core::Error>>(
        config: RecurrentConfig,
        get: &mut GetTensor<'_, E>,
    ) -> std::result::Result<Self, E> {
        let (vocab, hidden, names) = (config.vocab_size, config.hidden_size, config.tensors);
        let mut weight = |name: &str, shape: &[usize]| get(&format!("{name}.weight"), shape);
        let embeddings = weight(names.embeddings, &[vocab, hidden])?;
        let vocabulary = if config.tied {
            Vocabulary {
                embeddings: None,
                head: Linear::new(&embeddings.t()?, None)?,
                softcap: None,
                scale: None,
            }
        } else {
            let head = Linear::new(&weight(names.head, &[vocab, hidden])?.t()?, None)?;
            Vocabulary { embeddings: Some(embeddings), head, softcap: None, scale: None }
        };
        let final_norm = norm(&weight(names.final_norm, &[hidden])?, &config)?;
        let mut layers = Vec::with_capacity(config.layers);
        let mut beginning = Vec::new();
        for index in 0..config.layers {
            let layer = format!("{}.{index}", names.layers);
            let tensors = config.mixer.tensors().into_iter();
            let tensors = tensors.map(|(name, shape)| get(&format!("{layer}.{name}"), &shape));
            let mixer = config.mixer.build(&tensors.collect::<std::result::Result<Vec<_>, E>>()?)?;
            let start = beginning.len();
            beginning.resize(start + mixer.state_size(), 0.0);
            mixer.begin(&mut beginning[start..]);
            let mut weight = |name: &str, shape: &[usize]| get(&format!("{layer}.{name}.weight"), shape);
            let before_mixer = norm(&weight(names.norms[0], &[hidden])?, &config)?;
            let mlp = match config.intermediate_size {
                None => None,
                Some(width) => {
                    let up = names.up.iter().map(|name| weight(name, &[width, hidden]));
                    let up = joined(&up.collect::<std::result::Result<Vec<_>, E>>()?)?;
                    let mlp = Mlp {
                        up: Linear::new(&up.t()?, None)?,
                        down: Linear::new(&weight(names.down, &[hidden, width])?.t()?, None)?,
                        gated: true,
                        activation: config.activation,
                    };
                    Some((norm(&weight(names.norms[2], &[hidden])?, &config)?, mlp))
                }
            };
            layers.push(Layer { norm: before_mixer, mixer, mlp, state: start..beginning.len() });
        }
        Ok(Self { config, vocabulary, layers, final_norm, beginning: State { values: beginning } })
    }

    /// Its structure.
    pub fn config(&self) -> &RecurrentConfig {
        &self.config
    }

    /// The state before the first token.
    pub fn state(&self) -> State {
        self.beginning.clone()
    }

    /// Bytes of a state.
    pub(super) fn state_bytes(&self) -> usize {
        self.beginning.bytes()
    }

    /// Reads one token for each of several sequences. Returns the hidden states of these tokens after the last norm, `[tokens, hidden_size]`.
    ///
    /// # Errors
    ///
    /// If a token is not in the vocabulary, there are not as many states, or one is of another network.
    pub fn step(&self, states: &mut [State], tokens: &[u32]) -> Result<Tensor> {
        let mut all: Vec<&mut State> = states.iter_mut().collect();
        let hidden = self.advance(&mut all, &vec![1; tokens.len()], tokens)?;
        Tensor::from_vec(hidden, (tokens.len(), self.config.hidden_size), &Device::Cpu)
    }

    /// Logits `[rows, vocab_size]` of hidden states.
    ///
    /// # Errors
    ///
    /// If they have another width than the network.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.vocabulary.logits(hidden)
    }

    /// Normalizes rows, block by block.
    fn normalize(&self, norm: &Norm, mut x: Vec<f32>) -> Vec<f32> {
        x.par_chunks_mut(BLOCK * self.config.hidden_size).for_each(|x| norm.apply(x));
        x
    }
}

impl Stateful for Recurrent {
    type State = State;

    fn beginning(&self) -> State {
        self.state()
    }

    fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    fn advance(&self, states: &mut [&mut State], counts: &[usize], tokens: &[u32]) -> Result<Vec<f32>> {
        self.vocabulary.check(tokens)?;
        let size = self.beginning.values.len();
        let fits = states.len() == counts.len()
            && counts.iter().sum::<usize>() == tokens.len()
            && states.iter().all(|state| state.values.len() == size);
        if !fits {
            bail!("{} states don't fit {} tokens", states.len(), tokens.len());
        }
        let mut x = vec![0f32; tokens.len() * self.config.hidden_size];
        self.vocabulary.embed(tokens, &mut x)?;
        for layer in &self.layers {
            let mut readings = Vec::with_capacity(states.len());
            let mut row = 0;
            for (state, count) in states.iter_mut().zip(counts) {
                let state = &mut state.values[layer.state.clone()];
                readings.push(Reading { rows: row..row + count, state });
                row += count;
            }
            let mixed = layer.mixer.mix(&self.normalize(&layer.norm, x.clone()), &mut readings);
            add(&mut x, &mixed);
            if let Some((norm, mlp)) = &layer.mlp {
                add_mlp(norm, mlp, &mut x);
            }
        }
        Ok(self.normalize(&self.final_norm, x))
    }
}

fn norm(weight: &Tensor, config: &RecurrentConfig) -> Result<Norm> {
    let weight = elements(weight)?;
    Ok(Norm { width: weight.len(), weight, bias: None, epsilon: config.norm_epsilon as f32, centered: false })
}

/// Adds what an MLP makes of rows after a norm to them.
fn add_mlp(norm: &Norm, mlp: &Mlp, x: &mut [f32]) {
    let hidden = mlp.up.inputs();
    let few = few(x.len() / hidden);
    let scratch = || (Vec::new(), Vec::new(), mlp::Scratch::default());
    x.par_chunks_mut(BLOCK * hidden).for_each_init(scratch, |(normed, made, scratch), x| {
        mlp.apply(normalized(norm, x, normed), few, made, scratch);
        add(x, made);
    });
}
