//! The suite over SQLite, and what is SQLite's own.

use super::*;
use crate::metadata::suite::{ManualClock, branch, manifest, run, schema, suite};
use crate::metadata::{Advice, IntentKind};
use crate::time::{FixedClock, SystemClock};
use crate::{Epoch, TableName, Tier};
use std::collections::HashSet;

async fn open(clock: Arc<ManualClock>) -> (Arc<dyn Meta>, tempfile::TempDir) {
    let (meta, folder) = open_store(clock).await;
    (Arc::new(meta), folder)
}

async fn open_store(clock: Arc<ManualClock>) -> (SqliteMeta, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let meta = SqliteMeta::open_with(&folder.path().join("metadata.db"), clock, Durability::Process).await.unwrap();
    (meta, folder)
}

suite!(open);

#[tokio::test]
async fn a_second_opening_finds_the_same_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metadata.db");
    let first = SqliteMeta::open(&path, Arc::new(SystemClock)).await.unwrap();
    let generation = first.begin(&run()).await.unwrap();
    let second = SqliteMeta::open(&path, Arc::new(SystemClock)).await.unwrap();
    assert_eq!(first.store(), second.store());
    second.check(generation).await.unwrap();
    let newer = second.begin(&run()).await.unwrap();
    assert!(first.check(generation).await.unwrap_err().is_fenced());
    first.check(newer).await.unwrap();
}

/// As often as it takes to meet the moment when a new file turns to WAL.
#[tokio::test]
async fn two_processes_may_create_it_at_once() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metadata.db");
        let opening = (0..8).map(|_| {
            let path = path.clone();
            tokio::spawn(async move { SqliteMeta::open(&path, Arc::new(SystemClock)).await.unwrap().store() })
        });
        let mut stores = HashSet::new();
        for store in opening.collect::<Vec<_>>() {
            stores.insert(store.await.unwrap());
        }
        assert_eq!(stores.len(), 1);
    }
}

#[tokio::test]
async fn another_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metadata.db");
    drop(SqliteMeta::open(&path, Arc::new(SystemClock)).await.unwrap());
    let mut connection = connect(&path, SqliteSynchronous::Normal).await.unwrap();
    sqlx::raw_sql("PRAGMA user_version = 99").execute(&mut connection).await.unwrap();
    drop(connection);
    let error = SqliteMeta::open(&path, Arc::new(SystemClock)).await.unwrap_err();
    assert!(matches!(error, MetaError::Format { found: 99, wanted: FORMAT, .. }), "{error}");
    assert_eq!(error.advice(), Advice::FixConfig);
}

/// As root every file can be written, so SQLite's own read-only mode stands for a file that cannot.
#[tokio::test]
async fn a_reader_that_cannot_write_its_pin_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metadata.db");
    let meta = SqliteMeta::open(&path, Arc::new(SystemClock)).await.unwrap();
    sqlx::raw_sql("PRAGMA query_only = TRUE").execute(&mut **meta.reader.lock().await).await.unwrap();
    let error = meta.pin("a query", Duration::from_secs(60)).await.unwrap_err();
    assert!(matches!(error, MetaError::ReadOnly { .. }), "{error:?}");
    assert!(error.to_string().contains("which pin their cut there"), "{error}");
    let nowhere = SqliteMeta::open(&folder.path().join("no/such/metadata.db"), Arc::new(SystemClock)).await;
    assert!(matches!(nowhere.unwrap_err(), MetaError::ReadOnly { .. }));
}

#[tokio::test]
async fn a_transaction_that_is_dropped_half_way_leaves_nothing() {
    let clock = Arc::new(ManualClock::default());
    let (meta, _folder) = open(clock).await;
    let generation = meta.begin(&run()).await.unwrap();
    let branch = meta.register_branch(generation, &branch()).await.unwrap();
    for epoch in 0..40_u64 {
        // Polled a few times only, then dropped.
        let manifest = manifest(epoch, branch);
        let commit = meta.commit_manifest(generation, &manifest);
        let _ = tokio::time::timeout(Duration::from_micros(epoch * 20), commit).await;
        let view = meta.newest().await.unwrap();
        let epochs = view.parts.iter().map(|part| part.epoch).collect::<HashSet<_>>().len();
        assert_eq!(view.parts.len(), 2 * epochs, "an epoch is there as a whole or not at all");
        assert_eq!(view.conservation.iter().map(|line| line.counts.rows).sum::<u64>(), 10 * epochs as u64);
    }
}

