//! Objects: requests to stores, from threads that wait for their answers.

mod calls;
mod errors;
mod location;
mod object;
mod request;
mod runtime;
mod upload;

pub(crate) use calls::{check, copy_within, entries, metadata, metadata_of_all, remove, remove_all, write};
pub(crate) use object::Object;
pub(crate) use upload::Upload;
