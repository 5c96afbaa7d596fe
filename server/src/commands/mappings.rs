//! `thermocline mappings`.

use crate::cli::ReportArgs;
use crate::report::print_json;
use anyhow::{Context, Result};
use std::process::ExitCode;
use std::sync::Arc;
use thermocline_operators::Decision;
use thermocline_schemas::time::SystemClock;
use thermocline_sql::Engine;

/// So many unmapped fields of a shape are shown to people.
const MOST_SHOWN: usize = 12;

pub(crate) async fn run(args: ReportArgs) -> Result<ExitCode> {
    let engine = Engine::open(&args.data.data, Arc::new(SystemClock)).await?;
    let mappings = engine.meta().mappings().await?;
    let decisions: Vec<Decision> = mappings
        .iter()
        .map(|mapping| {
            serde_json::from_str(&mapping.json).with_context(|| {
                format!("mapping {} is damaged; restore metadata.db, or begin with a new data directory", mapping.key)
            })
        })
        .collect::<Result<_>>()?;
    if args.json {
        print_json(&serde_json::json!({ "mappings": decisions }))?;
    } else if decisions.is_empty() {
        println!("no record has been mapped yet");
    } else {
        decisions.iter().for_each(print);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(decision: &Decision) {
    let (shape, topic, domain) = (&decision.shape, &decision.topic, &decision.domain);
    println!("{shape}  {topic} -> {domain} ({:.2})", decision.confidence);
    println!("    event_time <- {}", decision.event_time.as_deref().unwrap_or("the broker's timestamp"));
    if !decision.event_time_else.is_empty() {
        println!("        else: {}", decision.event_time_else.join(", "));
    }
    for field in &decision.fields {
        let path = if field.path.is_empty() { "the whole record" } else { &field.path };
        println!("    {} <- {path} ({:?})", field.column, field.reason);
    }
    if !decision.unmapped.is_empty() {
        let shown: Vec<&str> = decision.unmapped.iter().take(MOST_SHOWN).map(String::as_str).collect();
        let more = decision.unmapped.len() - shown.len();
        let rest = if more > 0 { format!(" and {more} more; --json lists all") } else { String::new() };
        // A record that is no object has one value, without a name.
        let shown = shown.into_iter().map(|path| if path.is_empty() { "the whole record" } else { path });
        println!("    attributes <- {}{rest}", shown.collect::<Vec<_>>().join(", "));
    }
}
