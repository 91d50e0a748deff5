//! Scores and continuations of a network that reads a sequence token by token into a state.
//!
//! Sorted sequences are walked as a tree: a common prefix is computed once, and the state is cloned where sequences part. A state
//! is kept for each branch and none for the tokens before: memory grows with the length only if a state does.

use std::ops::Range;

use candle_core::Result;
use goldfish_audit::backend::{Decoding, GenerateRequest, ScoreRequest, Scored, Wants};

use super::cached::PASS_ROWS;
use super::continuing::{Sequences, continue_all};
use super::scores::{Asked, append_scores, rows_of, unanswered};
use super::vocabulary::Vocabulary;

/// A network with a state for each sequence.
pub(super) trait Stateful: Sync {
    /// What it keeps of a sequence.
    type State: Clone + Default;

    /// The state before the first token.
    fn beginning(&self) -> Self::State;

    /// Reads `counts` consecutive tokens for each of several sequences, one sequence after the other, as single steps would. Returns the
    /// hidden states of these tokens after the last norm, `[tokens, hidden_size]`.
    fn advance(&self, states: &mut [&mut Self::State], counts: &[usize], tokens: &[u32]) -> Result<Vec<f32>>;

    fn vocabulary(&self) -> &Vocabulary;
}

/// Sequences that are the same so far.
struct Branch<S> {
    /// Their numbers.
    sequences: Range<usize>,
    /// How many tokens were read.
    at: usize,
    /// How many they have in common.
    end: usize,
    state: S,
}

impl<S: Clone> Branch<S> {
    /// One for each token that comes next; sequences that end here have none.
    fn divide(self, all: &[&[u32]]) -> Vec<Self> {
        let own = &all[self.sequences.clone()];
        let ended = own.iter().take_while(|sequence| sequence.len() == self.at).count();
        let mut first = self.sequences.start + ended;
        let mut parts = Vec::new();
        for part in own[ended..].chunk_by(|a, b| a[self.at] == b[self.at]) {
            let (least, greatest) = (part[0], part[part.len() - 1]);
            parts.push(Self {
                sequences: first..first + part.len(),
                at: self.at,
                end: least.iter().zip(greatest).take_while(|(a, b)| a == b).count(),
                state: self.state.clone(),
            });
            first += part.len();
        }
        parts
    }
}

/// Tokens that were just read.
struct Stretch<'a, S> {
    /// The numbers of the sequences that have them.
    sequences: Range<usize>,
    positions: Range<usize>,
    /// The state after the last of them.
    state: &'a S,
}

/// Reads sorted sequences; `visit` is given hidden states of rows, stretch by stretch.
fn walk<N: Stateful>(
    network: &N,
    all: &[&[u32]],
    mut visit: impl FnMut(&[f32], &[Stretch<'_, N::State>]) -> Result<()>,
) -> Result<()> {
    let root = Branch { sequences: 0..all.len(), at: 0, end: 0, state: network.beginning() };
    let mut branches = root.divide(all);
    while !branches.is_empty() {
        let each = (PASS_ROWS / branches.len()).max(1);
        let mut tokens = Vec::new();
        let mut counts = Vec::with_capacity(branches.len());
        for branch in &mut branches {
            let count = each.min(branch.end - branch.at);
            tokens.extend_from_slice(&all[branch.sequences.start][branch.at..][..count]);
            branch.at += count;
            counts.push(count);
        }
        let mut states: Vec<&mut N::State> = branches.iter_mut().map(|branch| &mut branch.state).collect();
        let hidden = network.advance(&mut states, &counts, &tokens)?;
        let stretch = |(branch, count): (_, &usize)| {
            let branch: &Branch<N::State> = branch;
            let positions = branch.at - count..branch.at;
            Stretch { sequences: branch.sequences.clone(), positions, state: &branch.state }
        };
        visit(&hidden, &branches.iter().zip(&counts).map(stretch).collect::<Vec<_>>())?;
        let next =
            |branch: Branch<N::State>| if branch.at < branch.end { vec![branch] } else { branch.divide(all) };
        branches = branches.into_iter().flat_map(next).collect();
    }
    Ok(())
}

/// Scores sorted sequences together.
pub(super) fn score(
    network: &impl Stateful,
    requests: &[&ScoreRequest<'_>],
    wants: &Wants,
) -> Result<Vec<Scored>> {
    let sequences: Vec<&[u32]> = requests.iter().map(|request| request.ids).collect();
    let mut answers = unanswered(requests);
    let width = network.vocabulary().width();
    walk(network, &sequences, |hidden, stretches| {
        let mut asked = Vec::new();
        let mut first = 0;
        for stretch in stretches {
            for number in stretch.sequences.clone() {
                let request = requests[number];
                let from = stretch.positions.start.max(request.from.saturating_sub(1));
                let end = stretch.positions.end.min(request.ids.len() - 1);
                asked.extend((from..end).map(|at| Asked {
                    row: (first + at - stretch.positions.start) as u32,
                    request: number,
                    token: request.ids[at + 1],
                }));
            }
            first += stretch.positions.len();
        }
        let rows = rows_of(&mut asked).into_iter().map(|row| &hidden[row as usize * width..][..width]);
        let hidden = rows.collect::<Vec<_>>().concat();
        append_scores(network.vocabulary(), &hidden, &asked, wants, &mut answers)
    })?;
    Ok(answers)
}

/// Continues sorted prompts together; each has its number among all requests.
pub(super) fn generate<N: Stateful>(
    network: &N,
    requests: &[(usize, &GenerateRequest<'_>)],
    decoding: &Decoding,
) -> Result<Vec<Vec<u32>>> {
    let prompts: Vec<&[u32]> = requests.iter().map(|(_, request)| request.prompt).collect();
    let width = network.vocabulary().width();
    let mut last = vec![0f32; prompts.len() * width];
    let mut states: Vec<N::State> = Vec::with_capacity(prompts.len());
    states.resize_with(prompts.len(), N::State::default);
    walk(network, &prompts, |hidden, stretches| {
        let mut rows = 0;
        for stretch in stretches {
            rows += stretch.positions.len();
            for number in stretch.sequences.clone() {
                if prompts[number].len() == stretch.positions.end {
                    states[number] = stretch.state.clone();
                    last[number * width..][..width].copy_from_slice(&hidden[(rows - 1) * width..][..width]);
                }
            }
        }
        Ok(())
    })?;
    let mut stepped = Stepped { network, states };
    continue_all(requests, decoding, network.vocabulary(), &last, &mut stepped)
}

/// Sequences with a state each.
struct Stepped<'a, N: Stateful> {
    network: &'a N,
    states: Vec<N::State>,
}

impl<N: Stateful> Sequences for Stepped<'_, N> {
    fn append(&mut self, tokens: &[(usize, u32)]) -> Result<Vec<f32>> {
        let mut next = tokens.iter().peekable();
        let mut read = Vec::with_capacity(tokens.len());
        let chosen = self.states.iter_mut().enumerate().filter_map(|(number, state)| {
            let (_, token) = next.next_if(|(own, _)| *own == number)?;
            read.push(*token);
            Some(state)
        });
        let mut chosen: Vec<&mut N::State> = chosen.collect();
        self.network.advance(&mut chosen, &vec![1; tokens.len()], &read)
    }
}
