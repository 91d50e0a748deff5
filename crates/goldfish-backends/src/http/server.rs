//! A server as a backend.

use std::sync::atomic::AtomicBool;

use goldfish_audit::backend::{
    Backend, BackendError, Capabilities, Decoding, GenerateRequest, Generated, ModelDescription,
    ScoreRequest, Scored, TextTokenizer, Wants,
};
use goldfish_audit::prompt_template::PromptTemplate;
use serde_json::Value;

use super::client::{Client, Timeouts};
use super::codec::TextCodec;
use super::key::ApiKey;
use super::pool;
use super::protocol::{self, Generator, Scorer};
use super::protocols::Protocol;
use super::response::ResponseError;
use super::retry::Retry;
use super::tokenizer::{DETOKENIZE, TOKENIZE, TokenizerEndpoints};

/// How to reach a server.
pub struct ServerOptions {
    /// Its protocol; detected if absent.
    pub protocol: Option<Protocol>,
    /// Which of its models; may be absent if it has one.
    pub model: Option<String>,
    /// Its key, from the environment.
    pub key: Option<ApiKey>,
    /// Concurrent requests.
    pub connections: usize,
    /// Sequences in one request, if the protocol takes several.
    pub sequences: usize,
    /// Time limits.
    pub timeouts: Timeouts,
    /// How errors are retried.
    pub retry: Retry,
    /// The `top_k` of the sampling scheme that will be asked for, if any: as many candidates are needed at each position.
    pub top_k: Option<u32>,
    /// The message around each prefix, for the protocol `chat`, which has a default one.
    pub template: Option<PromptTemplate>,
    /// Ids to text and back, for servers that take text instead of ids.
    pub codec: Option<Box<dyn TextCodec>>,
}

impl Default for ServerOptions {
    /// Eight connections with eight sequences each.
    fn default() -> Self {
        Self {
            protocol: None,
            model: None,
            key: None,
            connections: 8,
            sequences: 8,
            timeouts: Timeouts::default(),
            retry: Retry::default(),
            top_k: None,
            template: None,
            codec: None,
        }
    }
}

/// A model on a completion server.
pub struct Server {
    pub(super) client: Client,
    pub(super) protocol: Protocol,
    pub(super) scorer: Option<Box<dyn Scorer>>,
    pub(super) generator: Option<Box<dyn Generator>>,
    pub(super) tokenizer: Option<TokenizerEndpoints>,
    pub(super) description: ModelDescription,
    /// Whether it names enough candidates for the sampling scheme.
    pub(super) schemes: bool,
    pub(super) notes: Vec<String>,
    pub(super) connections: usize,
    pub(super) sequences: usize,
}

impl Server {
    /// Its protocol.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// What it can't do and why, for a report.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The batch that keeps all connections busy, in sequences.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.connections * self.sequences
    }

    fn check<'i>(&self, sequences: impl Iterator<Item = (&'i [u32], usize)>) -> Result<(), BackendError> {
        let backend = || self.client.base().to_owned();
        for (ids, more) in sequences {
            let length = (ids.len() + more) as u64;
            if let Some(longest) = self.description.context_length.filter(|longest| length > *longest) {
                return Err(BackendError::TooLong { backend: backend(), longest, length, memory: false });
            }
            self.check_ids(ids)?;
        }
        Ok(())
    }

    fn check_ids(&self, ids: &[u32]) -> Result<(), BackendError> {
        let Some(vocab_size) = self.description.vocab_size else { return Ok(()) };
        match ids.iter().copied().find(|id| *id >= vocab_size) {
            Some(id) => {
                Err(BackendError::UnknownToken { backend: self.client.base().to_owned(), id, vocab_size })
            }
            None => Ok(()),
        }
    }

    /// Asks an endpoint of the tokenizer.
    fn ask_tokenizer<T>(
        &self,
        path: &str,
        body: impl FnOnce(&TokenizerEndpoints) -> Value,
        read: impl Fn(&TokenizerEndpoints, &[u8]) -> Result<T, ResponseError>,
    ) -> Result<T, BackendError> {
        let Some(endpoints) = &self.tokenizer else {
            return Err(self.cannot("tokenize", "compare the tokenizers by hand"));
        };
        let answer = self
            .client
            .ask(path, Some(&body(endpoints)), &AtomicBool::new(false), |bytes| read(endpoints, bytes));
        answer.map_err(|failure| match failure.cannot() {
            true => {
                let reason = self.client.scrub(failure.reason);
                self.cannot(&format!("answer {path}: {reason}"), "update the server")
            }
            false => self.client.error(path, failure),
        })
    }

    fn cannot(&self, what: &str, advice: &str) -> BackendError {
        let backend = self.client.base().to_owned();
        BackendError::Unsupported { backend, what: what.into(), advice: advice.into() }
    }

    /// Sends groups of requests concurrently, and returns the answers in the order of the requests.
    fn send<T: Send>(
        &self,
        path: &str,
        groups: &[Vec<usize>],
        body: impl Fn(&[usize]) -> Value + Sync,
        read: impl Fn(&[u8], &[usize]) -> Result<Vec<T>, ResponseError> + Sync,
    ) -> Result<Vec<T>, BackendError> {
        let answers = pool::each(groups, self.connections, |group, stop| {
            let asked = self.client.ask(path, Some(&body(group)), stop, |bytes| read(bytes, group));
            asked.map_err(|failure| self.client.error(path, failure))
        })?;
        let numbers = groups.iter().flatten().copied();
        let mut numbered: Vec<(usize, T)> = numbers.zip(answers.into_iter().flatten()).collect();
        numbered.sort_by_key(|(number, _)| *number);
        Ok(numbered.into_iter().map(|(_, answer)| answer).collect())
    }

    /// The evidence of one sequence: the request as if sent alone, and its part of the answer.
    fn exchange(&self, path: &str, body: &Value, answer: &str) -> String {
        // Before and after the cut: part of a key would not be recognized after it.
        let answer = self.client.scrub(answer.to_owned());
        self.client.scrub(protocol::exchange(path, body, &answer))
    }
}

