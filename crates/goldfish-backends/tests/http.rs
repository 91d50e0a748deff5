//! Complete runs on a server: the same as on its model, whatever errors occur.

#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::faults::{ChatFault, Faults, Misdeed};
use common::protocols::{Codec, Kind};
use common::server::TestServer;
use common::*;
use goldfish_audit::ResultRow;
use goldfish_audit::backend::{
    Backend, BackendError, Decoding, GenerateRequest, SamplingScheme, ScoreRequest, Wants,
};
use goldfish_audit::canary::own_output;
use goldfish_audit::options::Decide;
use goldfish_audit::probe::Grid;
use goldfish_audit::prompt_template::PromptTemplate;
use goldfish_audit::selftest::{CheckName, Outcome};
use goldfish_backends::http::{ApiKey, Retry, Server, ServerOptions, Timeouts};
use std::time::{Duration, Instant};
use tempfile::tempdir;

fn connect(kind: Kind, faults: Faults) -> (TestServer, Server) {
    let server = TestServer::start(kind, model(), faults);
    let backend = Server::connect(&server.url, options()).unwrap();
    (server, backend)
}

fn near(a: &Option<Vec<f64>>, b: &Option<Vec<f64>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9),
        _ => a.is_none() && b.is_none(),
    }
}

type Verdict<'a> = (&'a str, bool, u32, Option<&'a Vec<u32>>, Option<f64>);

/// What every protocol gives.
fn verdicts(rows: &[ResultRow]) -> Vec<Verdict<'_>> {
    rows.iter()
        .map(|row| {
            (
                row.probe_id.as_str(),
                row.exact_match,
                row.match_length,
                row.generated.as_ref(),
                row.scores["rouge_l"],
            )
        })
        .collect()
}

#[test]
fn a_server_gives_what_its_model_gives() {
    let folder = tempdir().unwrap();
    let table = table(folder.path());
    let (direct, _) = audit(&folder.path().join("direct"), &model(), &table, Decide::Score).unwrap();
    let positives = direct.iter().filter(|row| row.exact_match).count();
    assert!(
        positives > direct.len() / 4 && positives < direct.len() * 3 / 4,
        "{positives} of {}",
        direct.len()
    );
    for (kind, decide) in
        [(Kind::Vllm, Decide::Score), (Kind::Vllm, Decide::Generate), (Kind::LlamaCpp, Decide::Generate)]
    {
        let (server, backend) = connect(kind, Faults::default());
        let run = folder.path().join(format!("{kind:?}-{decide:?}"));
        let (rows, _) = audit(&run, &backend, &table, decide).unwrap();
        assert_eq!(verdicts(&rows), verdicts(&direct), "{kind:?}");
        if decide == Decide::Score {
            for (row, direct) in rows.iter().zip(&direct) {
                assert_eq!(row.ranks, direct.ranks);
                assert!(
                    near(&row.log_probs, &direct.log_probs),
                    "{:?} {:?}",
                    row.log_probs,
                    direct.log_probs
                );
            }
        }
        assert!((2..=3).contains(&server.most_at_once()), "{} at once", server.most_at_once());
    }
}

/// Servers that take text: the same wherever ids survive as text, which they do in all of these documents.
#[test]
fn text_gives_what_ids_give() {
    let folder = tempdir().unwrap();
    let table = table(folder.path());
    let (direct, _) = audit(&folder.path().join("direct"), &model(), &table, Decide::Generate).unwrap();
    for kind in [Kind::Ollama, Kind::Tgi, Kind::OpenAiText, Kind::Chat] {
        let server = TestServer::start(kind, model(), Faults::default());
        let backend = Server::connect(
            &server.url,
            ServerOptions { codec: Some(Box::new(Codec)), protocol: kind.named(), ..options() },
        )
        .unwrap();
        let (rows, summary) =
            audit(&folder.path().join(format!("{kind:?}")), &backend, &table, Decide::Generate).unwrap();
        let plain: Vec<_> = rows.iter().filter(|row| row.caveats.is_empty()).cloned().collect();
        assert!(plain.len() > rows.len() / 2, "{} of {}", plain.len(), rows.len());
        let of_plain: Vec<ResultRow> = direct
            .iter()
            .filter(|row| plain.iter().any(|plain| plain.probe_id == row.probe_id))
            .cloned()
            .collect();
        for (row, direct) in plain.iter().zip(&of_plain) {
            assert_eq!(row.exact_match, direct.exact_match, "{kind:?}");
        }
        let odd = rows.len() - plain.len();
        assert_eq!(
            odd > 0,
            summary.notes.iter().any(|note| note.contains("have caveats")),
            "{:?}",
            summary.notes
        );
    }
}

