//! Completion servers.
//!
//! [`Server`] is a [`Backend`](goldfish_audit::backend::Backend) over HTTP, with one thread a connection. What is sent is up
//! to a [protocol](Protocol); errors are handled in one place for all of them: an answer counts only if it is complete and
//! fits what was asked, and until then the request is repeated. A request changes nothing at the server, so repeating it is
//! safe.
//!
//! `docs/servers.md` says what each protocol sends, and what a server must be started with.

mod client;
mod codec;
mod completions;
mod connect;
mod key;
mod message;
mod pool;
mod probe;
mod protocol;
mod protocols;
mod response;
mod retry;
mod server;
mod text;
mod tokenizer;

pub use client::{MAX_RESPONSE_BYTES, Timeouts};
pub use codec::TextCodec;
pub use key::{ApiKey, KEY_VARIABLE};
pub use protocol::MAX_EXCHANGE_BYTES;
pub use protocols::Protocol;
pub use retry::Retry;
pub use server::{Server, ServerOptions};
