//! Which store a URL names, and which key in it.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{
    BackoffConfig, ClientConfigKey, ClientOptions, CredentialProvider, Error, ObjectStore, RetryConfig,
};

use super::errors::{self, Scheme};
use super::runtime::{runtime, wait};

/// A request that receives no byte for so long is abandoned and made again. `AWS_READ_TIMEOUT` and so on change it.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A request that is not done after so long is abandoned and made again. `AWS_TIMEOUT` and so on change it.
const TIMEOUT: Duration = Duration::from_secs(300);

/// How long credentials may take to come from a service of the machine.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(10);

/// What a URL names.
#[derive(Debug, Clone)]
pub(super) struct Location {
    pub(super) store: Arc<dyn ObjectStore>,
    /// The key, without slashes at its ends; empty for the whole store.
    pub(super) key: Key,
    /// The URL before the key, without the slash.
    pub(super) root: String,
    pub(super) scheme: Scheme,
    /// The URL ended with a slash.
    is_folder: bool,
}

impl Location {
    /// Splits a URL, and opens its store.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let refuse = |message: String| io::Error::new(io::ErrorKind::InvalidInput, message);
        let text = path.to_str().ok_or_else(|| refuse("the URL is not UTF-8".into()))?;
        let (name, rest) = text.split_once("://").unwrap_or_default();
        let scheme = Scheme::of(name).ok_or_else(|| refuse("not a URL of a known store".into()))?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(refuse("the URL names no bucket, container or host".into()));
        }
        if scheme == Scheme::Http {
            check_web_address(text)?;
        } else if bucket.contains('@') {
            return Err(refuse("the bucket's name has an @; credentials come from the environment".into()));
        }
        let decoded = if scheme == Scheme::Http { decoded(key)? } else { key.to_owned() };
        let key = Key::parse(&decoded).map_err(|_| {
            refuse(
                "no name in a URL may be empty, . or .., or hold a control character; write the key as it is"
                    .into(),
            )
        })?;
        let root = format!("{name}://{bucket}");
        let store = store(scheme, &root, bucket)?;
        Ok(Self { store, key, root, scheme, is_folder: decoded.is_empty() || decoded.ends_with('/') })
    }

    /// As [`Location::of`], for an object that will be written, replaced or removed.
    pub(super) fn writable(path: &Path) -> io::Result<Self> {
        let location = Self::of(path)?;
        if location.scheme == Scheme::Http {
            let message = "HTTP servers are only read; write to s3://, gs://, az:// or a disk";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        Ok(location)
    }

    /// Whether there can be an object of this name.
    pub(super) fn names_an_object(&self) -> bool {
        !self.is_folder
    }

    /// Whether the store lists the objects below a key.
    pub(super) fn has_folders(&self) -> bool {
        self.scheme != Scheme::Http
    }

    /// The key as a folder's; `None` for the whole store.
    pub(super) fn prefix(&self) -> Option<&Key> {
        (!self.key.as_ref().is_empty()).then_some(&self.key)
    }

    /// The path of another key of the same store.
    pub(super) fn path_of(&self, key: &Key) -> PathBuf {
        PathBuf::from(format!("{}/{key}", self.root))
    }

    /// An error of the store, with its kind and with what to do.
    pub(super) fn error(&self, error: Error) -> io::Error {
        errors::of_store(self.scheme, &self.root, &error)
    }
}

/// A query can be a signature, and a password can come before the host: both would end up in messages and manifests.
fn check_web_address(text: &str) -> io::Result<()> {
    let host = text.split('/').nth(2).unwrap_or_default();
    let problem = if host.contains('@') {
        "a URL with a user's name or password is not read, because it would appear in messages and manifests"
    } else if text.contains('?') || text.contains('#') {
        "a URL with a query or a fragment is not read, because a signature there would appear in messages and manifests; \
         use the store's own scheme (s3://, gs://, az://) with credentials in the environment"
    } else {
        return Ok(());
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
}

/// A web address without percent encoding.
fn decoded(text: &str) -> io::Result<String> {
    let refuse = || io::Error::new(io::ErrorKind::InvalidInput, "the URL has a % that doesn't encode UTF-8");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (code, after) = rest.split_at_checked(2).ok_or_else(refuse)?;
        let code = std::str::from_utf8(code).map_err(|_| refuse())?;
        bytes.push(u8::from_str_radix(code, 16).map_err(|_| refuse())?);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| refuse())
}

