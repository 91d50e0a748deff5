//! Attention to a window and to retrieved blocks before it: [InfLLM](https://arxiv.org/abs/2402.04617), section 3.
//!
//! With a window of `W` tokens, `B` blocks of `S` tokens and `N` first tokens, the token at position `t` attends, in one softmax, to:
//! - the last `W` tokens, its own included, with their rotations;
//! - the first `N` tokens;
//! - `B` blocks, or all of them if there are fewer. Block `b` has the positions from `N + b S` up to `N + (b + 1) S`, and is there once all of
//!   them have left the window;
//! - the tokens after the last block that have left the window, up to `S - 1`.
//!
//! To the last three a query has the distance `W`, whatever the true one is.
//!
//! *Representatives.* When a block has left the window, [`REPRESENTATIVES`] of its keys stand for it, for each head of keys on its own: those
//! that received most attention while they were in the window, in the sum over queries and heads; of equals the first. Every key was there
//! for `W` queries, so that the sum orders as the mean does.
//!
//! *Retrieval.* The score of a block is the product of the token's query with the representatives, summed over them and over heads, with the
//! rotation of the distance `W`; of equals the first is taken. So does the paper while it generates. For a prompt it takes the mean query of
//! a chunk, in which a token would depend on those after it. Here it never does, so that one pass scores what a continuation would say.

use std::ops::Range;
use std::sync::Arc;

use goldfish_audit::backend::BlockMemory;

use super::attention::soften;
use super::lanes::Lanes;
use super::math::mix;
use super::ops::rotate;
use super::rope::Angles;

/// Keys that stand for a block.
const REPRESENTATIVES: usize = 4;
/// The keys of the window are rotated anew every so many tokens.
const REFRESH: usize = 64;

/// Largest distance within a layer's recent tokens, plus 1.
pub(super) fn most_recent(memory: &BlockMemory) -> usize {
    (memory.window as usize).saturating_add(memory.block_tokens as usize).saturating_add(REFRESH)
}

/// What attention is computed with in a layer.
pub(super) struct Reader<'a> {
    pub(super) memory: BlockMemory,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
    pub(super) scale: f32,
    pub(super) softcap: Option<f32>,
    /// Rotations of all distances, if the layer has positions.
    pub(super) angles: Option<&'a Angles>,
}

/// What a layer keeps of a sequence.
#[derive(Debug, Clone, Default)]
pub(super) struct LayerMemory {
    /// Tokens so far.
    length: usize,
    /// The position of the first recent token.
    first: usize,
    /// The window and what follows the last block, for each head of keys.
    recent: Vec<Recent>,
    /// The first tokens, for each head of keys.
    init: Vec<KeysValues>,
    /// For each head of keys; shared by sequences that begin alike.
    blocks: Vec<Arc<Vec<KeysValues>>>,
    /// For each block the sum of its representatives, of all heads of keys; nothing before the first block.
    representatives: Option<Lanes>,
}

/// Keys that are not rotated, and values, of one head.
#[derive(Debug, Clone)]
struct KeysValues {
    keys: Lanes,
    /// `[tokens, head_dim]`.
    values: Vec<f32>,
}

impl KeysValues {
    fn new(dim: usize) -> Self {
        Self { keys: Lanes::new(dim), values: Vec::new() }
    }

    fn push(&mut self, key: &[f32], value: &[f32]) {
        self.keys.push(key);
        self.values.extend_from_slice(value);
    }

    fn part(&self, tokens: Range<usize>) -> Self {
        let dim = self.values.len() / self.keys.len().max(1);
        let values = self.values[tokens.start * dim..tokens.end * dim].to_vec();
        Self { keys: self.keys.part(tokens), values }
    }
}

/// Recent tokens of one head.
#[derive(Debug, Clone)]
struct Recent {
    own: KeysValues,
    /// The keys rotated by their place among the recent tokens, if the layer has positions.
    rotated: Lanes,
    /// The attention that each key received so far.
    received: Vec<f32>,
}

/// Buffers of a thread.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// The queries, rotated for the window and for what is before it.
    near: Vec<f32>,
    far: Vec<f32>,
    scores: Vec<f32>,
    ranked: Vec<(f32, usize)>,
    chosen: Vec<usize>,
    column: Vec<f32>,
}

impl LayerMemory {
    pub(super) fn new(reader: &Reader<'_>) -> Self {
        let (heads, dim) = (reader.kv_heads, reader.head_dim);
        let recent = || Recent { own: KeysValues::new(dim), rotated: Lanes::new(dim), received: Vec::new() };
        Self {
            recent: (0..heads).map(|_| recent()).collect(),
            init: (0..heads).map(|_| KeysValues::new(dim)).collect(),
            ..Self::default()
        }
    }

