//! Whether a corpus's token ids are the model's own.
//!
//! Ids of another tokenizer are other words to the model: it recites none of them, however much of the text it knows. So the tokenizers
//! are compared before anything is measured: by their files, by the text that both give to the same ids, and by encoding that text with the
//! model's tokenizer, which returns the ids of the right tokenizer and loses some of any other's. The text alone is not enough: a vocabulary
//! that has all tokens of another one, and more, divides the same text into other tokens.

use goldfish_remedy::{Remedy, Setting};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::backend::{BackendError, TextTokenizer};
use crate::error::AuditError;
use crate::probe::{ProbeTable, Start};
use crate::score::rouge_l::common_subsequence;

/// Passages of each set that are compared.
const PASSAGES: usize = 32;

/// Tokens of a passage that are compared at most.
const PASSAGE_TOKENS: usize = 256;

/// Tokens at each end of a passage that may be others when it is encoded again: it starts and ends within a word.
const ENDS: usize = 4;

/// Fewer tokens show nothing.
const FEWEST_TOKENS: usize = 32;

/// Share of the ids that come back if they are the tokenizer's own: at least 0.996 for the right tokenizer, and at most 0.98 for
/// another one (`docs/audit.md`).
const COME_BACK: f64 = 0.99;

/// Characters that are shown of a text.
const SHOWN: usize = 40;

/// What identifies a tokenizer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenizerName {
    /// SHA-256 of its file, in hex.
    pub sha256: String,
    /// Number of its ids.
    pub vocab_size: u32,
}

/// A tokenizer that can be asked.
#[derive(Clone, Copy)]
pub struct KnownTokenizer<'a> {
    /// What identifies it; a server doesn't say.
    pub name: Option<&'a TokenizerName>,
    /// The tokenizer.
    pub tokenizer: &'a dyn TextTokenizer,
}

/// What is known of the tokens of some documents.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DocumentTokens {
    /// The tokenizer that they are said to be made with, if any.
    pub name: Option<TokenizerName>,
    /// Whether this program made them with it, from text. Otherwise it is only said.
    pub tokenized: bool,
}

/// Everything that is known of the tokenizers of an audit.
#[derive(Clone, Copy)]
pub struct Tokenizers<'a> {
    /// The corpus's, if its file is there.
    pub corpus: Option<KnownTokenizer<'a>>,
    /// The model's own, if it has one that can be asked.
    pub model: Option<KnownTokenizer<'a>>,
    /// Number of token ids of the model, where it is known.
    pub vocab_size: Option<u32>,
}

/// How the comparison of the tokenizers came out, the surest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokensOutcome {
    /// Both are the same file.
    SameFile,
    /// Both give the same text to the ids of a sample, and the model's the same ids to the text.
    SameText,
    /// The ids of a sample come back when the model's tokenizer decodes and encodes them.
    RoundTrip,
    /// They could not be compared.
    NotCompared,
    /// They differ, which was allowed.
    MismatchAllowed,
}

/// How the corpus's tokenizer compares with the model's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenCheck {
    /// How it came out.
    pub outcome: TokensOutcome,
    /// SHA-256 of the corpus's tokenizer file, where it is known.
    pub corpus: Option<String>,
    /// SHA-256 of the model's own tokenizer file, where it has one.
    pub model: Option<String>,
    /// What was compared, and how it differs, without any text.
    pub detail: String,
}

impl Default for TokenCheck {
    /// Nothing was compared.
    fn default() -> Self {
        Self::new(TokensOutcome::NotCompared, "the model has no tokenizer to compare with")
    }
}

impl TokenCheck {
    fn new(outcome: TokensOutcome, detail: impl Into<String>) -> Self {
        Self { outcome, corpus: None, model: None, detail: detail.into() }
    }

    /// That the corpus was made with the model's own tokenizer file.
    #[must_use]
    pub fn same_file(sha256: &str) -> Self {
        let both = Some(sha256.to_owned());
        let same =
            Self::new(TokensOutcome::SameFile, "the corpus was tokenized with the model's tokenizer file");
        Self { corpus: both.clone(), model: both, ..same }
    }

