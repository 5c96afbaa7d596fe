use super::*;
use crate::table::timestamp_type;
use arrow::array::AsArray;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int32Type, Int64Type, Schema,
    TimestampMicrosecondType,
};
use proptest::prelude::*;

fn decoder(fields: &[(&str, DataType)]) -> JsonDecoder {
    let fields: Vec<Field> = fields.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect();
    JsonDecoder::new(Arc::new(Schema::new(fields))).unwrap()
}

fn decode(decoder: &mut JsonDecoder, payloads: &[&str]) -> Decoded {
    decoder.decode(&BinaryArray::from_iter_values(payloads))
}

#[test]
fn every_type_is_read() {
    let mut decoder = decoder(&[
        ("text", DataType::Utf8),
        ("i32", DataType::Int32),
        ("i64", DataType::Int64),
        ("f32", DataType::Float32),
        ("f64", DataType::Float64),
        ("yes", DataType::Boolean),
        ("ts", timestamp_type()),
        ("day", DataType::Date32),
        ("amount", DataType::Decimal128(10, 2)),
        ("bytes", DataType::Binary),
    ]);
    let decoded = decode(
        &mut decoder,
        &[
            r#"{"text":"a\n\u00e9\ud83d\ude00","i32":-5,"i64":9223372036854775807,"f32":1,"f64":1e-3,"yes":true,
                "ts":"2026-11-21T09:30:00.5+01:00","day":"2026-11-21","amount":12.5,"bytes":"aGk="}"#,
            r#"{"bytes":"","amount":"-0.10","ts":1700000000,"i64":1e3,"te\u0078t":"","nested":{"a":[1]}}"#,
            r#"{"text":null,"ts":1700000000123}"#,
        ],
    );
    assert_eq!(decoded.rejected, []);
    assert_eq!(decoded.unknown_fields, 1);
    let batch = &decoded.batch;
    assert_eq!(batch["text"].as_string::<i32>().iter().collect::<Vec<_>>(), [Some("a\né😀"), Some(""), None]);
    assert_eq!(batch["i32"].as_primitive::<Int32Type>().iter().collect::<Vec<_>>(), [Some(-5), None, None]);
    assert_eq!(batch["i64"].as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(i64::MAX), Some(1000), None]);
    assert_eq!(batch["f32"].as_primitive::<Float32Type>().value(0), 1.0);
    assert_eq!(batch["f64"].as_primitive::<Float64Type>().value(0), 0.001);
    assert!(batch["yes"].as_boolean().value(0) && batch["yes"].is_null(1));
    assert_eq!(
        batch["ts"].as_primitive::<TimestampMicrosecondType>().values(),
        &[1_795_249_800_500_000, 1_700_000_000_000_000, 1_700_000_000_123_000]
    );
    assert_eq!(batch["day"].as_primitive::<Date32Type>().value(0), 20_778);
    assert_eq!(batch["amount"].as_primitive::<Decimal128Type>().values(), &[1250, -10, 0]);
    assert_eq!(batch["bytes"].as_binary::<i32>().iter().collect::<Vec<_>>(), [Some(b"hi".as_slice()), Some(b""), None]);
}

