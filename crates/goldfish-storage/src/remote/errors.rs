//! What the errors of stores mean, and what to do. Messages hold no credentials.

use std::io::{self, ErrorKind};

use object_store::Error;

use super::place::{Place, Scheme};

/// Longest part of an unknown error that a message repeats, in characters.
const LONGEST: usize = 300;

/// An object is not the one that was opened.
pub(super) fn changed() -> io::Error {
    let message = "the object was replaced after it was opened; run again when nobody writes to it, on objects that stay";
    io::Error::new(ErrorKind::InvalidData, message)
}

/// Whether an error says that a condition of the request is not met.
pub(super) fn is_changed(error: &io::Error) -> bool {
    error.kind() == ErrorKind::InvalidData
}

/// Neither an object nor a folder has this name.
pub(super) fn nothing_there() -> io::Error {
    io::Error::new(ErrorKind::NotFound, "there is no such object, and nothing lies below such a key")
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
        Scheme::Http | Scheme::Memory => "the server wants some, and goldfish has none for HTTP servers",
    };
    io::Error::new(ErrorKind::PermissionDenied, format!("no credentials were found: {advice}"))
}

/// The settings in the environment are not sound.
pub(super) fn settings(scheme: Scheme, error: Error) -> io::Error {
    let message = format!("the settings in {}_... can't be used: {}", scheme.variables(), innermost(&error));
    io::Error::new(ErrorKind::InvalidInput, message)
}

/// An error of a store, with its kind and with what to do.
pub(super) fn told(place: &Place, error: Error) -> io::Error {
    let text = innermost(&error);
    let (variables, root) = (place.scheme.variables(), place.root.as_str());
    let code = code(&text);
    // Some requests of the library tell nothing but the status of the answer.
    let status = |wanted: &str| text.contains(&format!("status code: {wanted}"));
    let (kind, message) = match &error {
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
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } if place.scheme == Scheme::Http => {
            (ErrorKind::PermissionDenied, "the server refuses to give it to everybody".to_owned())
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
        // A range behind the end: the object is shorter than it was.
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
            (ErrorKind::InvalidInput, format!("{root} lies in another region; set {variables}_REGION"))
        }
        _ => {
            let short: String = text.chars().take(LONGEST).collect();
            let message = format!(
                "the store didn't answer as it should: {short}; the network or the store may be down"
            );
            (ErrorKind::Other, message)
        }
    };
    io::Error::new(kind, message)
}

/// Whether an answer broke off or never came, so that it is worth asking again.
pub(super) fn is_broken(error: &Error) -> bool {
    let text = innermost(error);
    let signs = ["body error", "error decoding", "error reading a body", "timed out", "connection closed"];
    signs.iter().any(|sign| text.contains(sign))
}

/// What the last of a chain of errors says: those before it name the request, and the URL once more.
fn innermost(error: &Error) -> String {
    let mut last: &dyn std::error::Error = error;
    let mut text = last.to_string();
    while let Some(source) = last.source() {
        text = source.to_string();
        last = source;
        // The answer itself; what is below it is only how it was read.
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
    let (_, behind) = text.split_once("<Code>")?;
    let (code, _) = behind.split_once("</Code>")?;
    Some(code.chars().filter(char::is_ascii_alphanumeric).collect())
}
