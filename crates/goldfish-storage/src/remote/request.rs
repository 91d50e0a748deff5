//! Requests that are repeated, and what answers say of objects.

use std::future::Future;
use std::io;

use object_store::ObjectMeta;

use super::errors::is_broken;
use super::location::Location;
use super::runtime::{ATTEMPTS, pause};
use crate::metadata::{Kind, Metadata, Stamp};

/// Asks a store, and asks again if its answer broke off: the client repeats requests only until their answers start.
pub(super) async fn ask<T, A>(location: &Location, question: impl Fn() -> A) -> io::Result<T>
where
    A: Future<Output = object_store::Result<T>>,
{
    for attempt in 1..ATTEMPTS {
        match question().await {
            Err(error) if is_broken(&error) => tokio::time::sleep(pause(attempt)).await,
            answer => return answer.map_err(|error| location.error(error)),
        }
    }
    question().await.map_err(|error| location.error(error))
}

pub(super) fn metadata_of(meta: &ObjectMeta) -> Metadata {
    Metadata { kind: Kind::File, size: meta.size, stamp: Stamp::Tag(Some(tag(meta))) }
}

/// What changes when the object is replaced.
pub(super) fn tag(meta: &ObjectMeta) -> String {
    meta.e_tag.clone().unwrap_or_else(|| meta.last_modified.to_rfc3339())
}
