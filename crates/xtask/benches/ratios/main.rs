//! Speed as ratios in the same run: `cargo bench -p xtask [-- NAME ...]`. Each name prints rows of the table in
//! `docs/performance.md`, ready to be pasted.
//!
//! - `kernels`: every mask rule beside a copy of the ids (`memcpy`), one thread.
//! - `words`: the rule `text` beside a UTF-8 validation of the same text, one thread.
//! - `torch`: `hash-table` and `hash-avalanche` beside their formula in PyTorch, one thread, bit for bit.
//! - `text`: `goldfish mask` on raw text by the rule `text` beside the rule `hash`.
//! - `shapes`: the rule `text` on texts of 5 MB and 50 MB whose shape could make an algorithm quadratic.
//! - `mask`: `goldfish mask` on tokenized input beside `cp` of its output, with peak memory.
//! - `masks-only`: `goldfish mask --masks-only` on tokenized input beside `cp` of that input.
//! - `export`: `goldfish export` to each layout beside `cp` of what it writes.
//! - `threads`: `goldfish mask` with one thread beside two.
//! - `memory`: peak memory from 100 MB to 4 GB of input, for one document of 1 GB, and by option.
//! - `verify`: `goldfish verify` beside hashing the same files.
//! - `raw`: compressed raw text to shards beside `zstd -d` and beside `datasets.map`.
//! - `start`: time to print the help, and the size of the program.
//!
//! Without a name all of them run but `memory`. Each figure is the median of paired runs, with the smallest and the
//! largest beside it. Absolute times depend on the machine and on who else uses it; the ratios are what counts.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark")]

mod inputs;
mod kernels;
mod measure;
mod peers;
mod raw;
mod sidecars;
mod text;
mod tokenized;

/// Name, whether it runs without being named, and what it does.
const BENCHES: [(&str, bool, fn()); 13] = [
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
    ("raw", true, raw::raw),
    ("start", true, raw::start),
];

fn main() {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    for name in &wanted {
        let names = BENCHES.map(|(name, ..)| name);
        assert!(names.contains(&name.as_str()), "there is no {name}; there are {}", names.join(", "));
    }
    for (name, usual, bench) in BENCHES {
        if wanted.iter().any(|wanted| wanted == name) || (wanted.is_empty() && usual) {
            bench();
        }
    }
}
