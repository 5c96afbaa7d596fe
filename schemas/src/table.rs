//! Tables: their names, their columns, and what those are called on disk.

use crate::domain::Phrases;
use crate::{SchemaError, Tier};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::fmt;
use std::sync::Arc;

/// A logical table: a domain (`chat`), or a table inside one (`metrics.clicks_per_minute`). Lower case letters, digits and
/// single `_` between them, so that no two tables share a folder.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct TableName(Arc<str>);

impl TableName {
    /// Checks `text` and makes a name of it.
    ///
    /// # Errors
    /// [`SchemaError::TableName`] unless it is one or two words of `[a-z][a-z0-9]*(_[a-z0-9]+)*` joined by a dot.
    pub fn new(text: &str) -> Result<Self, SchemaError> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let word = |word: &str| {
            word.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
                && word.split('_').all(|part| !part.is_empty() && part.bytes().all(is_plain))
        };
        if text.split('.').count() <= 2 && text.split('.').all(word) {
            Ok(Self(text.into()))
        } else {
            Err(SchemaError::TableName { found: text.to_owned() })
        }
    }

    /// The table that keeps the rows we could not use.
    pub fn dead_letters() -> Self {
        Self(DEAD_LETTERS.into())
    }

    /// The whole name, with the domain.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The domain: what stands before the dot.
    pub fn domain(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }

    /// The name as one word, for folders and Iceberg: `metrics__clicks_per_minute`.
    pub fn as_path(&self) -> String {
        self.0.replace('.', "__")
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of the dead-letter table.
pub const DEAD_LETTERS: &str = "dead_letters";

/// One physical table: a logical table in one tier.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct TableId {
    /// The logical table.
    pub name: TableName,
    /// Its tier.
    pub tier: Tier,
}

impl TableId {
    /// `name` in `tier`.
    pub fn new(name: TableName, tier: Tier) -> Self {
        Self { name, tier }
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.tier, self.name)
    }
}

/// The columns that every stored row has besides its own.
pub mod system {
    /// When it happened.
    pub const EVENT_TIME: &str = "event_time";
    /// JSON of what did not map to a column.
    pub const ATTRIBUTES: &str = "attributes";
    /// The topic.
    pub const TOPIC: &str = "_topic";
    /// The partition.
    pub const PARTITION: &str = "_partition";
    /// The offset.
    pub const OFFSET: &str = "_offset";
    /// Which of the rows that one record became, from 0.
    pub const ORDINAL: &str = "_ordinal";
    /// The record's key.
    pub const KEY: &str = "_key";
    /// The record's headers: a JSON array of `{"key", "value"}`, or `"base64"` for a value that is not UTF-8.
    pub const HEADERS: &str = "_headers";
    /// The broker's timestamp.
    pub const TIMESTAMP: &str = "_timestamp";
    /// The epoch that wrote the row.
    pub const EPOCH: &str = "_epoch";
    /// Which `INSERT` wrote the row.
    pub const BRANCH: &str = "_branch";
    /// How sure the classifier was, 0 to 1.
    pub const CONFIDENCE: &str = "_confidence";
    /// Computed when read: the same record has the same id on replay.
    pub const EVENT_ID: &str = "_event_id";
    /// Constant of where a row is read.
    pub const DOMAIN: &str = "_domain";
    /// Constant of where a row is read.
    pub const TIER: &str = "_tier";
    /// Only in hot: the vector of the row's text.
    pub const EMBEDDING: &str = "_embedding";

    /// True for every name that we give a meaning to.
    pub fn is_system(name: &str) -> bool {
        matches!(
            name,
            EVENT_TIME
                | ATTRIBUTES
                | TOPIC
                | PARTITION
                | OFFSET
                | ORDINAL
                | KEY
                | HEADERS
                | TIMESTAMP
                | EPOCH
                | BRANCH
                | CONFIDENCE
                | EVENT_ID
                | DOMAIN
                | TIER
                | EMBEDDING
        )
    }
}

/// Numbers in one embedding.
pub const EMBEDDING_DIMENSIONS: i32 = 256;

/// The type of all our times: µs, UTC.
pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// A logical table's own columns, all nullable, in order. The system columns come by themselves.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TableSchema {
    /// The table.
    pub name: TableName,
    /// Its own columns. Allowed types: Utf8, Int32, Int64, Float32, Float64, Boolean, Date32, Binary, Decimal128,
    /// and [`timestamp_type`]: those that all three formats keep as they are.
    #[serde(with = "kept_columns")]
    pub columns: Vec<Field>,
    /// The columns whose text the rollup into hot embeds; empty: names and values of all.
    pub text_columns: Vec<String>,
    /// What a pipeline file says that one meets in this domain, besides what ships: whoever asks in SQL classifies as the
    /// run does.
    #[serde(default, skip_serializing_if = "Phrases::is_empty")]
    pub phrases: Phrases,
}

impl TableSchema {
    /// A table with these columns of its own, nothing of it singled out for embedding, and nothing said to the classifier.
    pub fn new(name: TableName, columns: Vec<Field>) -> Self {
        Self { name, columns, text_columns: vec![], phrases: Phrases::default() }
    }

