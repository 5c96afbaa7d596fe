//! The same scenarios over all three real formats.

mod fingerprint;
mod readers;

use super::*;
use crate::disk::key;
use crate::tier::FoundMark;
use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeListArray, Float32Array,
    Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::{concat_batches, sort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, Field, Float32Type, Schema};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::SessionContext;
use thermocline_schemas::table::{system, timestamp_type};
use thermocline_schemas::{Cut, Generation, TableName};

pub(crate) struct Rig {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) store: Uuid,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), store: Uuid::from_u128(7) }
    }

    /// Another process' view of the same tables: no cache is shared.
    pub(crate) fn formats(&self) -> Formats {
        Formats::open(self.folder.path(), self.store, Durability::Process).unwrap()
    }
}

pub(crate) fn mark(rig: &Rig, table: &TableId, number: u64) -> Mark {
    Mark {
        store: rig.store,
        intent: IntentId { table: table.clone(), number },
        generation: Generation(3),
        cut: Cut(10 + number),
        least_watermark: number.is_multiple_of(2).then_some(5_000_000),
    }
}

pub(crate) fn schema(name: &str, columns: Vec<Field>) -> TableSchema {
    TableSchema { text_columns: vec!["text".into()], ..TableSchema::new(TableName::new(name).unwrap(), columns) }
}

pub(crate) fn chat() -> TableSchema {
    schema("chat", vec![Field::new("text", DataType::Utf8, true), Field::new("likes", DataType::Int64, true)])
}

/// Every allowed type, under names that some format or reader would stumble over.
pub(crate) fn odd() -> TableSchema {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    schema(
        "odd.types",
        vec![
            Field::new("pos", DataType::Utf8, true),
            Field::new("file_path", DataType::Int32, true),
            Field::new("_rowid", DataType::Int64, true),
            Field::new("Upper", DataType::Float32, true),
            Field::new("upper", DataType::Float64, true),
            Field::new("two words", DataType::Boolean, true),
            Field::new("a.b", DataType::Date32, true),
            Field::new("_kafka_partition", DataType::Binary, true),
            Field::new("größe", DataType::Decimal128(20, 4), true),
            Field::new("_change_type", timestamp_type(), true),
            Field::new("vector", DataType::FixedSizeList(item, 3), true),
        ],
    )
}

/// Rows `first..first + count` with the stored schema of `table`: every third value of a nullable column is null.
pub(crate) fn rows(table: &TableSchema, first: i64, count: i64) -> RecordBatch {
    let stored = table.stored();
    let n = || first..first + count;
    let some = |row: i64| row % 3 != 0;
    let columns = stored.fields().iter().map(|field| -> ArrayRef {
        let nullable = field.is_nullable();
        let keep = |row: i64| !nullable || some(row);
        match field.data_type() {
            DataType::Utf8 => {
                let text = |row| match field.name().as_str() {
                    system::TOPIC => "orders".to_owned(),
                    name => format!("{name} {row} é"),
                };
                Arc::new(n().map(|row| keep(row).then(|| text(row))).collect::<StringArray>())
            }
            DataType::Int32 => {
                let value = |row: i64| if field.name() == system::PARTITION { (row % 2) as i32 } else { 0 };
                Arc::new(n().map(|row| keep(row).then(|| value(row))).collect::<Int32Array>())
            }
            DataType::Int64 => Arc::new(n().map(|row| keep(row).then_some(row)).collect::<Int64Array>()),
            DataType::Float32 => {
                Arc::new(n().map(|row| keep(row).then_some(row as f32 / 4.0)).collect::<Float32Array>())
            }
            DataType::Float64 => {
                Arc::new(n().map(|row| keep(row).then_some(row as f64 / 8.0)).collect::<Float64Array>())
            }
            DataType::Boolean => Arc::new(n().map(|row| keep(row).then_some(row % 2 == 0)).collect::<BooleanArray>()),
            DataType::Date32 => Arc::new(n().map(|row| keep(row).then_some(row as i32)).collect::<Date32Array>()),
            DataType::Binary => {
                let bytes: Vec<Option<Vec<u8>>> = n().map(|row| keep(row).then(|| vec![0, 255, row as u8])).collect();
                Arc::new(bytes.iter().map(|value| value.as_deref()).collect::<BinaryArray>())
            }
            DataType::Decimal128(precision, scale) => Arc::new(
                n().map(|row| keep(row).then_some(i128::from(row) * 12_345))
                    .collect::<Decimal128Array>()
                    .with_precision_and_scale(*precision, *scale)
                    .unwrap(),
            ),
            DataType::Timestamp(..) => Arc::new(
                n().map(|row| keep(row).then_some(row * 1_000_000 + 1))
                    .collect::<TimestampMicrosecondArray>()
                    .with_timezone("UTC"),
            ),
            DataType::FixedSizeList(_, width) => {
                let lists =
                    n().map(|row| keep(row).then(|| (0..*width).map(move |at| Some((row + i64::from(at)) as f32))));
                Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(lists, *width))
            }
            other => panic!("no rows of type {other}"),
        }
    });
    RecordBatch::try_new(Arc::clone(&stored), columns.collect()).unwrap()
}

