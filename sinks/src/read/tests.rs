//! The logical table over real parts and real tables.

use crate::SinkError;
use crate::disk::Durability;
use crate::formats::tests::{Rig, chat, create, odd, rollup, rows};
use crate::read::logical::{LogicalTable, Sources};
use crate::read::{PinHold, PinnedReader, events};
use crate::segment::write_segment;
use arrow::array::{Array, RecordBatch, StringArray};
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use datafusion::prelude::{SessionConfig, SessionContext};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use thermocline_schemas::metadata::{
    CutView, LiveVersion, Meta, MetaError, Part, PartId, RunInfo, SqliteMeta, TopicId,
};
use thermocline_schemas::table::system;
use thermocline_schemas::time::SystemClock;
use thermocline_schemas::{Cut, Epoch, Generation, TableId, TableSchema, Tier};
use uuid::Uuid;

const SECOND: i64 = 1_000_000;

/// A table with twenty rows in each tier and ten staged for each: offsets 0..90, one second apart.
/// hot 0..20, warm 20..40, cold 40..60, staged hot 60..70, warm 70..80, cold 80..90.
async fn everywhere(rig: &Rig, schema: &TableSchema) -> CutView {
    let formats = rig.formats();
    let mut view = CutView { cut: Cut(5), tables: vec![schema.clone()], ..Default::default() };
    let times = |first: i64, count: i64| (first * SECOND + 1, (first + count - 1) * SECOND + 1);
    for (at, tier) in Tier::ALL.into_iter().enumerate() {
        let (table, _) = create(&formats, rig, schema, tier).await;
        let first = at as i64 * 20;
        let version = rollup(&formats, rig, schema, &table, 2, first, 20).await;
        view.versions.push(LiveVersion {
            table: table.clone(),
            version,
            rows: 20,
            event_time: Some(times(first, 20)),
            added: Cut(4),
        });
        let first = 60 + at as i64 * 10;
        for (half, worker) in [(0, at * 2), (5, at * 2 + 1)] {
            let parts = vec![(table.clone(), vec![rows(schema, first + half, 5)])];
            let segment =
                write_segment(rig.folder.path(), Generation(1), Epoch(9), worker, parts, Durability::Process).unwrap();
            for part in segment.parts {
                assert_eq!(part.event_time, times(first + half, 5));
                view.parts.push(Part {
                    id: PartId(view.parts.len() as i64),
                    segment: segment.path.clone(),
                    part,
                    epoch: Epoch(9),
                    added: Cut(5),
                    added_at: 0,
                });
            }
        }
    }
    view.topic_ids.push(TopicId { topic: "orders".into(), id: Uuid::from_u128(99), since: Epoch(0) });
    view
}

fn sources(rig: &Rig, view: CutView) -> Sources {
    let data_dir = rig.folder.path().to_path_buf();
    Sources { view: Arc::new(view), tables: Arc::new(rig.formats()), data_dir, hold: None }
}

fn session() -> SessionContext {
    SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2))
}

async fn chat_everywhere() -> (Rig, SessionContext, Sources) {
    let rig = Rig::new();
    let view = everywhere(&rig, &chat()).await;
    let (session, sources) = (session(), sources(&rig, view));
    session.register_table("chat", Arc::new(LogicalTable::new(chat(), sources.clone()))).unwrap();
    (rig, session, sources)
}

async fn ask(session: &SessionContext, sql: &str) -> Vec<RecordBatch> {
    session.sql(sql).await.unwrap().collect().await.unwrap()
}

async fn text(session: &SessionContext, sql: &str) -> String {
    pretty_format_batches(&ask(session, sql).await).unwrap().to_string()
}

/// One value, as text.
async fn value(session: &SessionContext, sql: &str) -> String {
    let batches = ask(session, sql).await;
    let batch = batches.iter().find(|batch| batch.num_rows() > 0).expect("there is a row");
    arrow::util::display::array_value_to_string(batch.column(0), 0).unwrap()
}