    /// What a reader of the results must know.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        let detail = &self.detail;
        match self.outcome {
            TokensOutcome::SameFile | TokensOutcome::RoundTrip => None,
            TokensOutcome::SameText => {
                Some(format!("the corpus's tokenizer is another file than the model's, but {detail}"))
            }
            TokensOutcome::NotCompared => {
                Some(format!("whether the token ids are the model's own was not checked: {detail}"))
            }
            TokensOutcome::MismatchAllowed => Some(format!(
                "the token ids are not the model's, which was allowed: {detail}; a low rate shows nothing"
            )),
        }
    }
}

/// A finding: `Err` if the tokenizers differ.
type Finding = Result<TokenCheck, Mismatch>;

/// How the tokenizers differ.
#[derive(Debug)]
struct Mismatch {
    detail: String,
    /// A text by the corpus's tokenizer, and the same ids by the model's.
    texts: Option<(String, String)>,
}

impl Mismatch {
    fn new(detail: String) -> Self {
        Self { detail, texts: None }
    }
}

/// Compares the tokenizer of each set of documents with the model's.
///
/// Each set comes with what is known of its documents, and its probes, of which a sample is compared where files don't decide. The result
/// is that of the set about which the least is sure.
///
/// # Errors
///
/// If a tokenizer is not the model's, unless that is `allowed`, or a server doesn't answer.
pub fn check_tokens(
    tokenizers: &Tokenizers<'_>,
    sets: &[(&[DocumentTokens], &ProbeTable)],
    allowed: bool,
) -> Result<TokenCheck, AuditError> {
    let mut least: Option<TokenCheck> = None;
    for (documents, table) in sets {
        for tokens in *documents {
            let mut finding = tokenizers.compare(tokens, &sample(table))?;
            if let Err(Mismatch { detail, texts }) = finding {
                let detail = format!("{}: {detail}", tokenizers.names(tokens));
                if !allowed {
                    return Err(AuditError::OtherTokenizer {
                        detail,
                        texts,
                        remedies: tokenizers.remedies(),
                    });
                }
                finding = Ok(TokenCheck::new(TokensOutcome::MismatchAllowed, detail));
            }
            let Ok(mut found) = finding else { continue };
            found.corpus = tokens.name.as_ref().map(|name| name.sha256.clone());
            found.model = tokenizers.model_name().map(|name| name.sha256.clone());
            if least.as_ref().is_none_or(|least| found.outcome > least.outcome) {
                least = Some(found);
            }
        }
    }
    Ok(least.unwrap_or_default())
}

/// How another tokenizer than the model's gives another text to ids that the model drew; `None` if it doesn't, or can't be compared.
///
/// # Errors
///
/// If a server doesn't answer.
pub fn other_text(
    given: &dyn TextTokenizer,
    model: &dyn TextTokenizer,
    drawn: &[Vec<u32>],
) -> Result<Option<String>, AuditError> {
    let of_drawn = |(number, ids): (usize, &Vec<u32>)| Start {
        doc_id: format!("sample {number}"),
        ids: ids.clone(),
        ..Start::default()
    };
    let starts: Vec<Start> = drawn.iter().enumerate().map(of_drawn).collect();
    Ok(match same_text(given, model, &starts.iter().collect::<Vec<_>>())? {
        Ok(_) => None,
        Err(Mismatch { detail, texts }) => Some(match texts {
            Some((given, model)) => format!("{detail}: {given:?} instead of {model:?}"),
            None => detail,
        }),
    })
}

/// Starts from all over a table, and so from all files.
fn sample(table: &ProbeTable) -> Vec<&Start> {
    let taken = PASSAGES.min(table.starts.len());
    (0..taken).map(|i| &table.starts[i * table.starts.len() / taken]).collect()
}

/// The part of a start that is compared.
fn passage(start: &Start) -> &[u32] {
    &start.ids[..start.ids.len().min(PASSAGE_TOKENS)]
}

