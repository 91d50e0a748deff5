//! Calls that take the path of an object.

use std::fs;
use std::io;
use std::path::Path;

use futures_util::{StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::errors;
use super::location::Location;
use super::object::Object;
use super::request::{ask, metadata_of};
use super::runtime::{runtime, wait};
use crate::metadata::{Entry, Kind, Metadata, Stamp};
use crate::read::read_whole;
use crate::url::is_remote;

/// Objects that are asked about at the same time.
const REQUESTS: usize = 32;

/// Largest object that a store copies on its own, in bytes: Amazon's limit.
const COPY_BYTES: u64 = 5 << 30;

/// Whether a URL names a store that can be reached from here.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    Location::of(path).map(|_| ())
}

pub(crate) fn metadata(path: &Path) -> io::Result<Metadata> {
    let location = Location::of(path)?;
    wait(async move { metadata_at(&location).await })
}

/// An object, or else a folder if there are objects below the key.
async fn metadata_at(location: &Location) -> io::Result<Metadata> {
    let missing = if location.names_an_object() {
        match location.store.head(&location.key).await {
            Ok(meta) => return Ok(metadata_of(&meta)),
            Err(error) => location.error(error),
        }
    } else {
        io::ErrorKind::NotFound.into()
    };
    if missing.kind() != io::ErrorKind::NotFound || !location.has_folders() {
        return Err(missing);
    }
    let first = || async { location.store.list(location.prefix()).next().await.transpose() };
    match ask(location, first).await? {
        Some(_) => Ok(Metadata { kind: Kind::Folder, size: 0, stamp: Stamp::Tag(None) }),
        None => Err(errors::nothing_there()),
    }
}

pub(crate) fn metadata_of_all(paths: &[&Path]) -> Vec<io::Result<Metadata>> {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return paths.iter().map(|_| Err(io::Error::other(error.to_string()))).collect(),
    };
    // Opening a store may send requests of its own, which must not happen inside of these.
    let locations = paths.iter().map(|path| (path, is_remote(path).then(|| Location::of(path))));
    let locations: Vec<_> = locations.collect();
    let requests = locations.into_iter().map(|(path, location)| async move {
        match location {
            Some(location) => metadata_at(&location?).await,
            None => Ok(Metadata::of_file(&fs::metadata(path)?)),
        }
    });
    runtime.block_on(futures_util::stream::iter(requests).buffered(REQUESTS).collect())
}

pub(crate) fn entries(folder: &Path) -> io::Result<Vec<Entry>> {
    let location = Location::of(folder)?;
    if !location.has_folders() {
        let message = "HTTP servers don't list folders; name each file";
        return Err(io::Error::new(io::ErrorKind::Unsupported, message));
    }
    let listed = wait(ask(&location, || location.store.list_with_delimiter(location.prefix())))?;
    let folders = listed.common_prefixes.iter().map(|key| Entry {
        path: location.path_of(key),
        metadata: Some(Metadata { kind: Kind::Folder, size: 0, stamp: Stamp::Tag(None) }),
    });
    // Some tools make an empty object in place of the folder.
    let objects = listed.objects.iter().filter(|meta| meta.location != location.key);
    let objects = objects
        .map(|meta| Entry { path: location.path_of(&meta.location), metadata: Some(metadata_of(meta)) });
    Ok(folders.chain(objects).collect())
}

pub(crate) fn write(path: &Path, bytes: &[u8], new: bool) -> io::Result<()> {
    let location = Location::writable(path)?;
    let options =
        PutOptions { mode: if new { PutMode::Create } else { PutMode::Overwrite }, ..PutOptions::default() };
    let payload: PutPayload = bytes.to_vec().into();
    let put = || location.store.put_opts(&location.key, payload.clone(), options.clone());
    let Err(error) = wait(ask(&location, put)) else { return Ok(()) };
    // Stores say that the condition is not met. If an answer was lost, it may be our own object that exists.
    let is_there = error.kind() == io::ErrorKind::AlreadyExists || errors::is_changed(&error);
    if !new || error.kind() == io::ErrorKind::PermissionDenied {
        return Err(error);
    }
    let written = Object::open(path).and_then(|object| {
        let size = object.metadata_at_open().size;
        read_whole(object, size, u64::MAX)
    });
    match written {
        Ok(found) if found == bytes => Ok(()),
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(gone) if is_there && gone.kind() == io::ErrorKind::NotFound => {
            Err(io::ErrorKind::AlreadyExists.into())
        }
        // Whose object it is remains unknown.
        Err(unread) if is_there => Err(unread),
        Err(_) => Err(error),
    }
}

/// Makes the store copy, if both objects are in one that can; whether it did.
pub(crate) fn copy_within(from: &Path, to: &Path) -> io::Result<bool> {
    let (from, to) = (Location::of(from)?, Location::writable(to)?);
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
    let location = Location::writable(path)?;
    wait(ask(&location, || location.store.delete(&location.key)))
}

pub(crate) fn remove_all(folder: &Path) -> io::Result<()> {
    let location = Location::of(folder)?;
    if !location.has_folders() || location.prefix().is_none() {
        let message = "only objects below a key of a store are removed at once";
        return Err(io::Error::new(io::ErrorKind::Unsupported, message));
    }
    wait(async {
        let all = || location.store.list(location.prefix()).map_ok(|meta| meta.location).try_collect();
        let keys: Vec<_> = ask(&location, all).await?;
        // If an answer broke off, objects that are gone are removed once more.
        ask(&location, || remove_keys(&location, keys.clone())).await
    })
}

async fn remove_keys(location: &Location, keys: Vec<object_store::path::Path>) -> object_store::Result<()> {
    let mut removed = location.store.delete_stream(futures_util::stream::iter(keys).map(Ok).boxed());
    while let Some(one) = removed.next().await {
        match one {
            // Another program was faster.
            Err(object_store::Error::NotFound { .. }) => {}
            one => drop(one?),
        }
    }
    Ok(())
}
