use super::*;
use crate::format::shape::Body;
use proptest::prelude::*;

fn parse_all(payloads: &[&[u8]]) -> (Parsed, Vec<Rejected>) {
    parse(&BinaryArray::from_iter_values(payloads), &ShapeTable::default())
}

fn paths(parsed: &Parsed, row: usize) -> Vec<String> {
    parsed.shape(row).fields.iter().map(|field| field.path.clone()).collect()
}

#[test]
fn objects_values_texts_and_nothing_are_told_apart() {
    let payloads = BinaryArray::from_opt_vec(vec![
        Some(br#" {"a":{"b":1,"c":"x"},"d":[{"e":1}]} "#.as_slice()),
        Some(b"[2005-06-09 06:07:04] [notice] LDAP: Built with OpenLDAP"),
        Some(br#"[1, 2, {"a": null}]"#),
        Some(b"\"a \\u00e9 text\""),
        Some(b"12 monkeys"),
        Some(b"-12.5e3"),
        Some(b"null"),
        Some(b""),
        None,
        Some(b"  "),
    ]);
    let (parsed, rejected) = parse(&payloads, &ShapeTable::default());
    assert_eq!(rejected, []);
    let bodies: Vec<Body> = (0..parsed.len()).map(|row| parsed.shape(row).body).collect();
    use Body::*;
    assert_eq!(bodies, [Object, Text, Value, Value, Text, Value, Value, Empty, Empty, Text]);
    assert_eq!(paths(&parsed, 0), ["a.b", "a.c", "d"]);
    assert_eq!(parsed.shape(0).element_names, ["d.e"]);
    let raw: Vec<&str> = parsed.leaves(0).iter().map(|leaf| leaf.raw(parsed.text(0))).collect();
    assert_eq!(raw, ["1", "x", r#"[{"e":1}]"#]);
    assert_eq!(parsed.leaves(3)[0].raw(parsed.text(3)), "a \\u00e9 text");
    assert!(parsed.payload().is_null(7) && parsed.payload().is_null(8) && parsed.leaves(8).is_empty());
}

#[test]
fn malformed_objects_and_invalid_utf8_are_rejected_with_their_row_and_place() {
    let (parsed, rejected) = parse_all(&[
        b"{}",
        b"{\"a\":1}{\"a\":2}",
        b"{\"a\":",
        b"\xff\xfe",
        b"{\"a\":\n NaN}",
        b"{\"a\":1}",
        b"{\"\xc3\xa9\":1,}",
    ]);
    assert_eq!(parsed.accepted().values(), &[0, 5]);
    assert_eq!(parsed.payload().value(1), r#"{"a":1}"#);
    let errors: Vec<(usize, &str)> = rejected.iter().map(|rejected| (rejected.row, rejected.error.as_str())).collect();
    assert_eq!(
        errors,
        [
            (1, "line 1, column 8: one JSON object is a record, but more follows it"),
            (2, "line 1, column 6: a value is missing at the end"),
            (3, "byte 1: the payload is not UTF-8"),
            (4, "line 2, column 2: NaN and Infinity are not JSON"),
            (6, "line 1, column 8: the name of a field should begin here"),
        ]
    );
}

#[test]
fn shape_depends_on_names_and_types_alone() {
    let (parsed, _) = parse_all(&[
        br#"{"a":1,"b":"x"}"#,
        br#"{ "a" : 2.5 , "b" : "\n" }"#,
        br#"{"a":null,"b":"x"}"#,
        br#"{"a.b":1}"#,
        br#"{"a":{"b":1}}"#,
        br#"{"}":1,"\"":{")":[{")":1,".":2}]}}"#,
    ]);
    let fingerprints: Vec<u64> = (0..6).map(|row| parsed.shape(row).fingerprint).collect();
    assert_eq!(fingerprints[0], fingerprints[1]);
    for (row, other) in [(0, 2), (0, 3), (3, 4)] {
        assert_ne!(fingerprints[row], fingerprints[other]);
    }
    assert_eq!(paths(&parsed, 5), ["}", "\".)"]);
    assert_eq!(parsed.shape(5).element_names, ["\".).)", "\".).."]);
    assert_eq!(parsed.shapes().len(), 5);
}

#[test]
fn equal_names_shadow_the_earlier_one() {
    let (parsed, rejected) = parse_all(&[br#"{"a":1,"b":{"a":2},"a":3}"#]);
    assert!(rejected.is_empty());
    let shadowed: Vec<bool> = parsed.shape(0).fields.iter().map(|field| field.shadowed).collect();
    assert_eq!(shadowed, [true, false, false]);
}

#[test]
fn ever_new_names_and_wide_records_stay_bounded() {
    let table = ShapeTable::with_capacity(10);
    let records: Vec<String> =
        (0..100).map(|n| format!(r#"{{"scores":{{"{n}":1,"x":2}},"plain":{{"x":1}}}}"#)).collect();
    let (parsed, _) = parse(&BinaryArray::from_iter_values(&records), &table);
    assert_eq!(parsed.shapes().len(), 1);
    assert_eq!(paths(&parsed, 0), ["scores", "plain.x"]);
    assert_eq!(parsed.leaves(7)[0].raw(parsed.text(7)), r#"{"7":1,"x":2}"#);

    let records: Vec<String> = (0..100).map(|n| format!(r#"{{"key_{n}":1}}"#)).collect();
    let (parsed, _) = parse(&BinaryArray::from_iter_values(&records), &table);
    assert_eq!(parsed.shapes().len(), 100);
    assert!(table.len() <= 10);

    let fields: Vec<String> = (0..5_000).map(|n| format!(r#""key_{n}":{n}"#)).collect();
    let wide = format!("{{{}}}", fields.join(","));
    let (parsed, rejected) = parse(&BinaryArray::from_iter_values([&wide]), &table);
    assert!(rejected.is_empty());
    assert_eq!((parsed.shape(0).body, parsed.leaves(0).len()), (Body::Wide, 0));
}

#[test]
fn a_record_that_is_a_map_from_ids_is_kept_whole() {
    let record = |n: usize| {
        let id = format!("6f1c2a9e-1111-4222-8333-{n:012}");
        format!(r#"{{"{id}":{{"qty":1}},"user{n}@example.org":{{"qty":2}},"total":3}}"#)
    };
    let records: Vec<String> = (0..100).map(record).collect();
    let (parsed, rejected) = parse(&BinaryArray::from_iter_values(&records), &ShapeTable::default());
    assert!(rejected.is_empty());
    assert_eq!(parsed.shapes().len(), 1);
    assert_eq!((parsed.shape(7).body, parsed.leaves(7).len()), (Body::Wide, 0));
    assert_eq!(parsed.text(7), records[7]);
}

#[test]
fn a_record_with_a_very_long_name_is_kept_whole() {
    let fields: Vec<String> = (0..200).map(|n| format!(r#""key_{n}":{n}"#)).collect();
    for (length, body) in [(1_000, Body::Object), (1_000_000, Body::Wide)] {
        let record = format!(r#"{{"{}":{{{}}}}}"#, "x".repeat(length), fields.join(","));
        let (parsed, rejected) = parse_all(&[record.as_bytes()]);
        assert!(rejected.is_empty());
        assert_eq!(parsed.shape(0).body, body);
    }
}

#[test]
fn a_record_that_says_something_by_its_names_is_taken_apart() {
    let fields: Vec<String> = (0..300).map(|n| format!(r#""key_{n}":{n}"#)).collect();
    let wide = format!("{{{}}}", fields.join(","));
    for (record, leaves) in [
        ("{}", 0),
        (wide.as_str(), 300),
        // Years, the columns of a table without a head, and the tags of DICOM.
        (r#"{"2023":5,"2024":4,"name":"x"}"#, 3),
        (r#"{"0":"x","1":2}"#, 2),
        (r#"{"00080005":{"vr":"CS"},"00100020":{"vr":"LO"}}"#, 2),
        // One thing under its id, and ids among names.
        (r#"{"24296fb24b8ad77a":{"body":"x","integratedTime":1700000000}}"#, 2),
        (r#"{"a@example.org":1,"b@example.org":2,"ts":1700000000,"room":"x"}"#, 4),
    ] {
        let (parsed, rejected) = parse_all(&[record.as_bytes()]);
        assert!(rejected.is_empty(), "{record}");
        assert_eq!((parsed.shape(0).body, parsed.leaves(0).len()), (Body::Object, leaves), "{record}");
    }
}

#[test]
fn typed_rows_become_records() {
    use arrow::array::{Int64Array, StringArray, TimestampMicrosecondArray};
    let batch = RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(vec![Some(1), None])) as Arc<dyn Array>),
        ("text", Arc::new(StringArray::from(vec![Some("two\nlines"), None])) as Arc<dyn Array>),
        ("ts", Arc::new(TimestampMicrosecondArray::from(vec![Some(1), None]).with_timezone("UTC"))),
    ])
    .unwrap();
    let parsed = Parsed::from_batch(&batch, &ShapeTable::default()).unwrap();
    assert_eq!(parsed.text(0), r#"{"id":1,"text":"two\nlines","ts":"1970-01-01T00:00:00.000001Z"}"#);
    assert_eq!(parsed.len(), 2);
}

#[test]
fn slices_and_garbage_behind_nulls_do_no_harm() {
    let payloads = BinaryArray::from_opt_vec(vec![Some(b"\xff".as_slice()), Some(b"{\"a\":1}"), Some(b"x")]);
    let (parsed, rejected) = parse(&payloads.slice(1, 2), &ShapeTable::default());
    assert!(rejected.is_empty());
    assert_eq!(parsed.payload().iter().collect::<Vec<_>>(), [Some("{\"a\":1}"), Some("x")]);
}

fn agrees_with_serde(text: &str) -> Result<(), TestCaseError> {
    let (_, rejected) = parse_all(&[text.as_bytes()]);
    let object = text.trim_matches([' ', '\n', '\r', '\t']).starts_with('{');
    let theirs = serde_json::from_str::<serde_json::Value>(text);
    if object {
        prop_assert_eq!(rejected.is_empty(), theirs.is_ok(), "{:?}: {:?}, {:?}", text, rejected, theirs);
    }
    // Anything may stand inside an object, so that every text is compared.
    let wrapped = format!("{{\"k\":{text}}}");
    let (parsed, rejected) = parse_all(&[wrapped.as_bytes()]);
    let theirs = serde_json::from_str::<serde_json::Value>(&wrapped);
    prop_assert_eq!(rejected.is_empty(), theirs.is_ok(), "{:?}: {:?}, {:?}", wrapped, rejected, theirs);
    if let Ok(theirs) = theirs {
        for (field, leaf) in parsed.shape(0).fields.iter().zip(parsed.leaves(0)) {
            let mut value = &theirs;
            for name in &field.raw_names {
                value = &value[super::super::scan::unescape(name).as_ref()];
            }
            if let (serde_json::Value::String(theirs), false) = (value, field.shadowed) {
                prop_assert_eq!(&super::super::scan::unescape(leaf.raw(&wrapped)), theirs);
            }
        }
    }
    Ok(())
}

#[test]
fn nesting_has_the_limit_of_serde() {
    for depth in 120..135 {
        let arrays = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        agrees_with_serde(&arrays).unwrap();
        let objects = format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        agrees_with_serde(&objects).unwrap();
    }
    let bomb = "[".repeat(1_000_000);
    assert_eq!(parse_all(&[bomb.as_bytes()]).0.shape(0).body, Body::Text);
    assert_eq!(parse_all(&[format!("{{\"a\":{bomb}").as_bytes()]).1.len(), 1);
}

#[test]
fn awkward_numbers_and_texts_are_as_serde_has_them() {
    for text in [
        "1e999",
        "-1e999",
        "1e-999",
        "01",
        "-",
        "-0",
        "0.",
        ".5",
        "1.e1",
        "1E+2",
        "123456789012345678901234567890",
        r#""\ud800""#,
        r#""\ud83d\ude00""#,
        r#""\udc00""#,
        r#""\ud800\u0041""#,
        r#""\x""#,
        "\"\t\"",
        "\"\u{7f}\"",
        "tru",
        "nul",
        "\"",
        "\"\\",
        "[1,]",
        "[,1]",
        "{\"a\"}",
        "{,}",
        "{\"a\":1,}",
        "\u{feff}1",
        "1 2",
        "+1",
        "Infinity",
    ] {
        agrees_with_serde(text).unwrap();
    }
    agrees_with_serde(&"9".repeat(400)).unwrap();
}

/// Pieces of JSON in any order: much of it nearly right.
fn soup() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just(",".to_owned()),
        Just(":".to_owned()),
        Just("\"a\"".to_owned()),
        Just("\"b\":".to_owned()),
        Just("1".to_owned()),
        Just(" ".to_owned()),
        Just("true".to_owned()),
        Just("null".to_owned()),
        Just("\"".to_owned()),
        Just("\\".to_owned()),
        Just("\\u00e9".to_owned()),
        Just("-2.5e1".to_owned()),
        "[ -~]{0,4}",
        "\\PC{0,3}",
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        "\\PC{0,12}|[\\x00-\\x1f\"\\\\]{0,4}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::vec(("[a-c]{1,2}|\\PC{0,4}", inner), 0..6)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn soup_is_refused_as_serde_refuses_it(text in soup()) {
        agrees_with_serde(&text)?;
    }

    #[test]
    fn valid_values_are_read_and_damaged_ones_refused(value in value(), at in any::<prop::sample::Index>(), byte in 0x20u8..0x7f) {
        let text = value.to_string();
        agrees_with_serde(&text)?;
        let mut damaged = text.into_bytes();
        let at = at.index(damaged.len());
        damaged[at] = byte;
        if let Ok(damaged) = String::from_utf8(damaged) {
            agrees_with_serde(&damaged)?;
        }
    }
}
