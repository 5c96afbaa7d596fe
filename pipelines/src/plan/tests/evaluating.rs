//! What comes out of a batch: the rows that DataFusion's own execution gives, and failed rows at their places.

use super::{CLICKS, planned};
use crate::plan::{BranchSpec, Failed, Input, Output, Pipelines, Stage, explain, load, source_columns};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, TimestampMicrosecondType};
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use datafusion::prelude::{SessionConfig, SessionContext};
use proptest::prelude::*;
use std::sync::Arc;
use thermocline_operators::classify::Classifier;
use thermocline_schemas::domain::Registry;

/// A row of `clicks`.
type Click = (Option<i64>, Option<String>, Option<i32>, Option<f64>, Option<bool>, Option<i64>);

fn batch(rows: &[Click]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.0))),
        Arc::new(StringArray::from_iter(rows.iter().map(|row| row.1.clone()))),
        Arc::new(Int32Array::from_iter(rows.iter().map(|row| row.2))),
        Arc::new(Float64Array::from_iter(rows.iter().map(|row| row.3))),
        Arc::new(BooleanArray::from_iter(rows.iter().map(|row| row.4))),
        Arc::new(TimestampMicrosecondArray::from_iter(rows.iter().map(|row| row.5)).with_timezone("UTC")),
    ];
    let schema = planned(&format!("{CLICKS}INSERT INTO domains SELECT * FROM clicks;")).sources[0].columns();
    RecordBatch::try_new(schema, columns).unwrap()
}

/// The source columns of `rows` rows; the broker's timestamp is null where `timeless` says so.
fn source(rows: usize, timeless: &[usize]) -> RecordBatch {
    let times = (0..rows).map(|row| (!timeless.contains(&row)).then_some(1_000_000 + row as i64));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values((0..rows).map(|_| "clicks"))),
        Arc::new(Int32Array::from_iter_values((0..rows).map(|_| 3))),
        Arc::new(Int64Array::from_iter_values(100..100 + rows as i64)),
        Arc::new(BinaryArray::from_iter_values((0..rows).map(|row| row.to_string()))),
        Arc::new(StringArray::new_null(rows)),
        Arc::new(TimestampMicrosecondArray::from_iter(times).with_timezone("UTC")),
    ];
    RecordBatch::try_new(source_columns(), columns).unwrap()
}

/// Numbers in `n`, everything else null.
fn numbers(numbers: impl IntoIterator<Item = i32>) -> RecordBatch {
    batch(&numbers.into_iter().map(|n| (None, None, Some(n), None, None, None)).collect::<Vec<_>>())
}

fn branches(query: &str) -> Pipelines {
    planned(&format!("{CLICKS}INSERT INTO metrics.t {query};"))
}

fn evaluated(query: &str, batch: &RecordBatch) -> Output {
    let source = source(batch.num_rows(), &[]);
    let output = branches(query).branches[0].leg.evaluate(&Input { batch, source: &source }).unwrap();
    let selected = output.selection.as_ref().map_or(batch.num_rows(), |selection| selection.len());
    assert_eq!(selected, output.batch.num_rows());
    assert_eq!(selected + output.filtered as usize + output.failed.len(), batch.num_rows(), "{output:?}");
    output
}

fn selection(output: &Output) -> Vec<usize> {
    (0..output.batch.num_rows()).map(|row| output.input_row(row)).collect()
}

#[test]
fn rows_that_fail_are_found_exactly_and_all_others_go_on() {
    let batch = numbers((0..1_000).map(|row| if [0, 17, 500, 501, 999].contains(&row) { 0 } else { row }));
    let output = evaluated("SELECT 1000 / n AS x, n FROM clicks", &batch);
    let rows: Vec<usize> = output.failed.iter().map(|failed| failed.row).collect();
    assert_eq!(rows, [0, 17, 500, 501, 999]);
    let first = Failed { row: 0, stage: "project", error: "x: division by zero".into() };
    assert_eq!(output.failed[0], first);
    let wanted: Vec<usize> = (0..1_000).filter(|row| ![0, 17, 500, 501, 999].contains(row)).collect();
    assert_eq!(selection(&output), wanted);
    let n = output.batch.column(1).as_primitive::<Int32Type>();
    assert!(n.values().iter().zip(&wanted).all(|(n, row)| *n == *row as i32));
}

