//! `thermocline sql`.

use crate::cli::SqlArgs;
use crate::report;
use anyhow::{Context, Result};
use std::io::Read;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;
use thermocline_schemas::time::SystemClock;
use thermocline_sql::Engine;

pub(crate) async fn run(args: SqlArgs) -> Result<ExitCode> {
    let mut sql = args.sql;
    if sql == "-" {
        sql.clear();
        std::io::stdin().read_to_string(&mut sql).context("standard input is not text")?;
    }
    let engine = Engine::open(&args.data.data, Arc::new(SystemClock)).await?;
    let session = engine.session().await?;
    let asked = Instant::now();
    let printed = match session.stream(&sql).await {
        Ok(rows) => report::print_answer(rows, args.format, asked).await,
        Err(error) => Err(error.into()),
    };
    session.close().await;
    printed.map(|()| ExitCode::SUCCESS)
}
