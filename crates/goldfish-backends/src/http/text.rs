//! Continuations by servers that take text and give text.
//!
//! Probes are token ids, so ids must survive as text. The prompt is cut where tokenizing the text before the cut gives its tokens
//! again; the continuation's tokens are what tokenizing prompt and continuation gives after the prompt.
//! Where that fails, the answer says so ([`Caveat`]).
//!
//! Where the answer is a [message], the prompt is cut before its last word, so that it is known what is between the two texts: a
//! message begins with a word, and does not say whether it continues the last one.

use std::sync::Arc;

use goldfish_audit::backend::{Caveat, Decoding, GenerateRequest, Generated};
use serde_json::{Map, Value};

use super::codec::TextCodec;
use super::message;
use super::protocol::{Generator, Sampling};
use super::response::{ResponseError, malformed};

/// How one server of text is asked.
pub(super) trait TextServer: Send + Sync {
    /// Where requests go.
    fn path(&self) -> &'static str;

    /// Whether answers are messages, which have to be joined to the prompt.
    fn answers_in_messages(&self) -> bool {
        false
    }

    /// A request.
    fn body(&self, request: &TextRequest) -> Value;

    /// The answer to it.
    fn read(&self, answer: &[u8]) -> Result<TextAnswer, ResponseError>;
}

/// A prompt as text.
pub(super) struct TextRequest {
    pub(super) text: String,
    /// Tokens of the whole prompt.
    pub(super) prompt_tokens: usize,
    /// Tokens to ask for.
    pub(super) tokens: usize,
    pub(super) sampling: Sampling,
    /// The seed of a draw.
    pub(super) seed: Option<u64>,
}

/// What all of them answer.
pub(super) struct TextAnswer {
    pub(super) text: String,
    /// The tokens, if the server gives them.
    pub(super) ids: Option<Vec<u32>>,
    pub(super) prompt_tokens: Option<u64>,
    pub(super) ended: bool,
    /// Whether the model refused, or the server filtered the answer.
    pub(super) refused: bool,
    /// For evidence: without what differs each time.
    pub(super) kept: String,
}

/// Continuations by a server of text.
pub(super) struct Text<S> {
    pub(super) server: S,
    pub(super) codec: Arc<dyn TextCodec>,
}

impl<S: TextServer + 'static> Text<S> {
    /// The generator, if there is a codec.
    pub(super) fn generator(server: S, codec: Option<&Arc<dyn TextCodec>>) -> Option<Box<dyn Generator>> {
        codec.map(|codec| -> Box<dyn Generator> { Box::new(Self { server, codec: Arc::clone(codec) }) })
    }
}

/// How many tokens a cut moves back at most.
const FARTHEST: usize = 32;

/// A prompt as it can be sent.
struct Cut<'a> {
    text: String,
    /// The tokens of the text, without what the server adds.
    shown: &'a [u32],
    /// Tokens of the prompt after the cut, which the model has to generate.
    hidden: usize,
    /// Whether the server sees `shown`.
    exact: bool,
    /// Whether the first token was left to the server.
    bos: bool,
    /// White space between the text and the word that a message begins with, if the text was cut there.
    seam: Option<String>,
}