#[test]
fn what_does_not_fit_is_rejected_alone_with_its_place() {
    let mut decoder = decoder(&[
        ("amount", DataType::Float64),
        ("id", DataType::Int32),
        ("text", DataType::Utf8),
        ("price", DataType::Decimal128(5, 2)),
        ("ts", timestamp_type()),
        ("day", DataType::Date32),
    ]);
    let cases = [
        (r#"{"amount":1}"#, ""),
        (r#"{"id":1,"amount":"twelve"}"#, r#"line 1, column 18: "amount" should be a number, found "twelve""#),
        (r#"{"amount":1}{"amount":2}"#, "line 1, column 13: one JSON object is a record, but more follows it"),
        ("", "line 1, column 1: the payload is empty, but should be one JSON object"),
        ("[]", "line 1, column 1: one JSON object should be here"),
        (r#"{"amount":"#, "line 1, column 11: a value is missing at the end"),
        (r#"{"id":3000000000}"#, r#"line 1, column 7: "id" should be an integer of 32 bits, found 3000000000"#),
        (r#"{"id":1.5}"#, r#"line 1, column 7: "id" should be an integer of 32 bits, found 1.5"#),
        (r#"{"text":{"a":1}}"#, r#"line 1, column 9: "text" should be text, found {"a":1}"#),
        (r#"{"text":"fine","id":true}"#, r#"line 1, column 21: "id" should be an integer of 32 bits, found true"#),
        (
            r#"{"price":1.005}"#,
            r#"line 1, column 10: "price" should be a number of 5 digits, 2 of them after the point, found 1.005"#,
        ),
        (
            r#"{"price":1000}"#,
            r#"line 1, column 10: "price" should be a number of 5 digits, 2 of them after the point, found 1000"#,
        ),
        (r#"{"ts":"yesterday"}"#, r#"line 1, column 7: "ts" should be a time, found "yesterday""#),
        (r#"{"day":"2026-02-30"}"#, r#"line 1, column 8: "day" should be a date like 2026-11-21, found "2026-02-30""#),
        (r#"{"text":"last"}"#, ""),
    ];
    let decoded = decode(&mut decoder, &cases.map(|(payload, _)| payload));
    assert_eq!(decoded.accepted.values(), &[0, 14]);
    assert_eq!(decoded.batch.num_rows(), 2);
    assert_eq!(decoded.batch.column_by_name("text").unwrap().as_string::<i32>().value(1), "last");
    for rejected in &decoded.rejected {
        assert_eq!(rejected.error, cases[rejected.row].1);
    }
    assert_eq!(decoded.rejected.len(), 13);
}

#[test]
fn null_payloads_bad_utf8_and_required_columns_are_rejected() {
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, false)]);
    let mut decoder = JsonDecoder::new(Arc::new(schema)).unwrap();
    let payloads =
        BinaryArray::from_opt_vec(vec![None, Some(b"\xff"), Some(b"{}"), Some(b"{\"id\":null}"), Some(b"{\"id\":7}")]);
    let decoded = decoder.decode(&payloads);
    assert_eq!(decoded.accepted.values(), &[4]);
    assert_eq!(decoded.rejected[2].error, r#"line 1, column 1: "id" is missing"#);
    assert_eq!(decoded.rejected[3].error, r#"line 1, column 7: "id" should not be null"#);
    assert!(JsonDecoder::new(Arc::new(Schema::new(vec![Field::new("x", DataType::UInt8, true)]))).is_err());
}

#[test]
fn the_last_of_equal_names_counts_and_order_does_not() {
    let mut decoder = decoder(&[("a", DataType::Int64), ("b", DataType::Int64)]);
    let decoded = decode(&mut decoder, &[r#"{"a":1,"b":2}"#, r#"{"b":3,"a":4,"b":5}"#, r#"{"c":0,"a":6}"#]);
    let column = |name| decoded.batch.column_by_name(name).unwrap().as_primitive::<Int64Type>();
    assert_eq!(column("a").values(), &[1, 4, 6]);
    assert_eq!(column("b").iter().collect::<Vec<_>>(), [Some(2), Some(5), None]);
    assert_eq!(decoded.unknown_fields, 1);
}

#[test]
fn a_schema_without_columns_counts_rows() {
    let decoded = decode(&mut decoder(&[]), &["{}", "{\"a\":1}", "x"]);
    assert_eq!((decoded.batch.num_rows(), decoded.rejected.len()), (2, 1));
}

proptest! {
    /// Bad records among good ones shift nothing: every row holds its own number.
    #[test]
    fn rows_stay_beside_their_records(kinds in prop::collection::vec(0u8..6, 0..60)) {
        let payloads: Vec<String> = kinds.iter().enumerate().map(|(row, kind)| match kind {
            0 => format!(r#"{{"id":{row},"text":"t{row}","amount":{row}.5,"ts":{}}}"#, 1_700_000_000 + row),
            1 => format!(r#"{{"amount":{row}.5,"ts":{},"id":{row},"text":"t{row}","more":[{{}}]}}"#, 1_700_000_000 + row),
            2 => format!(r#"{{"text":"bad","amount":1,"id":"{row}"}}"#),
            3 => format!(r#"{{"id":{row}}}{{"id":{row}}}"#),
            4 => format!(r#"{{"id":{row},"text":"t"#),
            _ => String::new(),
        }).collect();
        let mut decoder = decoder(&[
            ("id", DataType::Int64), ("text", DataType::Utf8), ("amount", DataType::Float64), ("ts", timestamp_type()),
        ]);
        let decoded = decoder.decode(&BinaryArray::from_iter_values(&payloads));
        prop_assert_eq!(decoded.accepted.len() + decoded.rejected.len(), payloads.len());
        prop_assert_eq!(decoded.accepted.len(), kinds.iter().filter(|kind| **kind < 2).count());
        let batch = &decoded.batch;
        for (at, row) in decoded.accepted.values().iter().enumerate() {
            prop_assert_eq!(batch.column(0).as_primitive::<Int64Type>().value(at), i64::from(*row));
            prop_assert_eq!(batch.column(1).as_string::<i32>().value(at), format!("t{row}"));
            prop_assert_eq!(batch.column(2).as_primitive::<Float64Type>().value(at), f64::from(*row) + 0.5);
            let time = batch.column(3).as_primitive::<TimestampMicrosecondType>().value(at);
            prop_assert_eq!(time, (1_700_000_000 + i64::from(*row)) * 1_000_000);
        }
    }
}
