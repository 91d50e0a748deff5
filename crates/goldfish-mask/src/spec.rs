use std::fmt;

use crate::options::{FromOptions, RuleOption, RuleOptions};
use crate::rules::{
    Anchor, CoefficientSum, Hash, HashAvalanche, HashTable, NoRule, Random, Static, Text, TextV1,
};
use crate::window_keys::WindowKeys;
use crate::{Coverage, MaskError, MaskRule, RuleDefinition, UniformTable};

/// Which tokens belong together: no window crosses the end of a document or packed sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "name", rename_all = "kebab-case")
)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum Scope {
    /// Each document on its own.
    #[default]
    Document,
    /// Packed sequences: documents are joined in input order; block `b` decides the tokens
    /// `b * length + 1 ..= (b + 1) * length` of the whole stream, the targets of one training sequence.
    Sequence {
        /// Targets in one block, in tokens.
        length: u32,
    },
}

/// The one list of rules: for each its documentation as an option, its name in options, and its name in manifests.
macro_rules! rules {
    ($($(#[$attribute:meta])+ $rule:ident: $option:literal, $name:literal;)*) => {
        /// A rule and its parameters. One token in `k` is dropped, by `none` no token; windows and contexts count tokens, except
        /// for `text-v2`, which counts words, and `text-v1`, which counts normalized characters.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(tag = "name"))]
        #[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
        #[non_exhaustive]
        #[allow(missing_docs, reason = "the structs of parameters are documented")]
        pub enum RuleParameters { $(#[cfg_attr(feature = "serde", serde(rename = $name))] $rule($rule),)* }

        impl RuleParameters {
            /// What the rule is.
            #[must_use]
            pub fn definition(&self) -> &dyn RuleDefinition {
                match self { $(Self::$rule(rule) => rule,)* }
            }
        }

        $(impl From<$rule> for RuleParameters {
            fn from(rule: $rule) -> Self {
                Self::$rule(rule)
            }
        })*

        /// The rules by the names that options have for them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
        #[cfg_attr(feature = "serde", derive(serde::Deserialize))]
        #[non_exhaustive]
        pub enum RuleName {
            $(
                $(#[$attribute])+
                #[cfg_attr(feature = "serde", serde(rename = $option))]
                $rule,
            )*
        }

        impl RuleName {
            /// Every rule.
            pub const ALL: &[Self] = &[$(Self::$rule,)*];

            /// Which of the [`RuleOption`]s the rule has.
            #[must_use]
            pub fn options(self) -> &'static [RuleOption] {
                match self { $(Self::$rule => $rule::OPTIONS,)* }
            }

            /// The rule's parameters, with its defaults where options are not given.
            ///
            /// # Errors
            ///
            /// If an option without a default is missing. Values out of range are found when the rule is built.
            pub fn parameters(self, options: &RuleOptions) -> Result<RuleParameters, MaskError> {
                match self { $(Self::$rule => $rule::from_options(options).map(Into::into),)* }
            }

        }

        impl fmt::Display for RuleName {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$rule => $option,)* })
            }
        }
    };
}

rules! {
    /// Whole words by two of the words before them: copies lose the same words, however they are formatted and tokenized, and
    /// most of them where words were edited. Keeps no long run. For new runs.
    #[cfg_attr(feature = "clap", value(alias = "text-v2"))]
    Text: "text", "text-v2";
    /// Tokens by two of the tokens before them: copies with the same tokens lose the same ones, and most of them after edits.
    /// Keeps no long run. For new runs on token ids alone.
    Anchor: "anchor", "anchor";
    /// Whole words by the 50 letters before them: the first version of text.
    TextV1: "text-v1", "text-v1";
    /// xxh3 of the window of token ids: copies with the same tokens lose the same ones.
    Hash: "hash", "hash";
    /// Every k-th token: copies at other offsets lose other tokens. A baseline of the paper.
    Static: "static", "static";
    /// A coin a token, different in every document: copies differ on purpose. A baseline of the paper.
    Random: "random", "random";
    /// The reference implementation's default, to the bit. For matching an existing run.
    HashTable: "hash-table", "hash-table";
    /// The reference implementation's other hash, to the bit.
    HashAvalanche: "hash-avalanche", "hash-avalanche";
    /// The order-aware successor in swiss-ai/Megatron-LM-MoE, to the bit; needs its coefficients.
    CoefficientSum: "coefficient-sum", "coefficient-sum";
    /// Keeps every token: the standard loss.
    #[cfg_attr(feature = "clap", value(name = "none"))]
    NoRule: "none", "none";
}

