//! What is planned: every supported form, down to its legs, its target and its identity.

use super::{CLICKS, plan, planned};
use crate::plan::{EventTimeFrom, Pipelines, SourceFormat, Stage, Target, explain, load, render_all};
use arrow::datatypes::DataType;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use std::sync::Arc;
use std::time::Duration;
use thermocline_schemas::domain::Registry;
use thermocline_schemas::table::timestamp_type;

fn shipped(path: &str, text: &str) -> Pipelines {
    let files = [(path, text)];
    load(&files, &mut Registry::shipped(), |_| vec![])
        .unwrap_or_else(|refusals| panic!("{}", render_all(&refusals, &files)))
}

fn names(schema: &arrow::datatypes::Schema) -> Vec<&str> {
    schema.fields().iter().map(|field| field.name().as_str()).collect()
}

#[test]
fn the_shipped_pipeline_takes_every_topic() {
    let pipelines = shipped("events.sql", include_str!("../../../sql/events.sql"));
    let source = &pipelines.sources[0];
    assert!(source.pattern.matches("anything") && !source.pattern.matches("__consumer_offsets"));
    assert_eq!(source.format, SourceFormat::Auto);
    let branch = &pipelines.branches[0];
    assert_eq!(branch.identity.target, "domains");
    assert_eq!(branch.identity.statement, "INSERT INTO domains SELECT * FROM events");
    assert!(branch.leg.stages.iter().all(|stage| matches!(stage, Stage::Project(_))), "{:?}", branch.leg.stages);
    assert_eq!((names(&branch.leg.input), names(&branch.leg.output)), (vec!["payload"], vec!["payload"]));
    assert_eq!(branch.leg.untouched(0), Some("payload"));
    insta::assert_snapshot!(explain(&pipelines));
}

#[test]
fn the_shipped_examples_are_planned() {
    insta::assert_snapshot!(
        "clicks",
        explain(&shipped("clicks.sql", include_str!("../../../sql/examples/clicks.sql")))
    );
    insta::assert_snapshot!(
        "orders",
        explain(&shipped("orders.sql", include_str!("../../../sql/examples/orders.sql")))
    );
}

#[test]
fn the_graph_says_where_event_times_come_from() {
    let shape = "event time  chosen by the shape of each record, else the broker's timestamp\n";
    let broker = "event time  the broker's timestamp\n";
    let both = "event time  the broker's timestamp; into domains, chosen by the shape of each record";
    let (domains, table) = ("INSERT INTO domains SELECT * FROM s;", "INSERT INTO metrics.t SELECT a FROM s;");
    for (inserts, wanted) in
        [(domains.to_owned(), shape), (table.to_owned(), broker), (domains.to_owned() + table, both)]
    {
        let text = format!("CREATE EXTERNAL TABLE s (a TEXT) STORED AS KAFKA LOCATION 's';\n{inserts}");
        let graph = explain(&planned(&text));
        assert!(graph.contains(wanted), "{graph}");
    }
}

#[test]
fn options_are_read_and_defaults_stand_in() {
    let pipelines = planned(
        "CREATE EXTERNAL TABLE a (x INT, ts TIMESTAMP(6) WITH TIME ZONE, f FLOAT(53), v VARCHAR, \
         d DECIMAL(9, 2))\nOPTIONS ('event_time' 'ts', 'max_disorder' '1 minute', 'idle_after' '2 hours',)\n\
         LOCATION 'a.*' STORED AS kafka;\n\
         CREATE EXTERNAL TABLE b STORED AS KAFKA LOCATION 'b';\n\
         INSERT INTO domains SELECT * FROM a; INSERT INTO domains SELECT * FROM b",
    );
    let (a, b) = (&pipelines.sources[0], &pipelines.sources[1]);
    assert_eq!((a.max_disorder, a.idle_after), (Duration::from_secs(60), Duration::from_secs(7_200)));
    assert_eq!((b.max_disorder, b.idle_after), (Duration::from_secs(5), Duration::from_secs(30)));
    assert!(a.pattern.matches("a.x") && !a.pattern.matches("a"));
    let SourceFormat::Json(schema) = &a.format else { panic!("a has columns") };
    let types: Vec<DataType> = schema.fields().iter().map(|field| field.data_type().clone()).collect();
    let wanted = [DataType::Int32, timestamp_type(), DataType::Float64, DataType::Utf8, DataType::Decimal128(9, 2)];
    assert_eq!(types, wanted);
}

