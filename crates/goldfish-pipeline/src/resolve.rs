//! From the options of a front end to a rule with everything that it needs.

use std::fmt;
use std::sync::Arc;

use goldfish_corpus::{Content, Input};
use goldfish_mask::{
    Granularity, LongestRunOption, MaskError, RuleName, RuleOption, RuleOptions, RuleSpec, Scope,
    ShortContext, TableSource, UniformTable, Window,
};
use goldfish_remedy::{Remedies, Remedy, Setting};
use goldfish_tokenize::{TokenizeError, Tokenizer};

use crate::error::mask_remedies;
use crate::job::TokenizeOptions;

/// Column of raw text unless another is named.
const TEXT_COLUMN: &str = "text";

/// Column of token ids unless another is named.
const IDS_COLUMN: &str = "input_ids";

/// The scopes by name; [`Scope`] has the length of sequences too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[allow(missing_docs, reason = "as in `Scope`")]
pub enum ScopeName {
    #[default]
    Document,
    Sequence,
}

/// What documents are given as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DocumentKind {
    /// Raw text, which is tokenized.
    Text,
    /// Token ids.
    Ids,
    /// Whatever comes, one by one.
    #[default]
    Either,
}

impl From<&Content> for DocumentKind {
    fn from(content: &Content) -> Self {
        match content {
            Content::Text { .. } => Self::Text,
            Content::Ids { .. } => Self::Ids,
        }
    }
}

/// The options that decide masks, as a front end gets them.
#[derive(Clone)]
#[expect(missing_docs, reason = "the front ends document them")]
pub struct MaskOptions {
    pub documents: DocumentKind,
    pub tokenizer: Option<Arc<Tokenizer>>,
    pub prepend_bos: bool,
    pub append_eos: bool,
    pub bos_id: Option<u32>,
    pub eos_id: Option<u32>,
    pub rule: Option<RuleName>,
    pub k: u32,
    pub context: Option<u32>,
    pub granularity: Option<Granularity>,
    pub window: Option<Window>,
    pub short_context: ShortContext,
    /// The most words or tokens in a row that are kept, for the rules that have a bound.
    pub longest_run: Option<LongestRunOption>,
    pub seed: u64,
    pub start: u64,
    pub table: Option<UniformTable>,
    pub coefficients: Option<Vec<i64>>,
    pub scope: ScopeName,
    pub sequence_length: Option<u32>,
    pub exempt_special: Option<bool>,
    /// Whether the documents are only one of several parts of a corpus.
    pub divided: bool,
}

impl Default for MaskOptions {
    fn default() -> Self {
        Self {
            documents: DocumentKind::Either,
            tokenizer: None,
            prepend_bos: false,
            append_eos: false,
            bos_id: None,
            eos_id: None,
            rule: None,
            k: 4,
            context: None,
            granularity: None,
            window: None,
            short_context: ShortContext::Keep,
            longest_run: None,
            seed: 0,
            start: 0,
            table: None,
            coefficients: None,
            scope: ScopeName::Document,
            sequence_length: None,
            exempt_special: None,
            divided: false,
        }
    }
}

/// Options with every default filled in.
#[derive(Clone)]
pub struct ResolvedMask {
    /// The rule.
    pub rule: RuleSpec,
    /// Why the rule was chosen, where none was named.
    pub reason: Option<RuleReason>,
    /// The table from a file that the rule names, if it names one.
    pub table: Option<UniformTable>,
    /// What windows may cross.
    pub scope: Scope,
    /// Ids that are never dropped, in ascending order.
    pub exempt_ids: Vec<u32>,
    /// The tokenizer with the ends that it puts around raw text.
    pub tokenize: Option<TokenizeOptions>,
    /// The end-of-sequence id, given or the tokenizer's, whether or not it is appended.
    pub eos_id: Option<u32>,
}

/// Why a rule was chosen where none was named.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RuleReason {
    /// The rule text decides documents only.
    PackedSequences,
    /// A window was given, which the rule hash has.
    Window,
    /// The text is given.
    RawText,
    /// The text of ids is not available.
    IdsAlone,
    /// The tokenizer gives the text of ids exactly.
    TextOfIds,
    /// The tokenizer has one id for all words that it does not know.
    LossyTokenizer,
    /// The tokenizer does not give the text of ids exactly.
    InexactText {
        /// What it changes.
        problem: String,
    },
}

