use super::*;
use arrow::array::{AsArray, BinaryArray};
use arrow::datatypes::TimestampMicrosecondType;
use proptest::prelude::*;
use thermocline_schemas::format::{ShapeTable, parse};
use thermocline_schemas::time::MICROS_PER_DAY;

const NOW: EventTime = 1_795_253_400_000_000;

fn router(rules: TopicRules) -> Router {
    Router::new(Arc::new(Registry::shipped()), rules, MappingOverrides::default()).unwrap()
}

fn route(router: &Router, topic: &str, payloads: &[&str]) -> Vec<Routed> {
    let (parsed, rejected) = parse(&BinaryArray::from_iter_values(payloads), &ShapeTable::default());
    assert!(rejected.is_empty(), "{rejected:?}");
    let timestamps = TimestampMicrosecondArray::from(vec![NOW - 1; parsed.len()]);
    router.route(topic, &parsed, None, &timestamps, NOW).unwrap()
}

fn text<'a>(routed: &'a Routed, column: &str, row: usize) -> Option<&'a str> {
    let column = routed.batch[column].as_string::<i32>();
    column.is_valid(row).then(|| column.value(row))
}

#[test]
fn records_go_to_their_domains_tiers_and_columns() {
    let router = router(TopicRules::default());
    let old = r#"{"ts":"2020-01-01T00:00:00Z","level":"ERROR","host":"db-1","service":"orders","message":"connection refused"}"#;
    let new = r#"{"ts":"2026-11-21T09:00:00Z","level":"INFO","host":"db-1","service":"orders","message":"connected"}"#;
    let chat = r#"{"from":"ann","channel":"help","text":"can you help me please?","reaction":"+1"}"#;
    let routed = route(&router, "", &[old, chat, new]);
    let domains: Vec<&str> = routed.iter().map(|routed| routed.domain.as_ref()).collect();
    assert_eq!(domains, ["chat", "logs"]);
    let [chat, logs] = &routed[..] else { panic!() };
    assert_eq!(logs.rows.values(), &[0, 2]);
    assert_eq!(logs.tiers, [Tier::Cold, Tier::Hot]);
    assert_eq!(text(logs, "message", 0), Some("connection refused"));
    assert_eq!(text(logs, "attributes", 0), None);
    assert_eq!(chat.tiers, [Tier::Hot]);
    assert_eq!(text(chat, "author", 0), Some("ann"));
    assert_eq!(text(chat, "attributes", 0), Some(r#"{"reaction":"+1"}"#));
    let times = chat.batch["event_time"].as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.value(0), NOW - 1);

    let decisions = router.take_new_decisions();
    assert_eq!(decisions.len(), 2);
    let logs = decisions.iter().find(|decision| decision.domain == "logs").unwrap();
    assert_eq!(logs.event_time.as_deref(), Some("ts"));
    assert_eq!(logs.unmapped, ["ts"]);
    assert!(serde_json::to_string(logs).unwrap().contains(r#""column":"message","reason":"exact""#));
    assert!(router.take_new_decisions().is_empty());
}

#[test]
fn a_rule_settles_a_topic() {
    let router = router(TopicRules::default().with("raw.*", "archive"));
    let routed = route(&router, "raw.things", &["just text", r#"{"x":1}"#, "[1]", ""]);
    assert_eq!((routed.len(), routed[0].domain.as_ref()), (1, "archive"));
    let attributes: Vec<Option<&str>> = (0..4).map(|row| text(&routed[0], "attributes", row)).collect();
    assert_eq!(attributes, [Some("\"just text\""), Some(r#"{"x":1}"#), Some("[1]"), None]);
    assert!(
        Router::new(
            Arc::new(Registry::shipped()),
            TopicRules::default().with("*", "nosuch"),
            MappingOverrides::default()
        )
        .is_err()
    );
}

#[test]
fn what_fits_nowhere_is_unclassified_and_whole() {
    let records = [r#"{"zxq":1,"q9":[true]}"#, "", "[]", "null", "{}", "12"];
    let routed = route(&router(TopicRules::default()), "", &records);
    assert_eq!((routed.len(), routed[0].domain.as_ref()), (1, "unclassified"));
    let attributes: Vec<Option<&str>> = (0..6).map(|row| text(&routed[0], "attributes", row)).collect();
    assert_eq!(attributes, [Some(r#"{"zxq":1,"q9":[true]}"#), None, Some("[]"), Some("null"), None, Some("12")]);
}

#[test]
fn values_that_do_not_fit_or_would_lose_digits_stay_in_attributes() {
    let rules = TopicRules::default().with("m", "metrics").with("w", "workflow");
    let router = router(rules);
    let routed = route(
        &router,
        "m",
        &[r#"{"name":"a","value":0.1,"x":1}"#, r#"{"name":"b","value":12345678901234567890,"x":2}"#],
    );
    assert_eq!(text(&routed[0], "attributes", 0), Some(r#"{"x":1}"#));
    assert_eq!(text(&routed[0], "attributes", 1), Some(r#"{"value":12345678901234567890,"x":2}"#));
    let routed = route(&router, "w", &[r#"{"attempt":1.5,"took_seconds":2,"started_at":"soon"}"#]);
    let kept = r#"{"attempt":1.5,"took_seconds":2,"started_at":"soon"}"#;
    assert_eq!(text(&routed[0], "attributes", 0), Some(kept));
    assert!(routed[0].batch["started_at"].is_null(0) && routed[0].batch["attempt"].is_null(0));
    let millis = routed[0].batch["duration_ms"].as_primitive::<arrow::datatypes::Float64Type>();
    assert_eq!(millis.value(0), 2_000.0);
}

#[test]
fn a_time_that_loses_its_zone_stays_in_attributes() {
    let router = router(TopicRules::default().with("*", "logs"));
    let records = [r#"{"ts":"2026-11-21T10:00:00+01:00"}"#, r#"{"ts":"2026-11-21T09:00:00Z"}"#, r#"{"ts":"never"}"#];
    let routed = route(&router, "x", &records);
    let attributes: Vec<Option<&str>> = (0..3).map(|row| text(&routed[0], "attributes", row)).collect();
    assert_eq!(attributes, [Some(records[0]), None, Some(records[2])]);
}

#[test]
fn a_declared_event_time_leaves_every_field_in_attributes() {
    let router = router(TopicRules::default().with("*", "logs"));
    let record = r#"{"ts":"2026-11-21T09:00:00Z","created_at":"2020-01-01T00:00:00Z"}"#;
    let (parsed, _) = parse(&BinaryArray::from_iter_values([record, record]), &ShapeTable::default());
    let declared = TimestampMicrosecondArray::from(vec![Some(NOW - 3_000 * MICROS_PER_DAY), None]);
    let routed = router.route_declared("t", &parsed, None, &declared, NOW).unwrap();
    let times = routed[0].batch["event_time"].as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.values(), &[NOW - 3_000 * MICROS_PER_DAY, NOW]);
    assert_eq!(routed[0].tiers, [Tier::Cold, Tier::Hot]);
    assert_eq!((text(&routed[0], "attributes", 0), text(&routed[0], "attributes", 1)), (Some(record), Some(record)));
    assert!(router.route_declared("t", &parsed, Some(&UInt32Array::from(vec![0])), &declared, NOW).is_err());

    // Another branch may take the same records without; both are listed.
    let routed = router.route("t", &parsed, None, &declared, NOW).unwrap();
    assert_eq!(text(&routed[0], "attributes", 0), Some(r#"{"created_at":"2020-01-01T00:00:00Z"}"#));
    let decisions = router.take_new_decisions();
    let listed: Vec<(Option<&str>, usize)> =
        decisions.iter().map(|it| (it.event_time.as_deref(), it.event_time_else.len())).collect();
    assert_eq!(listed, [(Some("(declared by the pipeline)"), 0), (Some("ts"), 1)]);
    assert_ne!(decisions[0].key(), decisions[1].key());
}

#[test]
fn the_field_that_said_when_is_listed_and_the_others_behind_it() {
    let router = router(TopicRules::default().with("*", "logs"));
    route(&router, "a", &[r#"{"timestamp":12,"date":"2026-11-20"}"#, r#"{"timestamp":1795253400,"date":"x"}"#]);
    route(&router, "a", &[r#"{"time":"soon"}"#]);
    let decisions = router.take_new_decisions();
    let listed: Vec<(Option<&str>, &[String])> =
        decisions.iter().map(|it| (it.event_time.as_deref(), &it.event_time_else[..])).collect();
    assert_eq!(listed, [(Some("date"), &["timestamp".to_owned()][..]), (None, &["time".to_owned()][..])]);
}

#[test]
fn a_shape_that_two_topics_map_differently_is_listed_twice() {
    let file = r#"
        [[mapping]]
        topic = "a"
        event_time = "broker"
        [[mapping]]
        topic = "b"
        fields = { "remark" = "message" }
    "#;
    let overrides = MappingOverrides::from_toml("mapping.toml", file).unwrap();
    let rules = TopicRules::default().with("*", "logs");
    let router = Router::new(Arc::new(Registry::shipped()), rules, overrides).unwrap();
    for topic in ["a", "b", "c", "d"] {
        route(&router, topic, &[r#"{"ts":1795253400,"remark":"r"}"#]);
    }
    let decisions = router.take_new_decisions();
    let topics: Vec<&str> = decisions.iter().map(|decision| decision.topic.as_str()).collect();
    assert_eq!(topics, ["a", "b", "c"]);
    let keys: AHashSet<String> = decisions.iter().map(Decision::key).collect();
    assert_eq!(keys.len(), 3);
    assert_eq!(decisions[2].key(), format!("{}/logs", decisions[2].shape));
    let times: Vec<Option<&str>> = decisions.iter().map(|decision| decision.event_time.as_deref()).collect();
    assert_eq!(times, [None, Some("ts"), Some("ts")]);
}

#[test]
fn what_is_known_is_bounded_in_memory_and_large_shapes_are_not_kept() {
    let router = router(TopicRules::default());
    let parsed = |record: String| {
        let (parsed, rejected) = parse(&BinaryArray::from_iter_values([record]), &ShapeTable::default());
        assert!(rejected.is_empty(), "{rejected:?}");
        Arc::clone(parsed.shape(0))
    };
    let shape = |name: &str| parsed(format!(r#"{{"{name}":1}}"#));
    let verdict = router.classifier.shape("", &shape("x"));
    let known_as = |shape| Arc::new(Known { shape, verdict: verdict.clone(), plans: vec![] });
    let known = |name: &str| known_as(shape(name));
    let mut kept = KnownShapes::default();
    // Many fields, because an object with names of this length together is kept whole.
    let names = (0..1_000).map(|number| format!(r#""{}{number}":1"#, "x".repeat(110)));
    let large = parsed(format!("{{{}}}", names.collect::<Vec<_>>().join(",")));
    assert!(large.memory_bytes() > LARGEST_KEPT_BYTES, "{}", large.memory_bytes());
    kept.keep("t", &known_as(large));
    assert_eq!((kept.count, kept.bytes), (0, 0));
    let name = "x".repeat(LARGEST_KEPT_BYTES / 8);
    let most = 8 * MOST_KNOWN_BYTES / LARGEST_KEPT_BYTES;
    for number in 0..most {
        let known = known(&format!("{name}_{number}"));
        kept.keep("t", &known);
        assert!(kept.bytes <= MOST_KNOWN_BYTES && kept.bytes >= kept.count * name.len());
        assert!(Arc::ptr_eq(&kept.get("t", &known.shape).unwrap(), &known));
    }
    assert!((1..most).contains(&kept.count), "{}", kept.count);
    let before = (kept.count, kept.bytes);
    kept.keep("t", &known(&format!("{name}_{}", most - 1)));
    assert_eq!((kept.count, kept.bytes), before);
}

#[test]
fn a_users_domain_works_from_its_declaration() {
    let mut registry = Registry::shipped();
    let mut fleet =
        Domain::new("fleet").column(Field::new("plate", DataType::Utf8, true), "license plate, registration");
    fleet.phrases.names.push(
        "vehicle id, license plate, odometer, fuel level, truck, driver id, trip distance, route stop".to_owned(),
    );
    fleet.policy.hot_for_micros = MICROS_PER_DAY;
    registry.add(fleet).unwrap();
    let router = Router::new(Arc::new(registry), TopicRules::default(), MappingOverrides::default()).unwrap();
    let record =
        r#"{"vehicleId":"v1","licensePlate":"B-X 1","odometerKm":120331,"fuelLevel":0.4,"ts":"2026-11-18T09:30:00Z"}"#;
    let routed = route(&router, "", &[record]);
    assert_eq!((routed[0].domain.as_ref(), routed[0].tiers[0]), ("fleet", Tier::Warm));
    assert_eq!(text(&routed[0], "plate", 0), Some("B-X 1"));
}

#[test]
fn one_phrase_describes_a_domain_and_noise_fits_none() {
    let mut registry = Registry::shipped();
    let mut orders = Domain::new("orders").column(Field::new("order_id", DataType::Utf8, true), "");
    orders.phrases.names.push("an order was placed and paid".to_owned());
    orders.phrases.texts.push("an order was placed and paid".to_owned());
    registry.add(orders).unwrap();
    let router = Router::new(Arc::new(registry), TopicRules::default(), MappingOverrides::default()).unwrap();
    let domain = |record: &str| route(&router, "", &[record])[0].domain.to_string();
    assert_eq!(domain("an order was placed and paid"), "orders");
    assert_eq!(domain(r#"{"level":"ERROR","host":"db-1","message":"connection refused"}"#), "logs");
    for noise in ["||||", "---", "Zxqv brft plmk"] {
        assert_eq!(domain(noise), "unclassified", "{noise}");
    }
}

#[test]
fn chosen_rows_are_routed_in_their_order() {
    let router = router(TopicRules::default().with("*", "logs"));
    let (parsed, _) = parse(&BinaryArray::from_iter_values(["a", "b", "c"]), &ShapeTable::default());
    let rows = UInt32Array::from(vec![2, 0]);
    let times = TimestampMicrosecondArray::from(vec![Some(5), None]);
    let routed = router.route("t", &parsed, Some(&rows), &times, 9).unwrap();
    assert_eq!(routed[0].rows.values(), &[0, 1]);
    assert_eq!((text(&routed[0], "message", 0), text(&routed[0], "message", 1)), (Some("c"), Some("a")));
    assert_eq!(routed[0].batch["event_time"].as_primitive::<TimestampMicrosecondType>().values(), &[5, 9]);
    assert!(router.route("t", &parsed, None, &times, 9).is_err());
}

/// Every value of `record` that `attributes` or a column of `routed` holds.
fn holds_all(routed: &Routed, row: usize, record: &serde_json::Value) -> bool {
    let attributes =
        text(routed, "attributes", row).map_or(serde_json::json!({}), |json| serde_json::from_str(json).unwrap());
    let columns: Vec<String> = routed
        .batch
        .columns()
        .iter()
        .skip(1)
        .filter(|column| column.is_valid(row))
        .map(|column| arrow::util::display::array_value_to_string(column, row).unwrap())
        .collect();
    let fields = record.as_object().unwrap();
    fields.iter().all(|(name, value)| {
        let shown = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        let same = |column: &String| {
            *column == shown || column.parse::<f64>().ok().is_some_and(|number| value.as_f64() == Some(number))
        };
        let time = routed.batch["event_time"].as_primitive::<TimestampMicrosecondType>().value(row);
        let said =
            value.as_i64().is_some_and(|number| thermocline_schemas::format::timestamp::from_integer(number) == time);
        attributes.get(name) == Some(value) || columns.iter().any(same) || said
    })
}

proptest! {
    /// Rows of the batches add up to the records, and no value is lost, whatever the records are.
    #[test]
    fn nothing_is_lost(records in prop::collection::vec(prop::collection::btree_map(
        "text|message|level|host|value|name|user_id|zone|[a-z]{1,5}",
        prop_oneof![any::<i32>().prop_map(serde_json::Value::from), "[a-z ]{0,9}".prop_map(Into::into), any::<bool>().prop_map(Into::into)],
        1..6,
    ), 1..20)) {
        let records: Vec<serde_json::Value> = records.into_iter().map(|fields| serde_json::Value::Object(fields.into_iter().collect())).collect();
        let payloads: Vec<String> = records.iter().map(ToString::to_string).collect();
        let router = router(TopicRules::default());
        let payloads: Vec<&str> = payloads.iter().map(String::as_str).collect();
        let mut seen = vec![0; records.len()];
        for routed in route(&router, "", &payloads) {
            for (row, position) in routed.rows.values().iter().enumerate() {
                seen[*position as usize] += 1;
                prop_assert!(holds_all(&routed, row, &records[*position as usize]), "{:?}", records[*position as usize]);
            }
        }
        prop_assert!(seen.iter().all(|times| *times == 1));
    }

    /// Any payload is routed or was rejected before, whatever is in it.
    #[test]
    fn nothing_panics(payloads in prop::collection::vec(any_payload(), 1..12), topic in "\\PC{0,12}") {
        let (parsed, rejected) = parse(&BinaryArray::from_iter_values(&payloads), &ShapeTable::default());
        let timestamps = TimestampMicrosecondArray::from(vec![NOW; parsed.len()]);
        let routed = ROUTER.route(&topic, &parsed, None, &timestamps, NOW).unwrap();
        let rows: usize = routed.iter().map(|routed| routed.rows.len()).sum();
        prop_assert_eq!(rows + rejected.len(), payloads.len());
        for routed in &routed {
            for row in 0..routed.rows.len() {
                if let Some(json) = text(routed, "attributes", row) {
                    prop_assert!(serde_json::from_str::<serde_json::Value>(json).is_ok(), "{}", json);
                }
            }
        }
    }
}

static ROUTER: std::sync::LazyLock<Router> = std::sync::LazyLock::new(|| router(TopicRules::default()));

/// Bytes, texts, lines that begin like a log's, and objects whose names and values mean something to us.
fn any_payload() -> impl Strategy<Value = Vec<u8>> {
    let texts = "\\PC{0,400}|[\\x00-\\xff]{0,60}|(\\[|2026-|Nov 21 |11/2/|type=|é)[0-9a-z:./ ,+é-]{0,40}";
    let name = "text|message|date|time|ts|level|value|kind|tags|duration_ms|user|id|[a-z:@.\"\\\\]{0,6}";
    let scalar = prop_oneof![
        any::<i64>().prop_map(serde_json::Value::from),
        any::<f64>().prop_map(serde_json::Value::from),
        texts.prop_map(serde_json::Value::from),
        "[0-9:./TZ+-]{0,24}".prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null),
    ];
    let value = scalar.prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::vec((name, inner), 0..6).prop_map(|members| members.into_iter().collect()),
        ]
    });
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        texts.prop_map(String::into_bytes),
        value.prop_map(|value| value.to_string().into_bytes()),
    ]
}