#[test]
fn an_undeclared_target_gets_the_columns_of_the_query() {
    let pipelines = planned(&format!(
        "{CLICKS}INSERT INTO metrics.clicks_raw SELECT user_id, upper(url) AS url, to_timestamp(n) AS at FROM clicks \
         WHERE user_id > 3;"
    ));
    let table = &pipelines.tables[0];
    assert_eq!(table.name.as_str(), "metrics.clicks_raw");
    let columns: Vec<(&str, &DataType)> =
        table.columns.iter().map(|field| (field.name().as_str(), field.data_type())).collect();
    assert_eq!(columns, [("user_id", &DataType::Int64), ("url", &DataType::Utf8), ("at", &timestamp_type())]);
    let branch = &pipelines.branches[0];
    assert!(branch.identity.filters && branch.leg.filters());
    assert_eq!(branch.event_time, EventTimeFrom::Source("ts".into()));
    assert_eq!(names(&branch.leg.input), ["user_id", "url", "n"]);
    assert_eq!(branch.columns_used(), ["_timestamp", "n", "ts", "url", "user_id"]);
}

#[test]
fn columns_are_bound_to_a_domain_by_name_and_not_by_place() {
    let pipelines = planned(&format!(
        "{CLICKS}INSERT INTO chat SELECT url AS text, user_id, 'web' AS channel, ts AS event_time FROM clicks;"
    ));
    let branch = &pipelines.branches[0];
    let Target::Table { schema, binding } = &branch.target else { panic!("chat is a table") };
    let filled = |name: &str| {
        let column = schema.columns.iter().position(|field| field.name() == name)?;
        binding.columns[column].map(|from| branch.leg.output.field(from).clone())
    };
    assert_eq!(filled("text").map(|field| field.name().clone()).as_deref(), Some("text"));
    assert_eq!(filled("user_id").map(|field| field.data_type().clone()), Some(DataType::Utf8));
    assert_eq!(filled("session_id"), None);
    assert_eq!(branch.event_time, EventTimeFrom::Output(3));
    assert_eq!(binding.schema.fields().len(), schema.columns.len() + 2);
    assert!(binding.schema.fields().iter().eq(schema.stored().fields()[..schema.columns.len() + 2].iter()));
}

#[test]
fn each_leg_of_a_union_is_a_branch_named_by_the_first() {
    let pipelines = planned(&format!(
        "{CLICKS}CREATE EXTERNAL TABLE more (a INT, b TEXT) STORED AS KAFKA LOCATION 'more';\n\
         INSERT INTO metrics.t (SELECT user_id, url FROM clicks WHERE n > 1)\n  UNION ALL SELECT a, b FROM more\n  \
         UNION ALL SELECT a AS user_id, upper(b) AS url FROM more WHERE a IS NOT NULL;"
    ));
    let statements: Vec<&str> = pipelines.branches.iter().map(|branch| branch.identity.statement.as_str()).collect();
    assert_eq!(
        statements,
        [
            "INSERT INTO metrics.t SELECT user_id, url FROM clicks WHERE n > 1",
            "INSERT INTO metrics.t (user_id, url) SELECT a, b FROM more",
            "INSERT INTO metrics.t SELECT a AS user_id, upper(b) AS url FROM more WHERE a IS NOT NULL",
        ]
    );
    let lines: Vec<usize> = pipelines.branches.iter().map(|branch| branch.position.line).collect();
    assert_eq!(lines, [4, 5, 6]);
    for branch in &pipelines.branches {
        assert_eq!(names(&branch.leg.output), ["user_id", "url"]);
        assert_eq!(branch.leg.output.field(0).data_type(), &DataType::Int64);
    }
    let filters: Vec<bool> = pipelines.branches.iter().map(|branch| branch.identity.filters).collect();
    assert_eq!(filters, [true, false, true]);
    assert_eq!(pipelines.branches_of("more").count(), 2);
}

