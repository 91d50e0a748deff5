//! Free-running samples: what a model says if nobody prompts it with a passage of the corpus. `goldfish trace` finds what of it
//! is in the training data.
//!
//! | file | what |
//! |---|---|
//! | `sampling.json` | the model, how tokens are drawn, and the prompts' hash |
//! | `samples.jsonl` | a [`Sample`] a line, written as they are drawn |
//! | `sampled.json` | the counts |
//! | `SHA256SUMS` | the checksum of every other file; a folder that has it is complete |
//!
//! Sample `i` continues prompt `i`, modulo the number of prompts, and is drawn from stream `i` of the seed: a model in this process
//! gives the same file whatever the batch, and after any number of interruptions.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use goldfish_remedy::{Remedy, Setting};
use goldfish_shard::Problem;
use goldfish_storage::Folder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::answers::Answers;
use crate::backend::{Backend, Caveat, Decoding, GenerateRequest, ModelDescription, SamplingScheme};
use crate::error::AuditError;
use crate::files::{evidence_lines, open_file, read_json, to_json, write_json};
use crate::output_folder::{Contents, OutputFolder, remove_lock};
use crate::score::rouge_l::common_subsequence;
use crate::sha256::sha256;
use crate::sums::{self, SUMS};

/// Name of the file that says how samples are drawn.
pub const SAMPLING: &str = "sampling.json";

/// Name of the file with the samples.
pub const SAMPLES: &str = "samples.jsonl";

const SAMPLED: &str = "sampled.json";
const FILES: [&str; 3] = [SAMPLED, SAMPLES, SAMPLING];
const CONTENTS: Contents = Contents { name: "samples", options: SAMPLING, first: &[] };

/// Version of the files.
const VERSION: u32 = 1;

/// Of the ids that a model draws, most come back when its own tokenizer encodes their text again.
const COME_BACK: f64 = 0.9;

/// A prompt: the tokens that a sample continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Its id; none if it is not a text of a file.
    pub id: Option<String>,
    /// Its tokens, a BOS included. At least one.
    pub ids: Vec<u32>,
    /// Its text.
    pub text: String,
}

/// How samples are drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SamplingConfig {
    /// Version of the files.
    pub sampling_version: u32,
    /// The program's version.
    pub goldfish: String,
    /// The model.
    pub model: ModelDescription,
    /// SHA-256 of the tokenizer file that gives the samples' text.
    pub tokenizer: String,
    /// How many samples are drawn.
    pub samples: u64,
    /// Tokens of each.
    pub tokens: u32,
    /// How a token is drawn.
    pub scheme: SamplingScheme,
    /// Seed of the draws.
    pub seed: u64,
    /// How many prompts there are.
    pub prompts: u64,
    /// SHA-256 of the prompts and their ids.
    pub prompts_hash: String,
}

impl SamplingConfig {
    /// Of a model, with a tokenizer of this SHA-256.
    #[must_use]
    pub fn new(
        model: ModelDescription,
        tokenizer: &str,
        prompts: &[Prompt],
        (samples, tokens): (u64, u32),
        scheme: SamplingScheme,
        seed: u64,
    ) -> Self {
        let mut hashed = Vec::new();
        for prompt in prompts {
            let id = prompt.id.as_deref().unwrap_or_default();
            hashed.extend((id.len() as u64).to_le_bytes());
            hashed.extend(id.as_bytes());
            hashed.extend((prompt.ids.len() as u64).to_le_bytes());
            hashed.extend(prompt.ids.iter().flat_map(|id| id.to_le_bytes()));
        }
        Self {
            sampling_version: VERSION,
            goldfish: env!("CARGO_PKG_VERSION").to_owned(),
            model,
            tokenizer: tokenizer.to_owned(),
            samples,
            tokens,
            scheme,
            seed,
            prompts: prompts.len() as u64,
            prompts_hash: sha256(&hashed),
        }
    }
}

