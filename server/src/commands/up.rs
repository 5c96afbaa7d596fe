//! `thermocline up`: take over the data directory, finish what the last run left open, and run the pipelines.

pub(crate) mod progress;
mod setup;

pub(crate) use setup::{PipelineFile, load_pipelines, read_pipelines, render};

use crate::cli::UpArgs;
use crate::commands::broker::FOLDER;
use crate::data_dir::DataDir;
use crate::exit;
use crate::report::say;
use crate::run_file::RunFile;
use anyhow::{Context, Result};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use thermocline_broker::{Broker, BrokerConfig, BrokerError};
use thermocline_operators::Router;
use thermocline_pipelines::coordinator::{Ended, Snapshot};
use thermocline_pipelines::plan::Pipelines;
use thermocline_pipelines::run::{Handles, RunConfig, Stores};
use thermocline_schemas::domain::Registry;
use thermocline_schemas::metadata::CutView;
use thermocline_sinks::committer::Committer;
use thermocline_sinks::disk::Durability;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

pub(crate) async fn run(args: UpArgs) -> Result<ExitCode> {
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(stop_on_signals(stop));
    let ended = up(&args, stopping).await?;
    progress::print_rows(&ended.view);
    match &ended.how {
        Ended::Paused(pauses) => {
            pauses.iter().for_each(|pause| eprintln!("{}", progress::pause_line(pause, &args.data.data)));
            Ok(ExitCode::from(exit::PAUSED))
        }
        Ended::Stopped if args.once => {
            eprintln!("interrupted before everything was read; the same command goes on from here");
            Ok(ExitCode::from(exit::INTERRUPTED))
        }
        Ended::CaughtUp | Ended::Stopped => Ok(ExitCode::SUCCESS),
    }
}

/// Ctrl-C and SIGTERM finish the open epoch; a second one does not wait for it, and loses nothing that was committed.
async fn stop_on_signals(stop: watch::Sender<bool>) {
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => return tracing::warn!(%error, "signals cannot be heard"),
    };
    let mut asked = false;
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        if asked {
            std::process::exit(exit::INTERRUPTED.into());
        }
        asked = true;
        stop.send_replace(true);
    }
}

/// A run that is over.
pub(crate) struct UpEnded {
    /// How.
    pub(crate) how: Ended,
    /// What is there now.
    pub(crate) view: CutView,
}

/// Everything but the printing of the end.
pub(crate) async fn up(args: &UpArgs, stop: watch::Receiver<bool>) -> Result<UpEnded> {
    let prepared = setup::prepare(args)?;
    let durability = durability(args);
    let data = DataDir::open(&args.data.data, durability).await?;
    let older = RunFile::living(&data.path);
    // First the fence, then the broker's lock: an older run lets go of it when it finds itself fenced.
    let committer = setup::take_over(&data, durability).await?;
    if let Some(older) = older {
        say!("took over  from process {}, which ends", older.pid);
    }
    let how = match work(args, &prepared, &data, &committer, stop).await {
        Ok(how) => how,
        // A newer run sweeps what the older one left: failures that come of it have their reason in the fence.
        Err(error) => {
            let error = committer.lost().await.map_or(error, anyhow::Error::from);
            return Err(naming_the_directory(error, &data.path));
        }
    };
    RunFile::remove(&data.path);
    Ok(UpEnded { how, view: data.meta.newest().await? })
}

/// Whoever found the error could not know the directory that the command to paste needs.
fn naming_the_directory(error: anyhow::Error, data: &Path) -> anyhow::Error {
    let asks_for_it = error.chain().any(|cause| cause.to_string().contains("--data DIR"));
    if asks_for_it { error.context(format!("the run has ended; below, DIR is {}", data.display())) } else { error }
}