/// One lane of two batches.
pub(crate) fn lane(batch: RecordBatch) -> Vec<SendableRecordBatchStream> {
    let half = batch.num_rows() / 2;
    let batches = [batch.slice(0, half), batch.slice(half, batch.num_rows() - half)].map(Ok);
    vec![Box::pin(RecordBatchStreamAdapter::new(batch.schema(), futures::stream::iter(batches)))]
}

pub(crate) async fn create(formats: &Formats, rig: &Rig, schema: &TableSchema, tier: Tier) -> (TableId, TableVersion) {
    let table = TableId::new(schema.name.clone(), tier);
    match formats.create(schema, &mark(rig, &table, 1)).await.unwrap() {
        CommitOutcome::Committed(version) => (table, version),
        other => panic!("{other:?}"),
    }
}

/// A whole rollup of rows `first..first + count` as intent `number`.
pub(crate) async fn rollup(
    formats: &Formats,
    rig: &Rig,
    schema: &TableSchema,
    table: &TableId,
    number: u64,
    first: i64,
    count: i64,
) -> TableVersion {
    rollup_lanes(formats, rig, schema, table, number, lane(rows(schema, first, count)), count as u64).await
}

/// The same of any lanes, `count` rows together.
async fn rollup_lanes(
    formats: &Formats,
    rig: &Rig,
    schema: &TableSchema,
    table: &TableId,
    number: u64,
    lanes: Vec<SendableRecordBatchStream>,
    count: u64,
) -> TableVersion {
    let mark = mark(rig, table, number);
    let staged = formats.stage(schema, &mark.intent, lanes).await.unwrap();
    assert_eq!(staged.rows, count, "{table}");
    let at = formats.search(&mark.intent, None).await.unwrap();
    match formats.commit(&mark, &staged.payload, &at).await.unwrap() {
        CommitOutcome::Committed(version) => version,
        other => panic!("{table}: {other:?}"),
    }
}

/// All rows at `version`, sorted by offset, with the stored columns.
pub(crate) async fn read(
    formats: &Formats,
    schema: &TableSchema,
    table: &TableId,
    version: &TableVersion,
) -> RecordBatch {
    try_read(formats, schema, table, version).await.unwrap()
}

async fn try_read(
    formats: &Formats,
    schema: &TableSchema,
    table: &TableId,
    version: &TableVersion,
) -> Result<RecordBatch, Box<dyn std::error::Error>> {
    let provider = ReadTables::open(formats, schema, table, version).await?;
    let batches = SessionContext::new().read_table(provider)?.collect().await?;
    let stored = schema.stored();
    let places: Vec<usize> = (0..stored.fields().len()).collect();
    let batches = batches.iter().map(|batch| batch.project(&places)).collect::<Result<Vec<_>, _>>()?;
    let all = concat_batches(&stored, &batches)?;
    let order = sort_to_indices(all.column_by_name(system::OFFSET).unwrap(), None, None)?;
    Ok(take_record_batch(&all, &order)?)
}

#[tokio::test]
async fn every_type_comes_back_as_it_was_under_every_name() {
    let (rig, schema) = (Rig::new(), odd());
    let formats = rig.formats();
    for tier in Tier::ALL {
        let (table, empty) = create(&formats, &rig, &schema, tier).await;
        assert_eq!(read(&formats, &schema, &table, &empty).await.num_rows(), 0, "{tier}");
        let version = rollup(&formats, &rig, &schema, &table, 2, 0, 100).await;
        let found = read(&formats, &schema, &table, &version).await;
        assert_eq!(found, rows(&schema, 0, 100), "{tier}");
        assert_eq!(formats.exists(&table).await.unwrap(), Some(version), "{tier}");
    }
}