/// What a model said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// `sample-N`, counted from 0.
    pub id: String,
    /// The text that was drawn, without the prompt.
    pub text: String,
    /// Its tokens.
    pub ids: Vec<u32>,
    /// The prompt's id, if it has one.
    pub prompt_id: Option<String>,
    /// The prompt's text.
    pub prompt: String,
    /// Its tokens.
    pub prompt_ids: Vec<u32>,
    /// What a server that takes and gives text could not promise, as in the results of an audit.
    pub caveats: Vec<String>,
}

/// The counts of all samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SampledCounts {
    /// Samples.
    pub samples: u64,
    /// Their tokens.
    pub tokens: u64,
    /// Samples that a server ended before their length.
    pub ended_early: u64,
    /// Of the tokens, those that come back when the text is tokenized again.
    pub tokens_that_come_back: u64,
}

impl SampledCounts {
    fn add(&mut self, sample: &Sample, again: &[u32]) {
        self.samples += 1;
        self.tokens += sample.ids.len() as u64;
        self.ended_early += u64::from(sample.caveats.iter().any(|name| name == Caveat::EndedEarly.name()));
        self.tokens_that_come_back += common_subsequence(&sample.ids, again) as u64;
    }

    /// What a reader must know, if the text may not be what the model said.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        let share = self.tokens_that_come_back as f64 / self.tokens.max(1) as f64;
        (share < COME_BACK).then(|| {
            format!(
                "only {:.0}% of the sampled token ids come back when their text is tokenized again: if the tokenizer is not the \
                 model's, the text is not what the model said, and nothing of it is found in any corpus",
                100.0 * share
            )
        })
    }
}

/// Draws samples.
pub struct Sampler<'a> {
    /// The model.
    pub backend: &'a dyn Backend,
    /// How samples are drawn.
    pub config: &'a SamplingConfig,
    /// What they continue.
    pub prompts: &'a [Prompt],
    /// Text of ids, special tokens included.
    pub decode: &'a dyn Fn(&[u32]) -> String,
    /// Ids of text.
    pub encode: &'a dyn Fn(&str) -> Vec<u32>,
    /// Samples that are drawn at once.
    pub batch: usize,
    /// Ends early if it becomes true; what is drawn stays.
    pub stop: &'a AtomicBool,
}

/// The outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampled {
    /// The counts.
    pub counts: SampledCounts,
    /// Whether an earlier run had drawn all.
    pub was_complete: bool,
}

