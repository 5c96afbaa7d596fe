//! How right the classifier and the event times are, on labelled records.
//!
//! `evaluate FILE.jsonl.gz [--with-topic] [--wrong N] [--list] [--speed]`: each line has `topic`, `ts`, `domain` and
//! `payload` (an object, or a string for raw text). The topic is blanked unless asked for.

use arrow::array::{Array, AsArray, BinaryArray, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{Float32Type, TimestampMicrosecondType};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::sync::Arc;
use thermocline_operators::{MappingOverrides, Router, TopicRules, bench};
use thermocline_schemas::domain::Registry;
use thermocline_schemas::format::timestamp;
use thermocline_schemas::format::{ShapeTable, parse};

struct Record {
    topic: String,
    domain: String,
    time: Option<i64>,
    payload: Vec<u8>,
}

#[derive(Default, Clone)]
struct Count {
    records: usize,
    right: usize,
    unclassified: usize,
    timed: usize,
    right_time: usize,
    /// Confidence of right and wrong answers that were not `unclassified`.
    answered: usize,
}

impl Count {
    fn add(&mut self, other: &Count) {
        self.records += other.records;
        self.right += other.right;
        self.unclassified += other.unclassified;
        self.timed += other.timed;
        self.right_time += other.right_time;
        self.answered += other.answered;
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("usage: evaluate FILE.jsonl.gz [--with-topic] [--wrong N]")?;
    let options: Vec<String> = arguments.collect();
    let with_topic = options.iter().any(|option| option == "--with-topic");
    let show = options.iter().position(|option| option == "--wrong").and_then(|at| options.get(at + 1)?.parse().ok());
    let list = options.iter().any(|option| option == "--list");
    let records = read(&file)?;
    if options.iter().any(|option| option == "--speed") {
        return speed(records, with_topic);
    }
    let router = Router::new(Arc::new(Registry::shipped()), TopicRules::default(), MappingOverrides::default())?;
    let shapes = ShapeTable::default();
    let mut by_topic: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    records.iter().for_each(|record| by_topic.entry(&record.topic).or_default().push(record));
    let mut counts: BTreeMap<(String, String), Count> = BTreeMap::new();
    let mut confused: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (topic, records) in by_topic {
        let payloads = BinaryArray::from_iter_values(records.iter().map(|record| &record.payload));
        let (parsed, rejected) = parse(&payloads, &shapes);
        if let Some(rejected) = rejected.first() {
            return Err(format!("{topic}: {}", rejected.error).into());
        }
        // A broker's time that is right for nobody.
        let timestamps = TimestampMicrosecondArray::from(vec![1; parsed.len()]);
        let routed = router.route(if with_topic { topic } else { "" }, &parsed, None, &timestamps, 0)?;
        let mut shown = 0;
        for routed in routed {
            let times = routed.batch.column(0).as_primitive::<TimestampMicrosecondType>();
            for (at, position) in routed.rows.values().iter().enumerate() {
                let record = records[*position as usize];
                let key = (record.domain.clone(), family(topic));
                let count = counts.entry(key).or_default();
                count.records += 1;
                let right = *record.domain == *routed.domain;
                count.right += usize::from(right);
                count.unclassified += usize::from(&*routed.domain == "unclassified");
                if !right {
                    *confused.entry((family(topic), routed.domain.to_string())).or_default() += 1;
                }
                let mut wrong_time = false;
                if let Some(time) = record.time {
                    count.timed += 1;
                    // The labels of raw lines and of parts of dates keep whole seconds at worst.
                    let near = (times.value(at) - time).abs() < 1_000_000;
                    count.right_time += usize::from(near);
                    wrong_time = !near;
                }
                if list {
                    let confidence = routed.batch["_confidence"].as_primitive::<Float32Type>().value(at);
                    println!("LIST {topic} {} {} {confidence}", record.domain, routed.domain);
                }
                if (!right || wrong_time) && show.is_some_and(|show: usize| shown < show) {
                    shown += 1;
                    let text = String::from_utf8_lossy(&record.payload);
                    let time_note = if wrong_time {
                        format!(" time {} for {:?}", times.value(at), record.time)
                    } else {
                        String::new()
                    };
                    println!("{topic}: {} for {}{time_note}: {:.300}", routed.domain, record.domain, text);
                    print_row(&routed.batch, at);
                }
            }
        }
    }
    print(&counts, &confused);
    println!("{} shapes", shapes.len());
    Ok(())
}

/// The figures of `bench classify`, for all records and for JSON objects of 250 to 600 bytes alone.
fn speed(records: Vec<Record>, with_topic: bool) -> Result<(), Box<dyn std::error::Error>> {
    let record = |record: &Record| bench::Record {
        topic: if with_topic { record.topic.clone() } else { String::new() },
        payload: record.payload.clone(),
    };
    let all: Vec<_> = records.iter().map(record).collect();
    let usual =
        |record: &&bench::Record| (250..600).contains(&record.payload.len()) && record.payload.starts_with(b"{");
    let middle: Vec<_> = all.iter().filter(usual).cloned().collect();
    let texts: Vec<_> = all.iter().filter(|record| !record.payload.starts_with(b"{")).cloned().collect();
    for (name, records) in [("all records", &all), ("objects of 250-600 bytes", &middle), ("raw text", &texts)] {
        for threads in [1, 2] {
            bench::classify(records, threads, 1)?;
            let figures = bench::classify(records, threads, (400_000 / records.len().max(1)).max(3))?;
            println!(
                "{name}: {} records of {} bytes, {threads} threads: {:.0} records/s",
                records.len(),
                figures.bytes / figures.records.max(1),
                figures.records_per_second
            );
        }
    }
    Ok(())
}

fn print_row(batch: &RecordBatch, row: usize) {
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if column.is_valid(row) {
            let value = arrow::util::display::array_value_to_string(column, row).unwrap_or_default();
            print!("    {}={:.80}", field.name(), value);
        }
    }
    println!();
}

/// Topics that come from one source under many names.
fn family(topic: &str) -> String {
    for start in ["github.webhooks", "windows.microsoft-exchange"] {
        if topic.starts_with(start) {
            return format!("{start}.*");
        }
    }
    topic.to_owned()
}

fn read(file: &str) -> Result<Vec<Record>, Box<dyn std::error::Error>> {
    let lines = BufReader::new(flate2::read::MultiGzDecoder::new(std::fs::File::open(file)?)).lines();
    let record = |line: String| -> Result<Record, Box<dyn std::error::Error>> {
        #[derive(serde::Deserialize)]
        struct Line<'a> {
            topic: String,
            ts: Option<String>,
            domain: String,
            #[serde(borrow)]
            payload: &'a serde_json::value::RawValue,
        }
        let line: Line<'_> = serde_json::from_str(&line)?;
        let payload = match line.payload.get().starts_with('"') {
            true => serde_json::from_str::<String>(line.payload.get())?,
            false => line.payload.get().to_owned(),
        };
        let time = line.ts.as_deref().and_then(timestamp::from_text);
        Ok(Record { topic: line.topic, domain: line.domain, time, payload: payload.into_bytes() })
    };
    lines.map(|line| record(line?)).collect()
}

