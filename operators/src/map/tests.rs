use super::*;
use arrow::array::BinaryArray;
use thermocline_schemas::domain::Registry;
use thermocline_schemas::format::{ShapeTable, parse};

fn plan_with(domain: &str, record: &str, files: &MappingOverrides) -> Plan {
    let (parsed, rejected) = parse(&BinaryArray::from_iter_values([record]), &ShapeTable::default());
    assert!(rejected.is_empty(), "{rejected:?}");
    let registry = Registry::shipped();
    let domain = registry.get(domain).unwrap();
    Plan::new("topic", parsed.shape(0), domain, &Dictionary::new(domain), files)
}

/// Column, path, reason of every column that is filled.
fn filled(domain: &str, record: &str) -> Vec<(String, String, Reason)> {
    let plan = plan_with(domain, record, &MappingOverrides::default());
    let registry = Registry::shipped();
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