impl Sampler<'_> {
    /// Draws into a folder; with `resume`, what an interrupted run of the same configuration has not drawn. `observe` gets the number of
    /// samples that are drawn.
    ///
    /// # Errors
    ///
    /// If the folder holds something else, the model can't continue prompts or doesn't answer, or the disk refuses. After
    /// [`AuditError::Interrupted`] or an error of the model `resume` draws the rest.
    pub fn draw(
        &self,
        path: &Path,
        resume: bool,
        observe: &mut dyn FnMut(u64),
    ) -> Result<Sampled, AuditError> {
        let OutputFolder { folder, lock: _lock, .. } =
            CONTENTS.open(path, self.config, resume, |_| Ok(()))?;
        if has(&folder, SUMS)? {
            let counts = read_json(&folder.join(SAMPLED))?;
            remove_lock(&folder)?;
            return Ok(Sampled { counts, was_complete: true });
        }
        let (mut counts, mut file) = self.resume(&folder)?;
        observe(counts.samples);
        while counts.samples < self.config.samples {
            if self.stop.load(Ordering::Relaxed) {
                return Err(AuditError::Interrupted);
            }
            let mut lines = Vec::new();
            for sample in self.next(counts.samples)? {
                counts.add(&sample, &(self.encode)(&sample.text));
                lines.extend(to_json(path, &sample, false)?);
            }
            let written = file.write_all(&lines).and_then(|()| file.sync_data());
            written.map_err(AuditError::io(&folder.join(SAMPLES), "writing"))?;
            observe(counts.samples);
        }
        write_json(&folder, SAMPLED, &counts)?;
        sums::write(&folder, &FILES)?;
        remove_lock(&folder)?;
        Ok(Sampled { counts, was_complete: false })
    }

    /// What an interrupted run has drawn, and the file after it. A line that was cut is drawn again.
    fn resume(&self, folder: &Folder) -> Result<(SampledCounts, File), AuditError> {
        let path = folder.join(SAMPLES);
        let mut counts = SampledCounts::default();
        if !has(folder, SAMPLES)? {
            let file = folder.create(SAMPLES).map_err(AuditError::io(&path, "creating"))?.into_disk();
            return file
                .map(|file| (counts, file))
                .ok_or_else(|| AuditError::bad_run(&path, "not on a disk"));
        }
        let mut file = BufReader::new(open_file(&path)?);
        let mut length = 0;
        let mut line = Vec::new();
        loop {
            line.clear();
            let bytes = file.read_until(b'\n', &mut line).map_err(AuditError::io(&path, "reading"))?;
            if !line.ends_with(b"\n") {
                break;
            }
            let number = counts.samples;
            let sample = serde_json::from_slice::<Sample>(&line).ok();
            let Some(sample) =
                sample.filter(|sample| sample.id == name(number) && number < self.config.samples)
            else {
                let reason = format!("line {} is not sample {number} as this program writes it", number + 1);
                return Err(AuditError::bad_run(&path, reason));
            };
            counts.add(&sample, &(self.encode)(&sample.text));
            length += bytes as u64;
        }
        let file = folder.open_to_append(SAMPLES, length).map_err(AuditError::io(&path, "opening"))?;
        Ok((counts, file))
    }

    /// The next samples.
    fn next(&self, first: u64) -> Result<Vec<Sample>, AuditError> {
        let last = (first + self.batch.max(1) as u64).min(self.config.samples);
        let tokens = self.config.tokens as usize;
        let prompt = |number: u64| &self.prompts[(number % self.prompts.len() as u64) as usize];
        let requests: Vec<GenerateRequest<'_>> =
            (first..last).map(|number| GenerateRequest { prompt: &prompt(number).ids, tokens }).collect();
        let decoding = Decoding::Sampled { scheme: self.config.scheme, seed: self.config.seed, first };
        let answers = self.backend.generate(&requests, &decoding)?;
        let check = Answers(self.backend);
        check.check_count(answers.len(), requests.len(), "continuations")?;
        let mut samples = Vec::with_capacity(answers.len());
        for (number, answer) in (first..).zip(answers) {
            let prompt = prompt(number);
            if !answer.caveats.iter().any(|caveat| caveat.allows_fewer()) {
                check.check_count(answer.ids.len(), tokens, "tokens of continuation")?;
                check.check_evaluated(answer.evaluated, prompt.ids.len())?;
            }
            samples.push(Sample {
                id: name(number),
                text: (self.decode)(&answer.ids),
                ids: answer.ids,
                prompt_id: prompt.id.clone(),
                prompt: prompt.text.clone(),
                prompt_ids: prompt.ids.clone(),
                caveats: answer.caveats.iter().map(|caveat| caveat.name().to_owned()).collect(),
            });
        }
        Ok(samples)
    }
}

fn name(number: u64) -> String {
    format!("sample-{number}")
}

fn has(folder: &Folder, name: &str) -> Result<bool, AuditError> {
    folder.has_file(name).map_err(AuditError::io(&folder.join(name), "looking at the file"))
}

/// Whether a folder holds samples, complete or not.
#[must_use]
pub fn is_sampled(folder: &Path) -> bool {
    read_json::<SamplingConfig>(&folder.join(SAMPLING)).is_ok()
}

/// The samples of a complete folder, in order.
///
/// # Errors
///
/// If the folder is not complete, or a line is not a sample.
pub fn read_samples(
    folder: &Path,
) -> Result<impl Iterator<Item = Result<Sample, AuditError>> + use<>, AuditError> {
    if !goldfish_storage::is_file(&folder.join(SUMS)) {
        let remedies = vec![Remedy::give(Setting::Resume).to("draw the rest")];
        return Err(AuditError::refused(folder, "the samples there are not complete", remedies));
    }
    let path = folder.join(SAMPLES);
    let lines = evidence_lines(&path)?;
    Ok(lines.zip(1..).map(move |(line, number)| {
        serde_json::from_str(&line?).map_err(|error| {
            AuditError::bad_run(&path, format!("line {number} is not a sample of this program: {error}"))
        })
    }))
}

