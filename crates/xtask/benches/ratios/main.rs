//! Benchmarks that compare speed with peers in the same run: `cargo bench -p xtask [-- NAME ...]`. They print the tables of
//! `docs/performance.md`.
//!
//! - `kernels`: every mask rule and a copy of the ids (`memcpy`), one thread.
//! - `words`: the rule `text` and UTF-8 validation of the same text, one thread.
//! - `torch`: `hash-table` and `hash-avalanche` and their formulas in PyTorch, one thread, with equal masks.
//! - `text`: `goldfish mask` on raw text with the rules `text` and `hash`.
//! - `shapes`: the rule `text` on texts of 5 MB and 50 MB whose shape could make an algorithm quadratic.
//! - `mask`: `goldfish mask` on tokenized input and `cp` of its output, with peak memory.
//! - `masks-only`: `goldfish mask --masks-only` on tokenized input and `cp` of that input.
//! - `export`: `goldfish export` to each layout and `cp` of its output.
//! - `threads`: `goldfish mask` with one thread and with two.
//! - `memory`: peak memory from 100 MB to 4 GB of input, for one document of 1 GB, and by option.
//! - `verify`: `goldfish verify` and hashing of the same files.
//! - `inspect`: `goldfish inspect` of shards and `goldfish mask` of their input.
//! - `raw`: compressed raw text to shards, `zstd -d`, and `datasets.map`.
//! - `start`: time to print the help, and the size of the program.
//!
//! Without a name, all of them run except `memory`. Each figure is the median of paired runs, with the smallest and the
//! largest. Compare ratios, not absolute times, which depend on the machine and its load.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark")]

mod inputs;
mod kernels;
mod measure;
mod peers;
mod raw;
mod sidecars;
mod text;
mod tokenized;

/// Name, whether it runs by default, and the benchmark.
const BENCHES: [(&str, bool, fn()); 14] = [
    ("kernels", true, kernels::kernels),
    ("words", true, kernels::words),
    ("torch", true, peers::torch),
    ("text", true, text::rules),
    ("shapes", true, text::shapes),
    ("mask", true, tokenized::mask),
    ("masks-only", true, sidecars::masks_only),
    ("export", true, sidecars::export),
    ("threads", true, tokenized::threads),
    ("memory", false, tokenized::memory),
    ("verify", true, tokenized::verify),
    ("inspect", true, tokenized::inspect),
    ("raw", true, raw::raw),
    ("start", true, raw::start),
];

fn main() {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    for name in &wanted {
        let names = BENCHES.map(|(name, ..)| name);
        assert!(names.contains(&name.as_str()), "no benchmark {name}; there are {}", names.join(", "));
    }
    for (name, by_default, bench) in BENCHES {
        if wanted.iter().any(|wanted| wanted == name) || (wanted.is_empty() && by_default) {
            bench();
        }
    }
}
