//! The command line of Thermocline.

mod bench;
mod cli;
mod commands;
mod data_dir;
mod exit;
mod report;
mod run_file;

use clap::Parser;
use std::process::ExitCode;
use tikv_jemallocator::Jemalloc;

/// Gives memory back: under the allocator of the system a run over a long backlog holds half as much again.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::failed(&anyhow::Error::new(error)),
    };
    report::start_logging(cli.log_format, cli.verbose);
    if !cli.command.serves() {
        end_with_the_reader();
    }
    let outcome = runtime.block_on(commands::run(cli.command));
    // Threads of libraries that still wait for something must not keep a finished command alive.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => code,
        Err(error) => exit::failed(&error),
    }
}

/// Lets `thermocline … | head` end quietly when nobody reads on. What serves must outlive its terminal instead.
fn end_with_the_reader() {
    // SAFETY: called before any thread writes; the default action needs no handler of ours.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}