#[test]
fn ctes_and_subqueries_in_from_fold_into_one_leg() {
    let pipelines = planned(&format!(
        "{CLICKS}INSERT INTO metrics.t WITH big AS (SELECT n * 2 AS m, url FROM clicks WHERE n > 10) \
         SELECT m, length(url) AS l FROM (SELECT * FROM big WHERE m < 100) b WHERE b.url <> '';"
    ));
    let branch = &pipelines.branches[0];
    assert_eq!(branch.leg.source, "clicks");
    assert_eq!(names(&branch.leg.input), ["url", "n"]);
    assert!(branch.identity.statement.starts_with("INSERT INTO metrics.t WITH big AS ("));
    insta::assert_snapshot!(explain(&pipelines));
}

#[test]
fn odd_names_are_just_names() {
    let pipelines = planned(
        "CREATE EXTERNAL TABLE \"order\" (pos INT, _partition BIGINT, \"user\" TEXT, \"order\" TEXT, \
         \"@version\" TEXT, \"Id\" INT)\nSTORED AS KAFKA LOCATION 'order';\n\
         INSERT INTO metrics.t SELECT pos, _partition AS part, \"user\", \"order\", \"@version\" AS v, \"Id\" \
         FROM \"order\";\n\
         INSERT INTO domains SELECT * FROM \"order\";",
    );
    let branch = &pipelines.branches[0];
    assert_eq!(names(&branch.leg.output), ["pos", "part", "user", "order", "v", "Id"]);
    assert_eq!(branch.leg.output.field(1).data_type(), &DataType::Int64, "a declared _partition hides the broker's");
    let whole = ["pos", "_partition", "user", "order", "@version", "Id"];
    assert_eq!(names(&pipelines.branches[1].leg.output), whole);
}

#[test]
fn declared_columns_that_are_called_like_system_columns_go_into_domains() {
    let source = "CREATE EXTERNAL TABLE s (_key TEXT, _timestamp TEXT, n INT) STORED AS KAFKA LOCATION 's';\n";
    for (query, wanted) in [
        ("SELECT * FROM s", vec!["_key", "_timestamp", "n"]),
        ("SELECT _key, n FROM s", vec!["_key", "n"]),
        ("SELECT t.* FROM (SELECT * FROM s WHERE n > 1) t", vec!["_key", "_timestamp", "n"]),
        ("WITH t AS (SELECT n, _timestamp FROM s) SELECT * FROM t", vec!["n", "_timestamp"]),
        ("SELECT * FROM s UNION ALL SELECT * FROM s WHERE n > 1", vec!["_key", "_timestamp", "n"]),
    ] {
        let pipelines = planned(&format!("{source}INSERT INTO domains {query};"));
        for branch in &pipelines.branches {
            assert_eq!(names(&branch.leg.output), wanted, "{query}");
        }
    }
}

#[test]
fn source_columns_are_there_for_expressions_and_stars_leave_them_out() {
    let pipelines = planned(&format!(
        "{CLICKS}INSERT INTO metrics.t SELECT *, _offset % 10 AS bucket, _topic || '!' AS topic FROM clicks \
         WHERE _partition = 0;"
    ));
    let leg = &pipelines.branches[0].leg;
    assert_eq!(names(&leg.output), ["user_id", "url", "n", "price", "ok", "ts", "bucket", "topic"]);
    assert_eq!(names(&leg.input), ["user_id", "url", "n", "price", "ok", "ts", "_topic", "_partition", "_offset"]);
}