#[test]
fn a_server_is_asked_for_its_tokenizer() {
    for kind in [Kind::Vllm, Kind::LlamaCpp] {
        let (server, backend) = connect(kind, Faults::script(&[Misdeed::Status(503)]));
        let tokenizer = backend.tokenizer().unwrap();
        let ids = [9, 10, 11, 12];
        let text = tokenizer.decode(&ids).unwrap();
        assert_eq!((text.as_str(), tokenizer.encode(&text).unwrap()), ("ĉĊċČ", vec![9, 59, 12]), "{kind:?}");
        assert_eq!(
            server.misdeeds().len(),
            server.seen().iter().filter(|seen| seen.body.is_object()).count() / 2
        );
        let (_server, backend) = connect(kind, Faults { no_tokenizer: true, ..Faults::default() });
        let refused = backend.tokenizer().unwrap().encode("ĉ").unwrap_err();
        assert!(matches!(refused, BackendError::Unsupported { .. }), "{refused}");
        assert!(refused.to_string().contains("can't answer /tokenize: HTTP 404"), "{refused}");
    }
    // This one says how many ids it has.
    let (server, backend) = connect(Kind::LlamaCpp, Faults::default());
    let before = server.seen().len();
    let refused = backend.tokenizer().unwrap().decode(&[VOCAB]).unwrap_err();
    assert!(matches!(refused, BackendError::UnknownToken { .. }) && server.seen().len() == before);
    for kind in [Kind::OpenAi, Kind::Ollama, Kind::Tgi] {
        assert!(connect(kind, Faults::default()).1.tokenizer().is_none());
    }
}

/// Echo scores name no greedy token: continuations start at the divergence.
#[test]
fn echo_scores_decide_as_others_do() {
    let folder = tempdir().unwrap();
    let table = table(folder.path());
    let (direct, _) = audit(&folder.path().join("direct"), &model(), &table, Decide::Score).unwrap();
    let (_server, backend) = connect(Kind::OpenAi, Faults::default());
    assert_eq!(backend.protocol().name(), "openai");
    assert!(!backend.capabilities().generate && backend.notes()[0].contains("no tokenizer"));
    let ids = &table.starts[0].ids;
    let (requests, wants) = ([ScoreRequest { ids, from: 1 }], Wants::default());
    let (echo, own) = (backend.score(&requests, &wants).unwrap(), model().score(&requests, &wants).unwrap());
    for (echo, own) in echo[0].tokens.iter().zip(&own[0].tokens) {
        assert!(
            (echo.log_prob - own.log_prob).abs() < 1e-9 && echo.rank == own.rank.min(6),
            "{echo:?} {own:?}"
        );
        assert!((echo.rival.unwrap() - own.rival.unwrap()).abs() < 1e-9);
    }
    let options = goldfish_audit::options::AuditOptions { continuations: false, ..Default::default() };
    let (rows, _) = audit_with(&folder.path().join("echo"), &backend, &table, &options).unwrap();
    for (row, direct) in rows.iter().zip(&direct) {
        assert_eq!((row.exact_match, row.match_length), (direct.exact_match, direct.match_length));
    }
}

