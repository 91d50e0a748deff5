//! The protocols of stores, what their errors mean, and what to do. Messages hold no credentials.

use std::io::{self, ErrorKind};

use object_store::Error;

/// Longest part of an unknown error that a message repeats, in characters.
const LONGEST: usize = 300;

/// The protocol of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    S3,
    Google,
    Azure,
    Http,
    /// In this process, for tests.
    Memory,
}

impl Scheme {
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "s3" => Self::S3,
            "gs" => Self::Google,
            "az" => Self::Azure,
            "http" | "https" => Self::Http,
            "memory" => Self::Memory,
            _ => return None,
        })
    }

    /// The start of the environment variables with its settings.
    pub(super) fn variables(self) -> &'static str {
        match self {
            Self::S3 => "AWS",
            Self::Google => "GOOGLE",
            Self::Azure => "AZURE",
            Self::Http => "HTTP",
            Self::Memory => "MEMORY",
        }
    }
}

/// An object is not the one that was opened.
pub(super) fn changed() -> io::Error {
    let message = "the object was replaced after it was opened; run again when no one writes to it, on objects that stay";
    io::Error::new(ErrorKind::InvalidData, message)
}

/// Whether an error says that a condition of the request is not met.
pub(super) fn is_changed(error: &io::Error) -> bool {
    error.kind() == ErrorKind::InvalidData
}

/// Neither an object nor a folder has this name.
pub(super) fn nothing_there() -> io::Error {
    io::Error::new(ErrorKind::NotFound, "there is no such object, and there are none below such a key")
}

/// No credentials were found.
pub(super) fn no_credentials(scheme: Scheme) -> io::Error {
    let advice = match scheme {
        Scheme::S3 => {
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true for a public bucket (files such \
             as ~/.aws/credentials are not read)"
        }
        Scheme::Google => {
            "set GOOGLE_SERVICE_ACCOUNT to a key's file, log in with gcloud, or set GOOGLE_SKIP_SIGNATURE=true for a \
             public bucket"
        }
        Scheme::Azure => {
            "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or AZURE_SKIP_SIGNATURE=true for a public \
             container"
        }
        Scheme::Http | Scheme::Memory => "the server asks for some, and goldfish has none for HTTP servers",
    };
    io::Error::new(ErrorKind::PermissionDenied, format!("no credentials were found: {advice}"))
}

/// The settings in the environment can't be used.
pub(super) fn settings(scheme: Scheme, error: Error) -> io::Error {
    let message = format!("the settings in {}_... can't be used: {}", scheme.variables(), innermost(&error));
    io::Error::new(ErrorKind::InvalidInput, message)
}

/// An error of the store at a root, with its kind and with what to do.
pub(super) fn of_store(scheme: Scheme, root: &str, error: &Error) -> io::Error {
    let text = innermost(error);
    let variables = scheme.variables();
    let code = code(&text);
    // Some requests of the library only give the status of the answer.
    let status = |wanted: &str| text.contains(&format!("status code: {wanted}"));
    let (kind, message) = match error {
        _ if matches!(code.as_deref(), Some("NoSuchBucket" | "ContainerNotFound")) => {
            let message =
                format!("there is no {root}; check its name, and {variables}_ENDPOINT if that is set");
            (ErrorKind::NotFound, message)
        }
        Error::NotFound { .. } => {
            (ErrorKind::NotFound, format!("there is no such object in {root}; check the name"))
        }
        _ if status("404") => {
            (ErrorKind::NotFound, format!("there is no {root}, or nothing of this name in it; check both"))
        }
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } if scheme == Scheme::Http => {
            (ErrorKind::PermissionDenied, "the server doesn't give it to everyone".to_owned())
        }
        _ if matches!(error, Error::PermissionDenied { .. } | Error::Unauthenticated { .. })
            || status("401")
            || status("403") =>
        {
            let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
            let message = format!(
                "the store refused{code}; check the credentials in {variables}_... and what they allow, and the bucket's name"
            );
            (ErrorKind::PermissionDenied, message)
        }
        Error::InvalidPath { .. } => {
            let message = "a key there has an empty name, . or .., or a control character, and can't be read; rename it";
            (ErrorKind::InvalidInput, message.to_owned())
        }
        Error::AlreadyExists { .. } => {
            (ErrorKind::AlreadyExists, "there is an object of this name".to_owned())
        }
        Error::Precondition { .. } | Error::NotModified { .. } => return changed(),
        // A range after the end: the object is shorter than it was.
        _ if text.contains("416 Range Not Satisfiable") => return changed(),
        _ if text.contains("non-partial response") || text.contains("Range request not supported") => {
            let message =
                "the server doesn't serve parts of files (HTTP ranges); copy the file to a disk first";
            (ErrorKind::Unsupported, message.to_owned())
        }
        _ if text.contains("URL scheme is not allowed") => {
            let message =
                format!("the endpoint has no TLS; if that is meant, set {variables}_ALLOW_HTTP=true");
            (ErrorKind::InvalidInput, message)
        }
        _ if text.contains("configured region") || code.as_deref() == Some("PermanentRedirect") => {
            (ErrorKind::InvalidInput, format!("{root} is in another region; set {variables}_REGION"))
        }
        _ => {
            let short: String = text.chars().take(LONGEST).collect();
            let message =
                format!("the store gave an unexpected answer: {short}; the network or the store may be down");
            (ErrorKind::Other, message)
        }
    };
    io::Error::new(kind, message)
}

/// Whether an answer broke off or never came, so that another request may succeed.
pub(super) fn is_broken(error: &Error) -> bool {
    let text = innermost(error);
    let signs = ["body error", "error decoding", "error reading a body", "timed out", "connection closed"];
    signs.iter().any(|sign| text.contains(sign))
}

/// The message of the last of a chain of errors: those before it name the request, and the URL once more.
fn innermost(error: &Error) -> String {
    let mut last: &dyn std::error::Error = error;
    let mut text = last.to_string();
    while let Some(source) = last.source() {
        text = source.to_string();
        last = source;
        // The answer itself; the errors below it only say how it was read.
        if text.starts_with("Server returned") || text.starts_with("HTTP error") {
            break;
        }
    }
    let mut chain = Vec::new();
    while let Some(source) = last.source() {
        chain.push(source.to_string());
        last = source;
    }
    if let Some(last) = chain.pop().filter(|last| !text.contains(last.as_str())) {
        text = format!("{text}: {last}");
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The code in an answer of S3, Azure or Google.
fn code(text: &str) -> Option<String> {
    let (_, after) = text.split_once("<Code>")?;
    let (code, _) = after.split_once("</Code>")?;
    Some(code.chars().filter(char::is_ascii_alphanumeric).collect())
}