/// Compares the files of a folder with their checksums: the counts, and what is wrong.
///
/// # Errors
///
/// If the checksums or the counts can't be read.
pub fn check_samples(folder: &Path) -> Result<(SampledCounts, Vec<Problem>), AuditError> {
    let (_, problems) = sums::check(folder, &FILES)?;
    Ok((read_json(&folder.join(SAMPLED))?, problems))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::fake::FakeModel;

    /// Words of the vocabulary, one a token.
    fn decode(ids: &[u32]) -> String {
        ids.iter().map(|id| format!(" w{id}")).collect()
    }

    fn encode(text: &str) -> Vec<u32> {
        text.split_whitespace().map(|word| word[1..].parse().unwrap()).collect()
    }

    fn drawn(
        folder: &Path,
        batch: usize,
        samples: u64,
        stop_after: Option<u64>,
    ) -> Result<Sampled, AuditError> {
        let model = FakeModel::reciting(50, &[(0..40).collect()], 2, 2.0);
        let prompts = [vec![3], vec![4, 5]].map(|ids| Prompt { id: None, text: decode(&ids), ids });
        let scheme = SamplingScheme { temperature: 1.0, top_k: None, top_p: None };
        let config = SamplingConfig::new(model.describe().unwrap(), "0", &prompts, (samples, 7), scheme, 11);
        let stop = AtomicBool::new(false);
        let (decode, encode) = (&decode, &encode);
        let sampler = Sampler {
            backend: &model,
            config: &config,
            prompts: &prompts,
            decode,
            encode,
            batch,
            stop: &stop,
        };
        sampler.draw(folder, true, &mut |done| {
            stop.store(stop_after.is_some_and(|most| done >= most), Ordering::Relaxed)
        })
    }

    #[test]
    fn batches_and_interruptions_do_not_show() {
        let root = tempfile::tempdir().unwrap();
        let read = |name: &str| fs::read(root.path().join(name).join(SAMPLES)).unwrap();
        let whole = drawn(&root.path().join("whole"), 64, 21, None).unwrap();
        assert_eq!((whole.counts.samples, whole.counts.tokens), (21, 147));
        assert_eq!(whole.counts.tokens_that_come_back, 147);
        drawn(&root.path().join("by-two"), 2, 21, None).unwrap();
        assert_eq!(read("by-two"), read("whole"));
        let parts = root.path().join("parts");
        assert!(matches!(drawn(&parts, 4, 21, Some(8)), Err(AuditError::Interrupted)));
        assert!(read_samples(&parts).is_err());
        // A line that a kill cut.
        let cut = [&fs::read(parts.join(SAMPLES)).unwrap()[..], b"{\"id\":\"sample-8\""].concat();
        fs::write(parts.join(SAMPLES), cut).unwrap();
        let resumed = drawn(&parts, 5, 21, None).unwrap();
        assert_eq!((read("parts"), resumed), (read("whole"), whole));
        assert!(drawn(&parts, 5, 21, None).unwrap().was_complete);
        let samples: Vec<Sample> = read_samples(&parts).unwrap().map(Result::unwrap).collect();
        assert!(samples.len() == 21 && samples[1].prompt_ids == [4, 5] && samples[2].ids != samples[0].ids);
        assert_eq!(check_samples(&parts).unwrap().1, []);
    }

    #[test]
    fn other_options_and_forged_lines_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("samples");
        assert!(matches!(drawn(&folder, 4, 21, Some(8)), Err(AuditError::Interrupted)));
        let other = drawn(&folder, 4, 22, None).unwrap_err().to_string();
        assert!(other.contains("which differ in samples"), "{other}");
        let forged = fs::read_to_string(folder.join(SAMPLES)).unwrap().replace("sample-3", "sample-4");
        fs::write(folder.join(SAMPLES), forged).unwrap();
        let forged = drawn(&folder, 4, 21, None).unwrap_err().to_string();
        assert!(forged.contains("line 4 is not sample 3"), "{forged}");
    }
}