#[test]
fn what_several_columns_share_fails_without_a_name_that_nobody_wrote() {
    let output = evaluated("SELECT 1000 / n AS x, 1000 / n + 1 AS y FROM clicks", &numbers([1, 0]));
    assert_eq!(output.failed, [Failed { row: 1, stage: "project", error: "division by zero".into() }]);
}

#[test]
fn arithmetic_that_does_not_fit_fails_its_row() {
    let batch = numbers([1, i32::MAX, 3, i32::MIN]);
    for (query, failing) in [
        ("SELECT n + CAST(1 AS INT) AS x FROM clicks", vec![1]),
        ("SELECT n - CAST(1 AS INT) AS x FROM clicks", vec![3]),
        ("SELECT n * CAST(2 AS INT) AS x FROM clicks", vec![1, 3]),
        ("SELECT abs(n + CAST(1 AS INT)) AS x FROM clicks", vec![1]),
        ("SELECT CASE WHEN n < 10 AND n > 0 THEN n + CAST(1 AS INT) END AS x FROM clicks", vec![]),
        ("SELECT n FROM clicks WHERE n + CAST(1 AS INT) > 0", vec![1]),
    ] {
        let output = evaluated(query, &batch);
        assert_eq!(output.failed.iter().map(|failed| failed.row).collect::<Vec<_>>(), failing, "{query}");
        assert!(output.failed.iter().all(|failed| failed.error.to_lowercase().contains("overflow")), "{output:?}");
    }
}

#[test]
fn an_expression_of_another_type_than_its_column_is_found_before_any_row() {
    let mut leg = branches("SELECT n + CAST(1 AS INT) AS x FROM clicks").branches[0].leg.clone();
    assert_eq!(leg.mistyped(), None);
    for stage in &mut leg.stages {
        if let Stage::Project(project) = stage {
            project.schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Utf8, true)]));
        }
    }
    assert_eq!(leg.mistyped().as_deref(), Some("x is declared as Utf8, and its function gives Int32"));
}

#[test]
fn a_filter_that_fails_fails_its_rows_and_filters_the_others() {
    let batch = numbers([5, 0, 20, 0, 200]);
    let output = evaluated("SELECT n FROM clicks WHERE 100 / n >= 5", &batch);
    assert_eq!(
        output.failed.iter().map(|failed| (failed.row, failed.stage)).collect::<Vec<_>>(),
        [(1, "filter"), (3, "filter")]
    );
    assert_eq!((selection(&output), output.filtered), (vec![0, 2], 1));
}

#[test]
fn failures_behind_a_filter_keep_the_rows_of_the_input() {
    let batch = numbers([1, 2, 0, 4, 0, 6]);
    let output = evaluated("SELECT 12 / n AS x FROM clicks WHERE n <> 4 AND _offset > 100", &batch);
    assert_eq!(output.failed.iter().map(|failed| failed.row).collect::<Vec<_>>(), [2, 4]);
    assert_eq!((selection(&output), output.filtered), (vec![1, 5], 2));
    assert_eq!(evaluated("SELECT 12 / n AS x FROM clicks WHERE n <> 0", &batch).failed, []);
}

#[test]
fn a_row_fares_the_same_in_whatever_batch_it_stands() {
    let query = "SELECT n FROM clicks WHERE n <> 0 AND 10 / n > 1";
    let output = evaluated(query, &numbers([1, 0, 20, 3, 0]));
    assert_eq!((selection(&output), output.filtered, output.failed), (vec![0, 3], 3, vec![]));
    assert_eq!(evaluated(query, &numbers([0])).filtered, 1);
}

#[test]
fn a_function_that_panics_fails_its_row() {
    let panicking = |_: &Registry| {
        let body = |arguments: &[ColumnarValue]| {
            let ColumnarValue::Array(array) = &arguments[0] else { unreachable!("a column is given") };
            assert!(!array.as_primitive::<Int32Type>().values().contains(&13), "unlucky");
            Ok(ColumnarValue::Array(array.clone()))
        };
        vec![create_udf("lucky", vec![DataType::Int32], DataType::Int32, Volatility::Immutable, Arc::new(body))]
    };
    let text = format!("{CLICKS}INSERT INTO metrics.t SELECT lucky(n) AS n FROM clicks;");
    let pipelines = load(&[("t.sql", text.as_str())], &mut Registry::shipped(), panicking).unwrap();
    let (batch, source) = (numbers([12, 13, 14]), source(3, &[]));
    let output = pipelines.branches[0].leg.evaluate(&Input { batch: &batch, source: &source }).unwrap();
    assert_eq!((selection(&output), output.failed[0].row), (vec![0, 2], 1));
    assert_eq!(output.failed[0].error, "n: a function panicked");
}

