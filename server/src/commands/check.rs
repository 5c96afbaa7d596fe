//! `thermocline check`.

use crate::cli::CheckArgs;
use crate::commands::up::{load_pipelines, read_pipelines, render};
use crate::exit;
use crate::report::print_json;
use anyhow::Result;
use std::process::ExitCode;
use thermocline_pipelines::{PipelineError, plan};
use thermocline_schemas::domain::Registry;

pub(crate) fn run(args: &CheckArgs) -> Result<ExitCode> {
    let files = read_pipelines(&args.files)?;
    let mut registry = Registry::shipped();
    let error = match load_pipelines(&files, &mut registry) {
        Ok(pipelines) => {
            let graph = plan::explain(&pipelines);
            if args.json {
                print_json(&serde_json::json!({ "ok": true, "graph": graph }))?;
            } else {
                print!("{graph}");
            }
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) => error,
    };
    let Some(PipelineError::Refused { refusals }) = error.downcast_ref() else { return Err(error) };
    if args.json {
        let refusals: Vec<_> = refusals.iter().map(as_json).collect();
        print_json(&serde_json::json!({ "ok": false, "refusals": refusals }))?;
    } else {
        eprint!("{}", render(refusals, &files));
    }
    Ok(ExitCode::from(exit::FAILED))
}

fn as_json(refusal: &plan::Refusal) -> serde_json::Value {
    let at = &refusal.position;
    serde_json::json!({
        "file": &*at.file, "line": at.line, "column": at.column, "length": refusal.length,
        "message": refusal.message, "help": refusal.help,
    })
}
