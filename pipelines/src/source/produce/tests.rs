//! Producing to real brokers, and reading it back.

use super::*;
use crate::source::kafka::tests::bench::{Run, config, create_topic, on_each_broker, unique};
use std::io::{Cursor, Write};
use thermocline_schemas::TopicPartition;

on_each_broker!(
    lines_become_records_byte_for_byte_plain_or_gzip,
    keys_come_from_a_field_and_partitions_as_told,
    times_move_by_one_constant_and_nothing_else_changes,
    envelopes_go_to_their_own_topics,
    what_was_sent_before_an_input_goes_wrong_is_acknowledged_and_counted,
    more_than_the_queue_holds_is_sent_and_a_record_too_large_names_its_line,
);

fn stream(text: &str) -> Input {
    Input::Stream(Box::new(Cursor::new(text.as_bytes().to_vec())))
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).expect("into memory");
    encoder.finish().expect("into memory")
}

fn read_back(bootstrap: &str, topic: &str) -> Vec<(Option<String>, String)> {
    let mut run = Run::start(config(bootstrap, topic), vec![]);
    run.take_noted();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let records = run.arrived.values().flatten();
    records
        .map(|record| (record.key.as_deref().map(text), text(record.payload.as_deref().unwrap_or(b"null"))))
        .collect()
}

fn lines_become_records_byte_for_byte_plain_or_gzip(bootstrap: &str) {
    let text = "{\"a\": 1}\nplain text, \u{fc}ml\u{e4}ut\r\n\n \t\r\n [1,2] \nlast without end";
    let lines = ["{\"a\": 1}", "plain text, \u{fc}ml\u{e4}ut", " [1,2] ", "last without end"];
    let twice = [gzip(text).as_slice(), gzip("\nsecond member").as_slice()].concat();
    let inputs = [(stream(text), 4), (Input::Stream(Box::new(Cursor::new(twice))), 5)];
    for (input, count) in inputs {
        let topic = unique("lines");
        let options = Produce { partitions: Some(1), ..Produce::new(bootstrap, topic.as_str()) };
        let mut told = (0, 0);
        let produced = produce(&options, input, |records, bytes| told = (records, bytes)).expect("produced");
        assert_eq!((produced.records, produced.created.clone()), (count, vec![topic.clone()]));
        assert_eq!(produced.blank_lines, 2);
        assert_eq!((told, produced.topics[&topic]), ((produced.records, produced.bytes), count));
        let found = read_back(bootstrap, &topic);
        assert!(found.iter().take(4).map(|(_, payload)| payload.as_str()).eq(lines));
        assert!(found.iter().all(|(key, _)| key.is_none()));
    }
}

fn keys_come_from_a_field_and_partitions_as_told(bootstrap: &str) {
    let topic = unique("keys");
    create_topic(bootstrap, &topic, 3);
    let options = Produce {
        key_field: Some("user.id".to_owned()),
        partition: Some(2),
        ..Produce::new(bootstrap, topic.as_str())
    };
    let lines = "{\"user\":{\"id\":7}}\n{\"user.id\":\"x\"}\n{\"user\":null}\nno json\n";
    let produced = produce(&options, stream(lines), |_, _| {}).expect("produced");
    assert_eq!((produced.records, produced.without_key, produced.created.len()), (4, 2, 0));
    let mut run = Run::start(config(bootstrap, &topic), vec![]);
    run.take_noted();
    let arrived = &run.arrived[&TopicPartition::new(topic.as_str(), 2)];
    let keys: Vec<_> = arrived.iter().map(|record| record.key.as_deref()).collect();
    assert_eq!(keys, [Some(&b"7"[..]), Some(&b"x"[..]), None, None]);
}

