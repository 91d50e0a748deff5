//! Inputs of which every row must be a text.

use crate::batch::BatchContent;
use crate::error::CorpusError;
use crate::input::Input;
use crate::options::ReadOptions;
use crate::reject::Reject;
use crate::source::Part;

/// Calls `add` with the id and the text of each row of the inputs, in order. Files of text have no columns: their texts are called by
/// name and row.
///
/// # Errors
///
/// If an input can't be read, `add` fails, or a row is no text with an id; what `bad` makes of it is then the error.
pub fn for_each_text<E: From<CorpusError>>(
    inputs: &[Input],
    read: &ReadOptions,
    bad: impl Fn(Reject) -> E,
    add: &mut dyn FnMut(&str, &str) -> Result<(), E>,
) -> Result<(), E> {
    let without_ids = ReadOptions { id_column: None, ..read.clone() };
    for input in inputs {
        let read = if input.format.has_columns() { read } else { &without_ids };
        let mut source = input.open(read, Part::WHOLE)?;
        while let Some(chunk) = source.next_chunk()? {
            let batch = chunk.documents(read)?;
            if let Some(reject) = batch.rejects.into_iter().next() {
                return Err(bad(reject));
            }
            let BatchContent::Text(texts) = &batch.content else { continue };
            for (id, text) in batch.doc_ids.iter().zip(texts) {
                add(id.unwrap_or_default(), text.unwrap_or_default())?;
            }
        }
        source.finish()?;
    }
    Ok(())
}
