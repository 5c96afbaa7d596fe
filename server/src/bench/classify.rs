//! `thermocline bench classify`: how many records a second are parsed, classified and mapped.

use crate::cli::BenchClassifyArgs;
use crate::report::{print_json, thousands};
use anyhow::{Context, Result, ensure};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::ExitCode;
use thermocline_operators::bench::Record;

pub(crate) fn run(args: &BenchClassifyArgs) -> Result<ExitCode> {
    let records = shipped(&args.records.join("data"))?;
    let figures = thermocline_operators::bench::classify(&records, args.threads, args.passes)?;
    if args.json {
        print_json(&figures)?;
    } else {
        let (threads, bytes) = (args.threads, figures.bytes as f64 / figures.records as f64);
        println!(
            "{} records of {bytes:.0} bytes, {} passes, {threads} threads",
            thousands(records.len() as u64),
            args.passes
        );
        println!("{} records/s parsed, classified and mapped", thousands(figures.records_per_second as u64));
    }
    Ok(ExitCode::SUCCESS)
}

/// All shipped records.
fn shipped(folder: &Path) -> Result<Vec<Record>> {
    let mut records = vec![];
    let entries =
        folder.read_dir().with_context(|| format!("cannot read {}; run this from the repository", folder.display()))?;
    let mut files: Vec<_> = entries.collect::<Result<Vec<_>, _>>()?.into_iter().map(|entry| entry.path()).collect();
    files.sort();
    for file in files {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(topic) = name.strip_suffix(".jsonl.gz") else { continue };
        for line in BufReader::new(MultiGzDecoder::new(File::open(&file)?)).split(b'\n') {
            records.push(Record { topic: topic.to_owned(), payload: line? });
        }
    }
    ensure!(!records.is_empty(), "{} holds no records", folder.display());
    Ok(records)
}