impl fmt::Display for RuleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PackedSequences => "packed sequences are decided by their tokens",
            Self::Window => "a window was given, which is an option of it",
            Self::RawText => "the inputs are raw text",
            Self::IdsAlone => "the inputs are token ids without a tokenizer that gives their text",
            Self::TextOfIds => "the tokenizer gives the text of the ids",
            Self::LossyTokenizer => "the tokenizer loses the text of words that it does not know",
            Self::InexactText { problem } => {
                return write!(f, "the tokenizer does not give the text of ids exactly: {problem}");
            }
        })
    }
}

/// One of the two special tokens around a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the beginning-of-sequence and the end-of-sequence token")]
pub enum SequenceToken {
    Bos,
    Eos,
}

impl SequenceToken {
    fn name(self) -> &'static str {
        match self {
            Self::Bos => "beginning-of-sequence",
            Self::Eos => "end-of-sequence",
        }
    }

    fn id(self) -> Setting {
        match self {
            Self::Bos => Setting::BosId,
            Self::Eos => Setting::EosId,
        }
    }

    fn insertion(self) -> Setting {
        match self {
            Self::Bos => Setting::PrependBos,
            Self::Eos => Setting::AppendEos,
        }
    }
}

/// Why options can't be resolved: they contradict each other, or something is missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// Text can't be tokenized.
    #[error("raw text needs a tokenizer")]
    TextWithoutTokenizer,
    /// Memmaps and raw text are given together.
    #[error("memmaps hold token ids, the other inputs raw text; mask them separately")]
    MixedInputs,
    /// A token is to be put around token ids.
    #[error("token ids are masked as they are; the {} token is added to raw text only", token.name())]
    TokenAroundIds {
        /// The token.
        token: SequenceToken,
    },
    /// A token is to be put around raw text, but there is no tokenizer.
    #[error("the {} token is added to raw text, which needs a tokenizer", token.name())]
    TokenWithoutTokenizer {
        /// The token.
        token: SequenceToken,
    },
    /// The tokenizer has no such token.
    #[error("the tokenizer names no {} token", token.name())]
    UnknownToken {
        /// The token.
        token: SequenceToken,
    },
    /// An id is none of the tokenizer's.
    #[error("the {} id {id} is not in the tokenizer's vocabulary of {vocab_size}", token.name())]
    NotInVocabulary {
        /// The token.
        token: SequenceToken,
        /// The id given.
        id: u32,
        /// Number of ids of the tokenizer.
        vocab_size: u32,
    },
    /// An option belongs to other rules.
    #[error("the rule is {rule}, but {} is an option of {} only", setting.name(), list(rules))]
    Misplaced {
        /// The option.
        setting: Setting,
        /// The rule.
        rule: RuleName,
        /// The rules that have the option.
        rules: Vec<RuleName>,
    },
    /// The rule refuses the options.
    #[error(transparent)]
    Rule(#[from] MaskError),
    /// Special tokens are to be exempt, but none are known.
    #[error("special tokens are to be exempt, but which tokens are special is unknown")]
    NothingToExempt,
    /// A sequence length was given for documents.
    #[error("a sequence length was given, but no packed sequences are masked")]
    LengthOfDocuments,
    /// Packed sequences have no length.
    #[error("packed sequences need their length, in targets of one training sequence")]
    NoSequenceLength,
    /// Packed sequences of one part of a corpus.
    #[error(
        "packed sequences can't be divided: where they start depends on all documents before them; mask on one machine, \
         or mask each file separately"
    )]
    DividedSequences,
}