#[test]
fn casts_and_overflows_fail_row_by_row() {
    let texts = ["1", "twelve", "3", ""].map(|text| (Some(i64::MAX), Some(text.to_owned()), None, None, None, None));
    let output = evaluated("SELECT CAST(url AS INT) AS x FROM clicks", &batch(&texts));
    assert_eq!(output.failed.iter().map(|failed| failed.row).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(output.failed[0].error, "x: Cannot cast string 'twelve' to value of Int32 type");
    let output = evaluated("SELECT abs(-user_id - 1) AS x FROM clicks", &batch(&texts[..2]));
    assert_eq!((output.failed.len(), output.batch.num_rows()), (2, 0), "{:?}", output.failed);
    assert_eq!(evaluated("SELECT TRY_CAST(url AS INT) AS x FROM clicks", &batch(&texts)).failed, []);
}

#[test]
fn all_rows_may_fail_or_leave_and_an_empty_batch_is_a_batch() {
    let output = evaluated("SELECT 1 / n AS x FROM clicks", &numbers([0, 0, 0]));
    assert_eq!((output.failed.len(), output.batch.num_rows(), output.batch.num_columns()), (3, 0, 1));
    let output = evaluated("SELECT upper(url) AS x FROM clicks WHERE n > 5", &numbers([0, 0, 0]));
    assert_eq!((output.filtered, output.batch.num_rows()), (3, 0));
    assert_eq!(evaluated("SELECT 1 / n AS x FROM clicks WHERE n > 5", &numbers([])).batch.num_rows(), 0);
    assert_eq!(evaluated("SELECT n FROM clicks WHERE false", &numbers([1, 2])).filtered, 2);
    let output = evaluated("SELECT 1 AS one FROM clicks", &numbers([1, 2]));
    assert_eq!(output.batch.column(0).as_primitive::<Int64Type>().values(), &[1, 1]);
}

#[test]
fn null_is_not_true() {
    let rows = [Some(true), None, Some(false)].map(|ok| (None, None, Some(1), None, ok, None));
    let output = evaluated("SELECT n FROM clicks WHERE ok", &batch(&rows));
    assert_eq!((selection(&output), output.filtered), (vec![0], 2));
    assert_eq!(selection(&evaluated("SELECT n FROM clicks WHERE NOT ok", &batch(&rows))), [2]);
    assert_eq!(selection(&evaluated("SELECT n FROM clicks WHERE ok IS NULL", &batch(&rows))), [1]);
}

#[test]
fn nothing_is_copied_where_no_row_leaves() {
    let batch = numbers(0..100);
    let output = evaluated("SELECT n AS m, user_id FROM clicks WHERE n >= 0", &batch);
    assert!(output.selection.is_none());
    let pointer = |array: &ArrayRef| array.to_data().buffers()[0].as_ptr();
    assert_eq!(pointer(output.batch.column(0)), pointer(batch.column(2)));
}

fn bound(branch: &BranchSpec, batch: &RecordBatch, source: &RecordBatch) -> Output {
    let input = Input { batch, source };
    let output = branch.leg.evaluate(&input).unwrap();
    branch.bind(&input, output).unwrap()
}

#[test]
fn bound_rows_have_the_columns_of_the_table_and_an_event_time() {
    let rows: Vec<Click> = vec![
        (Some(7), Some("a".into()), Some(1), None, None, Some(50)),
        (Some(8), Some("b".into()), Some(0), None, None, None),
        (None, None, Some(2), None, None, Some(70)),
        (Some(9), Some("d".into()), Some(3), None, None, None),
    ];
    let pipelines = planned(&format!("{CLICKS}INSERT INTO chat SELECT url AS text, user_id FROM clicks WHERE n > 0;"));
    let output = bound(&pipelines.branches[0], &batch(&rows), &source(4, &[3]));
    let times = output.batch.column_by_name("event_time").unwrap().as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.values(), &[50, 70], "the source's column, although it is not selected");
    assert_eq!(output.failed.iter().map(|failed| (failed.row, failed.stage)).collect::<Vec<_>>(), [(3, "bind")]);
    assert_eq!((selection(&output), output.filtered), (vec![0, 2], 1));
    let user = output.batch.column_by_name("user_id").unwrap().as_string::<i32>();
    assert_eq!((user.value(0), user.is_null(1)), ("7", true));
    assert_eq!(output.batch.column_by_name("session_id").unwrap().null_count(), 2);
    assert!(output.batch.column_by_name("_offset").is_none());
}

