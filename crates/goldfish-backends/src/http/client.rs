//! Single requests, repeated until the answer is usable.

use std::io::{ErrorKind, Read};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use goldfish_audit::backend::BackendError;
use serde_json::Value;
use ureq::Agent;
use ureq::http::{Response, StatusCode};

use super::key::{ApiKey, KEY_VARIABLE};
use super::response::ResponseError;
use super::retry::{Retry, retry_after};

/// Largest answer that is read, in bytes.
pub const MAX_RESPONSE_BYTES: u64 = 64 << 20;

/// Most characters of a server's own text in an error.
const MAX_QUOTED: usize = 300;

/// Time limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection, with name lookup and TLS.
    pub connect: Duration,
    /// For a complete answer.
    pub answer: Duration,
}

impl Default for Timeouts {
    /// 10 seconds, and 10 minutes.
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), answer: Duration::from_secs(600) }
    }
}

/// Requests to one server.
pub(super) struct Client {
    agent: Agent,
    base: String,
    key: Option<ApiKey>,
    retry: Retry,
    requests: AtomicU64,
    /// Whether it ever answered.
    reached: AtomicBool,
}

/// Why a request has no answer, after all attempts.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) reason: String,
    /// The wait that the server asked for.
    pub(super) retry_after: Option<Duration>,
    /// Its status, if it answered; a success whose body couldn't be used has one too.
    pub(super) status: Option<StatusCode>,
}

impl Failure {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), retry_after: None, status: None }
    }

    fn unusable(reason: String) -> Self {
        Self { reason, retry_after: None, status: Some(StatusCode::OK) }
    }

    /// Whether the server is there but doesn't support the request.
    pub(super) fn cannot(&self) -> bool {
        let known = [
            StatusCode::UNAUTHORIZED,
            StatusCode::FORBIDDEN,
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::TOO_MANY_REQUESTS,
        ];
        self.status.is_some_and(|status| {
            let refused = status.is_client_error() && !known.contains(&status);
            refused || status.is_success() || status == StatusCode::NOT_IMPLEMENTED
        })
    }
}

/// The outcome of one attempt.
enum Attempt {
    Answer(Vec<u8>),
    Transient(Failure),
    Permanent(Failure),
}

impl Client {
    pub(super) fn new(
        url: &str,
        key: Option<ApiKey>,
        timeouts: Timeouts,
        retry: Retry,
        connections: usize,
    ) -> Result<Self, BackendError> {
        let base = base_url(url)?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // A redirect is never followed: the key is for this server, and prompts are too.
            .max_redirects(0)
            .max_redirects_will_error(false)
            // Not from the environment: requests must reach the server that was named.
            .proxy(None)
            .timeout_connect(Some(timeouts.connect))
            .timeout_per_call(Some(timeouts.answer))
            .max_idle_connections_per_host(connections.max(1))
            .max_idle_connections(connections.max(1))
            .user_agent(concat!("goldfish/", env!("CARGO_PKG_VERSION")))
            .accept("application/json")
            .build();
        const DAY: Duration = Duration::from_secs(24 * 3600);
        let retry = Retry { attempts: retry.attempts.max(1), longest: retry.longest.min(DAY), ..retry };
        Ok(Self {
            agent: config.into(),
            base,
            key,
            retry,
            requests: AtomicU64::new(0),
            reached: AtomicBool::new(false),
        })
    }

    /// The server's address, for messages.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// A server's text without the key.
    pub(super) fn scrub(&self, text: String) -> String {
        match &self.key {
            Some(key) => key.scrub(text),
            None => text,
        }
    }

