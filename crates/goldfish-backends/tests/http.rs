//! Whole runs over a server: as over the model itself, whatever goes wrong on the way.

#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::faults::{Faults, Misdeed};
use common::protocols::{Kind, MERGED, PAIR};
use common::server::TestServer;
use common::*;
use goldfish_audit::ResultRow;
use goldfish_audit::backend::{
    Backend, BackendError, Decoding, GenerateRequest, SamplingScheme, ScoreRequest, Wants,
};
use goldfish_audit::selftest::{CheckName, Decide, Outcome};
use goldfish_backends::http::{ApiKey, Protocol, Retry, Server, ServerOptions, Timeouts};
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

/// What is known with every protocol.
fn verdicts(rows: &[ResultRow]) -> Vec<(&str, bool, u32, Option<&Vec<u32>>, Option<f64>)> {
    rows.iter()
        .map(|row| {
            (row.probe_id.as_str(), row.exact_match, row.match_length, row.generated.as_ref(), row.rouge_l)
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