/// The store at a root, opened at its first use.
fn store(scheme: Scheme, root: &str, bucket: &str) -> io::Result<Arc<dyn ObjectStore>> {
    static STORES: LazyLock<Mutex<HashMap<String, Arc<dyn ObjectStore>>>> = LazyLock::new(Mutex::default);
    // The runtime installs what makes connections safe.
    runtime()?;
    let mut stores = STORES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(store) = stores.get(root) {
        return Ok(store.clone());
    }
    let unusable = |error| errors::settings(scheme, error);
    // Three types with the same methods but no common trait.
    macro_rules! cloud {
        ($builder:expr, $key:ident) => {{
            let mut builder = $builder.with_retry(retries());
            for (key, value) in missing_timeouts(scheme) {
                builder = builder.with_config($key::Client(key), value);
            }
            let store = builder.build().map_err(unusable)?;
            check_credentials(scheme, store.credentials())?;
            Arc::new(store)
        }};
    }
    let store: Arc<dyn ObjectStore> = match scheme {
        Scheme::S3 => cloud!(AmazonS3Builder::from_env().with_bucket_name(bucket), AmazonS3ConfigKey),
        Scheme::Google => {
            cloud!(GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket), GoogleConfigKey)
        }
        Scheme::Azure => {
            cloud!(MicrosoftAzureBuilder::from_env().with_container_name(bucket), AzureConfigKey)
        }
        Scheme::Http => {
            let options = ClientOptions::new()
                .with_allow_http(root.starts_with("http://"))
                .with_timeout(TIMEOUT)
                .with_read_timeout(READ_TIMEOUT);
            let builder =
                HttpBuilder::new().with_url(root).with_client_options(options).with_retry(retries());
            Arc::new(builder.build().map_err(unusable)?)
        }
        Scheme::Memory => Arc::new(InMemory::new()),
    };
    stores.insert(root.to_owned(), store.clone());
    Ok(store)
}

/// Half a dozen attempts within a minute or two.
fn retries() -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(200),
        max_backoff: Duration::from_secs(15),
        base: 2.0,
    };
    RetryConfig { backoff, max_retries: 8, retry_timeout: Duration::from_secs(180) }
}

/// The limits of time that the environment doesn't set.
fn missing_timeouts(scheme: Scheme) -> impl Iterator<Item = (ClientConfigKey, String)> {
    let limits = [
        (ClientConfigKey::Timeout, "TIMEOUT", TIMEOUT),
        (ClientConfigKey::ReadTimeout, "READ_TIMEOUT", READ_TIMEOUT),
    ];
    let missing = move |name: &str| std::env::var_os(format!("{}_{name}", scheme.variables())).is_none();
    let limits = limits.into_iter().filter(move |(_, name, _)| missing(name));
    limits.map(|(key, _, limit)| (key, format!("{} seconds", limit.as_secs())))
}

/// Missing credentials would otherwise be searched for at the first request, which takes minutes.
fn check_credentials<C>(
    scheme: Scheme,
    provider: &Arc<dyn CredentialProvider<Credential = C>>,
) -> io::Result<()>
where
    C: std::fmt::Debug + Send + Sync + 'static,
{
    let skipped = std::env::var(format!("{}_SKIP_SIGNATURE", scheme.variables()));
    if skipped.is_ok_and(|value| !matches!(value.to_ascii_lowercase().as_str(), "" | "0" | "false")) {
        return Ok(());
    }
    wait(async {
        match tokio::time::timeout(CREDENTIALS_TIMEOUT, provider.get_credential()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(errors::no_credentials(scheme)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split() {
        let location = |text: &str| Location::of(Path::new(text));
        let error = |text: &str| location(text).unwrap_err().to_string();
        let page = location("http://localhost:1/a%20b/c.parquet").unwrap();
        assert_eq!((page.key.as_ref(), page.root.as_str()), ("a b/c.parquet", "http://localhost:1"));
        assert!(page.names_an_object() && !page.has_folders());
        assert!(!location("http://localhost:1/a/").unwrap().names_an_object());
        assert!(error("http://me:secret@host/a").contains("password"));
        assert!(!error("http://me:secret@host/a").contains("secret"));
        assert!(error("https://host/a?X-Amz-Signature=abc").contains("query"));
        assert!(error("https://host/a/../b").contains(".."));
        assert!(error("https://host/a%2E%2e/%2e%2e").contains(".."));
        assert!(error("https://host/%zz").contains('%'));
        assert!(error("https://").contains("host"));
    }
}
