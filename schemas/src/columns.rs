//! Typed, checked access to columns: the array, or an error that names the wrong column. No downcasts elsewhere.

use crate::SchemaError;
use arrow::array::{
    Array, ArrayRef, BinaryArray, Float32Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};

fn typed<'a, T: Array + 'static>(batch: &'a RecordBatch, name: &str, wanted: &str) -> Result<&'a T, SchemaError> {
    let column = column(batch, name)?;
    column.as_any().downcast_ref::<T>().ok_or_else(|| SchemaError::ColumnType {
        column: name.to_owned(),
        wanted: wanted.to_owned(),
        found: column.data_type().to_string(),
    })
}

/// The column `name`, of whatever type.
///
/// # Errors
/// [`SchemaError::NoColumn`] with the columns there are.
pub fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, SchemaError> {
    batch.column_by_name(name).ok_or_else(|| SchemaError::NoColumn {
        column: name.to_owned(),
        columns: batch.schema().fields().iter().map(|field| field.name().clone()).collect(),
    })
}

macro_rules! accessors {
    ($($(#[$doc:meta])* $name:ident: $array:ty = $wanted:literal;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// [`SchemaError::NoColumn`] or [`SchemaError::ColumnType`], with the column's name.
        pub fn $name<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a $array, SchemaError> {
            typed(batch, name, $wanted)
        }
    )*};
}

accessors! {
    /// A column of text.
    text: StringArray = "Utf8";
    /// A column of bytes.
    bytes: BinaryArray = "Binary";
    /// A column of 32-bit integers.
    int32: Int32Array = "Int32";
    /// A column of 64-bit integers.
    int64: Int64Array = "Int64";
    /// A column of 32-bit floats.
    float32: Float32Array = "Float32";
    /// A column of times: µs since the Unix epoch, UTC.
    timestamp: TimestampMicrosecondArray = "Timestamp(µs, UTC)";
}

/// The event times of `batch`, which are never null.
///
/// # Errors
/// [`SchemaError::NoColumn`] or [`SchemaError::ColumnType`], with the column's name.
pub fn event_time(batch: &RecordBatch) -> Result<&TimestampMicrosecondArray, SchemaError> {
    timestamp(batch, crate::table::system::EVENT_TIME)
}