/// Random errors in 40% of the requests: the same bytes, without unnecessary requests.
#[test]
fn faults_change_nothing() {
    let folder = tempdir().unwrap();
    let table = table(folder.path());
    let kinds = [
        (Kind::Vllm, Decide::Score),
        (Kind::OpenAi, Decide::Score),
        (Kind::LlamaCpp, Decide::Generate),
        (Kind::Ollama, Decide::Generate),
        (Kind::Tgi, Decide::Generate),
        (Kind::Chat, Decide::Generate),
    ];
    let mut seen = Vec::new();
    for (kind, decide) in kinds {
        let run = |name: &str, faults: Faults| {
            let server = TestServer::start(kind, model(), faults);
            let codec: Box<dyn goldfish_backends::http::TextCodec> = Box::new(Codec);
            let codec = (kind != Kind::OpenAi).then_some(codec);
            let protocol = kind.named();
            let backend =
                Server::connect(&server.url, ServerOptions { codec, protocol, ..options() }).unwrap();
            let options = goldfish_audit::options::AuditOptions {
                decide,
                continuations: kind != Kind::OpenAi,
                ..Default::default()
            };
            let run = folder.path().join(format!("{kind:?}-{name}"));
            audit_with(&run, &backend, &table, &options).unwrap();
            let files = ["results.parquet", "evidence.jsonl", "summary.json"];
            let bytes = files.map(|file| std::fs::read(run.join(file)).unwrap());
            (bytes, server.completions(), server.misdeeds())
        };
        let (clean, requests, none) = run("clean", Faults::default());
        assert!(none.is_empty() && requests > 10);
        for seed in 0..4 {
            let faults = Faults { random: Some((seed, 40)), ..Faults::default() };
            let (bytes, asked, misdeeds) = run(&format!("faulty-{seed}"), faults);
            assert!(bytes == clean, "{kind:?} {seed}: other files");
            let repeated = misdeeds.iter().filter(|misdeed| misdeed.repeated()).count();
            assert_eq!(asked, requests + repeated, "{kind:?} {seed}: {misdeeds:?}");
            seen.extend(misdeeds.into_iter().map(|misdeed| format!("{misdeed:?}")));
        }
    }
    seen.sort();
    seen.dedup();
    for kind in [Kind::Vllm, Kind::OpenAi, Kind::LlamaCpp, Kind::Chat] {
        for misdeed in kind.misdeeds() {
            assert!(seen.contains(&format!("{misdeed:?}")), "{misdeed:?} never happened: {seen:?}");
        }
    }
}

fn once(
    kind: Kind,
    script: &[Misdeed],
    change: impl Fn(&mut ServerOptions),
) -> (TestServer, Result<Vec<u32>, BackendError>) {
    let server = TestServer::start(kind, model(), Faults::script(script));
    let mut options = ServerOptions { protocol: Some("llama-cpp".parse().unwrap()), ..options() };
    change(&mut options);
    let backend = Server::connect(&server.url, options).unwrap();
    let request = GenerateRequest { prompt: &documents()[0][..6], tokens: 5 };
    let result = backend.generate(&[request], &Decoding::Greedy).map(|mut all| all.remove(0).ids);
    (server, result)
}

#[test]
fn every_fault_alone_and_to_the_end() {
    let expected = model()
        .generate(&[GenerateRequest { prompt: &documents()[0][..6], tokens: 5 }], &Decoding::Greedy)
        .unwrap()
        .remove(0)
        .ids;
    for misdeed in Kind::LlamaCpp.misdeeds() {
        let (server, result) = once(Kind::LlamaCpp, &[misdeed; 5], |_| ());
        assert_eq!(result.unwrap(), expected, "{misdeed:?}");
        assert_eq!(server.completions(), 6);
        let (server, result) = once(Kind::LlamaCpp, &[misdeed; 6], |_| ());
        let error = result.unwrap_err().to_string();
        assert!(error.contains("(attempt 6 of 6)") && error.contains("/completion"), "{error}");
        assert_eq!(server.completions(), 6, "{misdeed:?}");
    }
}

#[test]
fn permanent_errors_are_not_retried() {
    for (misdeed, words) in [
        (Misdeed::Status(400), "HTTP 400 Bad Request: as scripted"),
        (Misdeed::Status(403), "GOLDFISH_API_KEY"),
        (Misdeed::Status(404), "HTTP 404"),
        (Misdeed::Status(422), "as scripted"),
        (Misdeed::Redirect, "redirects to http://127.0.0.2:9/elsewhere, which is not followed"),
        (Misdeed::Huge, "more than 67108864 bytes"),
        (Misdeed::Endless, "more than 67108864 bytes"),
    ] {
        let (server, result) = once(Kind::LlamaCpp, &[misdeed], |_| ());
        let error = result.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert_eq!(server.completions(), 1, "{misdeed:?}");
    }
}

