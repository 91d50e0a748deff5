//! Models to audit: [checkpoints](local) that run in this process, and completion [servers](http).
//!
//! Both are a [`Backend`](goldfish_audit::backend::Backend): they take and return token ids, add none, and answer every request once.

#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "local")]
pub mod local;