    /// Tokens so far.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Reads one token: queries, keys and values of all heads, not rotated. Writes what it sees to `out` `[heads * head_dim]`.
    #[inline(always)]
    pub(super) fn read(&mut self, reader: &Reader<'_>, row: &[f32], out: &mut [f32], scratch: &mut Scratch) {
        let dim = reader.head_dim;
        let (own, shared) = (reader.heads * dim, reader.kv_heads * dim);
        let (queries, keys, values) = (&row[..own], &row[own..own + shared], &row[own + shared..]);
        if self.length.is_multiple_of(REFRESH) {
            self.refresh(reader, &mut scratch.column);
        }
        self.append(reader, keys, values, &mut scratch.column);
        let window = reader.before_window(self.length);
        if self.after_blocks(reader) + reader.block_size() <= window {
            self.add_block(reader);
        }
        let last = self.length - 1 - self.first;
        scratch.near.clear();
        scratch.near.extend_from_slice(queries);
        if let Some(angles) = reader.angles {
            rotate(&mut scratch.near, dim, angles, last);
        }
        scratch.far.clear();
        scratch.chosen.clear();
        if window > 0 {
            scratch.far.extend_from_slice(queries);
            reader.rotate_far(&mut scratch.far);
            self.choose(reader, scratch);
        }
        let Scratch { near, far, chosen, scores, .. } = scratch;
        let seen = Seen {
            near,
            far,
            init: window.min(reader.init()),
            blocks: chosen,
            rest: self.after_blocks(reader).min(window) - self.first..window - self.first,
            window: window - self.first..last + 1,
        };
        for (head, out) in out.chunks_exact_mut(dim).enumerate() {
            self.attend(reader, head, &seen, scores, out);
        }
    }

    /// What one head of queries sees.
    #[inline(always)]
    fn attend(
        &mut self,
        reader: &Reader<'_>,
        head: usize,
        seen: &Seen<'_>,
        scores: &mut Vec<f32>,
        out: &mut [f32],
    ) {
        let (dim, kv_head) = (reader.head_dim, head / reader.group());
        let query = head * dim..(head + 1) * dim;
        let (near, far) = (&seen.near[query.clone()], seen.far.get(query).unwrap_or_default());
        let Recent { own, rotated, received } = &mut self.recent[kv_head];
        let init = &self.init[kv_head];
        let blocks = || seen.blocks.iter().map(|block| &self.blocks[*block][kv_head]);
        let block_weights = seen.blocks.len() * reader.block_size();
        scores.clear();
        scores.resize(seen.init + block_weights + seen.rest.len() + seen.window.len(), 0.0);
        let (of_init, others) = scores.split_at_mut(seen.init);
        let (of_blocks, others) = others.split_at_mut(block_weights);
        let (of_rest, of_window) = others.split_at_mut(seen.rest.len());
        init.keys.dot(far, 0, of_init);
        for (block, scores) in blocks().zip(of_blocks.chunks_exact_mut(reader.block_size())) {
            block.keys.dot(far, 0, scores);
        }
        own.keys.dot(far, seen.rest.start, of_rest);
        let keys = if reader.angles.is_some() { &*rotated } else { &own.keys };
        keys.dot(near, seen.window.start, of_window);
        scores.iter_mut().for_each(|score| *score *= reader.scale);
        soften(scores, reader.softcap, None);
        let (of_init, others) = scores.split_at(seen.init);
        let (of_blocks, others) = others.split_at(block_weights);
        let (of_rest, of_window) = others.split_at(seen.rest.len());
        let own_values = |tokens: &Range<usize>| &own.values[tokens.start * dim..tokens.end * dim];
        out.fill(0.0);
        mix(of_init, &init.values[..seen.init * dim], out);
        for (block, weights) in blocks().zip(of_blocks.chunks_exact(reader.block_size())) {
            mix(weights, &block.values, out);
        }
        mix(of_rest, own_values(&seen.rest), out);
        mix(of_window, own_values(&seen.window), out);
        for (received, weight) in received[seen.window.clone()].iter_mut().zip(of_window) {
            *received += weight;
        }
    }

    /// The first position after the blocks.
    fn after_blocks(&self, reader: &Reader<'_>) -> usize {
        reader.init() + self.blocks.len() * reader.block_size()
    }

    /// Forgets the recent tokens that are in blocks or among the first, and rotates the others by their new places.
    fn refresh(&mut self, reader: &Reader<'_>, column: &mut Vec<f32>) {
        let needed = self.after_blocks(reader).min(reader.before_window(self.length));
        let gone = needed - self.first;
        if gone == 0 {
            return;
        }
        self.first = needed;
        for Recent { own, rotated, received } in &mut self.recent {
            own.keys.remove_first(gone);
            own.values.drain(..gone * reader.head_dim);
            received.drain(..gone);
            if let Some(angles) = reader.angles {
                rotated.clear();
                for place in 0..own.keys.len() {
                    column.clear();
                    column.extend(own.keys.key(place));
                    rotate(column, reader.head_dim, angles, place);
                    rotated.push(column);
                }
            }
        }
    }