#[tokio::test]
async fn every_lane_is_in_the_one_commit() {
    let (rig, schema) = (Rig::new(), chat());
    let formats = rig.formats();
    for tier in Tier::ALL {
        let (table, _) = create(&formats, &rig, &schema, tier).await;
        let lanes = [(0, 10), (10, 0), (10, 30)].map(|(first, count)| lane(rows(&schema, first, count)));
        let version = rollup_lanes(&formats, &rig, &schema, &table, 2, lanes.into_iter().flatten().collect(), 40).await;
        assert_eq!(read(&formats, &schema, &table, &version).await, rows(&schema, 0, 40), "{tier}");
    }
}

#[tokio::test]
async fn an_empty_commit_gives_an_intent_up_and_a_zombie_finds_it_taken() {
    let (rig, schema) = (Rig::new(), chat());
    let (ours, zombie) = (rig.formats(), rig.formats());
    for tier in Tier::ALL {
        let (table, _) = create(&ours, &rig, &schema, tier).await;
        let before = rollup(&ours, &rig, &schema, &table, 2, 0, 10).await;
        let mark = mark(&rig, &table, 3);
        let staged = zombie.stage(&schema, &mark.intent, lane(rows(&schema, 10, 5))).await.unwrap();
        let searched = zombie.search(&mark.intent, Some(&before)).await.unwrap();

        let at = ours.search(&mark.intent, Some(&before)).await.unwrap();
        let given_up = match ours.commit(&mark, &[], &at).await.unwrap() {
            CommitOutcome::Committed(version) => version,
            other => panic!("{tier}: {other:?}"),
        };
        assert_ne!(given_up, before, "{tier}: giving up makes a version, so that a head moves");

        // The zombie commits late, onto what it had searched; then it searches again and finds the mark.
        assert_eq!(zombie.commit(&mark, &staged.payload, &searched).await.unwrap(), CommitOutcome::Conflict, "{tier}");
        let searched = zombie.search(&mark.intent, Some(&before)).await.unwrap();
        assert_eq!(searched.found.as_ref().unwrap().version, given_up, "{tier}");
        let outcome = zombie.commit(&mark, &staged.payload, &searched).await.unwrap();
        assert_eq!(outcome, CommitOutcome::AlreadyCommitted(given_up.clone()), "{tier}");
        assert_eq!(read(&ours, &schema, &table, &given_up).await.num_rows(), 10, "{tier}");

        let files = crate::disk::list_files(rig.folder.path()).unwrap().len();
        ours.discard(&mark.intent, &staged.payload).await.unwrap();
        assert!(crate::disk::list_files(rig.folder.path()).unwrap().len() < files, "{tier}: staged files are gone");
        ours.discard(&mark.intent, &staged.payload).await.unwrap();
        assert_eq!(read(&ours, &schema, &table, &given_up).await.num_rows(), 10, "{tier}");
    }
}

#[tokio::test]
async fn a_lost_reply_is_found_by_its_mark_and_the_payload_commits_once() {
    let (rig, schema) = (Rig::new(), chat());
    let (ours, after) = (rig.formats(), rig.formats());
    for tier in Tier::ALL {
        let (table, created) = create(&ours, &rig, &schema, tier).await;
        let mark = mark(&rig, &table, 2);
        let staged = ours.stage(&schema, &mark.intent, lane(rows(&schema, 0, 10))).await.unwrap();
        let at = ours.search(&mark.intent, Some(&created)).await.unwrap();
        assert_eq!(at.found, None, "{tier}");
        let CommitOutcome::Committed(version) = ours.commit(&mark, &staged.payload, &at).await.unwrap() else {
            panic!("{tier}")
        };
        // Nobody heard. Another run repeats the commit from the old search, and from a new one.
        assert_eq!(after.commit(&mark, &staged.payload, &at).await.unwrap(), CommitOutcome::Conflict, "{tier}");
        let searched = after.search(&mark.intent, Some(&created)).await.unwrap();
        assert_eq!(searched.found.as_ref().unwrap().version, version, "{tier}");
        let mine = FoundMark { store: rig.store, intent: 2, generation: Generation(3) };
        assert_eq!(searched.newest_mark, Some(mine), "{tier}");
        let outcome = after.commit(&mark, &staged.payload, &searched).await.unwrap();
        assert_eq!(outcome, CommitOutcome::AlreadyCommitted(version.clone()), "{tier}");
        assert_eq!(read(&after, &schema, &table, &searched.head).await.num_rows(), 10, "{tier}");
    }
}

