//! What the three formats agree on: names on disk, the mark as properties, durability.

use crate::error::{Cause, SinkError};
use crate::tier::{FoundMark, Mark};
use arrow::array::{Array, ArrayRef, RecordBatch, make_array, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{Stream, StreamExt};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thermocline_schemas::table::names_on_disk;
use thermocline_schemas::{Generation, TableId, TableName, TableSchema};
use tokio::task::JoinSet;
use uuid::Uuid;

pub use thermocline_schemas::metadata::Durability;

/// The properties by which a table says what it is.
pub mod key {
    /// The metadata store that the table belongs to.
    pub const STORE: &str = "thermocline.store";
    /// The logical table.
    pub const TABLE: &str = "thermocline.table";
    /// Logical column names to names on disk, as a JSON object.
    pub const COLUMNS: &str = "thermocline.columns";
    /// The mark: the number of the intent that committed.
    pub const INTENT: &str = "thermocline.intent";
    /// The run that committed.
    pub const GENERATION: &str = "thermocline.generation";
    /// The newest cut whose rows the table holds.
    pub const CUT: &str = "thermocline.cut";
    /// Event time up to which the table is believed complete, µs UTC; absent while unknown.
    pub const LEAST_WATERMARK: &str = "thermocline.least_watermark";
}

/// The mark as properties of a commit.
pub fn mark_properties(mark: &Mark) -> HashMap<String, String> {
    let mut properties = HashMap::from([
        (key::STORE.to_owned(), mark.store.to_string()),
        (key::TABLE.to_owned(), mark.intent.table.name.to_string()),
        (key::INTENT.to_owned(), mark.intent.number.to_string()),
        (key::GENERATION.to_owned(), mark.generation.to_string()),
        (key::CUT.to_owned(), mark.cut.to_string()),
    ]);
    if let Some(watermark) = mark.least_watermark {
        properties.insert(key::LEAST_WATERMARK.to_owned(), watermark.to_string());
    }
    properties
}

/// The mark that `property` tells of, if it is a whole one.
pub fn found_mark<'a>(property: impl Fn(&str) -> Option<&'a str>) -> Option<FoundMark> {
    Some(FoundMark {
        store: property(key::STORE)?.parse().ok()?,
        intent: property(key::INTENT)?.parse().ok()?,
        generation: Generation(property(key::GENERATION)?.parse().ok()?),
    })
}

/// Fails unless `theirs`, what the table says of its store, is ours.
pub fn check_store(table: &TableId, ours: Uuid, theirs: Option<&str>) -> Result<(), SinkError> {
    match theirs {
        Some(theirs) if theirs.parse() == Ok(ours) => Ok(()),
        theirs => {
            Err(SinkError::Foreign { table: table.clone(), ours, theirs: theirs.unwrap_or("none of ours").to_owned() })
        }
    }
}

/// What each logical column of one table is called on disk. Once given, a name stays: the map is kept with the table,
/// and evolving only adds to it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Columns(BTreeMap<String, String>);

impl Columns {
    /// The names of a new table's stored columns.
    pub fn new(schema: &TableSchema) -> Self {
        Self(BTreeMap::new()).extended(schema)
    }

    /// These names, and new ones for the columns that `schema` has besides.
    ///
    /// A name is changed when a format reserves it, when it holds what some reader takes apart (dots, blanks, quotes),
    /// or when it differs from another only in case, which Delta does not tell apart.
    pub fn extended(&self, schema: &TableSchema) -> Self {
        let stored = schema.stored();
        let new: Vec<&str> = stored
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .filter(|name| !self.0.contains_key(*name))
            .collect();
        let plain = |name: &str| name.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect::<String>();
        let candidates: Vec<String> =
            names_on_disk(new.iter().copied()).iter().flat_map(|name| names_on_disk([plain(name).as_str()])).collect();
        let mut names = self.0.clone();
        let mut taken: BTreeSet<String> = names.values().map(|name| name.to_lowercase()).collect();
        // Names that need no change first, the system's before a user's, so that those are the ones that stay.
        let mut order: Vec<usize> = (0..new.len()).collect();
        order.sort_by_key(|&at| {
            (candidates[at] != new[at], !thermocline_schemas::table::system::is_system(new[at]), at)
        });
        for at in order {
            let mut free = candidates[at].clone();
            while !taken.insert(free.to_lowercase()) {
                free.push('_');
            }
            names.insert(new[at].to_owned(), free);
        }
        Self(names)
    }

