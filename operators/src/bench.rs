//! How fast records are classified: parse, shape, classify, event time, map, for `bench classify`.

use crate::{MappingOverrides, OperatorError, Router, TopicRules};
use arrow::array::{BinaryArray, TimestampMicrosecondArray};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use thermocline_schemas::domain::Registry;
use thermocline_schemas::format::{ShapeTable, parse};

/// Records of one batch, as the source makes them.
pub const BATCH_RECORDS: usize = 1_024;

/// A record to measure with.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its topic; empty is fine.
    pub topic: String,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Figures {
    /// Records read, all rounds together.
    pub records: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Records that were rejected.
    pub rejected: usize,
    /// Threads that worked.
    pub threads: usize,
    /// Wall-clock time.
    pub seconds: f64,
    /// Records in a second, by all threads together.
    pub records_per_second: f64,
    /// Rows by domain, of one round.
    pub domains: BTreeMap<String, usize>,
}

/// Runs `records`, `rounds` times over, on `threads` threads. Batches are of one topic, in the order of the records.
///
/// # Errors
/// If a batch cannot be routed.
pub fn classify(records: &[Record], threads: usize, rounds: usize) -> Result<Figures, OperatorError> {
    let batches = batches(records);
    let router = Router::new(Arc::new(Registry::shipped()), TopicRules::default(), MappingOverrides::default())?;
    let shapes = ShapeTable::default();
    crate::embed::Encoder::shipped();
    let next = AtomicUsize::new(0);
    let started = Instant::now();
    let work = || -> Result<(usize, BTreeMap<String, usize>), OperatorError> {
        let (mut rejected, mut domains) = (0, BTreeMap::new());
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= batches.len() * rounds {
                return Ok((rejected, domains));
            }
            let (topic, payloads) = &batches[at % batches.len()];
            let (parsed, bad) = parse(payloads, &shapes);
            rejected += bad.len();
            let timestamps = TimestampMicrosecondArray::from(vec![0; parsed.len()]);
            for routed in router.route(topic, &parsed, None, &timestamps, 0)? {
                if at < batches.len() {
                    *domains.entry(routed.domain.to_string()).or_insert(0) += routed.rows.values().len();
                }
            }
        }
    };
    let results = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker does not panic")).collect::<Result<Vec<_>, _>>()
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let mut domains = BTreeMap::new();
    results
        .iter()
        .flat_map(|(_, found)| found)
        .for_each(|(domain, rows)| *domains.entry(domain.clone()).or_insert(0) += rows);
    Ok(Figures {
        records: records.len() * rounds,
        bytes: records.iter().map(|record| record.payload.len()).sum::<usize>() * rounds,
        rejected: results.iter().map(|(rejected, _)| rejected).sum(),
        threads: threads.max(1),
        seconds,
        records_per_second: (records.len() * rounds) as f64 / seconds,
        domains,
    })
}

/// Batches of one topic each, in the order in which topics first occur.
fn batches(records: &[Record]) -> Vec<(String, BinaryArray)> {
    let mut topics: Vec<(&str, Vec<&[u8]>)> = vec![];
    let mut places = ahash::AHashMap::new();
    for record in records {
        let place = *places.entry(record.topic.as_str()).or_insert_with(|| {
            topics.push((&record.topic, vec![]));
            topics.len() - 1
        });
        topics[place].1.push(&record.payload);
    }
    let batch = |topic: &str, payloads: &[&[u8]]| (topic.to_owned(), BinaryArray::from_iter_values(payloads));
    topics
        .iter()
        .flat_map(|(topic, payloads)| payloads.chunks(BATCH_RECORDS).map(move |payloads| batch(topic, payloads)))
        .collect()
}
