//! The control of copying, of `--in-context-control`.

use anyhow::{Context, ensure};
use goldfish_audit::backend::{Backend, TextTokenizer};
use goldfish_audit::probe::ProbeTable;

/// What is put between a passage and the prefix, unless ids are given.
const SEPARATOR: &str = "\n\n";

/// All probes with the whole passage in the prompt.
pub(super) struct InContext {
    /// Token ids between the passage and the prefix.
    pub(super) separator: Vec<u32>,
    /// Of each set.
    pub(super) tables: Vec<ProbeTable>,
}

impl InContext {
    /// Puts the passages of all probes into the prompts, which have to fit into the model's context.
    pub(super) fn new(
        tables: &[&ProbeTable],
        separator: Vec<u32>,
        bos: Option<u32>,
        backend: &dyn Backend,
    ) -> anyhow::Result<Self> {
        let tables: Vec<ProbeTable> = tables.iter().map(|table| table.in_prompt(&separator)).collect();
        let starts = tables.iter().flat_map(|table| &table.starts);
        let longest = starts.map(|start| start.before.len() + start.ids.len()).max().unwrap_or(0);
        let longest = longest + usize::from(bos.is_some());
        if let Some(context) = backend.describe()?.context_length {
            ensure!(
                longest as u64 <= context,
                "with the passage in the prompt a probe takes up to {longest} tokens, and the model's context has {context}; choose a shorter --prefix or --suffix, give --memory-window for a checkpoint with rotary positions, or leave out --in-context-control"
            );
        }
        Ok(Self { separator, tables })
    }
}

/// The separator's ids: those given, or what the corpus's tokenizer makes of two line feeds, or the model's own.
pub(super) fn separator(
    given: &[u32],
    corpus: Option<&dyn TextTokenizer>,
    backend: &dyn Backend,
) -> anyhow::Result<Vec<u32>> {
    if !given.is_empty() {
        return Ok(given.to_vec());
    }
    let advice = "give --separator-ids, such as the id of the end of a document";
    let tokenizer = corpus.or_else(|| backend.tokenizer());
    let tokenizer =
        tokenizer.with_context(|| format!("there is no tokenizer to encode two line feeds: {advice}"))?;
    let ids = tokenizer.encode(SEPARATOR).context("encoding the separator")?;
    ensure!(!ids.is_empty(), "the tokenizer has no token for line feeds: {advice}");
    Ok(ids)
}
