//! What to do about an error, as data.
//!
//! A library doesn't know how its options are spelled: the program calls one `--max-document`, Python `max_document`. So
//! an error says what happened, and gives its [`Remedy`]s as values; the front end renders them.
//!
//! ```
//! use goldfish_remedy::{Remedy, Setting, advice};
//!
//! let remedies = [
//!     Remedy::give(Setting::Resume).to("resume after the last finished shard"),
//!     Remedy::change(Setting::Output),
//! ];
//! let flag = |setting: Setting| format!("--{}", setting.name().replace('_', "-"));
//! assert_eq!(
//!     advice(&remedies, flag).unwrap(),
//!     "give --resume to resume after the last finished shard, or choose another --output"
//! );
//! assert_eq!(advice(&[Remedy::omit(Setting::Carry)], |setting| setting.name().into()).unwrap(), "leave out carry");
//! ```

macro_rules! options {
    ($($option:ident $name:literal,)*) => {
        /// An option of a run.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[expect(missing_docs, reason = "the names of options, which their front ends document")]
        pub enum Setting { $($option,)* }

        impl Setting {
            /// Every option.
            pub const ALL: &[Self] = &[$(Self::$option,)*];

            /// The name in `snake_case`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$option => $name,)* }
            }
        }
    };
}

options! {
    AllowTokenizerMismatch "allow_tokenizer_mismatch",
    AppendEos "append_eos",
    BosId "bos_id",
    By "by",
    Carry "carry",
    Coefficients "coefficients",
    Columns "columns",
    Context "context",
    EosId "eos_id",
    ExemptSpecial "exempt_special",
    Format "format",
    From "from",
    Head "head",
    IdColumn "id_column",
    IdsColumn "ids_column",
    IdsDtype "ids_dtype",
    IgnoreMasks "ignore_masks",
    K "k",
    LabelsColumn "labels_column",
    Longest "longest",
    LongestRun "longest_run",
    MaskColumn "mask_column",
    MasksOnly "masks_only",
    MaxDocument "max_document",
    MemoryWindow "memory_window",
    Metrics "metrics",
    Offset "offset",
    Limit "limit",
    OnError "on_error",
    OnNull "on_null",
    Move "move",
    Output "output",
    OutputFormat "output_format",
    Overwrite "overwrite",
    Policy "policy",
    Prefix "prefix",
    PrependBos "prepend_bos",
    Random "random",
    RandomAsLongest "random_as_longest",
    Rank "rank",
    Resume "resume",
    Rule "rule",
    Scope "scope",
    Seed "seed",
    SequenceLength "sequence_length",
    Server "server",
    ShardSize "shard_size",
    SpecialInText "special_in_text",
    Start "start",
    Suffix "suffix",
    Table "table",
    Temperature "temperature",
    TextColumn "text_column",
    Threads "threads",
    Tokenizer "tokenizer",
    Unit "unit",
    VocabSize "vocab_size",
    Window "window",
    WordsFrom "words_from",
    World "world",
}

/// What to do with an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Give,
    Omit,
    Change,
    Keep,
}

/// One thing that a user can do about an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remedy {
    action: Action,
    options: Vec<Setting>,
    value: Option<String>,
    purpose: Option<String>,
}

impl Remedy {
    fn new(action: Action, option: Setting) -> Self {
        Self { action, options: vec![option], value: None, purpose: None }
    }

    /// Give an option that was not given.
    #[must_use]
    pub fn give(option: Setting) -> Self {
        Self::new(Action::Give, option)
    }

    /// Leave an option out.
    #[must_use]
    pub fn omit(option: Setting) -> Self {
        Self::new(Action::Omit, option)
    }

    /// Give an option another value.
    #[must_use]
    pub fn change(option: Setting) -> Self {
        Self::new(Action::Change, option)
    }

    /// Give or leave out options as an earlier run did. Nothing if there are none.
    #[must_use]
    pub fn keep(settings: Vec<Setting>) -> Option<Self> {
        (!settings.is_empty()).then_some(Self {
            action: Action::Keep,
            options: settings,
            value: None,
            purpose: None,
        })
    }

    /// The same for a further option: "give --text-column and --tokenizer".
    #[must_use]
    pub fn and(mut self, option: Setting) -> Self {
        self.options.push(option);
        self
    }

    /// The value to give to the last option: "give --on-error skip".
    #[must_use]
    pub fn value(mut self, value: impl Into<String>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// What it is good for, as the words after "to".
    #[must_use]
    pub fn to(mut self, purpose: impl Into<String>) -> Self {
        self.purpose = Some(purpose.into());
        self
    }

    /// The remedy in words, with options as `spell` writes them.
    #[must_use]
    pub fn render(&self, spell: impl Fn(Setting) -> String) -> String {
        let options: Vec<String> = self.options.iter().map(|&option| spell(option)).collect();
        let mut words = match self.action {
            Action::Give => "give ",
            Action::Omit => "leave out ",
            Action::Change => "choose another ",
            Action::Keep => "keep ",
        }
        .to_owned();
        words.push_str(&options.join(" and "));
        if self.action == Action::Keep {
            words.push_str(if options.len() == 1 { " as it was" } else { " as they were" });
        }
        for (before, text) in [(" ", &self.value), (" to ", &self.purpose)] {
            words.extend(text.iter().flat_map(|text| [before, text.as_str()]));
        }
        words
    }
}

/// All remedies as one clause; nothing if there are none.
#[must_use]
pub fn advice(remedies: &[Remedy], spell: impl Fn(Setting) -> String) -> Option<String> {
    let rendered: Vec<String> = remedies.iter().map(|remedy| remedy.render(&spell)).collect();
    (!rendered.is_empty()).then(|| rendered.join(", or "))
}

/// An error that may know what to do about it.
pub trait Remedies {
    /// What a user can do, the first choice first.
    fn remedies(&self) -> Vec<Remedy>;
}