impl<S: TextServer> Text<S> {
    fn cut<'a>(&self, prompt: &'a [u32]) -> Cut<'a> {
        let bos = prompt.first().is_some_and(|first| self.codec.server_bos() == Some(*first));
        let prompt = &prompt[usize::from(bos)..];
        if self.server.answers_in_messages()
            && let Some(cut) = self.cut_at_word(prompt, bos)
        {
            return cut;
        }
        for hidden in 0..prompt.len().min(FARTHEST + 1) {
            let shown = &prompt[..prompt.len() - hidden];
            let text = self.codec.decode(shown);
            if self.codec.encode(&text) == shown {
                return Cut { text, shown, hidden, exact: true, bos, seam: None };
            }
        }
        let exact = prompt.is_empty();
        Cut { text: self.codec.decode(prompt), shown: prompt, hidden: 0, exact, bos, seam: None }
    }

    /// The last cut beside white space, if there is one.
    fn cut_at_word<'a>(&self, prompt: &'a [u32], bos: bool) -> Option<Cut<'a>> {
        let whole = self.codec.decode(prompt);
        (0..prompt.len().min(FARTHEST + 1)).find_map(|hidden| {
            let shown = &prompt[..prompt.len() - hidden];
            let text = self.codec.decode(shown);
            let seam = Some(message::seam(&text, &whole)?.to_owned());
            let exact = self.codec.encode(&text) == shown;
            exact.then_some(Cut { text, shown, hidden, exact, bos, seam })
        })
    }

    /// Tokens to ask for: what is hidden, what is wanted, and more, since the text may come back as fewer tokens and its last one
    /// depends on what follows.
    fn tokens(&self, cut: &Cut<'_>, wanted: usize) -> usize {
        // A message may say the end of the prompt again.
        let again = if self.server.answers_in_messages() { wanted.min(cut.shown.len()) } else { 0 };
        cut.hidden + wanted + wanted / 8 + 8 + again
    }

    fn generated(&self, request: &GenerateRequest<'_>, answer: &TextAnswer) -> Generated {
        let cut = self.cut(request.prompt);
        let mut caveats = Vec::new();
        if !cut.exact {
            caveats.push(Caveat::PromptChanged);
        } else if cut.hidden > 0 {
            caveats.push(Caveat::CutMoved);
        }
        let (text, repeated) = match self.server.answers_in_messages() {
            true => message::continuation(&cut.text, cut.seam.as_deref(), &answer.text),
            false => (answer.text.clone(), false),
        };
        let seen = if cut.exact { cut.shown.to_vec() } else { self.codec.encode(&cut.text) };
        let whole = || self.codec.encode(&format!("{}{text}", cut.text));
        let after = answer.ids.clone().or_else(|| whole().strip_prefix(&*seen).map(<[u32]>::to_vec));
        let after = after.unwrap_or_else(|| {
            caveats.push(Caveat::Reencoded);
            self.codec.encode(&text)
        });
        caveats.extend(repeated.then_some(Caveat::PrefixRepeated));
        caveats.extend(answer.refused.then_some(Caveat::Refused));
        let ids: Vec<u32> = after.into_iter().skip(cut.hidden).take(request.tokens).collect();
        if ids.len() < request.tokens && !answer.refused {
            caveats.push(if answer.ended { Caveat::EndedEarly } else { Caveat::Reencoded });
            caveats.sort_unstable();
            caveats.dedup();
        }
        // Plus the tokens that the server evaluated beyond those that were sent.
        let sent = cut.shown.len() + usize::from(cut.bos);
        let evaluated = answer.prompt_tokens.filter(|_| cut.exact);
        let evaluated = evaluated
            .map(|seen| seen.saturating_add(request.prompt.len() as u64).saturating_sub(sent as u64));
        Generated { ids, caveats, evaluated, exchange: Some(answer.kept.clone()) }
    }
}

impl<S: TextServer> Generator for Text<S> {
    fn path(&self) -> &str {
        self.server.path()
    }

    fn takes_several(&self) -> bool {
        false
    }

