//! `thermocline bench stream`: from the first fetch until all rows are in the tables, beside a hand-written ceiling.

use crate::bench::ceiling;
use crate::bench::child::{self, BrokerProcess, Took};
use crate::bench::records::{self, Ages, COLUMNS};
use crate::cli::{BenchStreamArgs, CeilingArgs};
use crate::data_dir::clock;
use crate::report::{print_json, thousands};
use anyhow::{Context, Result};
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;

/// The topic whose records are all warm.
const RAW_TOPIC: &str = "bench.raw";
/// The topic whose records go to all tiers.
const CLASSIFIED_TOPIC: &str = "bench.classified";

/// What was measured.
#[derive(Debug, Serialize)]
struct Measured {
    records: u64,
    payload_bytes_a_record: f64,
    workers: usize,
    /// Kafka to Parquet by hand.
    ceiling: Figure,
    /// Declared columns into one Delta table, exactly once.
    raw: Figure,
    /// Classified, mapped and routed into three tiers, exactly once; hot rows embedded.
    classified: Figure,
    /// `raw` in parts of `ceiling`.
    raw_of_ceiling: f64,
}

/// A median.
#[derive(Debug, Serialize)]
struct Figure {
    records_per_s: f64,
    cpu_s_per_million: f64,
    #[serde(flatten)]
    took: Took,
}

impl Figure {
    fn of(runs: Vec<Took>, records: u64) -> Self {
        let took = child::median(runs);
        let millions = records as f64 / 1e6;
        Self { records_per_s: records as f64 / took.wall_s, cpu_s_per_million: took.cpu_s / millions, took }
    }
}

pub(crate) async fn run(args: BenchStreamArgs) -> Result<ExitCode> {
    let scratch = match &args.scratch {
        Some(path) => {
            std::fs::create_dir_all(path)?;
            tempfile::tempdir_in(path)?
        }
        None => tempfile::tempdir()?,
    };
    let at = |name: &str| scratch.path().join(name).display().to_string();
    let broker = match &args.kafka {
        Some(_) => None,
        None => Some(BrokerProcess::start(&at("broker"))?),
    };
    let bootstrap = args.kafka.clone().or_else(|| broker.as_ref().map(|it| it.bootstrap.clone())).unwrap_or_default();
    let (now, suffix) = (clock()?.now(), std::process::id());
    let (raw_topic, classified_topic) = (format!("{RAW_TOPIC}.{suffix}"), format!("{CLASSIFIED_TOPIC}.{suffix}"));
    eprintln!("producing twice {} records …", thousands(args.records));
    let bytes = records::fill(&bootstrap, &raw_topic, args.partitions, args.records, Ages::Warm, now).await?;
    records::fill(&bootstrap, &classified_topic, args.partitions, args.records, Ages::AllTiers, now).await?;
    let raw_sql = pipeline(scratch.path(), "raw.sql", &raw_statements(&raw_topic))?;
    let classified_sql = pipeline(scratch.path(), "classified.sql", &classified_statements(&classified_topic))?;
    let (mut ceilings, mut raws, mut classifieds) = (vec![], vec![], vec![]);
    for run in 0..args.runs {
        eprintln!("run {} of {} …", run + 1, args.runs);
        let workers = args.workers.to_string();
        let out = at("ceiling");
        let by_hand = ["bench", "ceiling", "--kafka", &bootstrap, "--topic", &raw_topic, "--threads", &workers, &out];
        ceilings.push(child::run(&by_hand)?);
        for (sql, runs) in [(&raw_sql, &mut raws), (&classified_sql, &mut classifieds)] {
            let data = at("data");
            let up = ["up", "--once", "--data", &data, "--kafka", &bootstrap, "--pipeline", sql, "--workers", &workers];
            runs.push(child::run(&up)?);
            child::run(&["verify", "--data", &data]).context("the law must hold for a figure to count")?;
            std::fs::remove_dir_all(&data)?;
        }
        std::fs::remove_dir_all(&out)?;
    }
    let (ceiling, raw) = (Figure::of(ceilings, args.records), Figure::of(raws, args.records));
    let measured = Measured {
        records: args.records,
        payload_bytes_a_record: bytes as f64 / args.records as f64,
        workers: args.workers,
        raw_of_ceiling: raw.records_per_s / ceiling.records_per_s,
        ceiling,
        raw,
        classified: Figure::of(classifieds, args.records),
    };
    if args.json {
        print_json(&measured)?
    } else {
        print(&measured)
    }
    Ok(ExitCode::SUCCESS)
}

/// `thermocline bench ceiling`, which the benchmark runs as a process of its own.
pub(crate) fn run_ceiling(args: &CeilingArgs) -> Result<ExitCode> {
    let rows = ceiling::run(&args.kafka, &args.topic, args.threads, &args.out)?;
    println!("{rows} rows");
    Ok(ExitCode::SUCCESS)
}

fn raw_statements(topic: &str) -> String {
    format!(
        "CREATE EXTERNAL TABLE bench_events ({}) STORED AS KAFKA LOCATION '{topic}'\n  \
         OPTIONS ('format' 'json', 'event_time' 'ts');\n\
         INSERT INTO analytics.bench SELECT * FROM bench_events;\n",
        COLUMNS.replace("ts BIGINT", "ts TIMESTAMP")
    )
}

fn classified_statements(topic: &str) -> String {
    format!(
        "CREATE EXTERNAL TABLE bench_events STORED AS KAFKA LOCATION '{topic}';\n\
         INSERT INTO domains SELECT * FROM bench_events;\n"
    )
}

fn pipeline(scratch: &Path, name: &str, text: &str) -> Result<String> {
    let path = scratch.join(name);
    std::fs::write(&path, text)?;
    Ok(path.display().to_string())
}

fn print(measured: &Measured) {
    println!(
        "{} records of {:.0} bytes, {} workers; medians",
        thousands(measured.records),
        measured.payload_bytes_a_record,
        measured.workers
    );
    println!("{:<12} {:>12} {:>14} {:>8} {:>10}", "", "records/s", "CPU-s/million", "wall s", "peak MiB");
    for (name, figure) in [("ceiling", &measured.ceiling), ("raw", &measured.raw), ("classified", &measured.classified)]
    {
        println!(
            "{name:<12} {:>12} {:>14.2} {:>8.2} {:>10}",
            thousands(figure.records_per_s as u64),
            figure.cpu_s_per_million,
            figure.took.wall_s,
            thousands(figure.took.peak_mib)
        );
    }
    println!("raw is {:.2} of the ceiling", measured.raw_of_ceiling);
}