impl Remedies for ResolveError {
    fn remedies(&self) -> Vec<Remedy> {
        match self {
            Self::TextWithoutTokenizer => {
                vec![Remedy::give(Setting::Tokenizer), Remedy::give(Setting::IdsColumn).to("read token ids")]
            }
            Self::MixedInputs => vec![Remedy::give(Setting::IdsColumn)],
            Self::TokenAroundIds { token } => vec![Remedy::omit(token.insertion())],
            Self::TokenWithoutTokenizer { token } => {
                vec![Remedy::give(Setting::Tokenizer), Remedy::omit(token.insertion())]
            }
            Self::UnknownToken { token } => vec![Remedy::give(token.id())],
            Self::NotInVocabulary { token, .. } => vec![Remedy::change(token.id())],
            Self::Misplaced { setting, rules, .. } => {
                let rules = rules.iter().map(|rule| Remedy::give(Setting::Rule).value(rule.to_string()));
                std::iter::once(Remedy::omit(*setting)).chain(rules).collect()
            }
            Self::Rule(error) => mask_remedies(error),
            Self::NothingToExempt => vec![
                Remedy::give(Setting::Tokenizer),
                Remedy::give(Setting::EosId).and(Setting::BosId),
                Remedy::omit(Setting::ExemptSpecial),
            ],
            Self::LengthOfDocuments => {
                vec![Remedy::give(Setting::Scope).value("sequence"), Remedy::omit(Setting::SequenceLength)]
            }
            Self::NoSequenceLength => vec![Remedy::give(Setting::SequenceLength)],
            Self::DividedSequences => vec![Remedy::omit(Setting::Rank).and(Setting::World)],
        }
    }
}