#[test]
fn several_inserts_add_columns_to_the_table_they_make() {
    let pipelines = planned(&format!(
        "{CLICKS}INSERT INTO metrics.t SELECT user_id AS a FROM clicks;\n\
         INSERT INTO metrics.t SELECT n AS a, url FROM clicks;"
    ));
    let table: Vec<&str> = pipelines.tables[0].columns.iter().map(|field| field.name().as_str()).collect();
    assert_eq!((pipelines.tables.len(), table), (1, vec!["a", "url"]));
    let Target::Table { schema, binding } = &pipelines.branches[0].target else { panic!("a table") };
    assert_eq!((schema.columns.len(), &*binding.columns), (2, &[Some(0), None, None][..]));
}

#[test]
fn declared_domains_join_the_registry() {
    let mut registry = Registry::shipped();
    let before = registry.len();
    let text = "CREATE EXTERNAL TABLE orders (order_id TEXT, amount DOUBLE) STORED AS TIERED LOCATION 'orders'\n\
                OPTIONS ('phrases' 'order number; purchase; basket', 'hot_for' '1 day', 'text_columns' 'order_id');\n\
                CREATE EXTERNAL TABLE chat (mood TEXT, text TEXT) STORED AS TIERED LOCATION 'chat'\n\
                OPTIONS ('warm_for' '1000 days');\n\
                CREATE EXTERNAL TABLE s (mood TEXT) STORED AS KAFKA LOCATION 's';\n\
                INSERT INTO chat SELECT mood FROM s; INSERT INTO orders.raw SELECT mood FROM s;";
    let mut seen = 0;
    let functions = |registry: &Registry| {
        seen = registry.len();
        vec![]
    };
    let pipelines = load(&[("t.sql", text)], &mut registry, functions).unwrap();
    assert_eq!((registry.len(), seen), (before + 1, before + 1));
    let orders = registry.get("orders").unwrap();
    assert_eq!(orders.policy.hot_for_micros, 86_400_000_000);
    assert_eq!(orders.policy.warm_for_micros, 90 * 86_400_000_000);
    assert_eq!(orders.text_columns, ["order_id"]);
    let chat = registry.get("chat").unwrap();
    assert_eq!(chat.columns.last().map(|field| field.name().as_str()), Some("mood"));
    assert_eq!(chat.policy.hot_for_micros, 7 * 86_400_000_000);
    assert_eq!(chat.policy.warm_for_micros, 1_000 * 86_400_000_000);
    assert_eq!(pipelines.domains.iter().map(|domain| domain.is_new).collect::<Vec<_>>(), [true, false]);
    assert_eq!(pipelines.domains[1].columns.len(), 1, "text is there already");
}

#[test]
fn our_functions_stand_beside_those_of_datafusion() {
    let double = |volatility| -> Vec<ScalarUDF> {
        vec![create_udf(
            "double",
            vec![DataType::Int32],
            DataType::Int32,
            volatility,
            Arc::new(|arguments| {
                let ColumnarValue::Array(array) = &arguments[0] else { unreachable!("a column is given") };
                Ok(ColumnarValue::Array(arrow::compute::kernels::numeric::add(array, array)?))
            }),
        )]
    };
    let text = format!("{CLICKS}INSERT INTO metrics.t SELECT double(n) AS d FROM clicks;");
    let files = [("t.sql", text.as_str())];
    assert!(load(&files, &mut Registry::shipped(), |_| double(Volatility::Immutable)).is_ok());
    let refusals = load(&files, &mut Registry::shipped(), |_| double(Volatility::Volatile)).unwrap_err();
    assert!(refusals[0].message.contains("`double` gives another result each time"));
    assert!(plan(&text).unwrap_err()[0].message.contains("no function `double`"));
}

#[test]
fn a_normalised_statement_does_not_know_of_blanks_comments_or_keyword_case() {
    let statement = |insert: &str| planned(&format!("{CLICKS}{insert}")).branches[0].identity.clone();
    let one = statement("INSERT INTO metrics.t SELECT n FROM clicks WHERE n > 3;");
    let other = statement("insert into metrics.t\n  select n -- the number\n  from clicks\n  where n>3");
    assert_eq!(one, other);
}
