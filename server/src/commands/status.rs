//! `thermocline status`.

use crate::cli::ReportArgs;
use crate::commands::up::progress::{pause_line, print_rows, rows_by_table};
use crate::report::{counted, print_json, thousands};
use crate::run_file::RunFile;
use anyhow::Result;
use std::process::ExitCode;
use std::sync::Arc;
use thermocline_schemas::metadata::{CutView, Gap};
use thermocline_schemas::time::SystemClock;
use thermocline_sql::Engine;

pub(crate) async fn run(args: ReportArgs) -> Result<ExitCode> {
    let engine = Engine::open(&args.data.data, Arc::new(SystemClock)).await?;
    let view = engine.meta().newest().await?;
    let running = RunFile::living(&args.data.data);
    if args.json {
        let gaps = engine.meta().gaps().await?;
        print_json(&as_json(&view, &gaps, running.as_ref()))?;
        return Ok(ExitCode::SUCCESS);
    }
    match &running {
        None => println!("nothing runs here"),
        Some(file) => print_run(file),
    }
    println!("cut {}, epoch {}, {} staged parts", view.cut, view.epoch.unwrap_or_default(), view.parts.len());
    print_rows(&view);
    for progress in &view.progress {
        let watermark = progress.watermark.and_then(chrono::DateTime::from_timestamp_micros);
        let watermark = watermark.map_or("none".to_owned(), |time| time.to_rfc3339());
        let (topic, partition, next) = (&progress.topic, progress.partition, progress.next_offset);
        let idle = if progress.idle { ", idle" } else { "" };
        println!("{} <- {topic}/{partition}@{next}, watermark {watermark}{idle}", progress.source);
    }
    for (source, fields) in &view.dropped_fields {
        println!("{source}: {} fields dropped that it does not declare", thousands(*fields));
    }
    for pause in &view.pauses {
        println!("{}", pause_line(pause, &args.data.data));
    }
    Ok(ExitCode::SUCCESS)
}

fn print_run(file: &RunFile) {
    let (run, mib) = (&file.run, 1 << 20);
    println!(
        "running    process {}, epoch {} open, {} not durable yet",
        file.pid, run.open_epoch, run.epochs_not_durable
    );
    println!("memory     {} of {} MiB under way", run.used_bytes / mib, run.budget_bytes / mib);
    for source in &run.sources {
        let health = if source.healthy { "" } else { ", its broker does not answer" };
        println!(
            "source     {}: {}, {} behind{health}",
            source.name,
            counted(source.topics.len() as u64, "topic"),
            counted(source.lag, "record")
        );
    }
}

fn as_json(view: &CutView, gaps: &[Gap], running: Option<&RunFile>) -> serde_json::Value {
    let rows: serde_json::Map<String, serde_json::Value> = rows_by_table(view)
        .into_iter()
        .map(|(table, [hot, warm, cold])| (table, serde_json::json!({ "hot": hot, "warm": warm, "cold": cold })))
        .collect();
    serde_json::json!({
        "running": running.map(|file| serde_json::json!({ "pid": file.pid, "run": file.run })),
        "cut": view.cut,
        "epoch": view.epoch,
        "staged_parts": view.parts.len(),
        "rows": rows,
        "progress": view.progress,
        "gaps": gaps,
        "dropped_fields": view.dropped_fields.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        "paused": view.pauses,
    })
}
