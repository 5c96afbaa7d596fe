use super::columns::{Built, Rows};
use super::*;
use arrow::array::{Array, AsArray, BinaryArray};
use arrow::datatypes::{DataType, Date32Type, Field, Float32Type, Float64Type, Int64Type};
use thermocline_schemas::domain::Registry;
use thermocline_schemas::format::{ShapeTable, parse};

fn plan_with(domain: &str, record: &str, files: &MappingOverrides) -> Plan {
    plan_in(&Registry::shipped(), domain, record, files)
}

fn plan_in(registry: &Registry, domain: &str, record: &str, files: &MappingOverrides) -> Plan {
    let (parsed, rejected) = parse(&BinaryArray::from_iter_values([record]), &ShapeTable::default());
    assert!(rejected.is_empty(), "{rejected:?}");
    let domain = registry.get(domain).unwrap();
    Plan::new("topic", parsed.shape(0), domain, &Dictionary::new(domain), files)
}

/// Column, path, reason of every column that is filled.
fn filled(domain: &str, record: &str) -> Vec<(String, String, Reason)> {
    filled_in(&Registry::shipped(), domain, record)
}

fn filled_in(registry: &Registry, domain: &str, record: &str) -> Vec<(String, String, Reason)> {
    let plan = plan_in(registry, domain, record, &MappingOverrides::default());
    let columns = registry.get(domain).unwrap().columns.iter();
    columns
        .zip(plan.filled)
        .filter_map(|(field, filled)| filled.map(|filled| (field.name().clone(), filled.path, filled.reason)))
        .collect()
}

fn names(domain: &str, record: &str) -> Vec<(String, String)> {
    filled(domain, record).into_iter().map(|(column, path, _)| (column, path)).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(column, path)| ((*column).to_owned(), (*path).to_owned())).collect()
}

