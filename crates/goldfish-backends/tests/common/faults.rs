//! What a server can do wrong.

use std::time::Duration;

use super::protocols::Kind;
use super::scatter;

/// One thing that goes wrong with one answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Misdeed {
    /// The connection ends without an answer.
    Reset,
    /// It ends in the middle of the body, which was announced longer.
    ResetMidway,
    /// Whole, but not the whole JSON.
    TruncatedJson,
    /// A chunked body that ends inside a chunk.
    BrokenChunks,
    Garbage,
    Empty,
    /// The page of a proxy whose server is starting.
    Page,
    /// `NaN` where a number should be.
    NotANumber,
    Status(u16),
    RetryAfter(u16, u32),
    RetryAtDate,
    Slow(Duration),
    Redirect,
    /// Announces more than is read.
    Huge,
    /// Sends without end.
    Endless,
    /// One answer fewer than prompts.
    MissingChoice,
    /// One answer has the index of another.
    SameIndex,
    /// Not wrong: answers in another order.
    OtherOrder,
    /// One log-probability fewer than tokens.
    FewerScores,
    NullScores,
    /// The prompt in the answer is another.
    OtherPrompt,
    /// Fewer tokens than asked for, though none ended the sequence.
    FewerTokens,
}

impl Misdeed {
    /// Whether the client has to retry.
    pub(crate) fn repeated(self) -> bool {
        !matches!(self, Self::OtherOrder)
    }
}

/// What a chat model or its server can do instead of going on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum ChatFault {
    /// Says the text that it was given, and goes on.
    SaysAgain,
    /// Puts its answer into quotation marks.
    Quotes,
    Refuses,
    Filters,
    /// Thinks until it has no more tokens.
    Reasons,
    /// A message without content.
    SaysNothing,
}

/// What a server does wrong.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    /// For each request these, one after the other, then nothing more.
    pub(crate) script: Vec<Misdeed>,
    /// Instead: with this chance in 100 one of those that the kind of server can do, at most three for one request.
    pub(crate) random: Option<(u64, u64)>,
    /// The key that must come.
    pub(crate) key: Option<String>,
    /// Puts this before every prompt.
    pub(crate) adds: Option<u32>,
    /// Ends at [`EOS`](super::EOS), whatever the request.
    pub(crate) stops: bool,
    /// Has no log-probabilities of prompts.
    pub(crate) no_scores: bool,
    /// Most candidates a position, as vLLM's `--max-logprobs`.
    pub(crate) most_candidates: Option<u64>,
    /// Cuts prompts.
    pub(crate) truncates: bool,
    /// Its tokenizer can't be asked.
    pub(crate) no_tokenizer: bool,
    /// Models besides the first.
    pub(crate) more_models: bool,
    /// Of a chat.
    pub(crate) chat: Option<ChatFault>,
}

impl Faults {
    pub(crate) fn script(script: &[Misdeed]) -> Self {
        Self { script: script.to_vec(), ..Self::default() }
    }

    /// What goes wrong with a request after so many times.
    pub(crate) fn next(&self, kind: Kind, body: &str, times: u32) -> Option<Misdeed> {
        let Some((seed, percent)) = self.random else { return self.script.get(times as usize).copied() };
        let of_body = body.bytes().fold(seed, |hash, byte| scatter(hash ^ u64::from(byte)));
        let number = scatter(of_body ^ u64::from(times));
        if times >= 3 || number % 100 >= percent {
            return None;
        }
        let all = kind.misdeeds();
        Some(all[(scatter(number) % all.len() as u64) as usize])
    }
}