impl<'a> Tokenizers<'a> {
    fn model_name(&self) -> Option<&'a TokenizerName> {
        self.model?.name
    }

    fn compare(&self, tokens: &DocumentTokens, sample: &[&Start]) -> Result<Finding, AuditError> {
        let Some(name) = &tokens.name else {
            let Some(model) = self.model else { return Ok(Ok(TokenCheck::default())) };
            return round_trip(model.tokenizer, model.tokenizer, sample);
        };
        let found = self.compare_named(name, sample)?;
        match (&found, self.model) {
            // Ids that others made are only said to be of a tokenizer.
            (Ok(named), Some(model)) if !tokens.tokenized && named.outcome == TokensOutcome::SameFile => {
                round_trip(model.tokenizer, model.tokenizer, sample)
            }
            _ => Ok(found),
        }
    }

    /// Compares a tokenizer by its name, and by texts where its file is there.
    fn compare_named(&self, name: &TokenizerName, sample: &[&Start]) -> Result<Finding, AuditError> {
        let file = self.corpus.filter(|file| file.name == Some(name));
        if let Some(model) = self.model_name() {
            if model.sha256 == name.sha256 {
                return Ok(Ok(TokenCheck::same_file(&name.sha256)));
            }
            if file.is_none() {
                let detail =
                    "they are different files, and without the corpus's their texts can't be compared";
                return Ok(Err(Mismatch::new(detail.into())));
            }
        }
        if let (Some(file), Some(model)) = (file, self.model) {
            let text = same_text(file.tokenizer, model.tokenizer, sample)?;
            if !matches!(&text, Ok(found) if found.outcome == TokensOutcome::SameText) {
                return Ok(text);
            }
            return Ok(match round_trip(file.tokenizer, model.tokenizer, sample)? {
                Ok(found) if found.outcome == TokensOutcome::RoundTrip => text,
                other => other,
            });
        }
        if let Some(size) = self.vocab_size.filter(|size| name.vocab_size > *size) {
            let detail = format!("the model has {size} token ids, fewer than the corpus's tokenizer");
            return Ok(Err(Mismatch::new(detail)));
        }
        match self.model {
            None => Ok(Ok(TokenCheck::default())),
            Some(model) => round_trip(model.tokenizer, model.tokenizer, sample),
        }
    }

    /// Both tokenizers, as far as they have names.
    fn names(&self, tokens: &DocumentTokens) -> String {
        let named = |name: Option<&TokenizerName>, unnamed: &str| match name {
            Some(TokenizerName { sha256, vocab_size }) => {
                format!("tokenizer {sha256} ({vocab_size} ids)")
            }
            None => unnamed.to_owned(),
        };
        format!(
            "the corpus has {}, the model {}",
            named(tokens.name.as_ref(), "ids that name no tokenizer"),
            named(self.model_name(), "its own tokenizer"),
        )
    }

    /// What to do about a mismatch.
    fn remedies(&self) -> Vec<Remedy> {
        let compare = Remedy::give(Setting::Tokenizer).to("compare the texts of both");
        let allow = Remedy::give(Setting::AllowTokenizerMismatch).to("audit these ids all the same");
        self.corpus.is_none().then_some(compare).into_iter().chain([allow]).collect()
    }
}

/// What a tokenizer gives; `Err` for what it has no answer to.
enum Asked<T> {
    Given(T),
    /// The id is none of its own.
    Unknown(String),
    /// It can't be asked.
    Silent(String),
}