/// A commit by somebody else, without a mark of ours.
async fn foreign_commit(rig: &Rig, table: &TableId) {
    let name = table.name.as_path();
    match table.tier {
        Tier::Hot => {
            let uri = rig.folder.path().join("hot").join(format!("{name}.lance"));
            let mut dataset = lance::Dataset::open(&uri.to_string_lossy()).await.unwrap();
            dataset.update_config([("somebody", "else")]).await.unwrap();
        }
        Tier::Warm => {
            let url = url::Url::from_directory_path(rig.folder.path().join("warm").join(name)).unwrap();
            let delta = deltalake::DeltaTableBuilder::from_url(url).unwrap().load().await.unwrap();
            let (_, metrics) =
                delta.optimize().with_target_size(std::num::NonZeroU64::new(1 << 40).unwrap()).await.unwrap();
            assert!(metrics.num_files_added > 0, "compaction commits only when it has something to do");
        }
        Tier::Cold => {
            use iceberg::transaction::{ApplyTransactionAction, Transaction};
            let catalog = library_catalog(rig).await;
            let ident = iceberg::TableIdent::from_strs(["thermocline", &name]).unwrap();
            let table = iceberg::Catalog::load_table(&catalog, &ident).await.unwrap();
            let transaction = Transaction::new(&table);
            let update = transaction.update_table_properties().set("somebody".to_owned(), "else".to_owned());
            update.apply(transaction).unwrap().commit(&catalog).await.unwrap();
        }
    }
}