#[test]
fn event_time_is_what_is_selected_else_the_sources_else_the_brokers() {
    let rows: Vec<Click> =
        vec![(Some(7), None, Some(1), None, None, Some(50)), (Some(7), None, Some(2), None, None, None)];
    let (batch, source) = (batch(&rows), source(2, &[]));
    let times = |insert: &str, create: &str| {
        let pipelines = planned(&format!("{create}INSERT INTO metrics.t {insert};"));
        let output = bound(&pipelines.branches[0], &batch, &source);
        output.batch.column(0).as_primitive::<TimestampMicrosecondType>().values().to_vec()
    };
    let selected = "SELECT n, ts + INTERVAL '1 second' AS event_time FROM clicks";
    assert_eq!(times(selected, CLICKS), [1_000_050, 1_000_001], "where it is null, the broker's");
    assert_eq!(times("SELECT n FROM clicks", CLICKS), [50, 1_000_001]);
    let without = CLICKS.replace("OPTIONS ('event_time' 'ts')", "");
    assert_eq!(times("SELECT n FROM clicks", &without), [1_000_000, 1_000_001]);
    assert_eq!(times("SELECT n, to_timestamp_millis(user_id) AS event_time FROM clicks", CLICKS), [7_000, 7_000]);
}

#[test]
fn a_union_evaluates_each_leg_by_itself() {
    let pipelines = branches("SELECT n, url FROM clicks WHERE n > 1 UNION ALL SELECT user_id, 'x' FROM clicks");
    let rows =
        batch(&[(Some(10), Some("a".into()), Some(1), None, None, None), (Some(20), None, Some(2), None, None, None)]);
    let source = source(2, &[]);
    let output = |branch: &BranchSpec| branch.leg.evaluate(&Input { batch: &rows, source: &source }).unwrap().batch;
    assert_eq!(output(&pipelines.branches[0]).column(0).as_primitive::<Int64Type>().values(), &[2]);
    assert_eq!(output(&pipelines.branches[1]).column(0).as_primitive::<Int64Type>().values(), &[10, 20]);
}

#[test]
fn classify_is_a_function_like_any_other() {
    let text = "CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION '*';\n\
                INSERT INTO metrics.verdicts SELECT classify(payload, _topic)['domain'] AS guess,\n  \
                classify(payload, _topic)['confidence'] AS sure FROM events WHERE payload IS NOT NULL;\n\
                INSERT INTO metrics.vectors SELECT embed(payload) AS vector FROM events;";
    let functions = |registry: &Registry| thermocline_operators::functions_over(Arc::new(Classifier::new(registry)));
    let refusals = load(&[("t.sql", text)], &mut Registry::shipped(), functions).unwrap_err();
    assert_eq!(refusals.len(), 1, "a vector is no column of a table: {refusals:?}");
    assert_eq!((refusals[0].position.line, refusals[0].position.column), (4, 36));
    let text = &text[..text.rfind("INSERT").unwrap()];
    let pipelines = load(&[("t.sql", text)], &mut Registry::shipped(), functions).unwrap();
    let payloads =
        [Some(r#"{"level": "ERROR", "service": "api", "message": "connection refused", "host": "a1"}"#), None];
    let columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from_iter(payloads))];
    let batch = RecordBatch::try_new(pipelines.sources[0].columns(), columns).unwrap();
    let output = pipelines.branches[0].leg.evaluate(&Input { batch: &batch, source: &source(2, &[]) }).unwrap();
    assert_eq!((selection(&output), output.filtered), (vec![0], 1));
    assert_eq!(output.batch.column(0).as_string::<i32>().value(0), "logs");
    assert_eq!(output.batch.column(1).data_type(), &DataType::Float32);
    let graph = explain(&pipelines);
    assert_eq!(graph.matches("classify(").count(), 1, "it is called once for both columns\n{graph}");
}

