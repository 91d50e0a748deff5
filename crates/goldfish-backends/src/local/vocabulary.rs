//! The two ends of a model: embeddings of tokens, and logits of hidden states.

use candle_core::{Device, Result, Tensor, bail};
use rayon::prelude::*;

use super::block::BLOCK;
use super::math::{tanh, vectorized};
use super::precision::{add_rows, bytes};
use super::product::Linear;

/// Logits that a thread has in memory, unless those of [`BLOCK`] rows are more.
const LOGITS: usize = 1 << 22;

/// Embeddings and head.
#[derive(Debug)]
pub(super) struct Vocabulary {
    /// `[size, width]`, in the precision of the checkpoint; if the head is tied, the head alone has them.
    pub(super) embeddings: Option<Tensor>,
    pub(super) head: Linear,
    /// Soft cap of the logits: `cap * tanh(x / cap)`.
    pub(super) softcap: Option<f32>,
    /// Factor of the logits.
    pub(super) scale: Option<f32>,
}

impl Vocabulary {
    /// Number of ids.
    pub(super) fn size(&self) -> usize {
        self.head.outputs()
    }

    /// Width of hidden states.
    pub(super) fn width(&self) -> usize {
        self.head.inputs()
    }

    /// Bytes of embeddings and head in memory.
    pub(super) fn bytes(&self) -> usize {
        self.head.bytes() + self.embeddings.as_ref().map_or(0, bytes)
    }

    /// Fails for a token that is not in the vocabulary.
    pub(super) fn check(&self, tokens: &[u32]) -> Result<()> {
        match tokens.iter().find(|token| **token as usize >= self.size()) {
            Some(token) => bail!("token {token} is not in the vocabulary"),
            None => Ok(()),
        }
    }

    /// Writes embeddings of tokens to `x` `[tokens, width]`, which is 0.
    pub(super) fn embed(&self, tokens: &[u32], x: &mut [f32]) -> Result<()> {
        let Some(table) = &self.embeddings else {
            for (x, token) in x.chunks_exact_mut(self.width()).zip(tokens) {
                self.head.read_output(*token as usize, x);
            }
            return Ok(());
        };
        add_rows(table, tokens, self.width(), x)
    }

    /// Logits `[rows, size]` of hidden states.
    pub(super) fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        let (rows, width) = hidden.dims2()?;
        if width != self.width() {
            bail!("hidden states of {width} for a model of {}", self.width());
        }
        let hidden = hidden.flatten_all()?.to_vec1()?;
        let logits = self.each_logits(&hidden, |_, logits| logits.to_vec());
        Tensor::from_vec(logits.concat(), (rows, self.size()), &Device::Cpu)
    }

    /// Calls `read` with the logits of each of some rows of hidden states, in parallel; `read` is given the row's number.
    pub(super) fn each_logits<R: Send>(
        &self,
        hidden: &[f32],
        read: impl Fn(usize, &[f32]) -> R + Sync,
    ) -> Vec<R> {
        let (width, vocab) = (self.width(), self.size());
        let block = (LOGITS / vocab).clamp(BLOCK, 2 * BLOCK);
        let read = |(row, logits): (usize, &mut [f32])| {
            self.soften(logits);
            read(row, logits)
        };
        if hidden.len() <= block * width {
            let mut logits = vec![0f32; hidden.len() / width * vocab];
            self.head.multiply_shared(hidden, &mut logits);
            return logits.par_chunks_exact_mut(vocab).enumerate().map(read).collect();
        }
        let read: Vec<Vec<R>> = hidden
            .par_chunks(block * width)
            .enumerate()
            .map_init(Vec::new, |logits, (number, hidden)| {
                logits.resize(block * vocab, 0f32);
                let logits = &mut logits[..hidden.len() / width * vocab];
                self.head.multiply(hidden, logits);
                let rows = logits.chunks_exact_mut(vocab).enumerate();
                rows.map(|(row, logits)| read((number * block + row, logits))).collect()
            })
            .collect();
        read.into_iter().flatten().collect()
    }

    fn soften(&self, logits: &mut [f32]) {
        if let Some(scale) = self.scale {
            logits.iter_mut().for_each(|logit| *logit *= scale);
        }
        if let Some(cap) = self.softcap {
            vectorized(
                #[inline(always)]
                || logits.iter_mut().for_each(|logit| *logit = cap * tanh(*logit / cap)),
            );
        }
    }
}
