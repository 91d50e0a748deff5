//! The documents of a sweep.

use std::path::Path;

use goldfish_mask::RuleParameters;
use goldfish_shard::{MANIFEST_NAME, Manifest};

use super::options::{SweepCopies, SweepOptions};
use super::plan::{Corpus, unmasked};
use crate::corpus::{self, Copy, Formatting, copies, write};
use crate::edits::{Edit, Material, edited, words};
use crate::experiment::error::ExperimentError;
use crate::experiment::{Bench, make_folder};

/// The layouts of copies, in turn: the plain form, nine line widths, comment marks and capitals.
const LAYOUTS: [Formatting; 12] = [
    Formatting::Line,
    Formatting::Wrapped(40),
    Formatting::Wrapped(44),
    Formatting::Wrapped(48),
    Formatting::Wrapped(52),
    Formatting::Wrapped(56),
    Formatting::Wrapped(60),
    Formatting::Wrapped(64),
    Formatting::Wrapped(68),
    Formatting::Wrapped(72),
    Formatting::Commented(56),
    Formatting::Capitals,
];

/// Documents of several lengths, for each passage to recite.
const DOCUMENTS: u64 = 8;

/// Passages in the longest of them.
const LONGEST: usize = 3;

/// Percent of the words that are replaced in edited copies, in turn.
const REPLACED: [u32; 2] = [5, 10];

/// The file of the passages to recite, each once and plain.
pub(super) const AUDITED: &str = "audited.jsonl";

/// The shards of the passages in the validation loss.
pub(super) const VALIDATION: &str = "validation";

/// The shards of the passages that only the control saw, each once and plain.
pub(super) const HELD_OUT: &str = "held-out";

/// Passages for one purpose, so that no passage is in two corpora that must differ.
fn passages(options: &SweepOptions, purpose: u64, count: u64) -> Vec<String> {
    corpus::passages((purpose << 40) ^ options.seed.wrapping_mul(1 << 20), count)
}

/// Writes the corpora of all arms, and masks the validation documents.
pub(super) fn write_documents(bench: &Bench<'_>, options: &SweepOptions) -> Result<(), ExperimentError> {
    let folder = bench.path("corpus");
    make_folder(&folder)?;
    let plain = [Formatting::Line];
    let targets = passages(options, 1, options.passages);
    let others = passages(options, 3, options.passages);
    let background = passages(options, 2, options.background);
    for corpus in Corpus::ALL {
        let passages = if corpus.control { &others } else { &targets };
        let mut all = repeated(options, corpus.copies, passages, &background);
        all.extend(copies("background", &background, &plain, 1));
        write(&folder.join(corpus.file()), &all)?;
    }
    write(&folder.join(AUDITED), &copies("target", &targets, &plain, 1))?;
    let validation = passages(options, 5, options.validation);
    // No model but the control saw its passages.
    for (name, passages) in [(VALIDATION, &validation), (HELD_OUT, &others)] {
        let file = folder.join(format!("{name}.jsonl"));
        write(&file, &copies(name, passages, &plain, 1))?;
        mask_once(bench, &file, unmasked(), &bench.path(name))?;
    }
    Ok(())
}

/// Masks documents, unless an earlier call did: another call may be reading the shards.
pub(super) fn mask_once(
    bench: &Bench<'_>,
    documents: &Path,
    rule: RuleParameters,
    shards: &Path,
) -> Result<Manifest, ExperimentError> {
    match shards.join(MANIFEST_NAME).is_file() {
        true => Ok(Manifest::read(shards)?),
        false => bench.mask(documents, rule, shards),
    }
}

/// Documents of one passage, two and three, in turn: eight times as many as there are passages to recite.
pub(super) fn of_several_lengths(options: &SweepOptions) -> Vec<Copy> {
    let mut passages = passages(options, 6, 2 * DOCUMENTS * options.passages).into_iter();
    let document =
        |number: u64| passages.by_ref().take(1 + number as usize % LONGEST).collect::<Vec<_>>().join(" ");
    let texts: Vec<String> = (0..DOCUMENTS * options.passages).map(document).collect();
    copies("long", &texts, &[Formatting::Line], 1)
}

/// The copies of each passage.
fn repeated(
    options: &SweepOptions,
    kind: SweepCopies,
    passages: &[String],
    background: &[String],
) -> Vec<Copy> {
    let layouts: Vec<Formatting> = LAYOUTS.into_iter().cycle().take(options.copies).collect();
    match kind {
        SweepCopies::Equal => copies("target", passages, &[Formatting::Line], options.copies),
        SweepCopies::Layouts => copies("target", passages, &layouts, 1),
        SweepCopies::Edited => {
            // New words come from other passages, so that they tell nothing about this one.
            let new: Vec<String> = background
                .iter()
                .flat_map(|text| words(text).into_iter().map(|word| text[word].to_owned()))
                .collect();
            let material = Material { words: &new, surroundings: "" };
            let edit = |(number, passage): (usize, &String), copy: usize| {
                let percent = REPLACED[copy % REPLACED.len()];
                let edit = Edit::WordsReplaced(f64::from(percent) / 100.0);
                let formatting = format!("edited-{percent}");
                Copy {
                    id: format!("target-{number:03}/{formatting}/{copy}"),
                    text: edited(passage, &[edit], &material, &[options.seed, number as u64, copy as u64])
                        .text,
                    formatting,
                }
            };
            let all = passages.iter().enumerate();
            all.flat_map(|passage| (0..options.copies).map(move |copy| edit(passage, copy))).collect()
        }
    }
}
