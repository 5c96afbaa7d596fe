//! A small data directory: for every domain two rows in each tier, rolled up, and two more that are still staged.

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field};
use std::path::Path;
use std::sync::Arc;
use thermocline_schemas::domain::Registry;
use thermocline_schemas::metadata::{
    BranchId, Conservation, Counts, Durability, Gap, Manifest, Meta, NewBranch, Progress, RunInfo, SqliteMeta,
};
use thermocline_schemas::table::system;
use thermocline_schemas::time::{Clock, FixedClock, MICROS_PER_DAY, MICROS_PER_SECOND};
use thermocline_schemas::{Epoch, EventTime, TableId, TableName, TableSchema, Tier};
use thermocline_sinks::committer::{Committer, Stores};
use thermocline_sinks::formats::Formats;
use thermocline_sinks::rollup::RollupConfig;
use thermocline_sinks::segment::write_segment;

/// 15 June 2024, noon.
const NOW: EventTime = 1_718_452_800_000_000;

/// The time stands still.
pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(FixedClock(NOW))
}

/// A row: which one it is of its domain, how old, and in which tier.
#[derive(Clone, Copy)]
struct Row {
    number: i64,
    age: i64,
    tier: Tier,
}

/// The rows of one epoch, the same in every domain. Row 3 has nothing in its own columns.
fn rows(epoch: u64) -> Vec<Row> {
    let row = |number, age, tier| Row { number, age, tier };
    match epoch {
        1 => vec![
            row(0, 3_600 * MICROS_PER_SECOND, Tier::Hot),
            row(1, 2 * MICROS_PER_DAY, Tier::Hot),
            row(2, 30 * MICROS_PER_DAY, Tier::Warm),
            row(3, 40 * MICROS_PER_DAY, Tier::Warm),
            row(4, 400 * MICROS_PER_DAY, Tier::Cold),
            row(5, 4_000 * MICROS_PER_DAY, Tier::Cold),
        ],
        _ => vec![row(6, 60 * MICROS_PER_SECOND, Tier::Hot), row(7, 100 * MICROS_PER_DAY, Tier::Cold)],
    }
}

/// Fills `data`.
pub(crate) async fn fill(data: &Path) {
    let store = data.join(thermocline_sinks::METADATA_FILE);
    let meta: Arc<dyn Meta> =
        Arc::new(SqliteMeta::open_with(&store, clock(), Durability::Process).await.expect("a new store"));
    let tables = Arc::new(Formats::open(data, meta.store(), Durability::Process).expect("the directory is there"));
    let embed = |schema: &TableSchema, batch| Ok(thermocline_operators::hot::with_embedding(schema, batch)?);
    let stores = Stores {
        meta: meta.clone(),
        tables,
        clock: clock(),
        embedder: Some(Arc::new(embed)),
        data_dir: data.to_owned(),
        durability: Durability::Process,
    };
    let run = RunInfo { host: "here".into(), pid: 1, started_at: NOW };
    let committer = Committer::begin(stores, RollupConfig::default(), &run).await.expect("nobody else is here");
    let generation = committer.generation();
    let schemas: Vec<TableSchema> = Registry::shipped().iter().map(|domain| domain.table_schema()).collect();
    for schema in schemas.iter().chain([&TableSchema::dead_letters()]) {
        meta.register_table(generation, schema).await.expect("a new table");
    }
    let branch = NewBranch {
        source: "everything".into(),
        target: "domains".into(),
        statement: "INSERT INTO domains SELECT * FROM everything".into(),
        filters: false,
    };
    let branch = meta.register_branch(generation, &branch).await.expect("a new branch");
    for epoch in [1, 2] {
        let mut parts = vec![];
        for schema in &schemas {
            for tier in Tier::ALL {
                let rows: Vec<Row> = rows(epoch).into_iter().filter(|row| row.tier == tier).collect();
                if !rows.is_empty() {
                    parts.push((TableId::new(schema.name.clone(), tier), vec![batch(schema, &rows, epoch, branch)]));
                }
            }
        }
        if epoch == 1 {
            parts.push((TableId::new(TableName::dead_letters(), Tier::Warm), vec![dead_letters(branch)]));
        }
        let segment =
            write_segment(data, generation, Epoch(epoch), 0, parts, Durability::Process).expect("it is written");
        let manifest = Manifest {
            epoch: Epoch(epoch),
            opened_at: NOW,
            segments: vec![segment],
            progress: schemas
                .iter()
                .enumerate()
                .map(|(number, it)| progress(it.name.as_str(), number, epoch))
                .collect(),
            gaps: if epoch == 1 { vec![gap()] } else { vec![] },
            conservation: conservation(&schemas, epoch, branch),
            dropped_fields: vec![],
            pauses: vec![],
        };
        committer.commit_manifest(&manifest).await.expect("it adds up");
        if epoch == 1 {
            committer.roll_up_all().await.expect("every table takes its rows");
        }
    }
}

fn topic(table: &str) -> String {
    format!("{table}.source")
}

fn progress(table: &str, number: usize, epoch: u64) -> Progress {
    Progress {
        source: "everything".into(),
        cluster_id: "a cluster".into(),
        topic: topic(table),
        topic_id: uuid::Uuid::from_u128(number as u128 + 1),
        partition: 0,
        first_offset: 0,
        next_offset: if epoch == 1 { 6 } else { 8 },
        watermark: Some(NOW),
        idle: false,
    }
}

fn gap() -> Gap {
    Gap { source: "everything".into(), topic: topic("chat"), partition: 1, offsets: 3..5, kind: "absent".into() }
}

