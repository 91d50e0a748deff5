//! Columns that are larger as plain ones.

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

/// Bytes of the strings in a column of strings once each row has its own: many rows may share a dictionary's value, or
/// the bytes of a view. For any other column, and for plain ones, the bytes that it has.
///
/// # Errors
///
/// If the values of a dictionary can't be looked at.
pub fn expanded_bytes(array: &dyn Array) -> Result<u64, ArrowError> {
    let views = |views: &[u128]| views.iter().map(|&view| u64::from(view as u32)).sum();
    Ok(match array.data_type() {
        DataType::Dictionary(_, values)
            if matches!(**values, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) =>
        {
            let dictionary = array.as_any_dictionary();
            let values = cast(dictionary.values(), &DataType::LargeUtf8)?;
            let offsets = values.as_string::<i64>().value_offsets();
            let length =
                |&key: &usize| offsets.get(key..key + 2).map_or(0, |ends| (ends[1] - ends[0]) as u64);
            if values.is_empty() { 0 } else { dictionary.normalized_keys().iter().map(length).sum() }
        }
        DataType::Utf8View => views(array.as_string_view().views()),
        DataType::BinaryView => views(array.as_binary_view().views()),
        _ => array.to_data().get_slice_memory_size().unwrap_or(0) as u64,
    })
}
