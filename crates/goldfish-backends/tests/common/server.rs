//! The HTTP of the test server: requests in, answers out, each broken as its fault says.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use goldfish_audit::fake::FakeModel;
use serde_json::Value;

use super::faults::{Faults, Misdeed};
use super::protocols::{Kind, Reply, answer, spoil};

/// What a request looked like.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: Value,
}

pub(crate) struct State {
    pub(crate) kind: Kind,
    pub(crate) model: FakeModel,
    pub(crate) faults: Faults,
    /// How many bodies of each kind got a misdeed.
    met: Mutex<HashMap<String, u32>>,
    seen: Mutex<Vec<Seen>>,
    misdeeds: Mutex<Vec<Misdeed>>,
    busy: Mutex<(usize, usize)>,
    stop: AtomicBool,
}

pub(crate) struct TestServer {
    pub(crate) url: String,
    pub(crate) state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

impl TestServer {
    pub(crate) fn start(kind: Kind, model: FakeModel, faults: Faults) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            kind,
            model,
            faults,
            met: Mutex::default(),
            seen: Mutex::default(),
            misdeeds: Mutex::default(),
            busy: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let shared = state.clone();
        let accepting = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.stop.load(Ordering::Relaxed) {
                    return;
                }
                let shared = shared.clone();
                thread::spawn(move || while serve(&stream, &shared).is_some() {});
            }
        });
        Self { url: format!("http://{address}"), state, accepting: Some(accepting) }
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// Requests for completions.
    pub(crate) fn completions(&self) -> usize {
        self.seen().iter().filter(|seen| seen.body.is_object() && seen.path != "/api/show").count()
    }

    /// What was done wrong so far.
    pub(crate) fn misdeeds(&self) -> Vec<Misdeed> {
        self.state.misdeeds.lock().unwrap().clone()
    }

    /// Most requests that were answered at one time.
    pub(crate) fn most_at_once(&self) -> usize {
        self.state.busy.lock().unwrap().1
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
        let _ = self.accepting.take().unwrap().join();
    }
}

/// One request; `None` when the connection is done.
fn serve(stream: &TcpStream, state: &State) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let (mut length, mut authorization) = (0usize, None);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "authorization" => authorization = Some(value.trim().to_owned()),
            _ => (),
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let text = String::from_utf8(body).unwrap();
    let body: Value = if method == "POST" { serde_json::from_str(&text).unwrap() } else { Value::Null };
    state.seen.lock().unwrap().push(Seen {
        path: path.clone(),
        authorization: authorization.clone(),
        body: body.clone(),
    });
    {
        let mut busy = state.busy.lock().unwrap();
        busy.0 += 1;
        busy.1 = busy.1.max(busy.0);
    }
    // Long enough that concurrent requests overlap, on a busy machine too.
    std::thread::sleep(Duration::from_millis(3));
    let alive = respond(stream, state, &path, &body, &text, authorization.as_deref());
    state.busy.lock().unwrap().0 -= 1;
    alive
}

fn respond(
    mut stream: &TcpStream,
    state: &State,
    path: &str,
    body: &Value,
    text: &str,
    authorization: Option<&str>,
) -> Option<()> {
    if state.faults.key.as_ref().is_some_and(|key| authorization != Some(&format!("Bearer {key}"))) {
        // Some servers repeat the key in the refusal.
        let given = authorization.unwrap_or("none");
        return write(stream, 401, &format!("{{\"error\": {{\"message\": \"no good key: {given}\"}}}}"), &[]);
    }
    let misdeed = body.is_object().then(|| misdeed(state, text)).flatten();
    let reply = answer(state.kind, &state.model, &state.faults, path, body);
    let Reply { status, body } = match misdeed {
        Some(misdeed) => spoil(misdeed, reply),
        None => reply,
    };
    let bytes = body.to_string();
    match misdeed {
        Some(Misdeed::Reset) => None,
        Some(Misdeed::ResetMidway) => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", bytes.len());
            stream.write_all(head.as_bytes()).ok()?;
            stream.write_all(&bytes.as_bytes()[..bytes.len() / 2]).ok()?;
            stream.shutdown(Shutdown::Both).ok()?;
            None
        }
        Some(Misdeed::TruncatedJson) => {
            let whole = bytes.trim_end_matches(['}', ']']);
            write(stream, 200, whole, &[])
        }
        Some(Misdeed::BrokenChunks) => {
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.write_all(format!("{head}{:x}\r\n{bytes}\r\n", bytes.len() + 50).as_bytes()).ok()?;
            None
        }
        Some(Misdeed::Garbage) => write(stream, 200, "\u{1}\u{2}not json", &[]),
        Some(Misdeed::Empty) => write(stream, 200, "", &[]),
        Some(Misdeed::Page) => write(stream, 200, "<html>busy</html>", &[]),
        Some(Misdeed::NotANumber) => {
            write(stream, 200, &bytes.replacen("\"index\":", "\"index\":NaN,\"was\":", 1), &[])
        }
        Some(Misdeed::Status(status)) => {
            write(stream, status, "{\"error\": {\"message\": \"as scripted\"}}", &[])
        }
        Some(Misdeed::RetryAfter(status, seconds)) => {
            write(stream, status, "busy", &[("retry-after", seconds.to_string())])
        }
        Some(Misdeed::RetryAtDate) => {
            let date = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(2));
            write(stream, 503, "busy", &[("retry-after", date)])
        }
        Some(Misdeed::Slow(wait)) => {
            thread::sleep(wait);
            write(stream, status, &bytes, &[])
        }
        Some(Misdeed::Redirect) => {
            write(stream, 307, "", &[("location", "http://127.0.0.2:9/elsewhere".into())])
        }
        Some(Misdeed::Huge) => {
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n";
            stream.write_all(head.as_bytes()).ok()?;
            None
        }
        Some(Misdeed::Endless) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"choices\": \"").ok()?;
            let block = [b'x'; 1 << 16];
            while stream.write_all(&block).is_ok() {}
            None
        }
        _ => write(stream, status, &bytes, &[]),
    }
}

/// The error of this request.
fn misdeed(state: &State, body: &str) -> Option<Misdeed> {
    let mut met = state.met.lock().unwrap();
    let times = met.entry(body.to_owned()).or_default();
    let misdeed = state.faults.next(state.kind, body, *times)?;
    *times += 1;
    state.misdeeds.lock().unwrap().push(misdeed);
    Some(misdeed)
}

fn write(mut stream: &TcpStream, status: u16, body: &str, headers: &[(&str, String)]) -> Option<()> {
    let mut head = format!("HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    // In one piece: two would wait for each other.
    head += &format!("content-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(head.as_bytes()).ok()
}