    /// Appends a token to those in the window.
    fn append(&mut self, reader: &Reader<'_>, keys: &[f32], values: &[f32], column: &mut Vec<f32>) {
        let dim = reader.head_dim;
        let rows = keys.chunks_exact(dim).zip(values.chunks_exact(dim));
        for ((recent, init), (key, value)) in self.recent.iter_mut().zip(&mut self.init).zip(rows) {
            recent.own.push(key, value);
            recent.received.push(0.0);
            if let Some(angles) = reader.angles {
                column.clear();
                column.extend_from_slice(key);
                rotate(column, dim, angles, self.length - self.first);
                recent.rotated.push(column);
            }
            if self.length < reader.init() {
                init.push(key, value);
            }
        }
        self.length += 1;
    }

    /// Makes a block of the tokens after the last one.
    fn add_block(&mut self, reader: &Reader<'_>) {
        let start = self.after_blocks(reader) - self.first;
        let tokens = start..start + reader.block_size();
        let (mut block, mut sums) = (Vec::new(), Vec::new());
        // Where none is retrieved, their number alone counts.
        for Recent { own, received, .. } in self.recent.iter().filter(|_| reader.memory.blocks > 0) {
            let mut ranked: Vec<usize> = tokens.clone().collect();
            ranked.sort_by(|a, b| received[*b].total_cmp(&received[*a]));
            let from = sums.len();
            sums.resize(from + reader.head_dim, 0.0);
            for place in ranked.into_iter().take(REPRESENTATIVES) {
                sums[from..].iter_mut().zip(own.keys.key(place)).for_each(|(sum, key)| *sum += key);
            }
            block.push(own.part(tokens.clone()));
        }
        self.blocks.push(Arc::new(block));
        self.representatives.get_or_insert_with(|| Lanes::new(sums.len())).push(&sums);
    }

    /// The blocks that the token retrieves, ascending, by its queries in `scratch.far`.
    #[inline(always)]
    fn choose(&self, reader: &Reader<'_>, scratch: &mut Scratch) {
        let Scratch { far, scores, ranked, chosen, column: sums, .. } = scratch;
        let (all, wanted) = (self.blocks.len(), reader.memory.blocks as usize);
        if all <= wanted {
            return chosen.extend(0..all);
        }
        if wanted == 0 {
            return;
        }
        // The sum over the queries of each head of keys.
        let dim = reader.head_dim;
        sums.clear();
        sums.resize(reader.kv_heads * dim, 0.0);
        for (sum, queries) in sums.chunks_exact_mut(dim).zip(far.chunks_exact(reader.group() * dim)) {
            for query in queries.chunks_exact(dim) {
                sum.iter_mut().zip(query).for_each(|(sum, query)| *sum += query);
            }
        }
        scores.clear();
        scores.resize(all, 0.0);
        if let Some(representatives) = &self.representatives {
            representatives.dot(sums, 0, scores);
        }
        ranked.clear();
        ranked.extend(scores.iter().copied().zip(0..));
        ranked.select_nth_unstable_by(wanted - 1, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        chosen.extend(ranked[..wanted].iter().map(|(_, block)| *block));
        chosen.sort_unstable();
    }
}

/// What a token attends to.
struct Seen<'a> {
    /// Its queries, rotated for the window, and for what is before it unless that is nothing.
    near: &'a [f32],
    far: &'a [f32],
    /// How many of the first tokens are before the window.
    init: usize,
    blocks: &'a [usize],
    /// The recent tokens between the last block and the window.
    rest: Range<usize>,
    /// The recent tokens in the window.
    window: Range<usize>,
}

impl Reader<'_> {
    fn init(&self) -> usize {
        self.memory.init as usize
    }

    fn block_size(&self) -> usize {
        self.memory.block_tokens as usize
    }

    /// Heads of queries for one of keys.
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Tokens that have left the window of the last of so many.
    fn before_window(&self, length: usize) -> usize {
        length.saturating_sub(self.memory.window as usize)
    }

    /// Rotates queries for keys before the window, which are not rotated: their distance is the window.
    fn rotate_far(&self, queries: &mut [f32]) {
        if let Some(angles) = self.angles {
            rotate(queries, self.head_dim, angles, self.memory.window as usize);
            // As those keys would be rotated at 0, which scales them where YaRN does.
            rotate(queries, self.head_dim, angles, 0);
        }
    }
}