fn times_move_by_one_constant_and_nothing_else_changes(bootstrap: &str) {
    let topic = unique("moved");
    create_topic(bootstrap, &topic, 1);
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let lines = "{\"at\": \"2015-09-12T00:47:08.770+02:00\", \"n\":1.50}\n{\"n\":2}\n\
                 {\"at\":\"2015-09-13T00:47:08Z\",\"ms\":1442105228000}\n";
    file.write_all(&gzip(lines)).expect("written");
    // Two days after the newest.
    let newest_at = shift::micros_of("2015-09-15T00:47:08.9Z").expect("a time");
    let options = Produce {
        shift_time: Some(ShiftTime { fields: vec!["at".to_owned(), "ms".to_owned()], newest_at }),
        timestamps: Timestamps::Field("at".to_owned()),
        ..Produce::new(bootstrap, topic.as_str())
    };
    let produced = produce(&options, Input::Path(file.path().to_owned()), |_, _| {}).expect("produced");
    assert_eq!(produced.moved_by[&topic], 2 * 86_400_000_000);
    let mut run = Run::start(config(bootstrap, &topic), vec![]);
    run.take_noted();
    let arrived = &run.arrived[&TopicPartition::new(topic.as_str(), 0)];
    let payloads: Vec<_> = arrived.iter().filter_map(|it| std::str::from_utf8(it.payload.as_deref()?).ok()).collect();
    assert_eq!(
        payloads,
        [
            "{\"at\": \"2015-09-14T00:47:08.770+02:00\", \"n\":1.50}",
            "{\"n\":2}",
            "{\"at\":\"2015-09-15T00:47:08Z\",\"ms\":1442278028000}",
        ]
    );
    assert_eq!(arrived[0].timestamp, shift::micros_of("2015-09-14T00:47:08.770+02:00"));
    let bad = Produce { shift_time: options.shift_time.clone(), ..Produce::new(bootstrap, topic.as_str()) };
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"{}\n{\"at\":\"Jun 14 15:16:01\"}\n").expect("written");
    let error = produce(&bad, Input::Path(file.path().to_owned()), |_, _| {}).expect_err("no time");
    assert!(matches!(error, SourceError::Line { line: 2, .. }), "{error}");
    let error = produce(&bad, stream("{}"), |_, _| {}).expect_err("a stream is read once");
    assert!(matches!(error, SourceError::Input { .. }), "{error}");
}

fn envelopes_go_to_their_own_topics(bootstrap: &str) {
    let prefix = unique("e");
    ["-a", "-b"].iter().for_each(|name| create_topic(bootstrap, &format!("{prefix}{name}"), 1));
    let lines = "{\"topic\":\"-a\",\"ts\":\"2015-09-12T00:00:00Z\",\"payload\":{\"x\": 1},\"key\":\"k\"}\n\n\
                 {\"topic\":\"-b\",\"ts\":null,\"payload\":\"raw \\\"text\\\"\"}\n";
    let options = Produce {
        target: Target::Envelope { prefix: prefix.clone() },
        timestamps: Timestamps::Envelope,
        ..Produce::new(bootstrap, "")
    };
    let produced = produce(&options, stream(lines), |_, _| {}).expect("produced");
    assert_eq!((produced.topics.len(), produced.blank_lines), (2, 1));
    assert_eq!(read_back(bootstrap, &format!("{prefix}-a")), [(Some("k".to_owned()), "{\"x\": 1}".to_owned())]);
    assert_eq!(read_back(bootstrap, &format!("{prefix}-b")), [(None, "raw \"text\"".to_owned())]);
    let error = produce(&options, stream("{\"topic\":\"-a\",\"payload\":{}}\n\nno envelope\n"), |_, _| {});
    let error = error.expect_err("the last line is none");
    assert!(matches!(error, SourceError::Line { line: 3, acknowledged: 1, .. }), "{error}");
}

fn what_was_sent_before_an_input_goes_wrong_is_acknowledged_and_counted(bootstrap: &str) {
    let topic = unique("cut");
    create_topic(bootstrap, &topic, 1);
    let lines: String = (0..50_000).map(|number| format!("{{\"n\":{number}}}\n")).collect();
    let whole = gzip(&lines);
    let cut = Input::Stream(Box::new(Cursor::new(whole[..whole.len() * 9 / 10].to_vec())));
    let error = produce(&Produce::new(bootstrap, topic.as_str()), cut, |_, _| {}).expect_err("the file is cut");
    let SourceError::Input { line, acknowledged, .. } = error else { panic!("{error}") };
    assert!(error.to_string().starts_with("standard input breaks off after line "), "{error}");
    assert!(line > 10_000 && acknowledged == line, "{acknowledged} of {line}");
    assert_eq!(read_back(bootstrap, &topic).len() as u64, acknowledged);

    let prefix = unique("torn");
    create_topic(bootstrap, &format!("{prefix}-a"), 1);
    let envelopes: String = (0..5_000).map(|n| format!("{{\"topic\":\"-a\",\"payload\":{n}}}\n")).collect();
    let options = Produce { target: Target::Envelope { prefix: prefix.clone() }, ..Produce::new(bootstrap, "") };
    let error = produce(&options, stream(&format!("{envelopes}no envelope\n")), |_, _| {});
    let error = error.expect_err("the last line is none");
    assert!(matches!(error, SourceError::Line { line: 5_001, acknowledged: 5_000, .. }), "{error}");
    assert_eq!(read_back(bootstrap, &format!("{prefix}-a")).len(), 5_000);
}

