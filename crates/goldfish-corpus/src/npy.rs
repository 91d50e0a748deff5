//! One-dimensional arrays that `numpy.save` wrote: hash tables and coefficients.

use std::io::Read;
use std::path::Path;

use crate::error::CorpusError;
use crate::file::open_regular;

/// A number type that an `.npy` file may hold.
pub trait NpyNumber: bytemuck::Pod {
    /// NumPy's name of the little-endian type.
    const DESCR: &'static str;
}

impl NpyNumber for f32 {
    const DESCR: &'static str = "<f4";
}

impl NpyNumber for i64 {
    const DESCR: &'static str = "<i8";
}

/// Largest file of a table or of coefficients, in bytes: more than any needs.
pub const MAX_ARRAY_BYTES: u64 = 64 << 20;

/// Reads a one-dimensional `.npy` array (format versions 1 to 3).
///
/// # Errors
///
/// If the file can't be read, is larger than [`MAX_ARRAY_BYTES`], or holds another type or shape.
pub fn read_npy<T: NpyNumber>(path: &Path) -> Result<Vec<T>, CorpusError> {
    let refuse = |reason: String| CorpusError::NotAnArray { path: path.to_owned(), reason };
    let (file, metadata) = open_regular(path)?;
    if metadata.size > MAX_ARRAY_BYTES {
        return Err(refuse(format!("{} bytes are more than such an array has", metadata.size)));
    }
    let mut bytes = Vec::new();
    file.take(MAX_ARRAY_BYTES).read_to_end(&mut bytes).map_err(CorpusError::io(path, "reading"))?;
    let not_npy = || refuse("not a NumPy array; write it with numpy.save".into());
    let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or_else(not_npy)?;
    let (version, rest) = rest.split_first_chunk::<2>().ok_or_else(not_npy)?;
    let (length, rest) = if version[0] == 1 {
        let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(not_npy)?;
        (u32::from(u16::from_le_bytes(*length)), rest)
    } else {
        let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(not_npy)?;
        (u32::from_le_bytes(*length), rest)
    };
    let (header, data) = rest.split_at_checked(length as usize).ok_or_else(not_npy)?;
    let header: String = String::from_utf8_lossy(header).split_whitespace().collect();
    let values = data.len() / size_of::<T>();
    let wanted = [format!("'descr':'{}'", T::DESCR), format!("'shape':({values},)")];
    if !data.len().is_multiple_of(size_of::<T>()) || !wanted.iter().all(|part| header.contains(part)) {
        return Err(refuse(format!(
            "{header} with {} bytes of data; a one-dimensional array of {} is needed",
            data.len(),
            T::DESCR
        )));
    }
    Ok(bytemuck::pod_collect_to_vec(data))
}
