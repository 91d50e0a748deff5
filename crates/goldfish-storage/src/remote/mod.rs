//! Objects: requests to stores, from threads that wait for their answers.

mod errors;
mod object;
mod place;
mod upload;

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use tokio::runtime::{Builder, Runtime};

pub(crate) use object::Object;
pub(crate) use upload::Upload;

use crate::{Entry, Kind, Metadata, Stamp, is_remote};
use errors::told;
use place::Place;

/// How often an answer that breaks off is asked for, in all.
const ATTEMPTS: u32 = 5;

/// Objects that are asked about at the same time.
const QUESTIONS: usize = 32;

/// Largest object that a store copies by itself, in bytes: Amazon's limit.
const COPY_BYTES: u64 = 5 << 30;

/// The threads that wait for the network.
fn runtime() -> io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let made = RUNTIME.get_or_init(|| {
        // Another part of the program may have chosen one before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(2).thread_name("goldfish-store").enable_all();
        builder.build().map_err(|error| error.to_string())
    });
    made.as_ref().map_err(|reason| io::Error::other(reason.as_str()))
}

/// Waits for an answer.
fn wait<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    runtime()?.block_on(future)
}

/// Asks a store, and asks again where its answer broke off: the client repeats requests, but not for their answers' sake.
async fn ask<T, A>(place: &Place, question: impl Fn() -> A) -> io::Result<T>
where
    A: Future<Output = object_store::Result<T>>,
{
    for attempt in 1..ATTEMPTS {
        match question().await {
            Err(error) if errors::is_broken(&error) => tokio::time::sleep(pause(attempt)).await,
            answer => return answer.map_err(|error| told(place, error)),
        }
    }
    question().await.map_err(|error| told(place, error))
}

/// How long to wait before another attempt.
fn pause(attempt: u32) -> Duration {
    Duration::from_millis(200) * 2u32.pow(attempt)
}

/// Looks whether a URL names a place in a store that can be reached from here.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    Place::of(path).map(|_| ())
}

pub(crate) fn metadata(path: &Path) -> io::Result<Metadata> {
    let place = Place::of(path)?;
    wait(async move { metadata_at(&place).await })
}

/// An object, or else a folder if something lies below the key.
async fn metadata_at(place: &Place) -> io::Result<Metadata> {
    let missing = if place.names_an_object() {
        match place.store.head(&place.key).await {
            Ok(meta) => return Ok(metadata_of(&meta)),
            Err(error) => told(place, error),
        }
    } else {
        io::ErrorKind::NotFound.into()
    };
    if missing.kind() != io::ErrorKind::NotFound || !place.has_folders() {
        return Err(missing);
    }
    let first = || async { place.store.list(place.prefix()).next().await.transpose() };
    match ask(place, first).await? {
        Some(_) => Ok(Metadata { kind: Kind::Folder, size: 0, stamp: Stamp::Tag(None) }),
        None => Err(errors::nothing_there()),
    }
}

fn metadata_of(meta: &ObjectMeta) -> Metadata {
    Metadata { kind: Kind::File, size: meta.size, stamp: Stamp::Tag(Some(tag(meta))) }
}

/// What changes when the object is replaced.
fn tag(meta: &ObjectMeta) -> String {
    meta.e_tag.clone().unwrap_or_else(|| meta.last_modified.to_rfc3339())
}

pub(crate) fn metadata_of_all(paths: &[&Path]) -> Vec<io::Result<Metadata>> {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return paths.iter().map(|_| Err(io::Error::other(error.to_string()))).collect(),
    };
    // Getting hold of a store may ask it for something, which is not to happen within the questions.
    let places: Vec<_> = paths.iter().map(|path| (path, is_remote(path).then(|| Place::of(path)))).collect();
    let questions = places.into_iter().map(|(path, place)| async move {
        match place {
            Some(place) => metadata_at(&place?).await,
            None => crate::metadata(path),
        }
    });
    runtime.block_on(futures_util::stream::iter(questions).buffered(QUESTIONS).collect())
}