    /// Repeats a request until `parse` accepts the answer; gives up early once `stop` is set.
    pub(super) fn ask<T>(
        &self,
        path: &str,
        body: Option<&Value>,
        stop: &AtomicBool,
        parse: impl Fn(&[u8]) -> Result<T, ResponseError>,
    ) -> Result<T, Failure> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut failure = match self.attempt(path, body) {
                Attempt::Permanent(failure) => return Err(failure),
                Attempt::Transient(failure) => failure,
                Attempt::Answer(bytes) => match parse(&bytes) {
                    Ok(answer) => return Ok(answer),
                    Err(ResponseError::Permanent(reason)) => {
                        return Err(Failure::unusable(self.clean(&reason)));
                    }
                    Err(ResponseError::Transient(reason)) => Failure::unusable(self.clean(&reason)),
                },
            };
            let asked = failure.retry_after.unwrap_or_default();
            if attempt >= self.retry.attempts || asked > self.retry.longest {
                failure.reason += &format!(" (attempt {attempt} of {})", self.retry.attempts);
                return Err(failure);
            }
            if !sleep(self.retry.wait(number, attempt).max(asked), stop) {
                return Err(Failure::new("stopped, because another request failed"));
            }
        }
    }

    /// Asks for a page of JSON; `None` if the server has none there.
    pub(super) fn look(&self, path: &str, body: Option<&Value>) -> Result<Option<Value>, BackendError> {
        let parse = |bytes: &[u8]| match serde_json::from_slice(bytes) {
            Ok(page) => Ok(Some(page)),
            // Damaged JSON, and not the HTML that some servers have everywhere.
            Err(error) if bytes.trim_ascii_start().starts_with(b"{") => {
                Err(ResponseError::transient(error.to_string()))
            }
            Err(_) => Ok(None),
        };
        match self.ask(path, body, &AtomicBool::new(false), parse) {
            // Some gateways forbid unknown paths.
            Err(failure) if failure.cannot() || failure.status == Some(StatusCode::FORBIDDEN) => Ok(None),
            other => other.map_err(|failure| self.error(path, failure)),
        }
    }

    fn attempt(&self, path: &str, body: Option<&Value>) -> Attempt {
        let url = format!("{}{path}", self.base);
        let authorization = self.key.as_ref().map(ApiKey::header);
        let sent = match body {
            None => {
                let mut request = self.agent.get(&url);
                if let Some(value) = &authorization {
                    request = request.header("authorization", value);
                }
                request.call()
            }
            Some(body) => {
                let mut request = self.agent.post(&url).content_type("application/json");
                if let Some(value) = &authorization {
                    request = request.header("authorization", value);
                }
                request.send(body.to_string())
            }
        };
        match sent {
            Ok(response) => {
                self.reached.store(true, Ordering::Relaxed);
                self.read(response)
            }
            // An invalid address or certificate stays invalid.
            Err(
                error @ (ureq::Error::BadUri(_)
                | ureq::Error::Http(_)
                | ureq::Error::Tls(_)
                | ureq::Error::Rustls(_)),
            ) => Attempt::Permanent(Failure::new(error.to_string())),
            // Before the first answer, a wrong address is likelier than a restart.
            Err(error) => match unreachable(&error).filter(|_| !self.reached.load(Ordering::Relaxed)) {
                Some(advice) => Attempt::Permanent(Failure::new(format!("no answer: {error}; {advice}"))),
                None => Attempt::Transient(Failure::new(format!("no answer: {error}"))),
            },
        }
    }

    fn read(&self, response: Response<ureq::Body>) -> Attempt {
        let status = response.status();
        let header = |name: &str| response.headers().get(name)?.to_str().ok().map(str::to_owned);
        let wait = header("retry-after").and_then(|value| retry_after(&value, SystemTime::now()));
        let target = header("location");
        let announced = header("content-length").and_then(|value| value.parse::<u64>().ok());
        let failure = |reason: String| Failure { reason, retry_after: wait, status: Some(status) };
        let mut bytes = Vec::new();
        let mut large = announced.is_some_and(|bytes| bytes > MAX_RESPONSE_BYTES);
        let mut broken = None;
        if !large {
            let mut body = response.into_body().into_reader().take(MAX_RESPONSE_BYTES + 1);
            broken = body.read_to_end(&mut bytes).err();
            large = bytes.len() as u64 > MAX_RESPONSE_BYTES;
        }
        if large {
            let advice = "ask for fewer sequences at once";
            return Attempt::Permanent(failure(format!(
                "the answer has more than {MAX_RESPONSE_BYTES} bytes; {advice}"
            )));
        }
        if status.is_success() {
            return match broken {
                None => Attempt::Answer(bytes),
                Some(error) => Attempt::Transient(failure(format!("the answer ended early: {error}"))),
            };
        }
        let words = self.message(&bytes);
        let said =
            if words.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {words}") };
        match status {
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Attempt::Transient(failure(said)),
            StatusCode::NOT_IMPLEMENTED => Attempt::Permanent(failure(said)),
            _ if status.is_server_error() => Attempt::Transient(failure(said)),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Attempt::Permanent(failure(format!(
                "{said}; a key is read from the environment variable {KEY_VARIABLE}"
            ))),
            _ if status.is_redirection() => {
                let target = target.map_or("elsewhere".into(), |target| self.clean(&target));
                Attempt::Permanent(failure(format!(
                    "it redirects to {target}, which is not followed; give that address"
                )))
            }
            _ => Attempt::Permanent(failure(said)),
        }
    }

    /// The start of an error's body, on one line: its message if it is JSON with one.
    fn message(&self, body: &[u8]) -> String {
        let parsed: Option<Value> = serde_json::from_slice(body).ok();
        let inner = parsed.as_ref().and_then(|value| {
            let error = value.get("error").unwrap_or(value);
            error.get("message").or(value.get("detail")).unwrap_or(error).as_str()
        });
        self.clean(&inner.map_or_else(|| String::from_utf8_lossy(body), Into::into))
    }

    /// A server's text on one line, without the key, then cut: part of a key would not be recognized after the cut.
    fn clean(&self, words: &str) -> String {
        tidy(&self.scrub(words.to_owned()))
    }

    /// A failure as the callers' error.
    pub(super) fn error(&self, path: &str, failure: Failure) -> BackendError {
        let reason = self.scrub(format!("{path}: {}", failure.reason));
        BackendError::Failed { backend: self.base.clone(), reason, retry_after: failure.retry_after }
    }
}