fn more_than_the_queue_holds_is_sent_and_a_record_too_large_names_its_line(bootstrap: &str) {
    let topic = unique("many");
    let mut lines: String = (0..250_000).map(|number| format!("{{\"n\":{number}}}\n")).collect();
    let options = Produce { partitions: Some(4), ..Produce::new(bootstrap, topic.as_str()) };
    let produced = produce(&options, stream(&lines), |_, _| {}).expect("produced");
    assert_eq!(produced.records, 250_000);
    let found = read_back(bootstrap, &topic);
    assert_eq!(found.len(), 250_000);
    lines.truncate(100);
    let noise: String =
        (0..6_000_000_u32).map(|n| char::from(33 + (n.wrapping_mul(2_654_435_761) >> 25) as u8 % 90)).collect();
    lines = format!("first\n{}\n", noise.repeat(4));
    let uncompressed = BTreeMap::from([("compression.type".to_owned(), "none".to_owned())]);
    let options = Produce { properties: uncompressed, ..Produce::new(bootstrap, topic.as_str()) };
    let error = produce(&options, stream(&lines), |_, _| {}).expect_err("24 MB are too much");
    assert!(matches!(error, SourceError::NotTaken { line: 2, .. }), "{error}");
}

#[test]
fn producing_without_a_broker_says_where_it_looked() {
    let options = Produce { patience: std::time::Duration::from_millis(300), ..Produce::new("127.0.0.1:1", "t") };
    let error = produce(&options, stream("x\n"), |_, _| {}).expect_err("nobody is there");
    assert!(matches!(&error, SourceError::Unreachable { bootstrap, .. } if bootstrap == "127.0.0.1:1"), "{error}");
    let error = produce(&options, Input::Path("no/such/file".into()), |_, _| {}).expect_err("no file");
    assert!(error.to_string().starts_with("cannot read no/such/file: "), "{error}");
}

/// Options with which a broker that is asked would make the test wait for it, and fail.
fn without_a_broker(topic: &str) -> Produce {
    Produce::new("127.0.0.1:1", topic)
}

#[test]
fn a_name_that_no_topic_can_have_is_refused_before_any_broker_is_asked() {
    let error = produce(&without_a_broker("bad topic!"), stream("x\n"), |_, _| {}).expect_err("no name");
    assert!(matches!(&error, SourceError::TopicName { topic } if topic == "bad topic!"), "{error}");
    let options = Produce { target: Target::Envelope { prefix: "e/".to_owned() }, ..without_a_broker("") };
    let error = produce(&options, stream("\n{\"topic\":\"t\",\"payload\":1}\n"), |_, _| {}).expect_err("no name");
    assert!(matches!(&error, SourceError::Line { line: 2, reason, .. } if reason.contains("\"e/t\"")), "{error}");
}

#[test]
fn an_input_that_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let cut = directory.path().join("cut.jsonl.gz");
    let whole = gzip(&"{\"a\":1}\n".repeat(1_000));
    std::fs::write(&cut, &whole[..12]).expect("written");
    for path in [directory.path().to_owned(), directory.path().join("missing.jsonl"), cut] {
        let said = format!("cannot read {}: ", path.display());
        let error = produce(&without_a_broker("t"), Input::Path(path), |_, _| {}).expect_err("it cannot be read");
        assert!(matches!(error, SourceError::Input { line: 0, acknowledged: 0, .. }), "{error}");
        assert!(error.to_string().starts_with(&said), "{error}");
    }
}

#[test]
fn an_input_of_blank_lines_holds_no_record() {
    let produced = produce(&without_a_broker("t"), stream("\n \r\n\t"), |_, _| {}).expect("nothing to send");
    assert_eq!((produced.records, produced.blank_lines), (0, 3));
}

#[test]
fn what_a_broker_answers_is_told_from_no_answer() {
    let error = |reason: &str| SourceError::NoAnswer { what: "DescribeTopics", reason: reason.to_owned() };
    assert_eq!(refusal(&error("Broker: Topic authorization failed")), Some("Topic authorization failed"));
    let failed = error("DescribeTopics worker request failed: Broker: Cluster authorization failed");
    assert_eq!(refusal(&failed), Some("Cluster authorization failed"));
    assert_eq!(refusal(&error("Local: Timed out")), None);
    assert_eq!(refusal(&error("it took too long")), None);
}