/// The library's own catalog over the same database.
async fn library_catalog(rig: &Rig) -> iceberg_catalog_sql::SqlCatalog {
    use iceberg::CatalogBuilder;
    iceberg_catalog_sql::SqlCatalogBuilder::default()
        .uri(format!("sqlite://{}", rig.folder.path().join("iceberg.db").display()))
        .warehouse_location("file:///nowhere")
        .sql_bind_style(iceberg_catalog_sql::SqlBindStyle::QMark)
        .with_storage_factory(Arc::new(iceberg::io::LocalFsStorageFactory))
        .load(crate::cold::CATALOG, Default::default())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_mark_is_found_behind_commits_of_others_and_a_rival_is_a_conflict() {
    let (rig, schema) = (Rig::new(), chat());
    let formats = rig.formats();
    for tier in Tier::ALL {
        let (table, created) = create(&formats, &rig, &schema, tier).await;
        let second = rollup(&formats, &rig, &schema, &table, 2, 0, 10).await;
        let third = rollup(&formats, &rig, &schema, &table, 3, 10, 10).await;
        foreign_commit(&rig, &table).await;
        for (number, version) in [(2, &second), (3, &third), (1, &created)] {
            let id = IntentId { table: table.clone(), number };
            let searched = formats.search(&id, None).await.unwrap();
            let found = searched.found.as_ref().map(|found| (found.version.clone(), found.generation));
            assert_eq!(found, Some((version.clone(), Generation(3))), "{tier} #{number}");
            assert_ne!(searched.head, third, "{tier}");
            assert_eq!(searched.newest_mark.as_ref().map(|mark| mark.intent), Some(3), "{tier}");
            let searched = formats.search(&id, Some(version)).await.unwrap();
            assert_eq!(&searched.found.as_ref().unwrap().version, version, "{tier} #{number} since its own flip");
        }

        // Between our search and our commit, somebody else commits.
        let mark = mark(&rig, &table, 4);
        let staged = formats.stage(&schema, &mark.intent, lane(rows(&schema, 20, 10))).await.unwrap();
        let at = formats.search(&mark.intent, Some(&third)).await.unwrap();
        assert_eq!(at.found, None, "{tier}");
        match tier {
            Tier::Warm => {
                rollup(&rig.formats(), &rig, &schema, &table, 40, 100, 1).await;
            }
            _ => foreign_commit(&rig, &table).await,
        }
        assert_eq!(formats.commit(&mark, &staged.payload, &at).await.unwrap(), CommitOutcome::Conflict, "{tier}");
        let at = formats.search(&mark.intent, Some(&third)).await.unwrap();
        let outcome = formats.commit(&mark, &staged.payload, &at).await.unwrap();
        let CommitOutcome::Committed(version) = outcome else { panic!("{tier}: {outcome:?}") };
        let expected = if tier == Tier::Warm { 31 } else { 30 };
        assert_eq!(read(&formats, &schema, &table, &version).await.num_rows(), expected, "{tier}");
    }
}

#[tokio::test]
async fn rivals_at_the_same_head_commit_one_after_the_other() {
    let (rig, schema) = (Rig::new(), chat());
    let (one, two) = (rig.formats(), rig.formats());
    for tier in Tier::ALL {
        let (table, _) = create(&one, &rig, &schema, tier).await;
        let (first, second) = (mark(&rig, &table, 2), mark(&rig, &table, 3));
        let a = one.stage(&schema, &first.intent, lane(rows(&schema, 0, 4))).await.unwrap();
        let b = two.stage(&schema, &second.intent, lane(rows(&schema, 4, 4))).await.unwrap();
        let (at_a, at_b) =
            (one.search(&first.intent, None).await.unwrap(), two.search(&second.intent, None).await.unwrap());
        let (a, b) = tokio::join!(one.commit(&first, &a.payload, &at_a), two.commit(&second, &b.payload, &at_b));
        let committed = [a.unwrap(), b.unwrap()].into_iter().filter(|o| matches!(o, CommitOutcome::Committed(_)));
        assert_eq!(committed.count(), 1, "{tier}: exactly one of two rivals");
        let head = one.exists(&table).await.unwrap().unwrap();
        assert_eq!(read(&one, &schema, &table, &head).await.num_rows(), 4, "{tier}");
    }
}

#[tokio::test]
async fn old_versions_stay_readable_until_maintenance_passes_them() {
    let (rig, schema) = (Rig::new(), chat());
    let formats = rig.formats();
    for tier in Tier::ALL {
        let (table, created) = create(&formats, &rig, &schema, tier).await;
        let mut versions = vec![created];
        for number in 2..28 {
            let first = (number as i64 - 2) * 3;
            versions.push(rollup(&formats, &rig, &schema, &table, number, first, 3).await);
        }
        for (at, version) in versions.iter().enumerate() {
            assert_eq!(read(&formats, &schema, &table, version).await.num_rows(), 3 * at, "{tier} at {version}");
        }
        // Somebody staged this and died before the store heard of it.
        let lost = IntentId { table: table.clone(), number: 99 };
        formats.stage(&schema, &lost, lane(rows(&schema, 500, 5))).await.unwrap();

        let keep_from = &versions[24];
        let started_at = 0;
        let mut head = versions[26].clone();
        let made = formats.maintain(&mark(&rig, &table, 28), keep_from, started_at).await.unwrap();
        head = made.unwrap_or(head);
        // The log before a checkpoint goes when a checkpoint lies at or before what must be kept.
        let made = formats.maintain(&mark(&rig, &table, 29), &head, started_at).await.unwrap_or_default();
        head = made.unwrap_or(head);
        let fresh = rig.formats();
        assert_eq!(fresh.exists(&table).await.unwrap(), Some(head.clone()), "{tier}");
        assert_eq!(read(&fresh, &schema, &table, &head).await.num_rows(), 78, "{tier}: maintenance changes no row");
        assert!(try_read(&fresh, &schema, &table, &versions[3]).await.is_err(), "{tier}: an old version is gone");

        let last = rollup(&fresh, &rig, &schema, &table, 30, 78, 2).await;
        assert_eq!(read(&fresh, &schema, &table, &last).await, rows(&schema, 0, 80), "{tier}");
        let searched = fresh.search(&IntentId { table: table.clone(), number: 30 }, Some(&head)).await.unwrap();
        assert_eq!(searched.found.as_ref().unwrap().version, last, "{tier}");
    }
}

#[tokio::test]
async fn maintenance_spares_everything_from_keep_from_on() {
    let (rig, schema) = (Rig::new(), chat());
    let formats = rig.formats();
    for tier in Tier::ALL {
        let (table, _) = create(&formats, &rig, &schema, tier).await;
        let mut versions = vec![];
        for number in 2..30 {
            versions.push(rollup(&formats, &rig, &schema, &table, number, number as i64 * 2, 2).await);
        }
        let lost = IntentId { table: table.clone(), number: 99 };
        let staged = formats.stage(&schema, &lost, lane(rows(&schema, 500, 5))).await.unwrap();
        let made = formats.maintain(&mark(&rig, &table, 30), &versions[23], 0).await.unwrap();
        let head = made.unwrap_or_else(|| versions[27].clone());
        let fresh = rig.formats();
        for (at, version) in versions.iter().enumerate().skip(23) {
            assert_eq!(read(&fresh, &schema, &table, version).await.num_rows(), 2 * (at + 1), "{tier} at {version}");
        }
        // What is younger than this run may be somebody's staged work.
        let mark = mark(&rig, &table, 99);
        let at = fresh.search(&lost, Some(&versions[27])).await.unwrap();
        assert_eq!(at.head, head, "{tier}");
        let CommitOutcome::Committed(last) = fresh.commit(&mark, &staged.payload, &at).await.unwrap() else {
            panic!("{tier}")
        };
        assert_eq!(read(&fresh, &schema, &table, &last).await.num_rows(), 61, "{tier}");
        // Files that nobody names and that are older than the run do go, in the formats where that is ours to do.
        let orphan = IntentId { table: table.clone(), number: 100 };
        formats.stage(&schema, &orphan, lane(rows(&schema, 600, 5))).await.unwrap();
        let before = crate::disk::list_files(rig.folder.path()).unwrap().len();
        let made = fresh.maintain(&self::mark(&rig, &table, 101), &last, i64::MAX).await.unwrap();
        let kept = made.unwrap_or(last);
        let after = crate::disk::list_files(rig.folder.path()).unwrap().len();
        assert!(after < before, "{tier}");
        assert_eq!(read(&rig.formats(), &schema, &table, &kept).await.num_rows(), 61, "{tier}");
    }
}

#[tokio::test]
async fn new_columns_are_null_in_old_rows_and_old_versions() {
    let (rig, before) = (Rig::new(), chat());
    let mut after = chat();
    after.columns.insert(0, Field::new("mood", DataType::Utf8, true));
    after.columns.push(Field::new("Likes", timestamp_type(), true));
    let formats = rig.formats();
    for tier in Tier::ALL {
        let (table, _) = create(&formats, &rig, &before, tier).await;
        let old = rollup(&formats, &rig, &before, &table, 2, 0, 10).await;
        let refused =
            formats.stage(&after, &IntentId { table: table.clone(), number: 9 }, lane(rows(&after, 0, 1))).await;
        assert!(refused.is_err(), "{tier}: rows of columns that the table has not");

        let mark = mark(&rig, &table, 3);
        let at = formats.search(&mark.intent, Some(&old)).await.unwrap();
        let CommitOutcome::Committed(evolved) = formats.evolve(&after, &mark, &at).await.unwrap() else {
            panic!("{tier}")
        };
        let again = formats.search(&mark.intent, Some(&old)).await.unwrap();
        assert_eq!(again.found.as_ref().unwrap().version, evolved, "{tier}");
        let outcome = formats.evolve(&after, &mark, &again).await.unwrap();
        assert_eq!(outcome, CommitOutcome::AlreadyCommitted(evolved.clone()), "{tier}");

        let version = rollup(&formats, &rig, &after, &table, 4, 10, 10).await;
        for (version, count) in [(&old, 10), (&evolved, 10), (&version, 20)] {
            let found = read(&rig.formats(), &after, &table, version).await;
            assert_eq!(found.num_rows(), count, "{tier} at {version}");
            for name in ["mood", "Likes"] {
                let column = found.column_by_name(name).unwrap().slice(0, 10);
                assert_eq!(column.null_count(), 10, "{tier} at {version}: {name}");
            }
            let likes = found.column_by_name("likes").unwrap().slice(0, 10);
            assert_eq!(&likes, rows(&before, 0, 10).column_by_name("likes").unwrap(), "{tier}");
        }
        let found = read(&formats, &after, &table, &version).await.slice(10, 10);
        assert_eq!(found, rows(&after, 10, 10), "{tier}");
        // An older process, which knows of the old columns only, goes on.
        let narrow = rollup(&formats, &rig, &before, &table, 5, 20, 5).await;
        assert_eq!(read(&formats, &before, &table, &narrow).await, rows(&before, 0, 25), "{tier}");
    }
}

#[tokio::test]
async fn creating_is_safe_to_repeat_and_a_table_of_another_store_is_refused() {
    let (rig, schema) = (Rig::new(), chat());
    let formats = rig.formats();
    for tier in Tier::ALL {
        let table = TableId::new(schema.name.clone(), tier);
        assert_eq!(formats.exists(&table).await.unwrap(), None, "{tier}");
        let (_, created) = create(&formats, &rig, &schema, tier).await;
        let outcome = rig.formats().create(&schema, &mark(&rig, &table, 1)).await.unwrap();
        assert_eq!(outcome, CommitOutcome::AlreadyCommitted(created.clone()), "{tier}");
        let outcome = rig.formats().create(&schema, &mark(&rig, &table, 2)).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Conflict, "{tier}");
        let stranger = Formats::open(rig.folder.path(), Uuid::from_u128(8), Durability::Process).unwrap();
        let refused = stranger.exists(&table).await;
        assert!(matches!(refused, Err(SinkError::Foreign { .. })), "{tier}: {refused:?}");
        assert_eq!(formats.exists(&table).await.unwrap(), Some(created), "{tier}");
    }
}