/// What to check if an error says that there is no such machine, or nothing listens on it.
fn unreachable(error: &ureq::Error) -> Option<&'static str> {
    match error {
        ureq::Error::HostNotFound => Some("is the address right?"),
        ureq::Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
            Some("nothing listens there: is the server started, and the port right?")
        }
        // The standard library has no kind for a name that isn't found.
        ureq::Error::Io(error) if error.to_string().starts_with("failed to lookup address") => {
            Some("is the address right?")
        }
        _ => None,
    }
}

/// Text without line ends and control characters, cut to its limit.
fn tidy(text: &str) -> String {
    let text: String = text.chars().take(MAX_QUOTED).map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.trim().to_owned()
}

/// Waits; false if `stop` was set meanwhile.
fn sleep(wait: Duration, stop: &AtomicBool) -> bool {
    const STEP: Duration = Duration::from_millis(50);
    let end = Instant::now() + wait;
    loop {
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        let remaining = end.saturating_duration_since(Instant::now());
        if remaining.is_zero() {
            return true;
        }
        std::thread::sleep(remaining.min(STEP));
    }
}

/// The address without a trailing slash or `/v1`.
fn base_url(url: &str) -> Result<String, BackendError> {
    let bad = |reason: &str| BackendError::Failed {
        backend: "the server".into(),
        reason: reason.into(),
        retry_after: None,
    };
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let Some(rest) = rest.filter(|rest| !rest.is_empty()) else {
        return Err(bad("its address must begin with http:// or https://"));
    };
    if rest.contains(['@', '?', '#']) {
        return Err(bad(&format!(
            "its address must have no user, query or fragment; a key is read from the environment variable {KEY_VARIABLE}"
        )));
    }
    let base = url.trim_end_matches('/');
    Ok(base.strip_suffix("/v1").unwrap_or(base).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for url in ["http://a:8000", "http://a:8000/", "http://a:8000/v1", "http://a:8000/v1/"] {
            assert_eq!(base_url(url).unwrap(), "http://a:8000", "{url}");
        }
        assert_eq!(base_url("https://a/proxy/v1").unwrap(), "https://a/proxy");
        for url in ["", "a:8000", "ftp://a", "http://", "http://user:secret@a", "https://a?key=secret"] {
            let error = base_url(url).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_key_is_taken_out_before_the_cut() {
        let key: String = (0..158).map(|at| char::from(b'0' + (at * 7 % 75) as u8)).collect();
        let client = |key: &str| {
            let key = ApiKey::new(key).unwrap();
            Client::new("http://a", key, Timeouts::default(), Retry::default(), 1).unwrap()
        };
        // Often enough that the cut leaves a part of it.
        for body in [key.repeat(100), format!("{{\"error\": \"{}\"}}", key.repeat(100).replace('\\', "\\\\"))]
        {
            let words = client(&key).message(body.as_bytes());
            assert!(words.contains("[key]") && words.chars().count() <= MAX_QUOTED, "{words}");
            assert!(
                !key.as_bytes().windows(8).any(|part| words.as_bytes().windows(8).any(|w| w == part)),
                "{words}"
            );
        }
        // Nor where a library repeats a server's text.
        let read = |_: &[u8]| -> Result<(), ResponseError> {
            Err(ResponseError::permanent(format!("{}{key}", "x".repeat(250))))
        };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).unwrap() > 0);
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
            std::io::Write::write_all(&mut stream, answer).unwrap();
        });
        let client = Client::new(&url, ApiKey::new(&key).unwrap(), Timeouts::default(), Retry::default(), 1);
        let failure = client.unwrap().ask("/", None, &AtomicBool::new(false), read).unwrap_err();
        answering.join().unwrap();
        assert_eq!(failure.reason, format!("{}[key]", "x".repeat(250)));
    }

    #[test]
    fn texts_are_short_and_clean() {
        assert_eq!(tidy(" a\n\x1b[31mb "), "a  [31mb");
        assert_eq!(tidy(&"x".repeat(10_000)).len(), MAX_QUOTED);
    }
}
