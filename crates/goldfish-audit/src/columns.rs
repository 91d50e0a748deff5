//! Rows of plain types as Arrow columns, and back.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, ListArray, ListBuilder,
    PrimitiveBuilder, RecordBatch, StringArray, UInt32Array, UInt64Array,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Field, Float64Type, Int64Type, Schema, SchemaRef, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;

use crate::score::{self, ScoreValues};

/// A type that a column can hold.
pub trait Value: Sized {
    /// Its Arrow type.
    fn data_type() -> DataType;
    /// Whether it may be null.
    const NULLABLE: bool = false;
    /// One value a row.
    fn build<'a>(values: impl Iterator<Item = &'a Self>) -> ArrayRef
    where
        Self: 'a;
    /// The value in a row of a column of the right type.
    fn read(column: &ArrayRef, row: usize) -> Self;
}

macro_rules! primitive_values {
    ($($native:ty, $arrow:ty, $array:ty, $data:expr;)*) => { $(
        impl Value for $native {
            fn data_type() -> DataType {
                $data
            }
            fn build<'a>(values: impl Iterator<Item = &'a Self>) -> ArrayRef {
                Arc::new(<$array>::from_iter_values(values.copied()))
            }
            fn read(column: &ArrayRef, row: usize) -> Self {
                column.as_primitive::<$arrow>().value(row)
            }
        }
        impl Value for Option<$native> {
            const NULLABLE: bool = true;
            fn data_type() -> DataType {
                $data
            }
            fn build<'a>(values: impl Iterator<Item = &'a Self>) -> ArrayRef {
                Arc::new(values.copied().collect::<$array>())
            }
            fn read(column: &ArrayRef, row: usize) -> Self {
                column.is_valid(row).then(|| <$native>::read(column, row))
            }
        }
    )* };
}
primitive_values! {
    u32, UInt32Type, UInt32Array, DataType::UInt32;
    u64, UInt64Type, UInt64Array, DataType::UInt64;
    i64, Int64Type, Int64Array, DataType::Int64;
    f64, Float64Type, Float64Array, DataType::Float64;
}

impl Value for Option<bool> {
    const NULLABLE: bool = true;
    fn data_type() -> DataType {
        DataType::Boolean
    }
    fn build<'a>(values: impl Iterator<Item = &'a Self>) -> ArrayRef {
        Arc::new(values.copied().collect::<BooleanArray>())
    }
    fn read(column: &ArrayRef, row: usize) -> Self {
        column.is_valid(row).then(|| column.as_boolean().value(row))
    }
}

impl Value for bool {
    fn data_type() -> DataType {
        DataType::Boolean
    }
    fn build<'a>(values: impl Iterator<Item = &'a Self>) -> ArrayRef {
        Arc::new(values.map(|value| Some(*value)).collect::<BooleanArray>())
    }
    fn read(column: &ArrayRef, row: usize) -> Self {
        column.as_boolean().value(row)
    }
}

impl Value for String {
    fn data_type() -> DataType {
        DataType::Utf8
    }
    fn build<'a>(values: impl Iterator<Item = &'a Self>) -> ArrayRef {
        Arc::new(StringArray::from_iter_values(values))
    }
    fn read(column: &ArrayRef, row: usize) -> Self {
        column.as_string::<i32>().value(row).to_owned()
    }
}

impl Value for Option<String> {
    const NULLABLE: bool = true;
    fn data_type() -> DataType {
        DataType::Utf8
    }
    fn build<'a>(values: impl Iterator<Item = &'a Self>) -> ArrayRef {
        Arc::new(values.map(Option::as_deref).collect::<StringArray>())
    }
    fn read(column: &ArrayRef, row: usize) -> Self {
        column.is_valid(row).then(|| String::read(column, row))
    }
}

fn list_type(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

fn build_lists<'a, T: ArrowPrimitiveType>(
    values: impl Iterator<Item = &'a Option<Vec<T::Native>>>,
) -> ListArray {
    let mut lists = ListBuilder::new(PrimitiveBuilder::<T>::new());
    for value in values {
        if let Some(items) = value {
            lists.values().append_slice(items);
        }
        lists.append(value.is_some());
    }
    lists.finish()
}

fn read_list<T: ArrowPrimitiveType>(column: &ArrayRef, row: usize) -> Option<Vec<T::Native>> {
    let lists = column.as_list::<i32>();
    lists.is_valid(row).then(|| lists.value(row).as_primitive::<T>().values().to_vec())
}

macro_rules! list_values {
    ($($native:ty, $arrow:ty;)*) => { $(
        impl Value for Option<Vec<$native>> {
            const NULLABLE: bool = true;
            fn data_type() -> DataType {
                list_type(<$native>::data_type())
            }
            fn build<'a>(values: impl Iterator<Item = &'a Self>) -> ArrayRef {
                Arc::new(build_lists::<$arrow>(values))
            }
            fn read(column: &ArrayRef, row: usize) -> Self {
                read_list::<$arrow>(column, row)
            }
        }
    )* };
}
list_values! { u32, UInt32Type; f64, Float64Type; }

