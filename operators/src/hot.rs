//! Which text of a row the rollup into hot embeds.

use crate::embed::embed_texts;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use std::sync::Arc;
use thermocline_schemas::TableSchema;
use thermocline_schemas::table::system;

/// More of a row is not embedded; the vector is a mean, and hardly moves any more.
const LONGEST_TEXT_BYTES: usize = 2_048;

/// `batch` with `_embedding` as its last column: the vector of [`texts_to_embed`], null where there is none.
///
/// # Errors
/// Never in practice: the column has as many rows as the batch.
pub fn with_embedding(schema: &TableSchema, batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let vectors = embed_texts(&texts_to_embed(&batch, schema));
    let mut fields: Vec<Arc<Field>> = batch.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(system::EMBEDDING, vectors.data_type().clone(), true)));
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(vectors));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// One text a row of `batch`, which has columns of `schema`'s table: of its text columns, else of the names and values
/// of all, and of `attributes` where nothing else is there. Null where there is no text.
pub fn texts_to_embed(batch: &RecordBatch, schema: &TableSchema) -> StringArray {
    let texts = named(batch, schema.text_columns.iter());
    let all = named(batch, schema.columns.iter().map(|field| field.name()));
    let attributes = named(batch, [system::ATTRIBUTES]);
    let mut builder = StringBuilder::with_capacity(batch.num_rows(), batch.num_rows() * 64);
    let mut text = String::new();
    for row in 0..batch.num_rows() {
        text.clear();
        for (_, column) in texts.iter().filter(|(_, column)| column.is_valid(row)) {
            push(&mut text, column.value(row));
        }
        if text.is_empty() {
            for (name, column) in all.iter().filter(|(_, column)| column.is_valid(row)) {
                push(&mut text, &name.replace('_', " "));
                push(&mut text, column.value(row));
            }
        }
        if text.is_empty() {
            attributes
                .iter()
                .filter(|(_, column)| column.is_valid(row))
                .for_each(|(_, column)| push(&mut text, column.value(row)));
        }
        builder.append_option(Some(cut(&text)).filter(|text| !text.is_empty()));
    }
    builder.finish()
}

/// The columns of these names that exist and can be read as text.
fn named<'a>(
    batch: &RecordBatch,
    names: impl IntoIterator<Item = &'a (impl AsRef<str> + ?Sized + 'a)>,
) -> Vec<(&'a str, StringArray)> {
    let text = |column: &ArrayRef| match column.data_type() {
        DataType::Binary => None,
        _ => cast(column, &DataType::Utf8).ok().map(|column| column.as_string::<i32>().clone()),
    };
    let names = names.into_iter().map(AsRef::as_ref);
    names.filter_map(|name| Some((name, text(batch.column_by_name(name)?)?))).collect()
}

fn push(text: &mut String, part: &str) {
    if text.len() < LONGEST_TEXT_BYTES && !part.is_empty() {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(cut(part));
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(LONGEST_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, Int64Array};
    use std::sync::Arc;
    use thermocline_schemas::domain::Registry;

    #[test]
    fn text_columns_come_first_then_names_and_values_then_attributes() {
        let batch = RecordBatch::try_from_iter([
            ("text", Arc::new(StringArray::from(vec![Some("hello"), None, None])) as ArrayRef),
            ("author", Arc::new(StringArray::from(vec![Some("ann"), Some("bob"), None]))),
            ("attributes", Arc::new(StringArray::from(vec![None, None, Some("{\"a\":1}")]))),
        ])
        .unwrap();
        let schema = Registry::shipped().table_schema("chat").unwrap();
        let texts = texts_to_embed(&batch, &schema);
        assert_eq!(texts.iter().collect::<Vec<_>>(), [Some("hello"), Some("author bob"), Some("{\"a\":1}")]);

        let batch = RecordBatch::try_from_iter([
            ("value", Arc::new(Float64Array::from(vec![1.5])) as ArrayRef),
            ("count", Arc::new(Int64Array::from(vec![2]))),
        ])
        .unwrap();
        let texts = texts_to_embed(&batch, &Registry::shipped().table_schema("metrics").unwrap());
        assert_eq!(texts.value(0), "value 1.5");
    }
}