fn asked<T>(answer: Result<T, BackendError>) -> Result<Asked<T>, AuditError> {
    match answer {
        Ok(given) => Ok(Asked::Given(given)),
        Err(error @ BackendError::UnknownToken { .. }) => Ok(Asked::Unknown(error.to_string())),
        Err(error @ BackendError::Unsupported { .. }) => Ok(Asked::Silent(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// Where a passage stands.
fn place(start: &Start) -> String {
    format!("document {:?} at offset {}", start.doc_id, start.offset)
}

/// Whether two tokenizers give the same text to the same ids. Servers tidy spaces, and show half characters differently.
fn same_text(
    corpus: &dyn TextTokenizer,
    model: &dyn TextTokenizer,
    sample: &[&Start],
) -> Result<Finding, AuditError> {
    let (mut other, mut first, mut characters) = (0, None, 0);
    for start in sample {
        let mut texts = Vec::new();
        for tokenizer in [corpus, model] {
            match asked(tokenizer.decode(passage(start)))? {
                Asked::Given(text) => texts.push(text),
                Asked::Unknown(reason) => {
                    return Ok(Err(Mismatch::new(format!("{}: {reason}", place(start)))));
                }
                Asked::Silent(reason) => return Ok(Ok(TokenCheck::new(TokensOutcome::NotCompared, reason))),
            }
        }
        let [ours, theirs] = [0, 1].map(|i| comparable(&texts[i]));
        characters += ours.len();
        if ours != theirs {
            other += 1;
            first = first.or_else(|| Some((*start, differing(&ours, &theirs))));
        }
    }
    Ok(match first {
        _ if characters == 0 => Ok(TokenCheck::new(TokensOutcome::NotCompared, "the sample has no text")),
        None => {
            let detail = format!("both give the same text to {} passages", sample.len());
            Ok(TokenCheck::new(TokensOutcome::SameText, detail))
        }
        Some((start, texts)) => Err(Mismatch {
            detail: format!(
                "they give another text to {other} of {} passages, first to {}",
                sample.len(),
                place(start)
            ),
            texts: Some(texts),
        }),
    })
}

/// The characters of a text that every way of decoding gives.
fn comparable(text: &str) -> Vec<char> {
    let lost = |c: &char| c.is_whitespace() || *c == char::REPLACEMENT_CHARACTER;
    text.chars().filter(|c| !lost(c)).collect()
}

/// Both texts from where they differ on.
fn differing(a: &[char], b: &[char]) -> (String, String) {
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let shown = |text: &[char]| text[same.min(text.len())..].iter().take(SHOWN).collect();
    (shown(a), shown(b))
}

/// Whether ids come back when the model's tokenizer encodes the text that a tokenizer gives them.
fn round_trip(
    decodes: &dyn TextTokenizer,
    model: &dyn TextTokenizer,
    sample: &[&Start],
) -> Result<Finding, AuditError> {
    let (mut came_back, mut tokens) = (0, 0);
    let mut worst: Option<(usize, &Start)> = None;
    for start in sample {
        let ids = passage(start);
        let text = match asked(decodes.decode(ids))? {
            Asked::Given(text) => text,
            Asked::Unknown(reason) => return Ok(Err(Mismatch::new(format!("{}: {reason}", place(start))))),
            Asked::Silent(reason) => return Ok(Ok(TokenCheck::new(TokensOutcome::NotCompared, reason))),
        };
        let again = match asked(model.encode(&text))? {
            Asked::Given(again) => again,
            Asked::Unknown(reason) | Asked::Silent(reason) => {
                return Ok(Ok(TokenCheck::new(TokensOutcome::NotCompared, reason)));
            }
        };
        let ends = ENDS.min(ids.len() / 4);
        let inner = &ids[ends..ids.len() - ends];
        let found = common_subsequence(inner, &again);
        came_back += found;
        tokens += inner.len();
        let lost = inner.len() - found;
        if lost > 0 && worst.is_none_or(|(most, _)| lost > most) {
            worst = Some((lost, start));
        }
    }
    if tokens < FEWEST_TOKENS {
        let detail = format!("a sample of {tokens} tokens is too small");
        return Ok(Ok(TokenCheck::new(TokensOutcome::NotCompared, detail)));
    }
    let detail = format!(
        "when {} passages are decoded and the model's tokenizer encodes their text, {came_back} of {tokens} ids come back",
        sample.len()
    );
    Ok(match worst {
        Some((lost, start)) if (came_back as f64) < COME_BACK * tokens as f64 => {
            let detail = format!("{detail}, and nearly all of its own would; {} loses {lost}", place(start));
            Err(Mismatch::new(detail))
        }
        _ => Ok(TokenCheck::new(TokensOutcome::RoundTrip, detail)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{Grid, ProbeCounts, Set};

    /// One character an id, some letters further on, and "ab" as one id.
    struct Letters {
        shift: u32,
    }

    const MERGED: u32 = 26;

    impl TextTokenizer for Letters {
        fn decode(&self, ids: &[u32]) -> Result<String, BackendError> {
            let letter = |id: u32| char::from(b'a' + ((id + self.shift) % 26) as u8);
            let piece = |id: &u32| match *id {
                id if id < MERGED => Ok(letter(id).to_string()),
                MERGED => Ok("ab".into()),
                id => Err(BackendError::UnknownToken { backend: "it".into(), id, vocab_size: 27 }),
            };
            ids.iter().map(piece).collect()
        }

        fn encode(&self, text: &str) -> Result<Vec<u32>, BackendError> {
            let id = |c: char| (u32::from(c) - u32::from('a') + 26 - self.shift) % 26;
            let merged = text.replace("ab", "_");
            Ok(merged.chars().map(|c| if c == '_' { MERGED } else { id(c) }).collect())
        }
    }

    fn table(documents: &[&[u32]]) -> ProbeTable {
        let start = |(number, ids): (usize, &&[u32])| Start {
            document: number as u64,
            doc_id: format!("d{number}"),
            stratum: String::new(),
            document_tokens: ids.len() as u64,
            offset: 0,
            before: Vec::new(),
            ids: ids.to_vec(),
            mask: None,
            copies: 1,
            clusters: Vec::new(),
        };
        let grid = Grid::new(vec![0], None, vec![20], vec![20]).unwrap();
        let starts = documents.iter().enumerate().map(start).collect();
        ProbeTable::new(Set::Audited, starts, &grid, ProbeCounts::default())
    }

    fn name(sha256: &str, vocab_size: u32) -> TokenizerName {
        TokenizerName { sha256: sha256.into(), vocab_size }
    }

    fn check(
        corpus: Option<(&TokenizerName, u32)>,
        model: Option<(Option<&TokenizerName>, u32)>,
        said: Option<&TokenizerName>,
        tokenized: bool,
        documents: &[&[u32]],
    ) -> Result<TokenCheck, AuditError> {
        let [of_corpus, of_model] =
            [corpus.map_or(0, |(_, shift)| shift), model.map_or(0, |(_, shift)| shift)]
                .map(|shift| Letters { shift });
        let tokenizers = Tokenizers {
            corpus: corpus.map(|(name, _)| KnownTokenizer { name: Some(name), tokenizer: &of_corpus }),
            model: model.map(|(name, _)| KnownTokenizer { name, tokenizer: &of_model }),
            vocab_size: Some(30),
        };
        let tokens = [DocumentTokens { name: said.cloned(), tokenized }];
        check_tokens(&tokenizers, &[(&tokens, &table(documents))], false)
    }

    #[test]
    fn files_decide_first_then_texts() {
        let (a, b, large) = (name("aa", 27), name("bb", 27), name("cc", 31));
        let ids: Vec<u32> = (0..40).map(|i| i * 7 % 26).collect();
        let of = |corpus, model, said| check(corpus, model, said, true, &[&ids]);
        let same = of(None, Some((Some(&a), 0)), Some(&a)).unwrap();
        assert_eq!((same.outcome, same.note()), (TokensOutcome::SameFile, None));
        assert_eq!((same.corpus.as_deref(), same.model.as_deref()), (Some("aa"), Some("aa")));
        let refused = of(None, Some((Some(&a), 0)), Some(&b)).unwrap_err().to_string();
        assert!(refused.contains("tokenizer bb (27 ids), the model tokenizer aa (27 ids)"), "{refused}");
        let text = of(Some((&b, 0)), Some((Some(&a), 0)), Some(&b)).unwrap();
        assert_eq!(text.outcome, TokensOutcome::SameText);
        assert!(text.note().unwrap().contains("same text to 1 passages"), "{text:?}");
        let refused = of(Some((&b, 3)), Some((Some(&a), 0)), Some(&b)).unwrap_err().to_string();
        assert!(refused.contains("document \"d0\" at offset 0") && refused.contains("\"dkr"), "{refused}");
        // "ab" is two ids for the corpus's, and one for the model's.
        let mut apart = ids.clone();
        apart[10..12].copy_from_slice(&[0, 1]);
        let refused = check(Some((&b, 0)), Some((Some(&a), 0)), Some(&b), true, &[&apart]).unwrap_err();
        assert!(refused.to_string().contains("30 of 32 ids come back"), "{refused}");
        // A server has no file, but a tokenizer; and a model that has neither may have too few ids.
        assert_eq!(of(Some((&b, 0)), Some((None, 0)), Some(&b)).unwrap().outcome, TokensOutcome::SameText);
        assert!(of(Some((&b, 1)), Some((None, 0)), Some(&b)).is_err());
        assert_eq!(of(None, None, Some(&b)).unwrap().outcome, TokensOutcome::NotCompared);
        assert!(of(None, None, Some(&large)).unwrap_err().to_string().contains("has 30 token ids"));
    }

    #[test]
    fn ids_without_a_name_must_come_back() {
        let a = name("aa", 27);
        let ids: Vec<u32> = (0..40).map(|i| i * 7 % 26).collect();
        let unnamed = |ids: &[u32]| check(None, Some((Some(&a), 0)), None, false, &[ids, ids]);
        let found = unnamed(&ids).unwrap();
        assert_eq!((found.outcome, found.note()), (TokensOutcome::RoundTrip, None));
        assert!(found.detail.contains("64 of 64 ids come back"), "{}", found.detail);
        // In a tokenizer without the merge, "ab" is two ids, which this one never makes.
        let mut other = ids.clone();
        other[10..12].copy_from_slice(&[0, 1]);
        let refused = unnamed(&other).unwrap_err().to_string();
        assert!(refused.contains("60 of 64") && refused.contains("ids that name no tokenizer"), "{refused}");
        other[10] = 29;
        assert!(unnamed(&other).unwrap_err().to_string().contains("token id 29"));
        // What a manifest says of ids that this program didn't make is checked in the same way.
        let said = |ids: &[u32]| check(None, Some((Some(&a), 0)), Some(&a), false, &[ids, ids]);
        assert_eq!(said(&ids).unwrap().outcome, TokensOutcome::RoundTrip);
        assert!(said(&other).is_err());
        // At the ends anything may come.
        let mut cut = ids.clone();
        cut[..2].copy_from_slice(&[0, 1]);
        assert_eq!(unnamed(&cut).unwrap().outcome, TokensOutcome::RoundTrip);
        assert_eq!(unnamed(&ids[..20]).unwrap().outcome, TokensOutcome::NotCompared);
    }

    #[test]
    fn the_least_sure_set_counts_and_a_mismatch_may_be_allowed() {
        let (a, b) = (name("aa", 27), name("bb", 27));
        let ids: Vec<u32> = (0..40).map(|i| i * 7 % 26).collect();
        let table = table(&[&ids]);
        let letters = Letters { shift: 0 };
        let model = KnownTokenizer { name: Some(&a), tokenizer: &letters };
        let tokenizers = Tokenizers { corpus: None, model: Some(model), vocab_size: None };
        let tokens = |name: &TokenizerName| [DocumentTokens { name: Some(name.clone()), tokenized: true }];
        let (own, other) = (tokens(&a), tokens(&b));
        let sets = [(own.as_slice(), &table), (other.as_slice(), &table)];
        assert!(check_tokens(&tokenizers, &sets[..1], false).is_ok());
        assert!(check_tokens(&tokenizers, &sets, false).is_err());
        let allowed = check_tokens(&tokenizers, &sets, true).unwrap();
        assert_eq!(allowed.outcome, TokensOutcome::MismatchAllowed);
        assert_eq!((allowed.corpus.as_deref(), allowed.model.as_deref()), (Some("bb"), Some("aa")));
        assert!(allowed.note().unwrap().contains("tokenizer bb"), "{allowed:?}");
        assert_eq!(check_tokens(&tokenizers, &[], false).unwrap(), TokenCheck::default());
    }
}
