//! How fast reading is: `cargo test --release -p thermocline-pipelines -- --ignored --nocapture source::kafka::tests::speed`
//! with a broker at `THERMOCLINE_KAFKA_BOOTSTRAP`, else the embedded one. `THERMOCLINE_SPEED_RECORDS` says how many.

use super::bench::*;
use rdkafka::producer::Producer;
use std::time::{Duration, Instant};

/// CPU time that this process has used, in seconds.
fn cpu() -> f64 {
    // SAFETY: `usage` is plain data that getrusage fills in.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// The most memory this process has had, in MiB.
fn peak_mib() -> i64 {
    // SAFETY: as above.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage.ru_maxrss / 1024
    }
}

fn with_a_broker(test: impl Fn(&str)) {
    match std::env::var("THERMOCLINE_KAFKA_BOOTSTRAP") {
        Ok(bootstrap) => test(&bootstrap),
        Err(_) => {
            let directory = tempfile::tempdir().expect("a directory");
            let broker = Embedded::start(directory.path(), |_| {});
            test(&broker.bootstrap);
        }
    }
}

#[test]
#[ignore = "measures; see the head of the file"]
fn reading_a_backlog() {
    let records: i64 =
        std::env::var("THERMOCLINE_SPEED_RECORDS").map_or(2_000_000, |text| text.parse().expect("a number"));
    with_a_broker(|bootstrap| {
        let topic = unique("speed");
        create_topic(bootstrap, &topic, 8);
        let producer = producer(bootstrap, &[("compression.type", "zstd"), ("linger.ms", "20")]);
        for n in 0..records {
            // About 250 bytes that compress like JSON does.
            let payload = format!(
                "{{\"user_id\":{},\"session_id\":\"{:016x}\",\"url\":\"/shop/item/{}\",\"ts\":{},\"event\":\"page_view\",\
                 \"amount\":{}.{:02},\"country\":\"DE\",\"device\":\"mobile\",\"ok\":{},\"ref\":\"https://www.example.com/\
                 search?q={}\",\"tags\":[\"a\",\"b\"],\"note\":\"nothing to add\"}}",
                n % 50_000,
                (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
                n % 1_000,
                1_700_000_000_000 + n,
                n % 500,
                n % 100,
                n % 3 == 0,
                n % 7_919,
            );
            send_one(&producer, &topic, (n % 8) as i32, &payload);
        }
        flush(&producer);
        drop(producer);
        for clients in [1, 2] {
            let mut config = config(bootstrap, &topic);
            config.clients = clients;
            config.discover_every = Duration::from_secs(5);
            let (began, cpu_before) = (Instant::now(), cpu());
            let (ingress, budget) = door(256 << 20);
            let source = crate::source::kafka::KafkaSource::start(config, ingress.clone(), vec![]).expect("it starts");
            let started = began.elapsed();
            let (mut count, mut bytes, mut batches, mut first) = (0, 0, 0, None);
            while count < records as usize {
                let Some(batch) = ingress.take().batch else {
                    std::thread::park_timeout(Duration::from_micros(500));
                    continue;
                };
                first.get_or_insert_with(|| began.elapsed());
                (count, bytes, batches) = (count + batch.len(), bytes + batch.payloads.value_data().len(), batches + 1);
                budget.give_back(ingress.close_epoch(0).charged_bytes);
            }
            let (wall, cpu) = (began.elapsed().as_secs_f64(), cpu() - cpu_before);
            println!(
                "clients {clients}: {count} records of {} bytes in {batches} batches, {wall:.2} s, {:.0} records/s, \
                 {:.2} CPU-s a million (with the embedded broker's, if it is that), start {started:.0?}, first {:.0?}, \
                 peak {} MiB",
                bytes / count,
                count as f64 / wall,
                cpu * 1e6 / count as f64,
                first.unwrap_or_default(),
                peak_mib(),
            );
            source.stop();
        }
    });
}

#[test]
#[ignore = "measures; see the head of the file"]
fn latency_of_one_record() {
    with_a_broker(|bootstrap| {
        let topic = unique("latency");
        create_topic(bootstrap, &topic, 4);
        let mut run = Run::start(config(bootstrap, &topic), vec![]);
        let producer = producer(bootstrap, &[("linger.ms", "0")]);
        let mut times = vec![];
        for n in 0..100 {
            let began = Instant::now();
            send_one(&producer, &topic, n % 4, "x");
            producer.poll(Duration::ZERO);
            while run.count() <= n as usize {
                if !run.step() {
                    std::thread::park_timeout(Duration::from_micros(200));
                }
            }
            times.push(began.elapsed());
        }
        let _ = producer.flush(Duration::from_secs(10));
        times.sort_unstable();
        println!("from send to take: median {:.1?}, 95 % {:.1?}, worst {:.1?}", times[50], times[95], times[99]);
    });
}

#[test]
#[ignore = "measures; see the head of the file"]
fn producing_lines() {
    use crate::source::produce::{Input, Produce, produce};
    with_a_broker(|bootstrap| {
        let line = |n: u64| {
            format!(
                "{{\"id\":\"u{n}\",\"hash\":\"{:016x}\",\"text\":\"{}\"}}\n",
                n.wrapping_mul(0x9e37_79b9_7f4a_7c15),
                "word ".repeat(40)
            )
        };
        let lines: String = (0..1_000_000).map(line).collect();
        for key_field in [None, Some("id".to_owned())] {
            let options = Produce { partitions: Some(4), key_field, ..Produce::new(bootstrap, unique("lines")) };
            let (began, cpu_before) = (Instant::now(), cpu());
            let input = Input::Stream(Box::new(std::io::Cursor::new(lines.clone().into_bytes())));
            let produced = produce(&options, input, |_, _| {}).expect("produced");
            println!(
                "key {:?}: {:.0} records/s of {} bytes, {:.2} CPU-s a million",
                options.key_field,
                produced.records as f64 / began.elapsed().as_secs_f64(),
                produced.bytes / produced.records,
                cpu() - cpu_before,
            );
        }
    });
}