#[tokio::test]
async fn two_processes_create_one_table() {
    for tier in Tier::ALL {
        let (rig, schema) = (Rig::new(), chat());
        let (one, two) = (rig.formats(), rig.formats());
        let table = TableId::new(schema.name.clone(), tier);
        let mark = mark(&rig, &table, 1);
        let (a, b) = tokio::join!(one.create(&schema, &mark), two.create(&schema, &mark));
        let created: Vec<CommitOutcome> = [a, b].into_iter().filter_map(Result::ok).collect();
        assert!(created.iter().any(|outcome| matches!(outcome, CommitOutcome::Committed(_))), "{tier}: {created:?}");
        let version = rollup(&one, &rig, &schema, &table, 2, 0, 3).await;
        assert_eq!(read(&two, &schema, &table, &version).await.num_rows(), 3, "{tier}");
    }
}

#[tokio::test]
async fn everything_is_synced_when_power_may_fail() {
    let (rig, schema) = (Rig::new(), chat());
    let formats = Formats::open(rig.folder.path(), rig.store, Durability::Disk).unwrap();
    for tier in Tier::ALL {
        let (table, _) = create(&formats, &rig, &schema, tier).await;
        let version = rollup(&formats, &rig, &schema, &table, 2, 0, 30).await;
        let head = formats.maintain(&mark(&rig, &table, 3), &version, 0).await.unwrap().unwrap_or(version);
        assert_eq!(read(&formats, &schema, &table, &head).await.num_rows(), 30, "{tier}");
    }
}

