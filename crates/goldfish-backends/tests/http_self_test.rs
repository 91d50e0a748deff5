//! What connecting and the self-test detect about servers.

#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::faults::Faults;
use common::protocols::{Codec, Kind, MERGED, PAIR};
use common::server::TestServer;
use common::*;
use goldfish_audit::backend::{
    Backend, Caveat, Decoding, GenerateRequest, SamplingScheme, ScoreRequest, Wants,
};
use goldfish_audit::options::Decide;
use goldfish_audit::selftest::{CheckName, Outcome, SelfTest, SelfTestOptions, self_test};
use goldfish_backends::http::{Server, ServerOptions, TextCodec};
use tempfile::tempdir;

fn connect(kind: Kind, faults: Faults) -> (TestServer, Server) {
    let server = TestServer::start(kind, model(), faults);
    let codec: Option<Box<dyn TextCodec>> = (kind != Kind::OpenAi).then(|| Box::new(Codec) as _);
    let backend = Server::connect(&server.url, ServerOptions { codec, ..options() }).unwrap();
    (server, backend)
}

fn test(kind: Kind, faults: Faults) -> SelfTest {
    let folder = tempdir().unwrap();
    tested(&connect(kind, faults).1, &table(folder.path())).unwrap()
}

#[test]
fn servers_are_detected() {
    for (kind, protocol, name, fingerprint) in [
        (Kind::Vllm, "vllm", "fake", "id=fake; root=/models/fake; max_model_len=200; version=0.11.0"),
        (Kind::OpenAi, "openai", "fake", "id=fake"),
        (
            Kind::LlamaCpp,
            "llama-cpp",
            "fake.gguf",
            "model=fake.gguf; n_params=999; size=1234; n_vocab=60; n_embd=8; build=b6000-abc",
        ),
        (
            Kind::Ollama,
            "text",
            "fake:latest",
            "model=fake:latest; digest=abcdef; quantization=F16; ollama=0.12.0",
        ),
        (
            Kind::Tgi,
            "text",
            "fake/fake",
            "model_id=fake/fake; model_sha=0123; model_dtype=float16; version=3.3.4",
        ),
    ] {
        let (_server, backend) = connect(kind, Faults::default());
        let model = backend.describe().unwrap();
        assert_eq!((backend.protocol().name(), model.name.as_str()), (protocol, name));
        assert_eq!((model.fingerprint.as_str(), model.backend.as_str()), (fingerprint, protocol));
        assert_eq!(model.vocab_size, (kind == Kind::LlamaCpp).then_some(VOCAB));
        let contexts = [(Kind::Vllm, Some(199)), (Kind::OpenAi, None)];
        let context =
            contexts.iter().find(|(other, _)| *other == kind).map_or(Some(256), |(_, context)| *context);
        assert_eq!(model.context_length, context, "{kind:?}");
    }
}

#[test]
fn of_several_models_one_is_named() {
    let server = TestServer::start(Kind::Vllm, model(), Faults { more_models: true, ..Faults::default() });
    let connect = |model: Option<&str>| {
        Server::connect(&server.url, ServerOptions { model: model.map(str::to_owned), ..options() })
    };
    let error = connect(None).err().unwrap().to_string();
    assert!(error.contains("it has 2 models, name one of them: fake, adapter"), "{error}");
    let error = connect(Some("other")).err().unwrap().to_string();
    assert!(error.contains("no model \"other\", but: fake, adapter"), "{error}");
    assert_eq!(connect(Some("adapter")).unwrap().describe().unwrap().name, "adapter");
}

#[test]
fn positions_that_cannot_be_scored() {
    let (_server, backend) = connect(Kind::Vllm, Faults::default());
    for from in [0, 4] {
        let request = [ScoreRequest { ids: &[3, 4, 5], from }];
        assert!(backend.score(&request, &Wants::default()).is_err());
    }
    assert!(
        backend.score(&[ScoreRequest { ids: &[3, 4, 5], from: 3 }], &Wants::default()).unwrap()[0]
            .tokens
            .is_empty()
    );
}

#[test]
fn sound_servers_pass() {
    for kind in [Kind::Vllm, Kind::OpenAi, Kind::LlamaCpp, Kind::Ollama, Kind::Tgi] {
        let found = test(kind, Faults::default());
        let bad: Vec<_> = found.checks.iter().filter(|check| check.outcome == Outcome::Failed).collect();
        assert!(bad.is_empty(), "{kind:?} {bad:#?}");
        let scores = matches!(kind, Kind::Vllm | Kind::OpenAi);
        assert_eq!(found.verdict("it").unwrap(), if scores { Decide::Score } else { Decide::Generate });
        if kind == Kind::Vllm {
            assert_eq!(found.outcome(CheckName::IdsRoundTrip), Outcome::Passed);
        }
        if !scores {
            assert!(found.notes()[0].contains("continuations decide instead"), "{:?}", found.notes());
        }
        assert_eq!(found.outcome(CheckName::NoBosAdded), Outcome::Passed, "{kind:?}");
    }
}

