//! What a new kind of server takes: this file, and its lines in the list.

use goldfish_audit::backend::{BackendError, Decoding, GenerateRequest, Generated};
use serde_json::{Value, json};

use crate::http::probe::{Found, Kind, Probe, text};
use crate::http::protocol::Generator;
use crate::http::response::{ResponseError, malformed};

pub(super) static KIND: Kind = Kind { protocol: "toy", page: "/toy", detect };

fn detect(probe: &Probe<'_>) -> Result<Option<Found>, BackendError> {
    let page = probe.page(KIND.page)?;
    Ok(page.map(|page| Found {
        model: text(&page["name"]),
        facts: vec![("name", page["name"].clone())],
        generator: Some(Box::new(Toy)),
        ..Found::default()
    }))
}

struct Toy;

impl Generator for Toy {
    fn path(&self) -> &str {
        "/continue"
    }

    fn body(&self, requests: &[GenerateRequest<'_>], _: &Decoding, _: Option<u64>) -> Value {
        json!(requests.iter().map(|request| request.prompt).collect::<Vec<_>>())
    }

    fn read(&self, answer: &[u8], _: &[GenerateRequest<'_>]) -> Result<Vec<Generated>, ResponseError> {
        let all: Vec<Vec<u32>> = serde_json::from_slice(answer).map_err(malformed)?;
        Ok(all.into_iter().map(|ids| Generated { ids, ..Generated::default() }).collect())
    }
}

#[test]
fn a_server_of_ones_own_is_detected_and_asked() {
    use std::io::{Read, Write};

    use goldfish_audit::backend::Backend;

    use crate::http::{Server, ServerOptions};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let mut requests = Vec::new();
        for answer in ["{\"name\": \"plaything\"}", "[[7, 8], [9, 9]]"] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let mut read = stream.read(&mut request).unwrap();
            if !request[..read].starts_with(b"GET") && !request[..read].ends_with(b"]]") {
                read += stream.read(&mut request[read..]).unwrap();
            }
            requests.push(String::from_utf8_lossy(&request[..read]).into_owned());
            let length = answer.len();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}"
            )
            .unwrap();
        }
        requests
    });
    let server = Server::connect(&url, ServerOptions::default()).unwrap();
    assert_eq!((server.protocol().name(), "toy".parse()), ("toy", Ok(server.protocol())));
    let model = server.describe().unwrap();
    assert_eq!((model.name.as_str(), model.fingerprint.as_str()), ("plaything", "name=plaything"));
    let prompts = [[1, 2], [3, 4]];
    let requests: Vec<_> = prompts.iter().map(|prompt| GenerateRequest { prompt, tokens: 2 }).collect();
    let ids = server.generate(&requests, &Decoding::Greedy).unwrap().into_iter().map(|all| all.ids);
    assert_eq!(ids.collect::<Vec<_>>(), [[7, 8], [9, 9]]);
    let asked = serving.join().unwrap();
    assert!(asked[0].starts_with("GET /toy ") && asked[1].starts_with("POST /continue "), "{asked:?}");
    assert!(asked[1].ends_with("[[1,2],[3,4]]"), "{asked:?}");
}