#[test]
fn a_server_that_asks_to_wait_is_left_alone() {
    for (misdeed, least) in [(Misdeed::RetryAfter(429, 1), 1000), (Misdeed::RetryAtDate, 900)] {
        let start = Instant::now();
        let (server, result) = once(Kind::LlamaCpp, &[misdeed], |_| ());
        result.unwrap();
        assert!(start.elapsed() >= Duration::from_millis(least), "{:?}", start.elapsed());
        assert_eq!(server.completions(), 2);
    }
    // Longer than the longest wait: the caller gets the time.
    let (server, result) = once(Kind::LlamaCpp, &[Misdeed::RetryAfter(429, 3600)], |_| ());
    let Err(BackendError::Failed { retry_after, .. }) = result else { panic!("{result:?}") };
    assert_eq!((retry_after, server.completions()), (Some(Duration::from_secs(3600)), 1));
}

#[test]
fn a_slow_answer_is_retried() {
    let slow = Misdeed::Slow(Duration::from_millis(1500));
    let timeouts = Timeouts { connect: Duration::from_secs(5), answer: Duration::from_millis(500) };
    let (server, result) = once(Kind::LlamaCpp, &[slow], |options| options.timeouts = timeouts);
    result.unwrap();
    assert_eq!(server.completions(), 2);
}

#[test]
fn unreachable_servers() {
    // With the default waits, which would take half a minute.
    let start = Instant::now();
    // A label of a name has 63 letters at most: the lookup fails without a request.
    let unknown = format!("http://{}:8000", "n".repeat(64));
    for (url, words) in
        [("http://127.0.0.1:1", "nothing listens there"), (unknown.as_str(), "is the address right?")]
    {
        let options = ServerOptions { retry: Retry::default(), ..options() };
        let error = Server::connect(url, options).err().unwrap().to_string();
        assert!(error.contains(url) && error.contains(words), "{error}");
    }
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}

/// The key goes to the server and nowhere else, though the server repeats it in its refusals.
#[test]
fn the_key_is_in_no_output() {
    const KEY: &str = "sk-verysecret-0123";
    let folder = tempdir().unwrap();
    let table = table(folder.path());
    let keyed = || Faults { key: Some(KEY.into()), random: Some((5, 20)), ..Faults::default() };
    let key = ApiKey::new(KEY).unwrap();
    assert!(!format!("{key:?} {}", key.as_ref().unwrap()).contains("secret"));
    let server = TestServer::start(Kind::Vllm, model(), keyed());
    let backend = Server::connect(&server.url, ServerOptions { key, ..options() }).unwrap();
    let test = tested(&backend, &table).unwrap();
    audit(&folder.path().join("run"), &backend, &table, Decide::Score).unwrap();
    assert!(
        server.seen().iter().all(|seen| seen.authorization.as_deref() == Some(&*format!("Bearer {KEY}")))
    );
    let mut printed = vec![format!("{:?} {:?} {test:?}", backend.describe(), backend.notes())];
    // Another key, which the server's refusal shows.
    let wrong = ApiKey::new("sk-othersecret").unwrap();
    let error = Server::connect(&server.url, ServerOptions { key: wrong, ..options() }).err().unwrap();
    assert!(error.to_string().contains("no good key: Bearer [key]"), "{error}");
    printed.push(format!("{error} {error:?}"));
    assert!(printed.iter().all(|text| !text.contains("secret")), "{printed:?}");
    let files = files(folder.path());
    assert!(files.len() >= 5);
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"secret"), "{}", file.display());
    }
}

