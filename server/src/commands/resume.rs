//! `thermocline resume`.

use crate::cli::ResumeArgs;
use crate::report::print_json;
use anyhow::{Result, bail};
use std::process::ExitCode;
use std::sync::Arc;
use thermocline_schemas::time::SystemClock;
use thermocline_sql::Engine;

pub(crate) async fn run(args: ResumeArgs) -> Result<ExitCode> {
    let engine = Engine::open(&args.data.data, Arc::new(SystemClock)).await?;
    let view = engine.meta().newest().await?;
    let wanted = |topic: &str| args.topic.as_deref().is_none_or(|only| only == topic);
    let paused: Vec<_> = view.pauses.iter().filter(|pause| wanted(&pause.topic)).collect();
    if let (Some(topic), true) = (&args.topic, paused.is_empty()) {
        let others: Vec<&str> = view.pauses.iter().map(|pause| pause.topic.as_str()).collect();
        bail!(
            "topic {topic} is not paused; paused are: {}",
            if others.is_empty() { "none".into() } else { others.join(", ") }
        );
    }
    for pause in &paused {
        engine.meta().set_pause(&pause.source, &pause.topic, None).await?;
    }
    let resumed: Vec<&str> = paused.iter().map(|pause| pause.topic.as_str()).collect();
    if args.json {
        print_json(&serde_json::json!({ "resumed": resumed }))?;
    } else if resumed.is_empty() {
        println!("nothing is paused");
    } else {
        println!("resumed {}; a running `up` goes on within a second, otherwise start it", resumed.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}
