//! The commands, one file each.

mod broker;
mod check;
mod dead_letters;
mod demo;
mod mappings;
mod produce;
mod reset_offsets;
mod resume;
mod sql;
mod status;
pub(crate) mod up;
mod verify;

use crate::bench;
use crate::cli::{BenchCommand, Command, DeadLettersCommand};
use anyhow::Result;
use std::process::ExitCode;

/// Runs one command.
pub(crate) async fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up(args) => up::run(args).await,
        Command::Broker(args) => broker::run(args).await,
        Command::Produce(args) => produce::run(args),
        Command::Sql(args) => sql::run(args).await,
        Command::Check(args) => check::run(&args),
        Command::Status(args) => status::run(args).await,
        Command::Verify(args) => verify::run(args).await,
        Command::Mappings(args) => mappings::run(args).await,
        Command::DeadLetters(DeadLettersCommand::List(args)) => dead_letters::run(args).await,
        Command::Resume(args) => resume::run(args).await,
        Command::ResetOffsets(args) => reset_offsets::run(args).await,
        Command::Bench(BenchCommand::Classify(args)) => bench::classify::run(&args),
        Command::Bench(BenchCommand::Stream(args)) => bench::stream::run(args).await,
        Command::Bench(BenchCommand::Ceiling(args)) => bench::stream::run_ceiling(&args),
        Command::Demo(args) => demo::run(args).await,
    }
}