/// SQLite rolls back by itself when the disk is full, and the connection has to be of use again once there is space.
#[tokio::test]
async fn a_disk_that_was_full_for_a_moment_is_no_reason_to_stop() {
    let (meta, _folder) = open_store(Arc::default()).await;
    let generation = meta.begin(&run()).await.unwrap();
    let branch = meta.register_branch(generation, &branch()).await.unwrap();
    meta.commit_manifest(generation, &manifest(0, branch)).await.unwrap();
    let mut writer = meta.writer.lock().await;
    let (pages,): (i64,) = sqlx::query_as("PRAGMA page_count").fetch_one(&mut **writer).await.unwrap();
    sqlx::raw_sql(&format!("PRAGMA max_page_count = {pages}")).execute(&mut **writer).await.unwrap();
    drop(writer);
    let long = [Mapping { key: "shape/chat".into(), json: "x".repeat(1 << 20) }];
    let full = meta.save_mappings(generation, &long).await.unwrap_err();
    assert_eq!(full.advice(), Advice::ReadBack, "{full:?}");
    let mut writer = meta.writer.lock().await;
    sqlx::raw_sql("PRAGMA max_page_count = 1000000").execute(&mut **writer).await.unwrap();
    drop(writer);
    meta.save_mappings(generation, &long).await.unwrap();
    meta.commit_manifest(generation, &manifest(1, branch)).await.unwrap();
    assert_eq!(meta.mappings().await.unwrap(), long);
    assert_eq!(meta.newest().await.unwrap().epoch, Some(Epoch(1)));
}

#[tokio::test]
async fn the_clock_is_the_one_that_was_handed_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metadata.db");
    let meta = SqliteMeta::open(&path, Arc::new(FixedClock(77))).await.unwrap();
    let generation = meta.begin(&run()).await.unwrap();
    let branch = meta.register_branch(generation, &branch()).await.unwrap();
    meta.commit_manifest(generation, &manifest(0, branch)).await.unwrap();
    assert!(meta.newest().await.unwrap().parts.iter().all(|part| part.added_at == 77));
}

/// Twelve tables, four workers, an epoch a second, a rollup of every table each half minute.
#[tokio::test]
async fn ten_thousand_epochs_stay_under_fifty_megabytes() {
    const EPOCHS: u64 = 10_000;
    let clock = Arc::new(ManualClock::default());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metadata.db");
    let meta = SqliteMeta::open_with(&path, clock.clone(), Durability::Process).await.unwrap();
    let generation = meta.begin(&run()).await.unwrap();
    let branch = meta.register_branch(generation, &branch()).await.unwrap();
    let tables: Vec<TableId> =
        (0..12).map(|n| TableId::new(TableName::new(&format!("t{n}")).unwrap(), Tier::ALL[n % 3])).collect();
    for table in &tables {
        let schema = TableSchema { name: table.name.clone(), ..schema(&["text"]) };
        meta.register_table(generation, &schema).await.unwrap();
        roll(&meta, generation, table, IntentKind::Create).await;
    }
    let mut largest = 0;
    for epoch in 0..EPOCHS {
        clock.pass(1);
        let mut manifest = manifest(epoch, branch);
        let template = manifest.segments.pop().unwrap();
        let worker = |worker: usize| {
            let mut segment = template.clone();
            segment.path = format!("staged/1/{epoch}-{worker}");
            // Not every table has rows in every worker's epoch.
            let table = |table: &TableId| super::super::NewPart { table: table.clone(), ..template.parts[0].clone() };
            segment.parts = tables.iter().skip(worker).step_by(2).map(table).collect();
            segment
        };
        manifest.segments = (0..4).map(worker).collect();
        meta.commit_manifest(generation, &manifest).await.unwrap();
        if epoch % 30 == 29 {
            for table in &tables {
                roll(&meta, generation, table, IntentKind::Rollup).await;
            }
            meta.take_victims(generation, Duration::from_secs(900)).await.unwrap();
            let bytes = |suffix: &str| std::fs::metadata(format!("{}{suffix}", path.display())).map_or(0, |f| f.len());
            largest = largest.max(bytes("") + bytes("-wal"));
        }
    }
    println!("largest: {} bytes after {EPOCHS} epochs", largest);
    assert!(largest < 50_000_000, "{largest} bytes");
    let view = meta.newest().await.unwrap();
    assert_eq!(view.conservation[0].counts.read, 12 * EPOCHS);
}

async fn roll(meta: &SqliteMeta, generation: Generation, table: &TableId, kind: IntentKind) {
    let view = meta.newest().await.unwrap();
    let parts = view.parts.iter().filter(|part| kind == IntentKind::Rollup && part.part.table == *table);
    let plan = IntentPlan { table: table.clone(), kind, parts: parts.map(|part| part.id).collect() };
    let intent = meta.plan_intent(generation, &plan).await.unwrap();
    meta.stage_intent(generation, &intent.id, &[0; 2_000]).await.unwrap();
    let version = super::super::TableVersion(intent.id.number.to_string());
    meta.flip(generation, &intent.id, &Flip { version, marked_by: generation, took_parts: true }).await.unwrap();
}