    /// What `logical` is called on disk, if the table has it.
    pub fn on_disk(&self, logical: &str) -> Option<&str> {
        self.0.get(logical).map(String::as_str)
    }

    /// The map as a property's value.
    pub fn to_property(&self) -> String {
        serde_json::to_string(&self.0).expect("a map of strings is JSON")
    }

    /// The map that a table's property holds.
    pub fn from_property(table: &TableId, value: Option<&str>) -> Result<Self, SinkError> {
        let value = value.unwrap_or_default();
        serde_json::from_str(value)
            .map_err(|error| SinkError::store(format!("table {table} has no readable {}", key::COLUMNS), error))
    }

    /// `schema` (logical names) under its names on disk; `None` for a column that the table has not.
    pub fn disk_schema(&self, schema: &Schema) -> Option<SchemaRef> {
        let fields = schema
            .fields()
            .iter()
            .map(|field| Some(Field::new(self.on_disk(field.name())?, field.data_type().clone(), field.is_nullable())));
        Some(Arc::new(Schema::new(fields.collect::<Option<Vec<_>>>()?)))
    }
}

/// The columns of `batch` as those of `target`, in its order and its exact types; a column that `batch` has not
/// (`None`) is null. Copies only what must be cast.
pub fn conform(batch: &RecordBatch, from: &[Option<usize>], target: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = from.iter().zip(target.fields()).map(|(from, field)| match from {
        Some(from) => cast(batch.column(*from), field.data_type()),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    });
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(target), columns.collect::<Result<_, _>>()?, &options)
}

/// `array` as `target`; an error, never a null, where a value does not fit.
pub fn cast(array: &ArrayRef, target: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == target {
        return Ok(Arc::clone(array));
    }
    let cast = cast_with_options(array, target, &CastOptions { safe: false, ..Default::default() })?;
    if cast.data_type() == target {
        return Ok(cast);
    }
    // Casting a fixed-size list keeps the name of its items, which the formats give another one.
    Ok(make_array(cast.to_data().into_builder().data_type(target.clone()).build()?))
}

/// Where the table lies, under the data directory.
pub fn folder(root: &Path, name: &TableName) -> PathBuf {
    root.join(name.as_path())
}

/// Syncs `files` and every directory between them and `root`; `root` too, and the directory that names it.
pub fn sync(durability: Durability, root: &Path, files: impl IntoIterator<Item = PathBuf>) -> std::io::Result<()> {
    if durability == Durability::Process {
        return Ok(());
    }
    let mut folders: BTreeSet<PathBuf> = root.parent().map(Path::to_path_buf).into_iter().collect();
    for file in files {
        std::fs::File::open(&file)?.sync_all()?;
        let above = file.ancestors().skip(1).take_while(|folder| folder.starts_with(root));
        folders.extend(above.map(Path::to_path_buf));
    }
    folders.iter().rev().try_for_each(|folder| std::fs::File::open(folder)?.sync_all())
}