#[test]
fn an_added_token_is_refused() {
    for kind in [Kind::Vllm, Kind::OpenAi, Kind::LlamaCpp, Kind::Ollama, Kind::Tgi] {
        let faults = Faults { adds: Some(0), ..Faults::default() };
        let found = test(kind, faults.clone());
        assert_eq!(found.outcome(CheckName::NoBosAdded), Outcome::Failed, "{kind:?}");
        let refusal = found.verdict("it").unwrap_err().to_string();
        assert!(refusal.contains("tokens were sent, but"), "{refusal}");
        // A run without a self-test ends as well.
        let folder = tempdir().unwrap();
        let (_server, backend) = connect(kind, faults);
        let options = goldfish_audit::options::AuditOptions {
            decide: if backend.capabilities().score { Decide::Score } else { Decide::Generate },
            continuations: backend.capabilities().generate,
            ..Default::default()
        };
        let run = audit_with(&folder.path().join("run"), &backend, &table(folder.path()), &options);
        let error = run.err().unwrap().to_string();
        assert!(error.contains("tokens evaluated"), "{error}");
    }
}

/// A text server that always adds its BOS gets the text without it.
#[test]
fn a_bos_that_the_server_adds_is_left_to_it() {
    struct WithBos;
    impl TextCodec for WithBos {
        fn encode(&self, text: &str) -> Vec<u32> {
            Codec.encode(text)
        }
        fn decode(&self, ids: &[u32]) -> String {
            Codec.decode(ids)
        }
        fn server_bos(&self) -> Option<u32> {
            Some(0)
        }
    }
    let server = TestServer::start(Kind::Ollama, model(), Faults { adds: Some(0), ..Faults::default() });
    let backend =
        Server::connect(&server.url, ServerOptions { codec: Some(Box::new(WithBos)), ..options() }).unwrap();
    let folder = tempdir().unwrap();
    let table = table(folder.path());
    let sequences: Vec<&[u32]> = table.starts.iter().take(3).map(|start| start.ids.as_slice()).collect();
    let found = self_test(
        &backend,
        &sequences,
        &SelfTestOptions { bos: Some(0), eos: None, scheme: None, continuations: true },
    );
    let found = found.unwrap();
    assert_eq!(found.outcome(CheckName::NoBosAdded), Outcome::Passed, "{found:#?}");
    let prompt = [&[0], &documents()[0][..6]].concat();
    let request = [GenerateRequest { prompt: &prompt, tokens: 5 }];
    let (text, direct) =
        (backend.generate(&request, &Decoding::Greedy), model().generate(&request, &Decoding::Greedy));
    assert_eq!(text.unwrap()[0].ids, direct.unwrap()[0].ids);
}

#[test]
fn an_end_of_sequence_is_refused_or_flagged() {
    let stops = || Faults { stops: true, ..Faults::default() };
    // After this prompt the model ends at once.
    let prompt = (0..VOCAB).flat_map(|a| (0..VOCAB).map(move |b| [a, b])).find(|pair| {
        let all =
            model().generate(&[GenerateRequest { prompt: pair, tokens: 3 }], &Decoding::Greedy).unwrap();
        all[0].ids.contains(&EOS) && *pair != PAIR && !pair.contains(&MERGED)
    });
    let prompt = prompt.unwrap();
    let sequence = [&prompt[..], &[5, 6]].concat();
    for (kind, outcome) in
        [(Kind::Vllm, Outcome::Failed), (Kind::LlamaCpp, Outcome::Failed), (Kind::Ollama, Outcome::Flagged)]
    {
        let (_server, backend) = connect(kind, stops());
        let options = SelfTestOptions { bos: None, eos: None, scheme: None, continuations: true };
        let found = self_test(&backend, &[&sequence], &options).unwrap();
        assert_eq!(found.outcome(CheckName::EosSuppressed), outcome, "{kind:?}");
        let verdict = found.verdict("it");
        match kind {
            Kind::Vllm => assert_eq!(verdict.unwrap(), Decide::Score, "scores don't need continuations"),
            Kind::LlamaCpp => {
                assert!(verdict.unwrap_err().to_string().contains("stops at the end of sequence"))
            }
            _ => assert_eq!(verdict.unwrap(), Decide::Generate),
        }
    }
}

