//! Columns inside columns, by dotted paths.

use std::borrow::Cow;
use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, make_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, FieldRef, Schema};
use arrow::error::ArrowError;
use serde_json::value::RawValue;

use crate::head::Head;

/// What is left of a path inside a column: empty if the path is the column's name, `None` if it doesn't start with it.
pub(crate) fn inside<'a>(path: &'a str, column: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(column)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('.').filter(|rest| !rest.is_empty()) }
}

/// The value at a path inside a JSON value. Where a key with a dot in its name and a path fit both, the key counts.
pub(crate) fn find<'de>(value: &'de RawValue, path: &str) -> Option<&'de RawValue> {
    if path.is_empty() {
        return Some(value);
    }
    let fields: BTreeMap<Cow<'de, str>, &'de RawValue> = serde_json::from_str(value.get()).ok()?;
    if let Some(value) = fields.get(path) {
        return Some(value);
    }
    let mut found = fields.iter().filter_map(|(key, value)| find(value, inside(path, key)?));
    found.next()
}

/// A column, or a field inside it.
pub(crate) struct ColumnPath {
    /// Index of the column: in the file's schema at first, then in the projected batches.
    pub(crate) root: usize,
    /// Indices of the fields inside fields that lead to it.
    fields: Vec<usize>,
    pub(crate) field: FieldRef,
}

/// Which paths lead to a column of a schema, or into one.
pub(crate) fn head_of_schema(schema: &Schema, paths: &[&str]) -> Head {
    let has = |path: &&str| schema.index_of(path).is_ok() || ColumnPath::inside(schema, path).is_some();
    Head {
        // What a schema says holds for all rows.
        rows: 1,
        columns: schema.fields().iter().map(|field| field.name().clone()).collect(),
        has: paths.iter().map(has).collect(),
    }
}

impl ColumnPath {
    /// A whole column.
    pub(crate) fn of_column(schema: &Schema, root: usize) -> Self {
        Self { root, fields: Vec::new(), field: schema.fields()[root].clone() }
    }

    /// The field that a dotted path leads to.
    pub(crate) fn inside(schema: &Schema, path: &str) -> Option<Self> {
        schema.fields().iter().enumerate().find_map(|(root, field)| {
            let mut fields = Vec::new();
            let field = find_field(field, inside(path, field.name())?, &mut fields)?;
            Some(Self { root, fields, field })
        })
    }

    /// Its values in a batch; null where a field around it is null.
    pub(crate) fn of(&self, batch: &RecordBatch) -> Result<ArrayRef, ArrowError> {
        let mut array = batch.column(self.root).clone();
        for &field in &self.fields {
            let Some(outer) = array.as_struct_opt() else {
                return Err(ArrowError::SchemaError("a struct column has another type in a batch".into()));
            };
            let (inner, nulls) = (outer.column(field), outer.nulls());
            array = match nulls {
                None => inner.clone(),
                // All of it is null.
                Some(_) if inner.data_type() == &DataType::Null => inner.clone(),
                Some(_) => {
                    let nulls = NullBuffer::union(inner.nulls(), nulls);
                    make_array(inner.to_data().into_builder().nulls(nulls).build()?)
                }
            };
        }
        Ok(array)
    }
}

fn find_field(field: &FieldRef, path: &str, indices: &mut Vec<usize>) -> Option<FieldRef> {
    if path.is_empty() {
        return Some(field.clone());
    }
    let DataType::Struct(fields) = field.data_type() else { return None };
    fields.iter().enumerate().find_map(|(index, field)| {
        let rest = inside(path, field.name())?;
        indices.push(index);
        let found = find_field(field, rest, indices);
        if found.is_none() {
            indices.pop();
        }
        found
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StructArray};
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn paths_lead_into_structs_whose_nulls_hold_inside() {
        let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(2), None]));
        let other: ArrayRef = Arc::new(Int64Array::from(vec![7, 8, 9]));
        let field = |name: &str| Arc::new(Field::new(name, DataType::Int64, true));
        let nulls = Some(NullBuffer::from(vec![true, false, true]));
        let inner = StructArray::new(vec![field("x"), field("n")].into(), vec![other.clone(), values], nulls);
        let inner_field = Arc::new(Field::new("b", inner.data_type().clone(), true));
        let outer = StructArray::from(vec![(field("y"), other), (inner_field, Arc::new(inner) as ArrayRef)]);
        let schema = Schema::new(vec![Field::new("a", outer.data_type().clone(), true)]);
        let path = ColumnPath::inside(&schema, "a.b.n").unwrap();
        assert_eq!((path.root, path.fields.as_slice()), (0, &[1, 1][..]));
        let batch = RecordBatch::try_new(Arc::new(schema.clone()), vec![Arc::new(outer)]).unwrap();
        let found = path.of(&batch).unwrap();
        let expected: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, None]));
        assert_eq!(&found, &expected);
        assert!(ColumnPath::inside(&schema, "a.b.m").is_none());
        assert!(ColumnPath::inside(&schema, "a.y.n").is_none());
    }

    #[test]
    fn paths_lead_into_objects() {
        assert_eq!(inside("meta.source", "meta"), Some("source"));
        assert_eq!(inside("meta", "meta"), Some(""));
        assert_eq!(inside("metadata", "meta"), None);
        assert_eq!(inside("meta.", "meta"), None);
        let json = r#"{"a": {"b": 1, "b.c": 2, "d": {"e": "x"}}, "n": null}"#;
        let value: &RawValue = serde_json::from_str(json).unwrap();
        let found = |path| find(value, path).map(RawValue::get);
        assert_eq!(found("a.b"), Some("1"));
        assert_eq!(found("a.b.c"), Some("2"));
        assert_eq!(found("a.d.e"), Some("\"x\""));
        assert_eq!(found("n"), Some("null"));
        assert_eq!(found("n.a"), None);
        assert_eq!(found("a.x"), None);
        assert_eq!(found(""), Some(json));
    }
}
