//! Reads of at most so many bytes.

use std::io::{self, Read};

/// Reads the rest of a file of `size` bytes, of at most so many.
pub(crate) fn read_whole(mut file: impl Read, size: u64, most: u64) -> io::Result<Vec<u8>> {
    if size > most {
        let message = format!("{size} bytes, more than the {most} that are read of such a file");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(size).unwrap_or(usize::MAX))?;
    file.by_ref().take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}
