//! Masks ids with a rule for every line on standard input and prints the seconds: one side of a benchmark.
//!
//! `decide RULE_AS_JSON IDS_AS_U32 TOKENS_IN_A_DOCUMENT MASK`; the mask is written at the end of the input.

#![allow(clippy::print_stdout, reason = "its output")]

use std::hint::black_box;
use std::time::Instant;

use anyhow::Context;
use goldfish_mask::{RuleSpec, TokenSpan};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [rule, ids, document, mask_path] = arguments.as_slice() else {
        anyhow::bail!("decide RULE_AS_JSON IDS_AS_U32 TOKENS_IN_A_DOCUMENT MASK");
    };
    let rule = serde_json::from_str::<RuleSpec>(rule)?.build(None)?;
    let bytes = std::fs::read(ids).with_context(|| ids.clone())?;
    let ids: Vec<u32> = bytes.as_chunks().0.iter().map(|id| u32::from_le_bytes(*id)).collect();
    let document: usize = document.parse()?;
    let mut mask = vec![0; ids.len()];
    for line in std::io::stdin().lines() {
        line?;
        let start = Instant::now();
        for (ids, mask) in black_box(&ids).chunks(document).zip(mask.chunks_mut(document)) {
            rule.decide(&TokenSpan::document(ids), mask);
        }
        println!("{}", start.elapsed().as_secs_f64());
    }
    std::fs::write(mask_path, mask).with_context(|| mask_path.clone())
}
