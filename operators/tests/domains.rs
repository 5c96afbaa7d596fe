//! Records of public sources, and records in the formats of well-known systems, find their domains and their times.

use arrow::array::{AsArray, BinaryArray, TimestampMicrosecondArray};
use arrow::datatypes::TimestampMicrosecondType;
use std::collections::BTreeMap;
use std::sync::Arc;
use thermocline_operators::classify::fit::{Examples, Labelled, shares_by_domain};
use thermocline_operators::classify::model::Model;
use thermocline_operators::{MappingOverrides, Router, TopicRules};
use thermocline_schemas::domain::Registry;
use thermocline_schemas::format::{ShapeTable, parse, timestamp};

#[derive(serde::Deserialize)]
struct Record {
    topic: String,
    ts: Option<String>,
    domain: String,
    payload: serde_json::Value,
}

/// Shares of right domains, by domain and topic, and of right event times; the topic is blanked.
fn measure(lines: &str) -> (BTreeMap<String, (f64, f64)>, f64) {
    let records: Vec<Record> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let payloads = records.iter().map(|record| match &record.payload {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    let (parsed, rejected) = parse(&BinaryArray::from_iter_values(payloads), &ShapeTable::default());
    assert!(rejected.is_empty());
    let router =
        Router::new(Arc::new(Registry::shipped()), TopicRules::default(), MappingOverrides::default()).unwrap();
    let timestamps = TimestampMicrosecondArray::from(vec![1; parsed.len()]);
    let mut right: BTreeMap<String, BTreeMap<&str, (f64, f64)>> = BTreeMap::new();
    let (mut timed, mut right_times) = (0.0, 0.0);
    for routed in router.route("", &parsed, None, &timestamps, 1).unwrap() {
        let times = routed.batch["event_time"].as_primitive::<TimestampMicrosecondType>();
        for (at, position) in routed.rows.values().iter().enumerate() {
            let record = &records[*position as usize];
            let count = right.entry(record.domain.clone()).or_default().entry(&record.topic).or_default();
            count.0 += f64::from(u8::from(*record.domain == *routed.domain));
            count.1 += 1.0;
            if let Some(time) = record.ts.as_deref().and_then(timestamp::from_text) {
                timed += 1.0;
                right_times += f64::from(u8::from((times.value(at) - time).abs() < 1_000_000));
            }
        }
    }
    let shares = right.into_iter().map(|(domain, topics)| {
        let (right, all) = topics.values().fold((0.0, 0.0), |sum, topic| (sum.0 + topic.0, sum.1 + topic.1));
        let mean = topics.values().map(|(right, all)| right / all).sum::<f64>() / topics.len() as f64;
        (domain, (right / all, mean))
    });
    (shares.collect(), right_times / timed)
}

fn mean(shares: &BTreeMap<String, (f64, f64)>) -> f64 {
    shares.values().map(|(_, by_topic)| by_topic).sum::<f64>() / shares.len() as f64
}

/// The model has seen these records: this holds that they stay right, and their times.
#[test]
fn records_of_public_sources_find_their_domains_and_times() {
    let (shares, times) = measure(include_str!("data/records.jsonl"));
    assert!(mean(&shares) >= 0.90, "{shares:?}");
    for (domain, (_, by_topic)) in &shares {
        assert!(*by_topic >= 0.70, "{domain}: {by_topic}");
    }
    assert!(times >= 0.95, "{times}");
}

#[test]
fn records_in_formats_of_known_systems_find_their_domains() {
    let (shares, _) = measure(include_str!("data/formats.jsonl"));
    assert!(mean(&shares) >= 0.85, "{shares:?}");
    for (domain, (_, by_topic)) in &shares {
        assert!(*by_topic >= 0.70, "{domain}: {by_topic}");
    }
}

/// Records in the formats of systems that nobody had looked at who wrote the classifier, its phrases or its data.
#[test]
fn records_of_systems_that_nobody_has_looked_at_find_their_domains() {
    let (shares, times) = measure(include_str!("data/unseen.jsonl"));
    println!("{:.3} of the domains, {times:.3} of the times: {shares:?}", mean(&shares));
    assert!(mean(&shares) >= 0.70, "{shares:?}");
    assert!(times >= 0.75, "{times}");
}

/// Fits the model to four fifths of the sources, and asks it about the others, with their topics blank; for each fifth.
#[test]
fn sources_that_were_left_out_whole_find_their_domains() {
    let examples = Examples::new(&Labelled::shipped());
    let judged = examples.cross_validate(5);
    let shares = shares_by_domain(&judged);
    let mean = shares.values().map(|(share, _)| share).sum::<f64>() / shares.len() as f64;
    println!("{mean:.3}: {shares:?}");
    assert!(mean >= 0.70, "{shares:?}");

    // And its confidence means something: of the records with 0.8 and more, eight in ten and more are right.
    let sure = judged.iter().filter(|it| it.confidence >= 0.8).map(|it| f64::from(u8::from(it.is_right())));
    let (right, all) = sure.fold((0.0, 0.0), |(right, all), it| (right + it, all + 1.0));
    assert!(all >= 0.4 * judged.len() as f64 && right >= 0.85 * all, "{right} of {all} of {}", judged.len());
}

/// The model that ships has learnt from the shipped records.
#[test]
fn the_shipped_model_is_fitted_to_the_shipped_records() {
    let examples = Examples::new(&Labelled::shipped());
    let judged = examples.judge_all(Model::shipped());
    let right = judged.iter().filter(|it| it.is_right()).count();
    assert!(right as f64 >= 0.95 * judged.len() as f64, "{right} of {}", judged.len());
}
