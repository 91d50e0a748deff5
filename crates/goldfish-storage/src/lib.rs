//! Files on a disk or in an object store, through one set of calls.
//!
//! A path that starts with one of [`SCHEMES`] names an object, any other a file. Paths of objects are the text of their
//! URLs, so that joining, extensions and names work as on files, and every message names the URL. A folder of a store is
//! the objects below a key and a slash: it exists as long as there is one.
//!
//! Objects need the feature `object-stores`; without it every call on one is an error of the kind
//! [`std::io::ErrorKind::Unsupported`], and this crate only has the files of the standard library.
//!
//! Errors are the system's, without the path: the caller knows it, and what failed.

#[cfg(not(feature = "object-stores"))]
#[path = "absent.rs"]
mod remote;
#[cfg(feature = "object-stores")]
mod remote;

mod calls;
mod file;
mod folder;
mod limits;
mod lock;
mod metadata;
mod output;
mod pattern;
mod read;
mod url;

pub use calls::{
    copy, entries, exists, is_file, is_folder, is_taken, list, metadata, metadata_of_all, read, remove_file,
    remove_folder, remove_objects, write, write_new,
};
pub use file::File;
pub use folder::{Folder, partial_name, replace_file};
pub use limits::{AHEAD_BLOCKS, BLOCK_BYTES, PART_BYTES, PARTS_AT_ONCE, READ_WINDOWS};
pub use lock::{Lock, is_id, random_id};
pub use metadata::{Entry, Kind, Metadata, Stamp};
pub use output::Output;
pub use pattern::glob;
pub use url::{SCHEMES, absolute, canonicalize, components, is_remote, without_secrets};