#[test]
fn evidence_holds_the_exchange() {
    let folder = tempdir().unwrap();
    let table = table(folder.path());
    for (kind, decide) in [(Kind::Vllm, Decide::Score), (Kind::LlamaCpp, Decide::Generate)] {
        let (_server, backend) = connect(kind, Faults::default());
        let run = folder.path().join(format!("{kind:?}"));
        audit(&run, &backend, &table, decide).unwrap();
        let evidence = std::fs::read_to_string(run.join("evidence.jsonl")).unwrap();
        for line in evidence.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let exchange = line["tokens"]["exchange"].as_str().unwrap();
            let exchange: serde_json::Value = serde_json::from_str(exchange).unwrap();
            let (prompt, sent) = (&line["tokens"]["prompt"], &exchange["request"]["prompt"]);
            let sent = if kind == Kind::Vllm { &sent[0] } else { sent };
            let (prompt, sent) = (prompt.as_array().unwrap(), sent.as_array().unwrap());
            assert!(sent.starts_with(prompt), "{prompt:?} {sent:?}");
            let ids = if kind == Kind::Vllm { "prompt_token_ids" } else { "tokens" };
            assert!(exchange["response"][ids].is_array() && exchange["response_cut"] == false);
        }
    }
}

#[test]
fn draws_are_seeded() {
    let (server, backend) = connect(Kind::Vllm, Faults::default());
    let prompt = &documents()[1][..6];
    let draw = |seed| {
        let scheme = SamplingScheme { temperature: 1.0, top_k: Some(40), top_p: None };
        let requests = [GenerateRequest { prompt, tokens: 4 }; 6];
        let drawn = backend.generate(&requests, &Decoding::Sampled { scheme, seed, first: 0 }).unwrap();
        drawn.into_iter().map(|generated| generated.ids).collect::<Vec<_>>()
    };
    let first = draw(3);
    assert!(first == draw(3) && first != draw(4));
    assert!(first.iter().any(|ids| *ids != first[0]), "each request has a stream of its own");
    assert!(
        server
            .seen()
            .iter()
            .skip(4)
            .all(|seen| seen.body["prompt"].as_array().is_none_or(|all| all.len() == 1))
    );
}

/// A chat with this template.
fn chat(faults: Faults, prompt: &str) -> (TestServer, Server) {
    let server = TestServer::start(Kind::Chat, model(), faults);
    let template = PromptTemplate::new(Some(prompt.into()), Some("You recite.".into())).unwrap();
    let options = ServerOptions {
        protocol: Kind::Chat.named(),
        template: Some(template),
        codec: Some(Box::new(Codec)),
        ..options()
    };
    let backend = Server::connect(&server.url, options).unwrap();
    (server, backend)
}

#[test]
fn a_chat_is_asked_in_words() {
    let folder = tempdir().unwrap();
    let table = table(folder.path());
    let (direct, _) = audit(&folder.path().join("direct"), &model(), &table, Decide::Generate).unwrap();
    for (name, fault) in
        [("plain", None), ("again", Some(ChatFault::SaysAgain)), ("quotes", Some(ChatFault::Quotes))]
    {
        let (server, backend) = chat(Faults { chat: fault, ..Faults::default() }, "Go on: {prefix}");
        let tested = tested(&backend, &table).unwrap();
        assert_eq!(tested.verdict("it").unwrap(), Decide::Generate, "{tested:#?}");
        assert_eq!(tested.outcome(CheckName::NoBosAdded), Outcome::Skipped);
        let run = folder.path().join(name);
        let (rows, summary) = audit(&run, &backend, &table, Decide::Generate).unwrap();
        let said_again = fault == Some(ChatFault::SaysAgain);
        for (row, direct) in
            rows.iter().zip(&direct).filter(|(row, _)| !row.caveats.contains("prompt_changed"))
        {
            assert_eq!(row.caveats.contains("prefix_repeated"), said_again, "{}", row.caveats);
            assert_eq!(
                (row.exact_match, row.match_length),
                (direct.exact_match, direct.match_length),
                "{name}"
            );
        }
        assert!(summary.scores.exact_match.positives > rows.len() as u64 / 4);
        let notes = &summary.notes;
        assert!(notes.iter().any(|note| note.contains("a zero is no all-clear")), "{notes:?}");
        for seen in server.seen().iter().filter(|seen| seen.body.is_object()) {
            let messages = seen.body["messages"].as_array().unwrap();
            assert_eq!(
                (&messages[0]["role"], &messages[0]["content"]),
                (&"system".into(), &"You recite.".into())
            );
            assert!(messages[1]["content"].as_str().unwrap().starts_with("Go on: ") && messages.len() == 2);
        }
        let evidence = std::fs::read_to_string(run.join("evidence.jsonl")).unwrap();
        assert!(evidence.lines().count() > 0 && evidence.lines().all(|line| line.contains("Go on: ")));
        let config = std::fs::read_to_string(run.join("config.json")).unwrap();
        assert!(config.contains("Go on: {prefix}") && config.contains("You recite."));
    }
    // Another template is another run.
    let (_server, other) = chat(Faults::default(), "Please go on: {prefix}");
    let error = audit(&folder.path().join("plain"), &other, &table, Decide::Generate).unwrap_err();
    assert!(error.to_string().contains("which differ in model"), "{error}");
}