/// The leaves of the physical plan.
async fn scans(session: &SessionContext, sql: &str) -> Vec<String> {
    let plan = text(session, &format!("EXPLAIN FORMAT INDENT {sql}")).await;
    let leaves = [
        "StagedExec",
        "LanceRead",
        "LanceScan",
        "FilteredRead",
        "DeltaScan",
        "IcebergTableScan",
        "EmptyExec",
        "PlaceholderRowExec",
    ];
    leaves.iter().filter(|leaf| plan.contains(*leaf)).map(|leaf| (*leaf).to_owned()).collect()
}

/// Over columns of every type, under names that each format calls otherwise on disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_filter_means_the_same_wherever_a_row_lies() {
    let (rig, session) = (Rig::new(), session());
    let view = everywhere(&rig, &odd()).await;
    session.register_table("odd", Arc::new(LogicalTable::new(odd(), sources(&rig, view)))).unwrap();
    let all = rows(&odd(), 0, 90);
    let memory = MemTable::try_new(all.schema(), vec![vec![all]]).unwrap();
    session.register_table("memory", Arc::new(memory)).unwrap();
    let tiers = [("hot", 0..20, 60..70), ("warm", 20..40, 70..80), ("cold", 40..60, 80..90)];
    for filter in [
        "_partition = 1",
        "_partition IN (1, 7)",
        "_topic = 'orders' AND _partition <> 0",
        "pos = 'pos 4 é' OR pos = 'pos 85 é'",
        "pos IN ('pos 22 é', 'pos 41 é', 'pos 76 é', 'pos')",
        "pos = ''",
        "pos <> 'pos 4 é'",
        "pos LIKE 'pos 4%'",
        "pos IS NULL",
        "file_path = 0",
        "file_path IS NOT NULL AND file_path < 0",
        "_rowid > 55",
        "\"Upper\" >= 10.0 AND upper < 9.5",
        "\"Upper\" < 2",
        "\"two words\"",
        "NOT \"two words\"",
        "\"two words\" IS NULL",
        "_kafka_partition = X'00FF16'",
        "\"größe\" > 60.5",
        "_change_type >= TIMESTAMP '1970-01-01T00:00:50Z'",
        "_change_type = TIMESTAMP '1970-01-01T00:01:10.000001Z'",
        "event_time < TIMESTAMP '1970-01-01T00:00:30Z' AND _offset >= 10",
    ] {
        let offsets = async |table: &str, and: &str| {
            text(&session, &format!("SELECT _offset FROM {table} WHERE ({filter}){and} ORDER BY 1")).await
        };
        assert_eq!(offsets("odd", "").await, offsets("memory", "").await, "{filter}");
        for (tier, table, staged) in &tiers {
            let between =
                |range: &std::ops::Range<i32>| format!("_offset >= {} AND _offset < {}", range.start, range.end);
            let there = format!(" AND ({} OR {})", between(table), between(staged));
            let found = offsets("odd", &format!(" AND _tier = '{tier}'")).await;
            assert_eq!(found, offsets("memory", &there).await, "{filter} in {tier}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_seen_once_wherever_it_lies() {
    let (_rig, session, _) = chat_everywhere().await;
    let by_tier = text(
        &session,
        "SELECT _tier, count(*), sum(_offset), min(_offset), max(_offset) FROM chat GROUP BY _tier ORDER BY _tier",
    )
    .await;
    let expected = "\
+-------+----------+-------------------+-------------------+-------------------+
| _tier | count(*) | sum(chat._offset) | min(chat._offset) | max(chat._offset) |
+-------+----------+-------------------+-------------------+-------------------+
| cold  | 30       | 1835              | 40                | 89                |
| hot   | 30       | 835               | 0                 | 69                |
| warm  | 30       | 1335              | 20                | 79                |
+-------+----------+-------------------+-------------------+-------------------+";
    assert_eq!(by_tier, expected);
    assert_eq!(value(&session, "SELECT count(*) FROM chat").await, "90");
    assert_eq!(value(&session, "SELECT count(DISTINCT _offset) FROM chat").await, "90");
    assert_eq!(
        value(&session, "SELECT sum(likes) FROM chat").await,
        (0..90).filter(|n| n % 3 != 0).sum::<i64>().to_string()
    );
    let filtered = "SELECT count(*) FROM chat WHERE text LIKE 'text 4_ %' OR likes = 77";
    assert_eq!(value(&session, filtered).await, "8", "of ten, those that are not null, and one");
    assert_eq!(value(&session, "SELECT count(*) FROM chat WHERE likes IS NULL").await, "30");
    assert_eq!(value(&session, "SELECT count(*) FROM chat WHERE likes <> 1").await, "59");
    assert_eq!(value(&session, "SELECT count(*) FROM chat WHERE NOT (likes IN (1, 2, 4))").await, "57");
    assert_eq!(value(&session, "SELECT count(*) FROM chat WHERE CAST(_confidence AS BIGINT) = 5").await, "3");
    assert_eq!(value(&session, "SELECT count(*) FROM (SELECT * FROM chat LIMIT 7)").await, "7");
    assert_eq!(value(&session, "SELECT count(*) FROM (SELECT * FROM chat WHERE _offset >= 30 LIMIT 45)").await, "45");
    assert_eq!(value(&session, "SELECT _offset FROM chat ORDER BY event_time DESC LIMIT 1").await, "89");
    assert_eq!(value(&session, "SELECT _domain FROM chat LIMIT 1").await, "chat");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_sees_the_logical_columns_as_they_are_declared() {
    let (_rig, session, sources) = chat_everywhere().await;
    for batch in ask(&session, "SELECT * FROM chat").await {
        assert_eq!(batch.schema(), chat().logical());
    }
    let plain: Vec<RecordBatch> =
        ask(&session, "SELECT * EXCEPT (_event_id, _domain, _tier) FROM chat ORDER BY _offset").await;
    let plain = arrow::compute::concat_batches(&plain[0].schema(), &plain).unwrap();
    let stored = rows(&chat(), 0, 90);
    assert_eq!(plain.columns(), stored.columns());

    assert!(session.sql("SELECT _embedding FROM chat").await.is_err(), "hidden unless it is named");
    let shown = LogicalTable::new(chat(), sources).with_embedding(true);
    session.register_table("shown", Arc::new(shown)).unwrap();
    let nulls = "SELECT count(*) FROM shown WHERE _embedding IS NULL";
    assert_eq!(value(&session, nulls).await, "90", "nothing was embedded here");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_hold_an_asked_row_is_not_scanned() {
    let (_rig, session, _) = chat_everywhere().await;
    let time = |second: i64| format!("TIMESTAMP '1970-01-01T00:00:{second:02}Z'");
    let hot = scans(&session, "SELECT _offset FROM chat WHERE _tier = 'hot'").await;
    assert!(!hot.iter().any(|scan| ["DeltaScan", "IcebergTableScan"].contains(&scan.as_str())), "{hot:?}");
    assert!(hot.len() >= 2, "{hot:?}");
    let cold =
        scans(&session, &format!("SELECT _offset FROM chat WHERE event_time BETWEEN {} AND {}", time(45), time(50)))
            .await;
    assert_eq!(cold, ["IcebergTableScan"]);
    let warm = scans(
        &session,
        &format!("SELECT text FROM chat WHERE event_time < {} AND _tier IN ('warm', 'cold')", time(30)),
    )
    .await;
    assert_eq!(warm, ["DeltaScan"]);
    assert_eq!(scans(&session, "SELECT text FROM chat WHERE _tier = 'tepid'").await, ["EmptyExec"]);
    assert_eq!(scans(&session, "SELECT text FROM chat WHERE _domain = 'logs'").await, ["EmptyExec"]);
    assert_eq!(
        scans(&session, "SELECT text FROM chat WHERE event_time > TIMESTAMP '1990-01-01T00:00:00Z'").await,
        ["EmptyExec"]
    );
    let staged = format!(
        "SELECT count(*) FROM chat WHERE event_time >= {} AND event_time < {}",
        "TIMESTAMP '1970-01-01T00:01:00Z'", "TIMESTAMP '1970-01-01T00:01:05Z'"
    );
    assert_eq!(scans(&session, &staged).await, ["StagedExec"]);
    assert!(
        text(&session, &format!("EXPLAIN FORMAT INDENT {staged}")).await.contains("parts=1, rows=5"),
        "one of six parts"
    );
    assert_eq!(value(&session, &staged).await, "5");

    for (sql, expected) in [
        ("SELECT count(*) FROM chat WHERE _tier <> 'hot'", 60),
        ("SELECT count(*) FROM chat WHERE NOT _tier LIKE 'c%' AND _domain = 'chat'", 60),
        ("SELECT count(*) FROM chat WHERE _tier = 'hot' OR _offset = 41", 31),
        ("SELECT count(*) FROM chat WHERE event_time <= TIMESTAMP '1970-01-01T00:00:41.000001Z'", 42),
    ] {
        assert_eq!(value(&session, sql).await, expected.to_string(), "{sql}");
    }
}

/// Each leaf of a physical plan, as a line of `EXPLAIN`, with the names of the columns that it reads.
fn leaves(plan: &Arc<dyn ExecutionPlan>) -> Vec<(String, BTreeSet<String>)> {
    if plan.children().is_empty() {
        let columns = plan.schema().fields().iter().map(|field| field.name().clone()).collect();
        return vec![(displayable(plan.as_ref()).one_line().to_string().trim().to_owned(), columns)];
    }
    plan.children().into_iter().flat_map(leaves).collect()
}

/// The leaves for a statement: those over staged parts, and the one over each tier's table, the hottest first.
async fn places(session: &SessionContext, sql: &str) -> (Vec<String>, Vec<String>, Vec<BTreeSet<String>>) {
    let plan = session.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    let leaves = leaves(&plan);
    let columns = leaves.iter().map(|(_, columns)| columns.clone()).collect();
    let (staged, tables): (Vec<_>, Vec<_>) =
        leaves.into_iter().map(|(line, _)| line).partition(|line| line.starts_with("StagedExec"));
    assert_eq!((staged.len(), tables.len()), (3, 3), "{staged:#?} {tables:#?}");
    (staged, tables, columns)
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_filters_and_limits_go_down_to_every_scan() {
    let (_rig, session, _) = chat_everywhere().await;
    let (staged, tables, columns) = places(&session, "SELECT text FROM chat WHERE likes > 3").await;
    let asked = BTreeSet::from(["likes".to_owned(), "text".to_owned()]);
    for columns in columns {
        // What the libraries of the formats add for themselves: the file, the row.
        let ours = columns.into_iter().filter(|name| !name.starts_with("_row") && !name.starts_with("__delta_rs"));
        let more: Vec<String> = ours.filter(|name| !asked.contains(name)).collect();
        assert!(more.is_empty(), "{more:?} are read and not needed: {staged:#?} {tables:#?}");
    }
    assert!(staged.iter().all(|line| line.contains("columns=[text, likes]")), "{staged:#?}");
    assert!(tables[0].contains("full_filter=likes > Int64(3)"), "Lance filters: {}", tables[0]);
    assert!(
        tables[1].contains("predicate=likes@") && tables[1].contains(" > 3"),
        "Delta's reader filters: {}",
        tables[1]
    );
    assert!(tables[2].contains("predicate:[likes > 3]"), "Iceberg filters: {}", tables[2]);

    let (staged, tables, _) = places(&session, "SELECT text FROM chat LIMIT 7").await;
    assert!(staged.iter().all(|line| line.ends_with("columns=[text], limit=7")), "{staged:#?}");
    assert!(tables[0].contains("range_before=Some(0..7)"), "{}", tables[0]);
    assert!(tables[1].contains("limit=7"), "{}", tables[1]);
    assert!(tables[2].contains("projection:[text]") && tables[2].contains("limit:[7]"), "{}", tables[2]);

    // Rows that a filter may still drop are no reason to stop, unless the filter is decided by where they lie.
    let (staged, ..) = places(&session, "SELECT text FROM chat WHERE likes > 3 LIMIT 7").await;
    assert!(staged.iter().all(|line| !line.contains("limit")), "{staged:#?}");
    let (staged, ..) = places(&session, "SELECT text FROM chat WHERE _domain = 'chat' LIMIT 7").await;
    assert!(staged.iter().all(|line| line.ends_with("columns=[text], limit=7")), "{staged:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn counting_all_rows_reads_none() {
    let (_rig, session, _) = chat_everywhere().await;
    let plan = text(&session, "EXPLAIN FORMAT INDENT SELECT count(*) FROM chat").await;
    assert!(plan.contains("PlaceholderRowExec") && !plan.contains("StagedExec"), "{plan}");
    let plan =
        text(&session, "EXPLAIN FORMAT INDENT SELECT count(*), max(event_time) FROM chat WHERE _tier = 'warm'").await;
    assert!(plan.contains("PlaceholderRowExec") && !plan.contains("DeltaScan"), "{plan}");
    assert_eq!(value(&session, "SELECT count(*) FROM chat WHERE _tier = 'warm'").await, "30");
    assert_eq!(value(&session, "SELECT max(event_time) FROM chat").await, "1970-01-01T00:01:29.000001Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_record_has_the_same_id_in_every_tier() {
    let (rig, session, _) = chat_everywhere().await;
    let ids = ask(&session, "SELECT _event_id FROM chat").await;
    let ids: BTreeSet<String> = ids
        .iter()
        .flat_map(|batch| {
            let ids = batch.column(0).as_any().downcast_ref::<StringArray>().unwrap();
            ids.iter().map(|id| id.unwrap().to_owned()).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(ids.len(), 90);
    assert!(ids.iter().all(|id| Uuid::parse_str(id).is_ok()));

    // Rows that are staged now are rolled up later, in another tier's format.
    let schema = chat();
    let table = TableId::new(schema.name.clone(), Tier::Cold);
    let version = rollup(&rig.formats(), &rig, &schema, &table, 3, 0, 1).await;
    let mut view = everywhere(&Rig::new(), &schema).await;
    view.parts.clear();
    view.versions =
        vec![LiveVersion { table, version, rows: 21, event_time: Some((1, 59 * SECOND + 1)), added: Cut(6) }];
    session.register_table("moved", Arc::new(LogicalTable::new(schema, sources(&rig, view)))).unwrap();
    let before = value(&session, "SELECT _event_id FROM chat WHERE _offset = 0").await;
    assert_eq!(value(&session, "SELECT _event_id FROM moved WHERE _offset = 0").await, before);
    assert_eq!(value(&session, &format!("SELECT _offset FROM chat WHERE _event_id = '{before}'")).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_unites_all_domains() {
    let (_rig, session, sources) = chat_everywhere().await;
    let mut logs = chat();
    logs.name = thermocline_schemas::TableName::new("logs").unwrap();
    logs.text_columns = vec!["host".into(), "text".into()];
    logs.columns.insert(0, arrow::datatypes::Field::new("host", arrow::datatypes::DataType::Utf8, true));
    let other = Rig::new();
    let view = everywhere(&other, &logs).await;
    let tables = [LogicalTable::new(chat(), sources), LogicalTable::new(logs, self::sources(&other, view))];
    session.register_table("events", events(&tables).unwrap()).unwrap();
    assert_eq!(value(&session, "SELECT count(*) FROM events").await, "180");
    assert_eq!(value(&session, "SELECT count(*) FROM events WHERE _domain = 'logs' AND _tier = 'cold'").await, "30");
    assert_eq!(value(&session, "SELECT text FROM events WHERE _domain = 'logs' AND _offset = 1").await, "host 1 é");
    assert_eq!(value(&session, "SELECT text FROM events WHERE _domain = 'chat' AND _offset = 1").await, "text 1 é");
    let plan =
        text(&session, "EXPLAIN FORMAT INDENT SELECT text FROM events WHERE _domain = 'logs' AND _tier = 'warm'").await;
    assert!(!plan.contains("table=chat") && !plan.contains("IcebergTableScan"), "{plan}");
    let columns: Vec<String> = ask(&session, "SELECT * FROM events LIMIT 1").await[0]
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    assert_eq!(&columns[..3], [system::EVENT_TIME, "text", system::ATTRIBUTES]);
}

/// What the store says of its pins.
struct Pins {
    store: Arc<dyn Meta>,
    path: std::path::PathBuf,
}

impl Pins {
    async fn new(rig: &Rig) -> Self {
        let path = rig.folder.path().join("metadata.db");
        let store = SqliteMeta::open(&path, Arc::new(SystemClock)).await.unwrap();
        store.begin(&RunInfo { host: "here".into(), pid: 1, started_at: 0 }).await.unwrap();
        Self { store: Arc::new(store), path }
    }

    async fn connect(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(&self.path).connect().await.unwrap()
    }

    async fn expiries(&self) -> Vec<i64> {
        sqlx::query_scalar("SELECT expires_at FROM pins").fetch_all(&mut self.connect().await).await.unwrap()
    }

    async fn forget(&self) {
        sqlx::query("DELETE FROM pins").execute(&mut self.connect().await).await.unwrap();
    }
}

/// Asks again and again, with this thread kept from the runtime: as by a query that computes.
fn until(what: &str, done: impl AsyncFn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(done())) {
        assert!(std::time::Instant::now() < deadline, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_is_renewed_by_its_own_thread_and_removed_with_its_last_reader() {
    let rig = Rig::new();
    let pins = Pins::new(&rig).await;
    let (hold, _) = PinHold::take(Arc::clone(&pins.store), "test", Some(Duration::from_secs(2))).await.unwrap();
    let first = pins.expiries().await[0];
    until("the pin is renewed", async || pins.expiries().await[0] > first);
    hold.check().unwrap();
    let reader = Arc::clone(&hold);
    drop(hold);
    reader.check().unwrap();
    assert_eq!(pins.expiries().await.len(), 1);
    drop(reader);
    until("the pin is removed", async || pins.expiries().await.is_empty());

    let folder = rig.folder.path().to_path_buf();
    let reader = PinnedReader::open(Arc::clone(&pins.store), Arc::new(rig.formats()), folder, "test").await.unwrap();
    assert_eq!(pins.expiries().await.len(), 1);
    assert!(reader.table(&chat().name).is_none() && reader.tables().is_empty(), "nothing is registered");
    reader.finish().await;
    assert!(pins.expiries().await.is_empty(), "finishing waits");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_outlives_its_pin_fails_and_says_so() {
    let rig = Rig::new();
    let view = everywhere(&rig, &chat()).await;
    let pins = Pins::new(&rig).await;
    let (hold, taken) = PinHold::take(Arc::clone(&pins.store), "test", Some(Duration::from_secs(2))).await.unwrap();
    let sources = Sources { hold: Some(Arc::clone(&hold)), ..sources(&rig, view) };
    let session = session();
    session.register_table("chat", Arc::new(LogicalTable::new(chat(), sources))).unwrap();
    assert_eq!(value(&session, "SELECT sum(_offset) FROM chat").await, "4005");

    // Planned while the pin held; read after the cut was cleaned up.
    let planned = session.sql("SELECT sum(_offset) FROM chat").await.unwrap().create_physical_plan().await.unwrap();
    pins.forget().await;
    until("the loss is noticed", async || hold.check().is_err());
    std::fs::remove_dir_all(rig.folder.path().join("staged")).unwrap();
    let failed = datafusion::physical_plan::collect(planned, session.task_ctx()).await.unwrap_err();
    let wanted = format!("cut {} was cleaned up while it was read; run the query again", taken.cut);
    assert!(failed.to_string().contains(&wanted), "{failed}");
    let found = failed.find_root();
    let datafusion::error::DataFusionError::External(source) = found else { panic!("{found:?}") };
    assert!(matches!(source.downcast_ref::<SinkError>(), Some(SinkError::Meta(MetaError::PinLost { .. }))));
}