/// The rows in the columns of `target`; see [`conform`].
pub(crate) fn conformed(
    rows: impl Stream<Item = Result<RecordBatch, DataFusionError>> + Send + 'static,
    from: Vec<Option<usize>>,
    target: SchemaRef,
) -> SendableRecordBatchStream {
    let schema = Arc::clone(&target);
    let rows = rows.map(move |batch| Ok(conform(&batch?, &from, &target)?));
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

/// Writes every lane with `write`, at the same time, each on a task of its own; what each came to, in no order. Dropped, or
/// when one fails, it stops the others.
pub(crate) async fn write_lanes<T, F>(
    lanes: Vec<SendableRecordBatchStream>,
    write: impl Fn(SendableRecordBatchStream) -> F,
) -> Result<Vec<T>, Cause>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Cause>> + Send + 'static,
{
    let mut tasks: JoinSet<_> = lanes.into_iter().map(write).collect();
    let mut written = Vec::with_capacity(tasks.len());
    while let Some(lane) = tasks.join_next().await {
        written.push(lane??);
    }
    Ok(written)
}

/// [`sync`] off the threads that run futures.
pub async fn sync_blocking(durability: Durability, root: PathBuf, files: Vec<PathBuf>) -> std::io::Result<()> {
    if durability == Durability::Process {
        return Ok(());
    }
    tokio::task::spawn_blocking(move || sync(durability, &root, files)).await?
}

/// Every file under `folder`, with the time it was last changed, µs UTC. A folder that is not there holds none.
pub fn list_files(folder: &Path) -> std::io::Result<Vec<(PathBuf, i64)>> {
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            found.extend(list_files(&entry.path())?);
        } else if kind.is_file() {
            let changed = entry.metadata()?.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            found.push((entry.path(), i64::try_from(changed.as_micros()).unwrap_or(i64::MAX)));
        }
    }
    Ok(found)
}

/// Deletes `file`; one that is gone already is as good.
pub fn delete(file: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;

    fn schema(columns: &[&str]) -> TableSchema {
        let columns = columns.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect();
        TableSchema::new(TableName::new("odd").unwrap(), columns)
    }

    fn lane(
        rows: impl Stream<Item = Result<RecordBatch, DataFusionError>> + Send + 'static,
    ) -> SendableRecordBatchStream {
        Box::pin(RecordBatchStreamAdapter::new(Arc::new(Schema::empty()), rows))
    }

    #[tokio::test]
    async fn a_lane_that_fails_stops_the_others() {
        let endless = lane(stream::pending());
        let broken = lane(stream::iter([Err(DataFusionError::Execution("no such block".into()))]));
        let alive = Arc::new(());
        let count = |mut rows: SendableRecordBatchStream| {
            let alive = Arc::clone(&alive);
            async move {
                let mut count = 0;
                while let Some(batch) = rows.next().await {
                    count += batch?.num_rows();
                }
                drop(alive);
                Ok(count)
            }
        };
        let error = write_lanes(vec![endless, broken], count).await.unwrap_err();
        assert!(error.to_string().contains("no such block"), "{error}");
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&alive), 1, "the endless lane is still being written");
    }

    #[test]
    fn hostile_names_become_plain_and_stay_different() {
        let columns = ["pos", "Pos_", "a.b", "a_b", "A B", "EVENT_TIME", ".pos", "größe", "_rowid"];
        let names = Columns::new(&schema(&columns));
        let disk: Vec<&str> = columns.iter().map(|name| names.on_disk(name).unwrap()).collect();
        assert_eq!(names.on_disk("event_time"), Some("event_time"));
        assert_eq!(names.on_disk("_partition"), Some("_kafka_partition"));
        let lower: BTreeSet<String> = names.0.values().map(|name| name.to_lowercase()).collect();
        assert_eq!(lower.len(), names.0.len(), "{disk:?}");
        assert!(disk.iter().all(|name| name.chars().all(|c| c.is_alphanumeric() || c == '_')), "{disk:?}");
        assert_eq!(names_on_disk(disk.iter().copied()), disk, "no reserved name is left");
    }

    #[test]
    fn a_name_once_given_stays() {
        let before = Columns::new(&schema(&["pos"]));
        let after = before.extended(&schema(&["pos", "pos_"]));
        assert_eq!(before.on_disk("pos"), after.on_disk("pos"));
        assert_eq!(after.on_disk("pos_"), Some("pos__"));
    }
}