#[test]
fn refusals_of_a_chat_are_counted() {
    let folder = tempdir().unwrap();
    let table = table(folder.path());
    for (name, fault) in [("refused", ChatFault::Refuses), ("filtered", ChatFault::Filters)] {
        let (_server, backend) = chat(Faults { chat: Some(fault), ..Faults::default() }, "{prefix}");
        let (rows, summary) = audit(&folder.path().join(name), &backend, &table, Decide::Generate).unwrap();
        assert!(rows.iter().all(|row| row.caveats.contains("refused") && !row.exact_match));
        let words = format!("{} of {} audited probes were refused", rows.len(), rows.len());
        assert!(summary.notes.iter().any(|note| note.starts_with(&words)), "{:?}", summary.notes);
    }
}

#[test]
fn answers_of_a_chat_without_text_are_errors() {
    for (fault, words) in [(ChatFault::Reasons, "switch that off"), (ChatFault::SaysNothing, "no `content`")]
    {
        let (server, backend) = chat(Faults { chat: Some(fault), ..Faults::default() }, "{prefix}");
        let request = GenerateRequest { prompt: &documents()[0][..6], tokens: 5 };
        let error = backend.generate(&[request], &Decoding::Greedy).unwrap_err().to_string();
        assert!(error.contains(words) && server.completions() == 1, "{error}");
    }
}

#[test]
fn a_chat_has_to_be_named() {
    let server = TestServer::start(Kind::Chat, model(), Faults::default());
    let connect = |protocol: Option<&str>, model: Option<&str>, template: bool| {
        let protocol = protocol.map(|name| name.parse().unwrap());
        let template = template.then(PromptTemplate::default);
        let model = model.map(str::to_owned);
        Server::connect(
            &server.url,
            ServerOptions { protocol, model, template, codec: Some(Box::new(Codec)), ..options() },
        )
    };
    assert_eq!(connect(None, None, false).unwrap().protocol().name(), "openai");
    let error = connect(None, None, true).err().unwrap().to_string();
    assert!(error.contains("prompt template") && error.contains("use the protocol chat"), "{error}");
    let described = connect(Some("chat"), None, false).unwrap().describe().unwrap();
    assert_eq!((described.name.as_str(), described.template), ("fake", Some(PromptTemplate::default())));
    let error = connect(Some("chat"), Some("other"), false).err().unwrap().to_string();
    assert!(error.contains("no model \"other\""), "{error}");
}

#[test]
fn what_a_chat_ended_early_is_no_canary() {
    let folder = tempdir().unwrap();
    let table = table(folder.path());
    let grid = Grid::new(vec![0], None, vec![6], vec![4, 24]).unwrap();
    let canaries = |stops: bool| {
        let (_server, backend) = chat(Faults { stops, ..Faults::default() }, "{prefix}");
        own_output(&backend, &table, &grid, None).unwrap().starts
    };
    let (all, whole) = (canaries(false), canaries(true));
    assert!(!whole.is_empty() && whole.len() < all.len(), "{} of {}", whole.len(), all.len());
    for start in &whole {
        assert!(all.iter().any(|one| (&one.doc_id, &one.ids) == (&start.doc_id, &start.ids)));
    }
}