fn conservation(schemas: &[TableSchema], epoch: u64, branch: BranchId) -> Vec<Conservation> {
    let count = rows(epoch).len() as u64;
    let good = |schema: &TableSchema| Conservation {
        branch,
        topic: topic(schema.name.as_str()),
        partition: 0,
        counts: Counts { read: count, rows: count, ..Counts::default() },
    };
    let bad = Conservation {
        branch,
        topic: topic("bad"),
        partition: 0,
        counts: Counts { read: 2, dead_letters: 2, ..Counts::default() },
    };
    schemas.iter().map(good).chain((epoch == 1).then_some(bad)).collect()
}

/// Rows of a table, each column filled by its type.
fn batch(schema: &TableSchema, rows: &[Row], epoch: u64, branch: BranchId) -> RecordBatch {
    let mut rows = rows.to_vec();
    rows.sort_by_key(|row| -row.age);
    let name = schema.name.as_str();
    let column = |field: &Field| -> ArrayRef {
        let numbers = rows.iter().map(|row| row.number);
        match field.name().as_str() {
            system::EVENT_TIME => times(rows.iter().map(|row| Some(NOW - row.age))),
            system::ATTRIBUTES => {
                texts(numbers.map(|n| Some(format!("{{\"extra\":{n},\"list\":[1,{{\"deep\":\"é {n}\"}}]}}"))))
            }
            system::TOPIC => texts(numbers.map(|_| Some(topic(name)))),
            system::PARTITION | system::ORDINAL => Arc::new(Int32Array::from_iter_values(numbers.map(|_| 0))),
            system::OFFSET => Arc::new(Int64Array::from_iter_values(numbers)),
            system::KEY => {
                let keys: Vec<Option<String>> = numbers.map(|n| (n % 2 == 0).then(|| format!("key {n}"))).collect();
                Arc::new(BinaryArray::from_iter(keys.iter().map(|key| key.as_ref().map(String::as_bytes))))
            }
            system::HEADERS => {
                texts(numbers.map(|n| (n == 0).then(|| "[{\"key\":\"trace\",\"value\":\"t\"}]".to_owned())))
            }
            system::TIMESTAMP => times(numbers.map(|_| Some(NOW))),
            system::EPOCH => Arc::new(Int64Array::from_iter_values(numbers.map(|_| epoch as i64))),
            system::BRANCH => Arc::new(Int32Array::from_iter_values(numbers.map(|_| branch.0))),
            system::CONFIDENCE => Arc::new(Float32Array::from_iter_values(numbers.map(|n| 0.5 + n as f32 / 16.0))),
            own => {
                let numbers = numbers.map(|n| (n != 3).then_some(n));
                match field.data_type() {
                    DataType::Utf8 => texts(numbers.map(|n| n.map(|n| format!("{own} {n}")))),
                    DataType::Int64 => Arc::new(numbers.collect::<Int64Array>()),
                    DataType::Float64 => Arc::new(numbers.map(|n| n.map(|n| n as f64 + 0.5)).collect::<Float64Array>()),
                    DataType::Boolean => Arc::new(numbers.map(|n| n.map(|n| n % 2 == 0)).collect::<BooleanArray>()),
                    DataType::Timestamp(..) => times(numbers.map(|n| n.map(|n| NOW - n * MICROS_PER_DAY))),
                    other => panic!("{name}.{own} is {other}: say how it is filled"),
                }
            }
        }
    };
    let columns = schema.stored().fields().iter().map(|field| column(field)).collect();
    RecordBatch::try_new(schema.stored(), columns).expect("every column has its type")
}

fn texts(values: impl Iterator<Item = Option<String>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

fn times(values: impl Iterator<Item = Option<EventTime>>) -> ArrayRef {
    Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

/// Two records that could not be used: before any branch, and in one.
fn dead_letters(branch: BranchId) -> RecordBatch {
    let schema = TableSchema::dead_letters();
    let both = |first: &str, second: &str| texts([first, second].map(|text| Some(text.to_owned())).into_iter());
    let column = |field: &Field| -> ArrayRef {
        match field.name().as_str() {
            system::EVENT_TIME | system::TIMESTAMP => times([Some(NOW), Some(NOW)].into_iter()),
            system::TOPIC => both("bad.source", "bad.source"),
            system::PARTITION | system::ORDINAL => Arc::new(Int32Array::from(vec![0, 0])),
            system::OFFSET => Arc::new(Int64Array::from(vec![0, 1])),
            system::KEY => Arc::new(BinaryArray::from_iter([None, Some(&b"k"[..])])),
            system::EPOCH => Arc::new(Int64Array::from(vec![1, 1])),
            system::BRANCH => Arc::new(Int32Array::from(vec![None, Some(branch.0)])),
            system::CONFIDENCE => Arc::new(Float32Array::from(vec![None, None])),
            system::ATTRIBUTES | system::HEADERS => texts([None, None].into_iter()),
            "payload" => Arc::new(BinaryArray::from_iter_values([&b"{\"cut\":"[..], &b"\xff\x00"[..]])),
            "stage" => both("decode", "project"),
            "error" => both("line 1, column 8: the record ends", "Divide by zero error"),
            "source" => both("everything", "everything"),
            other => panic!("dead letters have a column {other}: say how it is filled"),
        }
    };
    let columns = schema.stored().fields().iter().map(|field| column(field)).collect();
    RecordBatch::try_new(schema.stored(), columns).expect("every column has its type")
}