/// Queries whose result does not depend on which rows stand in one batch, and that fail on no row.
const QUERIES: &[&str] = &[
    "SELECT * FROM clicks",
    "SELECT user_id, upper(url) AS url FROM clicks WHERE user_id > 3",
    "SELECT n, n * 2 + 1 AS m, n % 3 AS r FROM clicks WHERE n IS NOT NULL AND n % 2 = 0",
    "SELECT CASE WHEN n > 0 THEN 100 / n ELSE 0 END AS c, coalesce(url, 'none') AS u FROM clicks",
    "SELECT price / 2 AS half, round(price) AS whole, price > 10 OR ok AS big FROM clicks WHERE NOT ok OR ok IS NULL",
    "SELECT date_trunc('hour', ts) AS hour, ts, extract(year FROM ts) AS y FROM clicks \
     WHERE ts > TIMESTAMP '1970-01-02'",
    "SELECT url || '/' || CAST(n AS TEXT) AS k, length(url) AS l FROM clicks WHERE url LIKE '%a%' OR n BETWEEN 1 AND 5",
    "SELECT m, length(u) AS l FROM (SELECT n + 1 AS m, url AS u FROM clicks WHERE n < 50) t WHERE m > -3",
    "WITH t AS (SELECT n, url FROM clicks WHERE ok) SELECT n, url IN ('a', 'b') AS known FROM t",
    "SELECT user_id / 7 AS a, user_id / 7 + 1 AS b, nullif(n, 0) AS z FROM clicks WHERE user_id / 7 < 5",
    "SELECT c.* EXCEPT (price, ts), named_struct('u', url)['u'] AS same FROM clicks AS c WHERE c.n IS DISTINCT FROM 3",
    "SELECT TRY_CAST(url AS INT) AS number, substr(url, 1, 2) AS head FROM clicks WHERE url <> ''",
];

/// DataFusion's own answer, as text.
fn executed(query: &str, rows: &RecordBatch) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let config = SessionConfig::new()
        .with_target_partitions(1)
        .set_bool("datafusion.sql_parser.map_string_types_to_utf8view", false);
    let context = SessionContext::new_with_config(config.set_str("datafusion.execution.time_zone", "UTC"));
    let table = MemTable::try_new(rows.schema(), vec![vec![rows.clone()]]).unwrap();
    context.register_table("clicks", Arc::new(table)).unwrap();
    let batches = runtime.block_on(async { context.sql(query).await.unwrap().collect().await.unwrap() });
    let shown: Vec<RecordBatch> = batches.into_iter().filter(|batch| batch.num_rows() > 0).collect();
    if shown.is_empty() { String::new() } else { pretty_format_batches(&shown).unwrap().to_string() }
}

fn click() -> impl Strategy<Value = Click> {
    let text = prop_oneof![Just("a".to_owned()), Just("b".to_owned()), Just("17".to_owned()), "[a-zä ]{0,5}"];
    (
        proptest::option::weighted(0.9, -20..40i64),
        proptest::option::weighted(0.9, text),
        proptest::option::weighted(0.9, -10..60i32),
        proptest::option::weighted(0.9, (-400..400i32).prop_map(|cents| f64::from(cents) / 8.0)),
        proptest::option::weighted(0.8, any::<bool>()),
        proptest::option::weighted(0.9, -4_000_000_000_000..4_000_000_000_000i64),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_leg_gives_the_rows_that_datafusion_gives(rows in proptest::collection::vec(click(), 0..40)) {
        let rows = batch(&rows);
        for query in QUERIES {
            let output = evaluated(query, &rows);
            let text = match output.batch.num_rows() {
                0 => String::new(),
                _ => pretty_format_batches(std::slice::from_ref(&output.batch)).unwrap().to_string(),
            };
            prop_assert_eq!(&output.failed, &vec![]);
            prop_assert_eq!(text, executed(query, &rows), "{}", query);
        }
    }

    #[test]
    fn failed_rows_are_those_that_fail_alone(numbers in proptest::collection::vec(-2..3i32, 0..60)) {
        let rows = self::numbers(numbers.iter().copied());
        let output = evaluated("SELECT 100 / n AS x FROM clicks WHERE 10 / (n + 1) > -100", &rows);
        let failed: Vec<usize> = output.failed.iter().map(|failed| failed.row).collect();
        let wanted: Vec<usize> = (0..numbers.len()).filter(|row| [0, -1].contains(&numbers[*row])).collect();
        prop_assert_eq!(failed, wanted);
    }
}
