//! A task as a prompt, for any model that continues text.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use goldfish_audit::AuditError;
use goldfish_audit::backend::{
    Backend, BackendError, Decoding, GenerateRequest, ModelDescription, TextTokenizer,
};
use goldfish_remedy::{Remedy, Setting};
use goldfish_report::CopyLength;
use goldfish_tokenize::Tokenizer;
use serde::{Deserialize, Serialize};

use super::evaluate::{Marks, by_length, samples};
use super::options::{CopyOptions, PromptedOptions, PromptedResults};
use super::tasks::CopySample;
use crate::error::LabError;
use crate::experiment::error::ExperimentError;
use crate::experiment::{Event, Observe, make_folder, open_folder, read_json, text, write_json};

/// What decides the results.
#[derive(PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    options: PromptedOptions,
    model: ModelDescription,
    tokenizer: Option<String>,
}

/// Asks a model: a few examples with their answers, each on a line, then a question, whose greedy continuation is compared with the
/// answer character by character. `tokenizer` is the model's; a server that has its own needs none.
///
/// Writes `results.json` to a folder. A stopped run resumes in it after the last finished length.
///
/// # Errors
///
/// If the options are invalid, there is no tokenizer, the model can't be asked, a file can't be written, or `stop` is set.
pub fn copy_prompted(
    options: &PromptedOptions,
    model: &dyn Backend,
    tokenizer: Option<&Arc<Tokenizer>>,
    folder: &Path,
    stop: &AtomicBool,
    observe: &mut Observe<'_>,
) -> Result<PromptedResults, ExperimentError> {
    options.lengths.iter().try_for_each(|length| options.shape.check(*length))?;
    let codec = match (tokenizer, model.tokenizer()) {
        (Some(tokenizer), _) => Codec::Own(tokenizer),
        (None, Some(tokenizer)) => Codec::Asked(tokenizer),
        (None, None) => {
            let reason = "is needed to write prompts: the model has none of its own";
            return Err(LabError::option("tokenizer", reason)
                .with([Remedy::give(Setting::Tokenizer)])
                .into());
        }
    };
    let record = Record {
        options: options.clone(),
        model: model.describe().map_err(AuditError::from)?,
        tokenizer: tokenizer.map(|tokenizer| tokenizer.sha256().to_owned()),
    };
    open_folder(folder, CopyOptions::RECORD, &record)?;
    let finished = folder.join("lengths");
    make_folder(&finished)?;
    let mut lengths: Vec<CopyLength> = Vec::new();
    for length in &options.lengths {
        let path = finished.join(format!("{length}.json"));
        if !path.is_file() {
            observe(Event::Step(&format!("length {length}")));
            let prompter = Prompter { options, model, codec: &codec, examples: examples(options, *length) };
            let questions = samples(&options.shape, *length, options.samples, options.seed);
            let found = by_length(*length, &questions, (stop, observe), |some| prompter.answer(some))?;
            write_json(&path, &found)?;
        }
        lengths.push(read_json(&path)?);
    }
    let results = PromptedResults { options: record.options, model: record.model, lengths };
    write_json(&folder.join("results.json"), &results)?;
    Ok(results)
}

/// The model's tokenizer.
enum Codec<'a> {
    Own(&'a Tokenizer),
    Asked(&'a dyn TextTokenizer),
}

impl Codec<'_> {
    fn encode(&self, text: &str) -> Result<Vec<u32>, BackendError> {
        match self {
            Self::Asked(tokenizer) => tokenizer.encode(text),
            Self::Own(tokenizer) => {
                let mut ids = Vec::new();
                let failed = |error| BackendError::Failed {
                    backend: "the tokenizer".into(),
                    reason: format!("{error}"),
                    retry_after: None,
                };
                tokenizer.encode_into(text, &mut ids).map_err(failed)?;
                Ok(ids)
            }
        }
    }

    fn decode(&self, ids: &[u32]) -> Result<String, BackendError> {
        match self {
            Self::Asked(tokenizer) => tokenizer.decode(ids),
            Self::Own(tokenizer) => Ok(text(tokenizer, ids)),
        }
    }
}

/// Asks questions of one length.
struct Prompter<'a> {
    options: &'a PromptedOptions,
    model: &'a dyn Backend,
    codec: &'a Codec<'a>,
    /// What comes before every question.
    examples: String,
}

impl Prompter<'_> {
    fn answer(&self, questions: &[CopySample]) -> Result<Vec<Marks>, BackendError> {
        let prompt = |sample: &CopySample| -> Result<Vec<u32>, BackendError> {
            let ids = self.codec.encode(&format!("{}{}", self.examples, sample.question))?;
            Ok(self.options.bos.into_iter().chain(ids).collect())
        };
        let prompts: Vec<Vec<u32>> = questions.iter().map(prompt).collect::<Result<_, _>>()?;
        let requests: Vec<GenerateRequest<'_>> = prompts
            .iter()
            .zip(questions)
            // A token of the answer has at least one of its characters.
            .map(|(prompt, sample)| GenerateRequest { prompt, tokens: sample.answer.len() })
            .collect();
        let generated = self.model.generate(&requests, &Decoding::Greedy)?;
        let marks = |(found, sample): (goldfish_audit::backend::Generated, &CopySample)| {
            Ok(compare(&self.codec.decode(&found.ids)?, &sample.answer))
        };
        generated.into_iter().zip(questions).map(marks).collect()
    }
}

/// The examples, each with its answer on a line: the same before every question.
fn examples(options: &PromptedOptions, length: usize) -> String {
    // No example is a question.
    let all = samples(&options.shape, length, options.examples as u64, !options.seed);
    all.iter().map(|sample| format!("{}{}\n", sample.question, sample.answer)).collect()
}

/// Which characters of an answer a text begins with, each at its place.
fn compare(text: &str, answer: &str) -> Marks {
    let found = text.chars().map(Some).chain(std::iter::repeat(None));
    answer.chars().zip(found).map(|(right, found)| Some(right) == found).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_compared_at_their_places() {
        assert_eq!(compare("abcd\nxy", "abcd"), [true; 4]);
        assert_eq!(compare("abxd", "abcd"), [true, true, false, true]);
        assert_eq!(compare("a", "abc"), [true, false, false]);
        assert_eq!(compare("", "a"), [false]);
    }
}