/// A column of a table.
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its Arrow type.
    pub data_type: DataType,
    /// Whether it may be null.
    pub nullable: bool,
    /// What its values are.
    pub meaning: String,
}

/// A field of a row: one column or several.
pub trait Columns: Sized {
    /// The columns of a field with this name and meaning.
    fn describe(name: &'static str, meaning: String) -> Vec<Column>;
    /// Their values, one a row.
    fn to_columns<'a>(values: impl Iterator<Item = &'a Self> + Clone) -> Vec<ArrayRef>
    where
        Self: 'a;
    /// The field in a row, from the next columns.
    fn from_columns<'a>(columns: &mut impl Iterator<Item = &'a ArrayRef>, row: usize) -> Self;
}

impl<T: Value> Columns for T {
    fn describe(name: &'static str, meaning: String) -> Vec<Column> {
        vec![Column { name, data_type: T::data_type(), nullable: T::NULLABLE, meaning }]
    }

    fn to_columns<'a>(values: impl Iterator<Item = &'a Self> + Clone) -> Vec<ArrayRef>
    where
        Self: 'a,
    {
        vec![<T as Value>::build(values)]
    }

    fn from_columns<'a>(columns: &mut impl Iterator<Item = &'a ArrayRef>, row: usize) -> Self {
        match columns.next() {
            Some(column) => <T as Value>::read(column, row),
            None => unreachable!("the schema was compared"),
        }
    }
}

/// The columns of all scores.
impl Columns for ScoreValues {
    fn describe(_: &'static str, _: String) -> Vec<Column> {
        let column = |(name, meaning, nullable): (_, &str, _)| Column {
            name,
            data_type: DataType::Float64,
            nullable,
            meaning: meaning.to_owned(),
        };
        score::columns().map(column).collect()
    }

    fn to_columns<'a>(values: impl Iterator<Item = &'a Self> + Clone) -> Vec<ArrayRef> {
        let array = |(at, (_, _, nullable)): (usize, (_, _, bool))| -> ArrayRef {
            let column = values.clone().map(|values| values[at]);
            if nullable {
                Arc::new(column.collect::<Float64Array>())
            } else {
                Arc::new(Float64Array::from_iter_values(column.map(Option::unwrap_or_default)))
            }
        };
        score::columns().enumerate().map(array).collect()
    }

    fn from_columns<'a>(columns: &mut impl Iterator<Item = &'a ArrayRef>, row: usize) -> Self {
        let mut values = Self::default();
        for value in values.as_mut_slice() {
            *value = Columns::from_columns(columns, row);
        }
        values
    }
}

/// A struct whose fields are columns.
pub trait Row: Sized {
    /// Its columns in order.
    fn describe() -> Vec<Column>;
    /// Rows as columns.
    fn columns(rows: &[Self]) -> Vec<ArrayRef>;
    /// A row of a batch with this schema.
    fn read(columns: &[ArrayRef], row: usize) -> Self;

    /// Rows as a batch.
    ///
    /// # Errors
    ///
    /// If they are too many for the offsets of a column.
    fn batch(rows: &[Self]) -> Result<RecordBatch, ArrowError> {
        RecordBatch::try_new(Self::schema(), Self::columns(rows))
    }

    /// The columns as an Arrow schema.
    fn schema() -> SchemaRef {
        let fields = Self::describe();
        let field = |column: Column| Field::new(column.name, column.data_type, column.nullable);
        Arc::new(Schema::new(fields.into_iter().map(field).collect::<Vec<_>>()))
    }
}

/// Declares a row with a documented field for each column, or for several.
#[macro_export]
macro_rules! row {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident { $( $(#[doc = $doc:literal])* $field:ident: $type:ty, )* }
    ) => {
        $(#[$meta])*
        $vis struct $name { $( $(#[doc = $doc])* pub $field: $type, )* }

        impl $crate::columns::Row for $name {
            fn describe() -> Vec<$crate::columns::Column> {
                let mut columns = Vec::new();
                $(
                    let meaning = concat!($($doc, " ",)*).split_whitespace().collect::<Vec<_>>().join(" ");
                    columns.extend(<$type as $crate::columns::Columns>::describe(stringify!($field), meaning));
                )*
                columns
            }

            fn columns(rows: &[Self]) -> Vec<arrow::array::ArrayRef> {
                let mut columns = Vec::new();
                $(
                    let values = rows.iter().map(|row| &row.$field);
                    columns.extend(<$type as $crate::columns::Columns>::to_columns(values));
                )*
                columns
            }

            fn read(columns: &[arrow::array::ArrayRef], row: usize) -> Self {
                let mut columns = columns.iter();
                Self { $( $field: <$type as $crate::columns::Columns>::from_columns(&mut columns, row), )* }
            }
        }
    };
}
pub use row;