/// The full description of a rule: what a manifest stores and what a mask is recomputed from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct RuleSpec {
    /// Version of the rule's definition; a change of any decision raises it.
    pub version: u32,
    /// The rule and its parameters.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub parameters: RuleParameters,
}

impl RuleSpec {
    /// Describes a rule at the version that this build implements.
    ///
    /// ```
    /// use goldfish_mask::{RuleSpec, ShortContext, rules::Hash};
    ///
    /// let defaults = RuleSpec::hash(4);
    /// let other = RuleSpec::new(Hash::new(4).context(20).short_context(ShortContext::Short));
    /// assert_eq!((defaults.context(), other.context()), (Some(13), Some(20)));
    /// ```
    #[must_use]
    pub fn new(parameters: impl Into<RuleParameters>) -> Self {
        let parameters = parameters.into();
        Self { version: parameters.definition().version(), parameters }
    }

    /// The rule [`Text`] with its defaults: for new runs on text.
    #[must_use]
    pub fn text(k: u32) -> Self {
        Self::new(Text::new(k))
    }

    /// The rule [`Anchor`] with its defaults: for new runs on token ids without their text.
    #[must_use]
    pub fn anchor(k: u32) -> Self {
        Self::new(Anchor::new(k))
    }

    /// The rule [`struct@Hash`] with its defaults.
    #[must_use]
    pub fn hash(k: u32) -> Self {
        Self::new(Hash::new(k))
    }

    /// What the rule is, at the version that this build implements.
    #[must_use]
    pub fn definition(&self) -> &dyn RuleDefinition {
        self.parameters.definition()
    }

    /// See [`RuleDefinition::name`].
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.definition().name()
    }

    /// Its name, and `k` if it has one.
    #[must_use]
    pub fn in_short(&self) -> String {
        match self.k() {
            Some(k) => format!("{}, k {k}", self.name()),
            None => self.name().to_owned(),
        }
    }

    /// See [`RuleDefinition::k`].
    #[must_use]
    pub fn k(&self) -> Option<u32> {
        self.definition().k()
    }

    /// See [`RuleDefinition::rate`].
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.definition().rate()
    }

    /// See [`RuleDefinition::context`].
    #[must_use]
    pub fn context(&self) -> Option<u32> {
        self.definition().context()
    }

    /// See [`RuleDefinition::is_reference`].
    #[must_use]
    pub fn is_reference(&self) -> bool {
        self.definition().is_reference()
    }

    /// See [`RuleDefinition::window_keys`].
    #[must_use]
    pub fn window_keys(&self) -> Option<WindowKeys<'_>> {
        self.definition().window_keys()
    }

    /// See [`RuleDefinition::build`].
    ///
    /// # Errors
    ///
    /// As there, or if this build implements another version.
    pub fn build(&self, table: Option<&UniformTable>) -> Result<Box<dyn MaskRule>, MaskError> {
        self.current()?.build(table)
    }

    /// See [`RuleDefinition::build_coverage`].
    ///
    /// # Errors
    ///
    /// As there, or if this build implements another version.
    pub fn build_coverage(&self, coverage: Coverage) -> Result<Box<dyn MaskRule>, MaskError> {
        self.current()?.build_coverage(coverage)
    }

    /// The definition, if it is the one described.
    fn current(&self) -> Result<&dyn RuleDefinition, MaskError> {
        let definition = self.definition();
        let known = definition.version();
        if self.version != known {
            return Err(MaskError::Version { version: self.version, known });
        }
        Ok(definition)
    }
}
