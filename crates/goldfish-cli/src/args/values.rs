//! Sizes, paths and names on the command line.

use std::path::PathBuf;

use clap::builder::{PathBufValueParser, PossibleValue, PossibleValuesParser, TypedValueParser};
use goldfish_corpus::MAX_DOCUMENT_BYTES;
use goldfish_lab::ARCHITECTURES;
use goldfish_mask::LongestRunOption;
use goldfish_storage::is_remote;

/// Reads a size such as `256MiB`, `1GB` or `65536`.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "k" | "kib" => 1 << 10,
        "mb" => 1_000_000,
        "m" | "mib" => 1 << 20,
        "gb" => 1_000_000_000,
        "g" | "gib" => 1 << 30,
        _ => return Err("a number with B, KiB, MiB, GiB, kB, MB or GB is needed, for example 256MiB".into()),
    };
    let number: u64 = digits.trim().parse().map_err(|_| "not a whole number before the unit".to_owned())?;
    match number.checked_mul(unit) {
        Some(0) | None => Err("must be between 1 byte and 16 EiB".into()),
        Some(bytes) => Ok(bytes),
    }
}

/// Smallest size of a shard: a smaller one has little but its header.
const LEAST_SHARD_BYTES: u64 = 4 << 10;

/// Reads a size from [`LEAST_SHARD_BYTES`] on.
pub(super) fn parse_shard_size(text: &str) -> Result<u64, String> {
    match parse_size(text)? {
        bytes if bytes < LEAST_SHARD_BYTES => {
            Err("a shard must have room for 4KiB at least; 256MiB suits most corpora".into())
        }
        bytes => Ok(bytes),
    }
}

/// Reads a size up to [`MAX_DOCUMENT_BYTES`].
pub(super) fn parse_document_size(text: &str) -> Result<usize, String> {
    let bytes = parse_size(text)?;
    usize::try_from(bytes).ok().filter(|&bytes| bytes <= MAX_DOCUMENT_BYTES).ok_or_else(|| {
        format!(
            "no document may have more than {MAX_DOCUMENT_BYTES} bytes (2 GiB less one): split longer ones"
        )
    })
}

/// Reads the most words or tokens in a row that are kept.
pub(super) fn parse_longest_run(text: &str) -> Result<LongestRunOption, String> {
    if text == "none" {
        return Ok(LongestRunOption::Unbounded);
    }
    let number = text.parse().map_err(|_| "a whole number is needed, or none for no bound".to_owned())?;
    Ok(LongestRunOption::Most(number))
}

/// Reads a number of blocks and their size, such as `16x128`.
pub(super) fn parse_blocks(text: &str) -> Result<(u32, u32), String> {
    let parts =
        text.split_once('x').and_then(|(blocks, size)| Some((blocks.parse().ok()?, size.parse().ok()?)));
    match parts {
        Some((blocks, size)) if size > 0 => Ok((blocks, size)),
        Some(_) => Err("a block has at least one token".into()),
        None => Err("a number of blocks and their tokens are needed, for example 16x128".into()),
    }
}

/// The path of what is written to a disk only.
pub(crate) fn on_disk() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| {
        if is_remote(&path) {
            Err("this can be written to a disk only; copy it to a store from there")
        } else {
            Ok(path)
        }
    })
}

/// The architectures of the lab by name.
pub(super) fn architectures() -> PossibleValuesParser {
    ARCHITECTURES.iter().map(|kind| PossibleValue::new(kind.name).help(kind.summary)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_have_a_cap() {
        assert_eq!(parse_document_size("2147483647"), Ok(MAX_DOCUMENT_BYTES));
        for beyond in ["2147483648", "2GiB", "3GiB"] {
            assert!(parse_document_size(beyond).is_err_and(|error| error.contains("2147483647")), "{beyond}");
        }
    }

    #[test]
    fn shards_have_a_least_size() {
        assert_eq!(parse_shard_size("4KiB"), Ok(LEAST_SHARD_BYTES));
        for small in ["1", "4095", "4kB"] {
            assert!(parse_shard_size(small).is_err_and(|error| error.contains("4KiB")), "{small}");
        }
    }

    #[test]
    fn blocks() {
        assert_eq!(parse_blocks("16x128"), Ok((16, 128)));
        assert_eq!(parse_blocks("0x1"), Ok((0, 1)));
        for wrong in ["16", "x", "16x", "-1x4", "2x0", "2x4x8", "1x4294967296"] {
            assert!(parse_blocks(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("256MiB"), Ok(256 << 20));
        assert_eq!(parse_size("2GB"), Ok(2_000_000_000));
        assert_eq!(parse_size("64k"), Ok(65_536));
        assert_eq!(parse_size("17"), Ok(17));
        for bad in ["", "MiB", "1.5GiB", "-1", "1TiBs", "0", "99999999999999999GiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