fn list(rules: &[RuleName]) -> String {
    rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

impl MaskOptions {
    /// Checks the options against each other and fills in the defaults.
    ///
    /// # Errors
    ///
    /// If options contradict each other, or one is missing. Values that a rule refuses are found when it is built.
    pub fn resolve(self) -> Result<ResolvedMask, ResolveError> {
        if self.documents == DocumentKind::Text && self.tokenizer.is_none() {
            return Err(ResolveError::TextWithoutTokenizer);
        }
        let (_, prepend_bos) = self.token(SequenceToken::Bos)?;
        let (eos_id, append_eos) = self.token(SequenceToken::Eos)?;
        let (name, reason) = match self.rule {
            Some(name) => (name, None),
            None => {
                let (name, reason) = self.default_rule();
                (name, Some(reason))
            }
        };
        self.check_placement(name)?;
        let scope = self.scope()?;
        let exempt_special = self.exempt_special;
        let given = [self.bos_id, self.eos_id];
        let tokenize = self.tokenizer.clone();
        let tokenize = tokenize.map(|tokenizer| TokenizeOptions { tokenizer, prepend_bos, append_eos });
        let (rule, table) = self.rule(name)?;
        let tokenizer = tokenize.as_ref().map(|options| &*options.tokenizer);
        let exempt_ids = exempt_ids(&rule, tokenizer, exempt_special, given);
        if exempt_special == Some(true) && exempt_ids.is_empty() {
            return Err(ResolveError::NothingToExempt);
        }
        Ok(ResolvedMask { rule, reason, table, scope, exempt_ids, tokenize, eos_id })
    }

    /// The id of a token, and the same if it is to be added to documents.
    fn token(&self, token: SequenceToken) -> Result<(Option<u32>, Option<u32>), ResolveError> {
        let tokenizer = self.tokenizer.as_deref();
        let (added, given, own): (_, _, fn(&Tokenizer) -> Option<u32>) = match token {
            SequenceToken::Bos => (self.prepend_bos, self.bos_id, Tokenizer::bos_id),
            SequenceToken::Eos => (self.append_eos, self.eos_id, Tokenizer::eos_id),
        };
        if added && self.documents == DocumentKind::Ids {
            return Err(ResolveError::TokenAroundIds { token });
        }
        if added && tokenizer.is_none() {
            return Err(ResolveError::TokenWithoutTokenizer { token });
        }
        if let (Some(id), Some(vocab_size)) = (given, tokenizer.map(Tokenizer::vocab_size))
            && id >= vocab_size
        {
            return Err(ResolveError::NotInVocabulary { token, id, vocab_size });
        }
        let id = given.or(tokenizer.and_then(own));
        if added && id.is_none() {
            return Err(ResolveError::UnknownToken { token });
        }
        Ok((id, id.filter(|_| added)))
    }

    /// The rule where none is named: text wherever the text is available.
    fn default_rule(&self) -> (RuleName, RuleReason) {
        if self.scope == ScopeName::Sequence {
            return (RuleName::Hash, RuleReason::PackedSequences);
        }
        if self.window.is_some() {
            return (RuleName::Hash, RuleReason::Window);
        }
        if self.documents == DocumentKind::Text {
            return (RuleName::Text, RuleReason::RawText);
        }
        let Some(tokenizer) = &self.tokenizer else { return (RuleName::Anchor, RuleReason::IdsAlone) };
        match tokenizer.text_map() {
            Ok(map) if map.is_lossless() => (RuleName::Text, RuleReason::TextOfIds),
            Ok(_) => (RuleName::Anchor, RuleReason::LossyTokenizer),
            Err(TokenizeError::NoText { problem, .. }) => {
                (RuleName::Anchor, RuleReason::InexactText { problem })
            }
            Err(error) => (RuleName::Anchor, RuleReason::InexactText { problem: error.to_string() }),
        }
    }

    fn check_placement(&self, rule: RuleName) -> Result<(), ResolveError> {
        let given = [
            (Setting::Unit, RuleOption::Granularity, self.granularity.is_some()),
            (Setting::Window, RuleOption::Window, self.window.is_some()),
            (Setting::LongestRun, RuleOption::LongestRun, self.longest_run.is_some()),
            (Setting::Table, RuleOption::Table, self.table.is_some()),
            (Setting::Coefficients, RuleOption::Coefficients, self.coefficients.is_some()),
        ];
        let misplaced = given.iter().find(|(_, option, given)| *given && !rule.options().contains(option));
        match misplaced {
            None => Ok(()),
            Some(&(setting, option, _)) => {
                let rules = RuleName::ALL.iter().copied().filter(|rule| rule.options().contains(&option));
                Err(ResolveError::Misplaced { setting, rule, rules: rules.collect() })
            }
        }
    }

    fn scope(&self) -> Result<Scope, ResolveError> {
        match (self.scope, self.sequence_length) {
            (ScopeName::Sequence, _) if self.divided => Err(ResolveError::DividedSequences),
            (ScopeName::Document, None) => Ok(Scope::Document),
            (ScopeName::Document, Some(_)) => Err(ResolveError::LengthOfDocuments),
            (ScopeName::Sequence, Some(length)) => Ok(Scope::Sequence { length }),
            (ScopeName::Sequence, None) => Err(ResolveError::NoSequenceLength),
        }
    }

    fn rule(self, name: RuleName) -> Result<(RuleSpec, Option<UniformTable>), ResolveError> {
        let options = RuleOptions {
            k: self.k,
            context: self.context,
            granularity: self.granularity,
            window: self.window,
            short_context: self.short_context,
            longest_run: self.longest_run,
            seed: self.seed,
            start: self.start,
            table: self.table.as_ref().map(|table| TableSource::File(table.fingerprint())),
            coefficients: self.coefficients,
        };
        Ok((RuleSpec::new(name.parameters(&options)?), self.table))
    }
}

/// Which column of the inputs holds what: the named one, else text if there is a tokenizer and ids if not.
///
/// # Errors
///
/// [`ResolveError::MixedInputs`] if raw text is to be read from memmaps.
pub fn resolve_content(
    text_column: Option<String>,
    ids_column: Option<String>,
    inputs: &[Input],
    has_tokenizer: bool,
) -> Result<Content, ResolveError> {
    let memmaps = inputs.iter().filter(|input| input.format.is_memmap()).count();
    let is_text = text_column.is_some() || ids_column.is_none() && memmaps < inputs.len() && has_tokenizer;
    if is_text && memmaps > 0 {
        return Err(ResolveError::MixedInputs);
    }
    Ok(if is_text {
        Content::Text { column: text_column.unwrap_or_else(|| TEXT_COLUMN.into()) }
    } else {
        Content::Ids { column: ids_column.unwrap_or_else(|| IDS_COLUMN.into()) }
    })
}

/// Which ids a rule never drops, in ascending order: the tokenizer's special tokens and the ends of documents, which are
/// `given` or else the tokenizer's. `exempt_special` is what was asked for: `None` for yes unless the rule reproduces
/// another implementation.
#[must_use]
pub fn exempt_ids(
    rule: &RuleSpec,
    tokenizer: Option<&Tokenizer>,
    exempt_special: Option<bool>,
    given: [Option<u32>; 2],
) -> Vec<u32> {
    if !exempt_special.unwrap_or(!rule.is_reference()) {
        return Vec::new();
    }
    let [bos, eos] = given;
    let mut exempt = tokenizer.map_or_else(Vec::new, |tokenizer| tokenizer.special_ids().to_vec());
    exempt.extend(bos.or_else(|| tokenizer?.bos_id()));
    exempt.extend(eos.or_else(|| tokenizer?.eos_id()));
    exempt.sort_unstable();
    exempt.dedup();
    exempt
}