    /// The stored columns under their logical names: `event_time`, the table's own, `attributes`, and the system columns
    /// that are kept. This is the schema of a part in a segment, and of every tier before names on disk are applied.
    pub fn stored(&self) -> SchemaRef {
        let text = |name, nullable| Field::new(name, DataType::Utf8, nullable);
        let mut fields = vec![Field::new(system::EVENT_TIME, timestamp_type(), false)];
        fields.extend(self.columns.iter().cloned());
        fields.extend([
            text(system::ATTRIBUTES, true),
            text(system::TOPIC, false),
            Field::new(system::PARTITION, DataType::Int32, false),
            Field::new(system::OFFSET, DataType::Int64, false),
            Field::new(system::ORDINAL, DataType::Int32, false),
            Field::new(system::KEY, DataType::Binary, true),
            text(system::HEADERS, true),
            Field::new(system::TIMESTAMP, timestamp_type(), true),
            Field::new(system::EPOCH, DataType::Int64, false),
            Field::new(system::BRANCH, DataType::Int32, true),
            Field::new(system::CONFIDENCE, DataType::Float32, true),
        ]);
        Arc::new(Schema::new(fields))
    }

    /// The columns that a query sees, in order: the stored ones with `_event_id`, `_domain` and `_tier` put in.
    /// `_embedding` is not among them; it is read when it is named.
    pub fn logical(&self) -> SchemaRef {
        let mut fields: Vec<Field> = self.stored().fields().iter().map(|field| field.as_ref().clone()).collect();
        let confidence = fields.pop().expect("stored() ends with _confidence");
        for name in [system::EVENT_ID, system::DOMAIN, system::TIER] {
            fields.push(Field::new(name, DataType::Utf8, false));
        }
        fields.push(confidence);
        Arc::new(Schema::new(fields))
    }

    /// The dead-letter table: raw bytes, and why they could not be used. `_branch` is null where the record failed before
    /// any branch of its source.
    pub fn dead_letters() -> Self {
        let columns = vec![
            Field::new("payload", DataType::Binary, true),
            Field::new("stage", DataType::Utf8, true),
            Field::new("error", DataType::Utf8, true),
            Field::new("source", DataType::Utf8, true),
        ];
        Self::new(TableName::dead_letters(), columns)
    }
}

/// What each logical column is called on disk, in all three formats. Names that a format reserves are changed:
/// `_partition` is `_kafka_partition`, a user's `pos` is `pos_`. Deterministic, so that every tier agrees.
///
/// Takes the logical names in order; returns as many names, in the same order, all different.
pub fn names_on_disk<'a>(logical: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    const RESERVED: &[&str] = &[
        "_file",
        "_pos",
        "_deleted",
        "_spec_id",
        "_partition",
        "file_path",
        "pos",
        "_change_type",
        "_change_ordinal",
        "_commit_snapshot_id",
        "_row_id",
        "_last_updated_sequence_number",
        "_rowid",
        "_rowaddr",
        "_rowoffset",
        "_row_last_updated_at_version",
        "_row_created_at_version",
        "_distance",
        "_score",
        "_commit_version",
        "_commit_timestamp",
    ];
    let logical: Vec<&str> = logical.into_iter().collect();
    let mut taken: Vec<String> =
        logical.iter().filter(|name| !RESERVED.contains(name)).map(|name| (*name).to_owned()).collect();
    logical
        .iter()
        .map(|name| {
            if !RESERVED.contains(name) {
                return (*name).to_owned();
            }
            let mut free = if *name == system::PARTITION { "_kafka_partition".to_owned() } else { format!("{name}_") };
            while taken.contains(&free) {
                free.push('_');
            }
            taken.push(free.clone());
            free
        })
        .collect()
}

/// Columns as they are kept: name, Arrow's own spelling of the type, and whether they may be null.
mod kept_columns {
    use super::Field;
    use arrow::datatypes::DataType;
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::{Serialize, Serializer};

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Kept {
        name: String,
        #[serde(rename = "type")]
        data_type: String,
        nullable: bool,
    }

    pub(super) fn serialize<S: Serializer>(columns: &[Field], serializer: S) -> Result<S::Ok, S::Error> {
        let kept = |column: &Field| Kept {
            name: column.name().clone(),
            data_type: column.data_type().to_string(),
            nullable: column.is_nullable(),
        };
        columns.iter().map(kept).collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Field>, D::Error> {
        let field = |Kept { name, data_type, nullable }: Kept| {
            let data_type: DataType = data_type.parse().map_err(D::Error::custom)?;
            Ok(Field::new(name, data_type, nullable))
        };
        Vec::<Kept>::deserialize(deserializer)?.into_iter().map(field).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_kept_and_read_back() {
        let types = [
            DataType::Utf8,
            DataType::Int32,
            DataType::Int64,
            DataType::Float32,
            DataType::Float64,
            DataType::Boolean,
            DataType::Date32,
            DataType::Binary,
            DataType::Decimal128(38, 9),
            timestamp_type(),
        ];
        let columns = types.into_iter().enumerate().map(|(n, kind)| Field::new(format!("c{n}"), kind, n % 2 == 0));
        let name = TableName::new("chat").unwrap();
        let schema = TableSchema {
            text_columns: vec!["c0".into()],
            phrases: Phrases { names: vec!["order number".into()], texts: vec![] },
            ..TableSchema::new(name, columns.collect())
        };
        let kept = serde_json::to_string(&schema).unwrap();
        assert_eq!(serde_json::from_str::<TableSchema>(&kept).unwrap(), schema);
    }

    #[test]
    fn table_names_are_one_or_two_lower_case_words() {
        assert_eq!(TableName::new("metrics.clicks_per_minute").unwrap().domain(), "metrics");
        for wrong in ["", ".", "a.b.c", "Chat", "chat;", "1chat", "chat.", "_chat", "chat_", "a__b", "a._b"] {
            assert!(TableName::new(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn reserved_names_change_and_stay_different() {
        assert_eq!(
            names_on_disk(["pos", "pos_", "_partition", "_kafka_partition", "x"]),
            ["pos__", "pos_", "_kafka_partition_", "_kafka_partition", "x"]
        );
    }
}
