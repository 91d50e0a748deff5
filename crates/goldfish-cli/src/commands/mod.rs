//! One file a verb.

pub(crate) mod audit;
pub(crate) mod canary;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod demo;
mod dry_run;
pub(crate) mod export;
pub(crate) mod inspect;
pub(crate) mod lab;
pub(crate) mod man;
pub(crate) mod mask;
mod masks_only;
pub(crate) mod merge;
pub(crate) mod policy;
pub(crate) mod report;
pub(crate) mod trace;
pub(crate) mod verify;
