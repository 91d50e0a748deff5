//! What a token costs by its position, and what a model keeps of the tokens before it, for each architecture.
//!
//! ```sh
//! cargo run --release -p goldfish-lab --example generation
//! ```
//!
//! Models have 2 layers of width 128 and their initial weights. A time is the median over the last 65 tokens before a position.
//! *Uncached* is one pass over all tokens up to the position: what a token costs without a cache or a state.

#![allow(clippy::print_stdout, reason = "a measurement for people")]

use std::time::Instant;

use candle_core::{Device, Result, Tensor};
use goldfish_lab::{ARCHITECTURES, Batch, ModelOptions, Vocabulary, architecture, logits};

const POSITIONS: [usize; 2] = [1024, 8192];
const VOCABULARY: usize = 2048;
/// Tokens over which a time is the median.
const TIMED: usize = 65;

fn token(at: usize) -> u32 {
    (at * 7919 % VOCABULARY) as u32
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let vocabulary = Vocabulary { size: VOCABULARY, bos_id: None, eos_id: None };
    let names = POSITIONS.map(|position| format!("at {position}"));
    println!("{:12} {:>24} {:>26} {:>26}", "", "state, bytes", "a token, ms", "uncached, ms");
    println!(
        "{:12} {:>12}{:>12} {:>14}{:>12} {:>14}{:>12}",
        "", names[0], names[1], names[0], names[1], names[0], names[1]
    );
    for kind in ARCHITECTURES {
        let options = ModelOptions {
            architecture: kind.name.to_owned(),
            layers: 2,
            width: 128,
            heads: 4,
            ..ModelOptions::default()
        };
        let model = architecture(&options, &vocabulary, POSITIONS[1])?;
        let weights = model
            .parameters()
            .iter()
            .map(|p| Tensor::from_vec(p.initial_values(0), p.shape.as_slice(), &Device::Cpu))
            .collect::<Result<Vec<_>>>()?;
        let mut generation = model.generation(&weights, POSITIONS[1])?;
        let (mut bytes, mut times, mut uncached) = ([0; 2], [0.0; 2], [0.0; 2]);
        let mut recent = Vec::new();
        for at in 0..POSITIONS[1] {
            let start = Instant::now();
            generation.step(token(at))?;
            recent.push(start.elapsed().as_secs_f64() * 1e3);
            if let Some(number) = POSITIONS.iter().position(|position| *position == at + 1) {
                bytes[number] = generation.state_bytes();
                let mut last = recent[at + 1 - TIMED..].to_vec();
                last.sort_by(f64::total_cmp);
                times[number] = last[TIMED / 2];
            }
        }
        for (time, position) in uncached.iter_mut().zip(POSITIONS) {
            let batch = Batch { tokens: (0..position).map(token).collect(), lengths: vec![position] };
            let start = Instant::now();
            logits(&*model, &weights, &batch)?;
            *time = start.elapsed().as_secs_f64() * 1e3;
        }
        println!(
            "{:12} {:>12}{:>12} {:>14.3}{:>12.3} {:>14.0}{:>12.0}",
            kind.name, bytes[0], bytes[1], times[0], times[1], uncached[0], uncached[1]
        );
    }
    Ok(())
}