pub(crate) fn entries(folder: &Path) -> io::Result<Vec<Entry>> {
    let place = Place::of(folder)?;
    if !place.has_folders() {
        let message = "HTTP servers tell nothing of folders; name each file";
        return Err(io::Error::new(io::ErrorKind::Unsupported, message));
    }
    let listed = wait(ask(&place, || place.store.list_with_delimiter(place.prefix())))?;
    let folders = listed.common_prefixes.iter().map(|key| Entry {
        path: place.path_of(key),
        metadata: Some(Metadata { kind: Kind::Folder, size: 0, stamp: Stamp::Tag(None) }),
    });
    // Some tools make an empty object that stands for the folder.
    let objects = listed.objects.iter().filter(|meta| meta.location != place.key);
    let objects =
        objects.map(|meta| Entry { path: place.path_of(&meta.location), metadata: Some(metadata_of(meta)) });
    Ok(folders.chain(objects).collect())
}

pub(crate) fn write(path: &Path, bytes: &[u8], new: bool) -> io::Result<()> {
    let place = Place::to_write(path)?;
    let options =
        PutOptions { mode: if new { PutMode::Create } else { PutMode::Overwrite }, ..PutOptions::default() };
    let payload: PutPayload = bytes.to_vec().into();
    let put = || place.store.put_opts(&place.key, payload.clone(), options.clone());
    let Err(error) = wait(ask(&place, put)) else { return Ok(()) };
    // Stores say that the condition is not met. Where an answer was lost, it may be our own object that is there.
    let is_there = error.kind() == io::ErrorKind::AlreadyExists || errors::is_changed(&error);
    if !new || error.kind() == io::ErrorKind::PermissionDenied {
        return Err(error);
    }
    match crate::read(path, u64::MAX) {
        Ok(found) if found == bytes => Ok(()),
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(gone) if is_there && gone.kind() == io::ErrorKind::NotFound => {
            Err(io::ErrorKind::AlreadyExists.into())
        }
        // Whose object it is can't be told.
        Err(unread) if is_there => Err(unread),
        Err(_) => Err(error),
    }
}

/// Lets the store copy, if both objects lie in one that can; whether it did.
pub(crate) fn copy_within(from: &Path, to: &Path) -> io::Result<bool> {
    let (from, to) = (Place::of(from)?, Place::to_write(to)?);
    if from.root != to.root {
        return Ok(false);
    }
    wait(async {
        if ask(&from, || from.store.head(&from.key)).await?.size > COPY_BYTES {
            return Ok(false);
        }
        ask(&from, || from.store.copy(&from.key, &to.key)).await?;
        Ok(true)
    })
}

pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let place = Place::to_write(path)?;
    wait(ask(&place, || place.store.delete(&place.key)))
}

pub(crate) fn remove_all(folder: &Path) -> io::Result<()> {
    let place = Place::of(folder)?;
    if !place.has_folders() || place.prefix().is_none() {
        let message = "only what lies below a key of a store is removed at once";
        return Err(io::Error::new(io::ErrorKind::Unsupported, message));
    }
    wait(async {
        let all = || place.store.list(place.prefix()).map_ok(|meta| meta.location).try_collect();
        let keys: Vec<_> = ask(&place, all).await?;
        // What is gone is removed once more where an answer broke off.
        ask(&place, || remove_keys(&place, keys.clone())).await
    })
}

async fn remove_keys(place: &Place, keys: Vec<object_store::path::Path>) -> object_store::Result<()> {
    let mut removed = place.store.delete_stream(futures_util::stream::iter(keys).map(Ok).boxed());
    while let Some(one) = removed.next().await {
        match one {
            // Another program was faster.
            Err(object_store::Error::NotFound { .. }) => {}
            one => drop(one?),
        }
    }
    Ok(())
}

/// The path of a key below a root such as `s3://bucket`.
fn join(root: &str, key: &str) -> PathBuf {
    PathBuf::from(format!("{root}/{key}"))
}