/// What is done with the right to write.
async fn work(
    args: &UpArgs,
    prepared: &Prepared,
    data: &DataDir,
    committer: &Arc<Committer>,
    stop: watch::Receiver<bool>,
) -> Result<Ended> {
    let broker = committer.while_ours(start_broker(args, data)).await?;
    let bootstrap = args.kafka.clone().or_else(|| broker.as_ref().map(Broker::bootstrap)).unwrap_or_default();
    let recovered = committer.while_ours(committer.recover()).await;
    recovered.context("what the last run left open cannot be finished")?;
    let stores = Stores {
        committer: committer.clone(),
        router: prepared.router.clone(),
        registry: prepared.registry.clone(),
        clock: data.clock.clone(),
    };
    let config = RunConfig {
        data: data.path.clone(),
        bootstrap: bootstrap.clone(),
        kafka_properties: args.kafka_property.iter().cloned().collect(),
        workers: args.workers.map_or_else(cores, usize::from),
        budget_bytes: args.memory_mib as usize * 1024 * 1024,
        epoch_interval: args.epoch_interval,
        // Whoever runs a broker of their own has made the topics before, or has many.
        discover_every: if broker.is_some() { Duration::from_millis(500) } else { Duration::from_secs(5) },
        durability: durability(args),
        once: args.once,
    };
    progress::print_banner(&data.path, &bootstrap, prepared, broker.is_some());
    let how = run_pipelines(config, &prepared.pipelines, stores, committer, stop).await;
    // The broker goes last: clients of the run must not see it vanish. Whatever became of the run, it is shut down.
    if let Some(broker) = broker {
        broker.shutdown().await;
    }
    how
}

fn durability(args: &UpArgs) -> Durability {
    if args.no_sync { Durability::Process } else { Durability::Disk }
}

async fn start_broker(args: &UpArgs, data: &DataDir) -> Result<Option<Broker>> {
    if args.kafka.is_some() {
        return Ok(None);
    }
    let config = BrokerConfig { data_dir: data.path.join(FOLDER), port: args.kafka_port, ..BrokerConfig::default() };
    let broker = Broker::start(config).await;
    let way_out = match &broker {
        Err(BrokerError::Listen { .. }) => "; use --kafka-port for another port, or --kafka for another broker",
        _ => "",
    };
    Ok(Some(broker.with_context(|| format!("the embedded broker cannot start{way_out}"))?))
}

/// The run, shown while it goes on; afterwards, unless somebody is waiting at the terminal, everything is rolled up.
async fn run_pipelines(
    config: RunConfig,
    pipelines: &Pipelines,
    stores: Stores,
    committer: &Arc<Committer>,
    stop: watch::Receiver<bool>,
) -> Result<Ended> {
    let (snapshots, seen) = watch::channel(Snapshot::default());
    let topic = progress::example_topic(pipelines);
    let paste = format!("thermocline produce --kafka {} --topic {topic} {topic}.jsonl", config.bootstrap);
    let shown = tokio::spawn(progress::show(config.data.clone(), paste, config.once, seen));
    let ended = thermocline_pipelines::run::run(config, pipelines, stores, Handles { stop, snapshots }).await;
    // The run has let go of its snapshots: this clears the line and ends.
    let _ = shown.await;
    let ended = ended?;
    if !matches!(ended, Ended::Stopped) {
        let line = progress::spinner("rolling up");
        let rolled_up = roll_up_and_clean_up(committer).await;
        line.finish_and_clear();
        rolled_up?;
    }
    Ok(ended)
}

async fn roll_up_and_clean_up(committer: &Arc<Committer>) -> Result<()> {
    let roll_up = committer.while_ours(committer.roll_up_all());
    roll_up.await.context("the staged parts cannot be rolled up")?;
    let clean_up = committer.while_ours(committer.clean_up());
    clean_up.await.context("what nobody needs cannot be deleted")?;
    Ok(())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// What `up` has read from files before it touches anything.
pub(crate) struct Prepared {
    /// The pipelines.
    pub(crate) pipelines: Pipelines,
    /// Their files, for the banner.
    pub(crate) files: Vec<PipelineFile>,
    /// What a person has settled: `rules` or `mappings`, and the file, for the banner.
    pub(crate) settled: Vec<(&'static str, String)>,
    /// Classifies and maps, knowing the domains that the pipelines declare.
    pub(crate) router: Arc<Router>,
    /// The domains.
    pub(crate) registry: Arc<Registry>,
}