fn print(counts: &BTreeMap<(String, String), Count>, confused: &BTreeMap<(String, String), usize>) {
    let share = |part: usize, whole: usize| {
        if whole == 0 { "    -".to_owned() } else { format!("{:5.1}", 100.0 * part as f64 / whole as f64) }
    };
    let line = |name: &str, count: &Count| {
        format!(
            "{name:70} {:6} right {} unclassified {} time {}",
            count.records,
            share(count.right, count.records),
            share(count.unclassified, count.records),
            share(count.right_time, count.timed)
        )
    };
    let mut totals: BTreeMap<String, Count> = BTreeMap::new();
    // NAB has 47 series of one shape: one line.
    let mut folded: BTreeMap<(String, String), Count> = BTreeMap::new();
    let mut all = Count::default();
    for ((domain, topic), count) in counts {
        let topic = if domain == "metrics" { "(series)".to_owned() } else { topic.clone() };
        folded.entry((domain.clone(), topic)).or_default().add(count);
        totals.entry(domain.clone()).or_default().add(count);
        all.add(count);
    }
    for ((domain, topic), count) in &folded {
        println!("{}", line(&format!("{domain} {topic}"), count));
        let mut wrong: Vec<_> = confused.iter().filter(|((name, _), _)| name == topic).collect();
        wrong.sort_by_key(|(_, records)| std::cmp::Reverse(**records));
        let wrong: Vec<String> =
            wrong.iter().take(4).map(|((_, domain), records)| format!("{domain} {records}")).collect();
        if !wrong.is_empty() {
            println!("      as {}", wrong.join(", "));
        }
    }
    println!();
    totals.iter().for_each(|(domain, count)| println!("{}", line(domain, count)));
    let rights = totals.values().map(|count| count.right as f64 / count.records as f64);
    println!("mean over domains {:.1}", 100.0 * rights.sum::<f64>() / totals.len() as f64);
    println!("{}", line("ALL", &all));
}