#[test]
fn own_names_go_before_synonyms_and_each_fills_one_column() {
    let got = filled("chat", r#"{"message":"old","text":"new","senderId":7,"user_id":"u","channel":"c"}"#);
    assert_eq!(
        got,
        [
            ("user_id".to_owned(), "user_id".to_owned(), Reason::Exact),
            ("channel".to_owned(), "channel".to_owned(), Reason::Exact),
            ("text".to_owned(), "text".to_owned(), Reason::Exact),
        ]
    );
    let got = filled("chat", r#"{"message":"hello","senderId":7}"#);
    assert_eq!(got[0], ("user_id".to_owned(), "senderId".to_owned(), Reason::Synonym));
    assert_eq!(got[1], ("text".to_owned(), "message".to_owned(), Reason::Synonym));
}

#[test]
fn whole_paths_count_and_wrappers_do_not() {
    assert_eq!(
        names("chat", r#"{"data":{"event":{"user":{"id":"u1"},"text":"hi"}}}"#),
        pairs(&[("user_id", "data.event.user.id"), ("text", "data.event.text")])
    );
    // A name alone means nothing deep inside something else.
    assert_eq!(names("user", r#"{"product":{"name":"x","city":"y"}}"#), pairs(&[]));
    assert_eq!(
        names("user", r#"{"user":{"user_id":1,"email":"e"}}"#),
        pairs(&[("user_id", "user.user_id"), ("email", "user.email")])
    );
}

#[test]
fn what_is_inside_another_thing_is_not_the_records_own() {
    assert_eq!(
        names("metrics", r#"{"metric":"cpu.load","value":0.7,"resource":{"name":"web-1"}}"#),
        pairs(&[("name", "metric"), ("value", "value")])
    );
    assert_eq!(names("logs", r#"{"source":{"host":"b"},"hostname":"a"}"#), pairs(&[("host", "hostname")]));
    assert_eq!(names("user", r#"{"object":{"name":"invoice 7"},"full_name":"Ann"}"#), pairs(&[("name", "full_name")]));
    for thing in ["resource", "source", "object", "item", "entity", "result", "value"] {
        assert_eq!(names("user", &format!(r#"{{"{thing}":{{"email":"e"}}}}"#)), pairs(&[]), "{thing}");
    }
    // Nor is the end of a longer path, unless all above it are wrappers.
    assert_eq!(names("chat", r#"{"text":"hi","reply_to":{"from":{"id":9}}}"#), pairs(&[("text", "text")]));
    assert_eq!(names("chat", r#"{"data":{"from":{"id":9}}}"#), pairs(&[("user_id", "data.from.id")]));
    assert_eq!(
        names("analytics", r#"{"data":{"event":{"name":"signup"}}}"#),
        pairs(&[("event_name", "data.event.name")])
    );
}

#[test]
fn a_name_without_its_wrapper_goes_behind_the_records_own_and_is_not_exact() {
    assert_eq!(
        filled("logs", r#"{"data":{"host":"b"},"hostname":"a"}"#),
        [("host".to_owned(), "hostname".to_owned(), Reason::Synonym)]
    );
    let reason = |domain: &str, record: &str| filled(domain, record)[0].2;
    assert_eq!(reason("logs", r#"{"data":{"host":"b"}}"#), Reason::Synonym);
    assert_eq!(reason("chat", r#"{"user":{"id":"u"}}"#), Reason::Exact);
    assert_eq!(reason("workflow", r#"{"duration_seconds":2}"#), Reason::Synonym);
    assert_eq!(
        filled("workflow", r#"{"duration_seconds":2,"duration_ms":2000}"#),
        [("duration_ms".to_owned(), "duration_ms".to_owned(), Reason::Exact)]
    );
}

#[test]
fn a_column_that_a_user_adds_takes_the_fields_of_its_name() {
    let mut registry = Registry::shipped();
    let body = Field::new("body", DataType::Utf8, true);
    registry.add(Domain::new("chat").columns(&[body])).unwrap();
    assert_eq!(
        filled_in(&registry, "chat", r#"{"body":"b","message":"m"}"#),
        [
            ("text".to_owned(), "message".to_owned(), Reason::Synonym),
            ("body".to_owned(), "body".to_owned(), Reason::Exact),
        ]
    );
    // Also where the name of the other column would need a unit.
    let took = Field::new("took_ms", DataType::Int64, true);
    registry.add(Domain::new("workflow").columns(&[took])).unwrap();
    assert_eq!(
        filled_in(&registry, "workflow", r#"{"took_ms":5}"#),
        [("took_ms".to_owned(), "took_ms".to_owned(), Reason::Exact)]
    );
}

#[test]
fn names_of_another_meaning_fill_nothing() {
    for (domain, record) in [
        ("analytics", r#"{"value":3,"price":1,"total":2,"utm_source":"newsletter"}"#),
        ("integration", r#"{"unit_price":1,"list_price":2}"#),
        ("logs", r#"{"parent_span_id":"p"}"#),
        ("session", r#"{"device_id":"d"}"#),
        ("workflow", r#"{"duration_min":2}"#),
    ] {
        assert_eq!(names(domain, record), pairs(&[]), "{domain}");
    }
    let plan = plan_with("workflow", r#"{"duration_mins":2}"#, &MappingOverrides::default());
    let sources: Vec<&Source> = plan.filled.iter().flatten().map(|filled| &filled.source).collect();
    assert_eq!(sources, [&Source::Leaf { leaf: 0, factor: Some(60_000.0) }]);
}

/// Where the record itself is the inner object, the whole path says so.
#[test]
fn nested_records_of_known_systems_are_known_by_their_whole_paths() {
    let charge = r#"{"type":"charge.succeeded","data":{"object":
        {"id":"ch_1","amount":2000,"currency":"usd","customer":"cus_1","status":"succeeded"}}}"#;
    assert_eq!(
        names("integration", charge),
        pairs(&[
            ("event_type", "type"),
            ("object_id", "data.object.id"),
            ("partner", "data.object.customer"),
            ("status", "data.object.status"),
            ("amount", "data.object.amount"),
            ("currency", "data.object.currency"),
        ])
    );
    assert_eq!(
        names("chat", r#"{"message":{"from":{"id":1},"chat":{"id":2},"text":"hi"}}"#),
        pairs(&[("user_id", "message.from.id"), ("session_id", "message.chat.id"), ("text", "message.text")])
    );
    assert_eq!(
        names("integration", r#"{"source":{"connector":"postgresql","name":"shop"}}"#),
        pairs(&[("system", "source.connector")])
    );
}

#[test]
fn types_and_units_are_checked() {
    assert_eq!(names("chat", r#"{"text":5,"message":["x"],"channel":true}"#), pairs(&[]));
    assert_eq!(names("metrics", r#"{"value":"high","name":"cpu"}"#), pairs(&[("name", "name")]));
    // Without a unit in its name a duration may be anything.
    assert_eq!(names("workflow", r#"{"duration":3.5,"activity":"a"}"#), pairs(&[("activity", "activity")]));
    let plan = plan_with("workflow", r#"{"elapsed_seconds":2}"#, &MappingOverrides::default());
    let sources: Vec<&Source> = plan.filled.iter().flatten().map(|filled| &filled.source).collect();
    assert_eq!(sources, [&Source::Leaf { leaf: 0, factor: Some(1_000.0) }]);
    assert_eq!(names("workflow", r#"{"duration_ms":2}"#), pairs(&[("duration_ms", "duration_ms")]));
    assert_eq!(names("archive", r#"{"size_kb":2,"size_bytes":3}"#), pairs(&[("size_bytes", "size_bytes")]));
}

#[test]
fn shadowed_and_null_fields_fill_nothing() {
    let plan = plan_with("chat", r#"{"text":"first","text":"last","channel":null}"#, &MappingOverrides::default());
    assert_eq!(plan.unmapped, [0, 2]);
}

#[test]
fn inner_objects_fill_columns_of_json() {
    let record = r#"{"name":"cpu","value":1,"tags":{"host":"a","zone":{"x":[1]}},"more":{}}"#;
    let plan = plan_with("metrics", record, &MappingOverrides::default());
    let tags = plan.filled.last().unwrap().as_ref().unwrap();
    assert_eq!(tags.path, "tags");
    let (parsed, _) = parse(&BinaryArray::from_iter_values([record]), &ShapeTable::default());
    let mut json = String::new();
    let Source::Object(template) = &tags.source else { panic!("{tags:?}") };
    template.write(record, parsed.leaves(0), &mut json);
    assert_eq!(json, r#"{"host":"a","zone":{"x":[1]}}"#);
    json.clear();
    plan.attributes.write(record, parsed.leaves(0), &mut json);
    assert_eq!(json, r#"{"more":{}}"#);

    // The column's own name goes before a synonym here too.
    assert_eq!(
        filled("metrics", r#"{"labels":{"a":"1"},"tags":{"b":"2"}}"#),
        [("tags".to_owned(), "tags".to_owned(), Reason::Exact)]
    );
}

/// The columns and `attributes` of one record.
fn built_in(domain: &Domain, record: &str) -> Built {
    let (parsed, rejected) = parse(&BinaryArray::from_iter_values([record]), &ShapeTable::default());
    assert!(rejected.is_empty(), "{rejected:?}");
    let plan = Plan::new("topic", parsed.shape(0), domain, &Dictionary::new(domain), &MappingOverrides::default());
    let rows = Rows { parsed: &parsed, rows: vec![0], plan_of: vec![0], plans: vec![Arc::new(plan)] };
    let built = rows.build(domain, |_| 0);
    let attributes = built.attributes.as_string::<i32>();
    assert!(attributes.is_null(0) || attributes.value(0) == record, "{attributes:?}");
    built
}

/// The same for the record `{"n":…}` in a domain with the one column `n`.
fn built(kind: DataType, value: &str) -> Built {
    built_in(&Domain::new("some").columns(&[Field::new("n", kind, true)]), &format!(r#"{{"n":{value}}}"#))
}

fn is_kept(built: &Built) -> bool {
    built.attributes.is_valid(0)
}

#[test]
fn a_double_that_loses_a_digit_is_kept_as_it_was_written() {
    for (written, expected, kept) in [
        ("0.1", Some(0.1), false),
        ("0.0", Some(0.0), false),
        ("-0.123456789012345", Some(-0.123_456_789_012_345), false),
        ("123456789012345", Some(123_456_789_012_345.0), false),
        ("9007199254740993", Some(9_007_199_254_740_992.0), true),
        ("1e300", Some(1e300), false),
        ("1e-400", Some(0.0), true),
        ("1.2345e-310", Some(1.2345e-310), true),
        ("\"high\"", None, true),
    ] {
        let built = built(DataType::Float64, written);
        assert_eq!(built.columns[0].as_primitive::<Float64Type>().iter().next(), Some(expected), "{written}");
        assert_eq!(is_kept(&built), kept, "{written}");
    }
    for (written, expected) in [("0.5", Some(0.5)), ("1e39", None), ("-1e39", None)] {
        let built = built(DataType::Float32, written);
        assert_eq!(built.columns[0].as_primitive::<Float32Type>().iter().next(), Some(expected), "{written}");
        assert!(is_kept(&built), "{written}");
    }
    // What is a number in the record's unit may be too large in the column's.
    let registry = Registry::shipped();
    let workflow = built_in(registry.get("workflow").unwrap(), r#"{"duration_mins":1e308}"#);
    assert!(is_kept(&workflow) && workflow.columns.iter().all(|column| column.is_null(0)));
}

#[test]
fn an_integer_column_takes_no_fraction_however_small() {
    for (written, expected, kept) in [
        ("7", Some(7), false),
        ("1.0", Some(1), false),
        ("1e3", Some(1_000), false),
        ("9007199254740993.0", Some(9_007_199_254_740_993), false),
        ("1.5", None, true),
        ("1e-400", None, true),
        ("0.99999999999999999999", None, true),
        ("9223372036854775808", None, true),
        ("9.3e18", None, true),
    ] {
        let built = built(DataType::Int64, written);
        assert_eq!(built.columns[0].as_primitive::<Int64Type>().iter().next(), Some(expected), "{written}");
        assert_eq!(is_kept(&built), kept, "{written}");
    }
}

#[test]
fn a_date_is_exact_only_if_a_date_was_written() {
    for (written, kept) in [("\"2025-11-20\"", false), ("1763630000", true), ("\"2025-11-20T09:13:20Z\"", true)] {
        let built = built(DataType::Date32, written);
        assert_eq!(built.columns[0].as_primitive::<Date32Type>().iter().next(), Some(Some(20_412)), "{written}");
        assert_eq!(is_kept(&built), kept, "{written}");
    }
}

#[test]
fn attributes_keep_values_as_they_are_written() {
    let record = r#"{ "a" : 1.50, "b\n": {"c": {"d": "é\u00e9\"", "e": 12345678901234567890123}, "f": [ 1 , 2 ]}, "g": {"h": null}, "a": 1e2 }"#;
    let plan = plan_with("logs", record, &MappingOverrides::default());
    let (parsed, _) = parse(&BinaryArray::from_iter_values([record]), &ShapeTable::default());
    let mut json = String::new();
    plan.attributes.write(record, parsed.leaves(0), &mut json);
    let expected =
        r#"{"a":1.50,"b\n":{"c":{"d":"é\u00e9\"","e":12345678901234567890123},"f":[ 1 , 2 ]},"g":{"h":null},"a":1e2}"#;
    assert_eq!(json, expected);
}

#[test]
fn files_override_the_lexicon() {
    let file = r#"
        [[mapping]]
        topic = "top*"
        domain = "chat"
        event_time = "when.exactly"
        fields = { "message" = "ignore", "remark" = "text" }
    "#;
    let files = MappingOverrides::from_toml("mapping.toml", file).unwrap();
    files.check(&Registry::shipped()).unwrap();
    let plan = plan_with("chat", r#"{"message":"m","remark":"r","ts":1,"when":{"exactly":2}}"#, &files);
    let filled: Vec<_> = plan.filled.iter().flatten().collect();
    assert_eq!((filled.len(), filled[0].path.as_str(), filled[0].reason), (1, "remark", Reason::Override));
    assert_eq!(plan.event_time, [Candidate { leaf: 3, how: How::Whole }]);
    assert_eq!(plan.unmapped, [0, 2, 3]);
    let broker = MappingOverrides::from_toml("m.toml", "[[mapping]]\ntopic = \"*\"\nevent_time = \"broker\"").unwrap();
    assert!(plan_with("chat", r#"{"ts":1}"#, &broker).event_time.is_empty());
}

#[test]
fn the_first_entry_that_applies_settles_a_column_and_the_time() {
    let files = |text: &str| MappingOverrides::from_toml("mapping.toml", text).unwrap();
    let two = files(
        r#"
        [[mapping]]
        topic = "*"
        event_time = "placed"
        fields = { "a" = "text" }

        [[mapping]]
        topic = "*"
        event_time = "paid"
        fields = { "b" = "text" }
    "#,
    );
    let plan = plan_with("chat", r#"{"a":"x","b":"y","placed":1763596800,"paid":1763596801}"#, &two);
    let paths: Vec<&str> = plan.filled.iter().flatten().map(|filled| filled.path.as_str()).collect();
    assert_eq!(paths, ["a"]);
    assert_eq!(plan.event_time, [Candidate { leaf: 2, how: How::Whole }]);
    // A shape that lacks the field of the first entry: the second applies.
    let plan = plan_with("chat", r#"{"b":"y","paid":1763596801}"#, &two);
    assert_eq!(plan.event_time, [Candidate { leaf: 1, how: How::Whole }]);
    // One that lacks both, or has them without a value, has the lexicon's candidates.
    for record in [r#"{"ts":1763596800}"#, r#"{"placed":null,"paid":[],"ts":1763596800}"#, "just text"] {
        let plan = plan_with("chat", record, &two);
        assert_eq!(plan.event_time, event_time::candidates(&plan.shape), "{record}");
        assert_eq!(plan.event_time.len(), 1, "{record}");
    }
    let broker = files(
        r#"
        [[mapping]]
        topic = "*"
        event_time = "broker"

        [[mapping]]
        topic = "*"
        event_time = "ts"
    "#,
    );
    assert!(plan_with("chat", r#"{"ts":1763596800}"#, &broker).event_time.is_empty());
}