#[test]
fn without_scores_continuations_decide() {
    let no_scores = || Faults { no_scores: true, ..Faults::default() };
    let (_server, backend) = connect(Kind::Vllm, no_scores());
    assert!(backend.notes()[0].contains("no `prompt_logprobs`"), "{:?}", backend.notes());
    let found = test(Kind::Vllm, no_scores());
    assert_eq!(found.verdict("it").unwrap(), Decide::Generate);
    assert_eq!(found.outcome(CheckName::ScoreCount), Outcome::Flagged);
    // An ignored echo, and text without a tokenizer: nothing is left.
    let found = test(Kind::OpenAi, no_scores());
    assert!(found.verdict("it").unwrap_err().to_string().contains("neither scores nor continues"));
}

#[test]
fn schemes_need_candidates() {
    let scheme = SamplingScheme { temperature: 0.7, top_k: Some(40), top_p: None };
    for (most, given) in [(None, false), (Some(40), true)] {
        let server =
            TestServer::start(Kind::Vllm, model(), Faults { most_candidates: most, ..Faults::default() });
        let backend = Server::connect(&server.url, ServerOptions { top_k: Some(40), ..options() }).unwrap();
        assert_eq!(backend.capabilities().schemes, given);
        let ids = &documents()[0];
        let (request, wants) =
            ([ScoreRequest { ids, from: 3 }], Wants { moments: false, scheme: Some(scheme), candidates: 0 });
        let found = backend.score(&request, &wants).unwrap().remove(0).tokens;
        if !given {
            assert!(backend.notes()[0].contains("greater than max allowed"), "{:?}", backend.notes());
            assert!(found.iter().all(|token| token.scheme_log_prob.is_none()));
            continue;
        }
        let own = model().score(&request, &wants).unwrap().remove(0).tokens;
        for (found, own) in found.iter().zip(own) {
            let (found, own) = (found.scheme_log_prob.unwrap(), own.scheme_log_prob.unwrap());
            assert!(found == own || (found - own).abs() < 1e-5, "{found} {own}");
        }
    }
}

#[test]
fn a_prompt_that_the_server_cuts_is_an_error() {
    let (_server, backend) = connect(Kind::LlamaCpp, Faults { truncates: true, ..Faults::default() });
    let request = [GenerateRequest { prompt: &[3, 4, 5], tokens: 4 }];
    let error = backend.generate(&request, &Decoding::Greedy).unwrap_err().to_string();
    assert!(error.contains("a context of at least 7 tokens"), "{error}");
    let long = vec![3; 253];
    let error =
        backend.generate(&[GenerateRequest { prompt: &long, tokens: 4 }], &Decoding::Greedy).unwrap_err();
    assert!(error.to_string().contains("256 tokens at most, a sequence has 257"), "{error}");
    let error =
        backend.generate(&[GenerateRequest { prompt: &[60], tokens: 4 }], &Decoding::Greedy).unwrap_err();
    assert!(error.to_string().contains("token id 60"), "{error}");
}

/// Token 59 is what tokenizing the text of (10, 11) gives, so that this pair doesn't survive as text.
#[test]
fn cuts_move_where_ids_do_not_survive() {
    let server = TestServer::start(Kind::Ollama, model(), Faults::default());
    let backend =
        Server::connect(&server.url, ServerOptions { codec: Some(Box::new(Codec)), ..options() }).unwrap();
    let ask = |prompt: &[u32]| {
        let request = GenerateRequest { prompt, tokens: 4 };
        let found = backend.generate(&[request], &Decoding::Greedy).unwrap().remove(0);
        (found, server.seen().last().unwrap().body["prompt"].as_str().unwrap().to_owned())
    };
    let [ten, eleven] = PAIR;
    let (found, sent) = ask(&[20, 21, MERGED, 22]);
    assert!(found.caveats.is_empty() && sent == Codec.decode(&[20, 21, MERGED, 22]));
    let (found, sent) = ask(&[20, 21, ten, eleven]);
    assert_eq!((found.caveats, sent), (vec![Caveat::CutMoved], Codec.decode(&[20, 21, ten])));
    let after: Vec<u32> = model()
        .generate(&[GenerateRequest { prompt: &[20, 21, ten], tokens: 5 }], &Decoding::Greedy)
        .unwrap()
        .remove(0)
        .ids;
    assert_eq!(found.ids, after[1..], "the generated last token of the prompt is left out");
    // Too far back to cut there.
    let far = [vec![ten, eleven], vec![20; 40]].concat();
    let (found, sent) = ask(&far);
    assert_eq!((found.caveats, sent), (vec![Caveat::PromptChanged], Codec.decode(&far)));
    assert_eq!(found.evaluated, None);
}