impl Backend for Server {
    fn describe(&self) -> Result<ModelDescription, BackendError> {
        Ok(self.description.clone())
    }

    fn capabilities(&self) -> Capabilities {
        let (score, generate) = (self.scorer.is_some(), self.generator.is_some());
        Capabilities { score, moments: false, schemes: self.schemes, generate, candidates: false }
    }

    fn score(&self, requests: &[ScoreRequest<'_>], wants: &Wants) -> Result<Vec<Scored>, BackendError> {
        let Some(scorer) = &self.scorer else {
            return Err(self.cannot("score given sequences", "let continuations decide"));
        };
        self.check(requests.iter().map(|request| (request.ids, 0)))?;
        if requests.iter().any(|request| request.from == 0 || request.from > request.ids.len()) {
            return Err(self.cannot("score a first token or beyond the end", "ask from position 1 on"));
        }
        let wants = Wants { moments: false, scheme: wants.scheme.filter(|_| self.schemes), candidates: 0 };
        let numbers: Vec<usize> = (0..requests.len()).collect();
        let groups: Vec<Vec<usize>> = numbers.chunks(self.sequences).map(<[usize]>::to_vec).collect();
        let pick = |group: &[usize]| group.iter().map(|number| requests[*number]).collect::<Vec<_>>();
        let body = |group: &[usize]| scorer.body(&pick(group), &wants);
        let mut all =
            self.send(scorer.path(), &groups, body, |bytes, group| scorer.read(bytes, &pick(group), &wants))?;
        for (number, scored) in all.iter_mut().enumerate() {
            let answer = scored.exchange.take();
            scored.exchange = answer.map(|answer| self.exchange(scorer.path(), &body(&[number]), &answer));
        }
        Ok(all)
    }

    fn generate(
        &self,
        requests: &[GenerateRequest<'_>],
        decoding: &Decoding,
    ) -> Result<Vec<Generated>, BackendError> {
        let Some(generator) = &self.generator else {
            return Err(self.cannot("continue prompts", "leave out what needs continuations"));
        };
        self.check(requests.iter().map(|request| (request.prompt, request.tokens)))?;
        // One length in a request. Each draw needs its own seed, and so its own request.
        let alone = matches!(decoding, Decoding::Sampled { .. }) || !generator.takes_several();
        let size = if alone { 1 } else { self.sequences };
        let mut numbers: Vec<usize> = (0..requests.len()).collect();
        numbers.sort_by_key(|number| requests[*number].tokens);
        let same = numbers.chunk_by(|a, b| requests[*a].tokens == requests[*b].tokens);
        let groups: Vec<Vec<usize>> =
            same.flat_map(|numbers| numbers.chunks(size).map(<[usize]>::to_vec)).collect();
        let pick = |group: &[usize]| group.iter().map(|number| requests[*number]).collect::<Vec<_>>();
        let body = |group: &[usize]| {
            let seed = protocol::draw_seed(decoding, group.first().copied().unwrap_or(0));
            generator.body(&pick(group), decoding, seed)
        };
        let mut all =
            self.send(generator.path(), &groups, body, |bytes, group| generator.read(bytes, &pick(group)))?;
        for (number, generated) in all.iter_mut().enumerate() {
            let answer = generated.exchange.take();
            generated.exchange =
                answer.map(|answer| self.exchange(generator.path(), &body(&[number]), &answer));
        }
        Ok(all)
    }

    fn tokenizer(&self) -> Option<&dyn TextTokenizer> {
        self.tokenizer.is_some().then_some(self as &dyn TextTokenizer)
    }
}

impl TextTokenizer for Server {
    fn decode(&self, ids: &[u32]) -> Result<String, BackendError> {
        self.check_ids(ids)?;
        self.ask_tokenizer(DETOKENIZE, |endpoints| endpoints.decode_body(ids), TokenizerEndpoints::read_text)
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>, BackendError> {
        self.ask_tokenizer(TOKENIZE, |endpoints| endpoints.encode_body(text), TokenizerEndpoints::read_ids)
    }
}