    fn body(&self, requests: &[GenerateRequest<'_>], decoding: &Decoding, seed: Option<u64>) -> Value {
        let Some(request) = requests.first() else { return Value::Null };
        let cut = self.cut(request.prompt);
        let tokens = self.tokens(&cut, request.tokens);
        let prompt_tokens = request.prompt.len();
        self.server.body(&TextRequest {
            text: cut.text,
            prompt_tokens,
            tokens,
            sampling: Sampling::new(decoding),
            seed,
        })
    }

    fn read(&self, answer: &[u8], requests: &[GenerateRequest<'_>]) -> Result<Vec<Generated>, ResponseError> {
        let answer = self.server.read(answer)?;
        Ok(requests.iter().take(1).map(|request| self.generated(request, &answer)).collect())
    }
}

/// The answer as JSON without some of its fields.
pub(super) fn without(answer: &[u8], fields: &[&str]) -> Result<String, ResponseError> {
    let mut kept: Map<String, Value> = serde_json::from_slice(answer).map_err(malformed)?;
    fields.iter().for_each(|field| drop(kept.remove(*field)));
    Ok(Value::Object(kept).to_string())
}

/// Checks the reason for which a continuation ended.
pub(super) fn check_reason(reason: Option<&str>, known: &[&str]) -> Result<(), ResponseError> {
    match reason {
        Some(reason) if known.contains(&reason) => Ok(()),
        other => Err(ResponseError::transient(format!("a continuation ended for the reason {other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Tokens of up to four letters, the first ones of a word with the space before them; all else alone.
    #[derive(Default)]
    struct Pieces(Mutex<Vec<String>>);

    impl TextCodec for Pieces {
        fn encode(&self, text: &str) -> Vec<u32> {
            let (mut pieces, mut known) = (Vec::<String>::new(), self.0.lock().unwrap());
            for c in text.chars() {
                match pieces.last_mut() {
                    Some(last)
                        if c.is_alphanumeric()
                            && last.chars().count() < 4
                            && (last == " " || last.ends_with(char::is_alphanumeric)) =>
                    {
                        last.push(c);
                    }
                    _ => pieces.push(c.into()),
                }
            }
            let id = |piece: String| {
                let at = known.iter().position(|known| *known == piece).unwrap_or(known.len());
                if at == known.len() {
                    known.push(piece);
                }
                at as u32
            };
            pieces.into_iter().map(id).collect()
        }

        fn decode(&self, ids: &[u32]) -> String {
            let known = self.0.lock().unwrap();
            ids.iter().map(|id| known[*id as usize].as_str()).collect()
        }
    }

    /// Answers in messages.
    struct Talking;

    impl TextServer for Talking {
        fn path(&self) -> &'static str {
            "/talk"
        }

        fn answers_in_messages(&self) -> bool {
            true
        }

        fn body(&self, request: &TextRequest) -> Value {
            request.text.clone().into()
        }

        fn read(&self, _: &[u8]) -> Result<TextAnswer, ResponseError> {
            Err(ResponseError::permanent("not asked"))
        }
    }

    fn answer(text: &str) -> TextAnswer {
        TextAnswer {
            text: text.into(),
            ids: None,
            prompt_tokens: None,
            ended: true,
            refused: false,
            kept: String::new(),
        }
    }

    /// A model that goes on with whole words gives the suffix, wherever the tokens are cut.
    #[test]
    fn messages_give_the_ids_after_every_cut() {
        let server = Text { server: Talking, codec: Arc::new(Pieces::default()) };
        let whole = "There was no possibility of taking a walk that day.\n\nWe had been wandering,\n    indeed, \"in the\" shrubbery.";
        let ids = server.codec.encode(whole);
        let mut moved = 0;
        for end in 4..ids.len() - 1 {
            let request = GenerateRequest { prompt: &ids[..end], tokens: ids.len() - end };
            let sent = server.body(&[request], &Decoding::Greedy, None);
            let sent = sent.as_str().unwrap();
            let after = whole.strip_prefix(sent).unwrap();
            assert!(
                sent.ends_with(char::is_whitespace) || after.starts_with(char::is_whitespace),
                "{sent:?}"
            );
            for message in [after.trim_start().to_owned(), whole.to_owned(), format!("```\n{after}```")] {
                let found = server.generated(&request, &answer(&message));
                assert_eq!(found.ids, ids[end..], "{sent:?} {message:?}");
                assert_eq!(found.caveats.contains(&Caveat::PrefixRepeated), message == whole);
                moved += usize::from(found.caveats.contains(&Caveat::CutMoved));
            }
        }
        assert!(moved > ids.len(), "{moved} of {}", 3 * ids.len());
    }

    #[test]
    fn what_is_missing_has_its_reason() {
        let server = Text { server: Talking, codec: Arc::new(Pieces::default()) };
        let ids = server.codec.encode("the quick brown fox jumps");
        let request = GenerateRequest { prompt: &ids[..5], tokens: 4 };
        let refused = server.generated(&request, &TextAnswer { refused: true, ..answer("") });
        assert_eq!(refused.caveats.last(), Some(&Caveat::Refused));
        assert!(refused.caveats.iter().any(|caveat| caveat.allows_fewer()));
        let short = server.generated(&request, &answer("fox"));
        assert_eq!(short.caveats.last(), Some(&Caveat::EndedEarly), "{short:?}");
    }
}