#[tokio::test]
async fn a_hot_row_keeps_its_embedding() {
    let (rig, schema) = (Rig::new(), chat());
    let formats = rig.formats();
    let (table, _) = create(&formats, &rig, &schema, Tier::Hot).await;
    let plain = rows(&schema, 0, 6);
    let vectors = (0..6).map(|row| (row % 2 == 0).then(|| (0..256).map(move |at| Some((row * at) as f32))));
    let vectors: ArrayRef = Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(vectors, 256));
    let fields: Vec<_> =
        plain.schema().fields().iter().cloned().chain([Arc::new(crate::hot::embedding_field())]).collect();
    let columns = plain.columns().iter().cloned().chain([Arc::clone(&vectors)]).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let mark = mark(&rig, &table, 2);
    let staged = formats.stage(&schema, &mark.intent, lane(batch)).await.unwrap();
    let at = formats.search(&mark.intent, None).await.unwrap();
    let CommitOutcome::Committed(version) = formats.commit(&mark, &staged.payload, &at).await.unwrap() else {
        panic!()
    };
    let provider = ReadTables::open(&formats, &schema, &table, &version).await.unwrap();
    let found = SessionContext::new().read_table(provider).unwrap().collect().await.unwrap();
    let found = concat_batches(&found[0].schema(), &found).unwrap();
    assert_eq!(found.column_by_name(system::EMBEDDING).unwrap(), &vectors);
}
