//! A run: the dataflow on its workers, the writers beside them, the sources before and the coordinator behind.

use crate::PipelineError;
use crate::coordinator::book::{Book, SourceInfo};
use crate::coordinator::{Coordinator, Ended, Snapshot, SourceRun};
use crate::dataflow::graph::SourceGraph;
use crate::dataflow::writer::{Writer, Written};
use crate::dataflow::{self, Dataflow, LastEpoch, Sealed};
use crate::failures::{Failures, PanicAlarm};
use crate::plan::Pipelines;
use crate::source::budget::Budget;
use crate::source::ingress::Ingress;
use crate::source::kafka::{KafkaConfig, KafkaSource};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use thermocline_operators::Router;
use thermocline_schemas::domain::{Phrases, Registry};
use thermocline_schemas::format::ShapeTable;
use thermocline_schemas::metadata::{BranchId, CutView, Pause};
use thermocline_schemas::{Clock, Epoch, TableName, TableSchema};
use thermocline_sinks::committer::Committer;
use thermocline_sinks::disk::Durability;
use tokio::sync::{mpsc, watch};

/// What a run is told.
#[derive(Debug, Clone)]
pub struct RunConfig {
    /// The data directory.
    pub data: PathBuf,
    /// The broker, as `host:port,…`.
    pub bootstrap: String,
    /// Further properties of the client, as librdkafka names them.
    pub kafka_properties: BTreeMap<String, String>,
    /// Threads that run the dataflow.
    pub workers: usize,
    /// The budget in bytes for everything under way: client queues, raw and decoded batches, open epochs, writers. Default
    /// 512 MiB. Less uses less memory and makes smaller epochs.
    pub budget_bytes: usize,
    /// An epoch closes at least so often. Default 1 s. Shorter shows rows sooner and writes more, smaller segments.
    pub epoch_interval: Duration,
    /// How often new topics and partitions are looked for. Default 5 s.
    pub discover_every: Duration,
    /// Whether segments are synced to disk before they count. Default: they are.
    pub durability: Durability,
    /// End when everything is read that was there at the start.
    pub once: bool,
}

/// The parts that outlive a run.
#[derive(Debug, Clone)]
pub struct Stores {
    /// The committer of this generation; everything the last run left open is finished.
    pub committer: Arc<Committer>,
    /// Classifies and maps.
    pub router: Arc<Router>,
    /// The domains, those that pipelines declare among them.
    pub registry: Arc<Registry>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// What a caller holds of a run.
#[derive(Debug)]
pub struct Handles {
    /// Set to true to stop after the open epoch.
    pub stop: watch::Receiver<bool>,
    /// Gets the run's state.
    pub snapshots: watch::Sender<Snapshot>,
}

/// The shares of the budget: the clients' queues get a quarter of it, the rest is for what they handed over.
const CLIENT_SHARE: usize = 4;

/// Runs `pipelines` until everything is read (`once`), somebody stops it, or something fails. Rollups and clean-up go on
/// beside; a newer run on the same data directory ends this one within two seconds, also while it is idle.
///
/// # Errors
/// See [`PipelineError`]; whatever was committed before stays committed.
pub async fn run(
    config: RunConfig,
    pipelines: &Pipelines,
    stores: Stores,
    handles: Handles,
) -> Result<Ended, PipelineError> {
    let branches = register(pipelines, &stores).await?;
    let view = stores.committer.meta().newest().await?;
    silence(&view.tables, &stores).await?;
    let open = view.epoch.map_or(Epoch(1), Epoch::next);
    let opened_at = stores.clock.now();
    let budget = Arc::new(Budget::new(config.budget_bytes - config.budget_bytes / CLIENT_SHARE));
    let (last, failures) = (LastEpoch::default(), Failures::default());
    let ingress = |name: &str| {
        let branches = branches.get(name).map_or(0, Vec::len);
        Arc::new(Ingress::new(name, branches, budget.clone(), open, opened_at))
    };
    let graphs: Vec<SourceGraph> = pipelines
        .sources
        .iter()
        .map(|source| SourceGraph {
            ingress: ingress(&source.name),
            format: source.format.clone(),
            branches: branches.get(&source.name).cloned().unwrap_or_default(),
        })
        .collect();
    let sources = stores.committer.while_ours(start_sources(&config, pipelines, &graphs, &view)).await?;
    let dataflow = Dataflow {
        sources: graphs.clone(),
        router: stores.router.clone(),
        registry: stores.registry.clone(),
        shapes: Arc::new(ShapeTable::default()),
        first: open,
        last: last.clone(),
        failures: failures.clone(),
    };
    let tables = Arc::new(view.tables.iter().map(|table| (table.name.clone(), table.clone())).collect());
    let (send, written) = mpsc::unbounded_channel();
    let workers = start_workers(&config, &stores, dataflow, tables, send)?;
    let coordinator = Coordinator {
        committer: stores.committer.clone(),
        book: Book::new(source_infos(pipelines, &graphs), config.workers, &view.progress),
        sources,
        budget_bytes: config.budget_bytes,
        budget,
        data: config.data.clone(),
        router: stores.router,
        clock: stores.clock,
        open,
        opened_at,
        last: last.clone(),
        epoch_interval: config.epoch_interval,
        once: config.once,
        paused: pauses_of(pipelines, &view),
        dead_letters: BTreeMap::new(),
        snapshots: handles.snapshots,
        failures: failures.clone(),
    };
    let committer = stores.committer;
    let beside = failures.clone();
    let watch = tokio::spawn(async move {
        let _alarm = PanicAlarm { failures: beside.clone(), thread: "the thread of the rollups".to_owned() };
        tokio::select! {
            fenced = committer.fence() => beside.report(fenced),
            failed = committer.tend() => beside.report(failed),
        }
    });
    let ended = coordinator.run(written, handles.stop).await;
    // An intent that this leaves open is finished by whoever rolls up next.
    watch.abort();
    let _ = watch.await;
    // Whatever happened, the threads go home: the sources are gone with the coordinator, the workers see the end.
    failures.finish();
    graphs.iter().for_each(|graph| graph.ingress.stop());
    let joined = tokio::task::spawn_blocking(move || drop(workers)).await;
    // What ended the run comes before what a worker that panicked leaves to be joined.
    let ended = ended?;
    joined.map_err(PipelineError::Thread)?;
    Ok(ended)
}

/// The pauses of topics that are still read. One of a source that is gone holds nothing up.
fn pauses_of(pipelines: &Pipelines, view: &CutView) -> Vec<Pause> {
    let reads =
        |pause: &&Pause| pipelines.source(&pause.source).is_some_and(|source| source.pattern.matches(&pause.topic));
    view.pauses.iter().filter(reads).cloned().collect()
}

/// Takes the phrases from domains that no pipeline file declares any more: they get no records, and no question should find
/// them either.
async fn silence(known: &[TableSchema], stores: &Stores) -> Result<(), PipelineError> {
    let is_over =
        |table: &&TableSchema| !table.phrases.is_empty() && stores.registry.get(table.name.as_str()).is_none();
    for table in known.iter().filter(is_over) {
        let silent = TableSchema { phrases: Phrases::default(), ..table.clone() };
        stores.committer.meta().register_table(stores.committer.generation(), &silent).await?;
    }
    Ok(())
}

/// Makes tables and branches known; closes the branches whose statement is gone. Returns the branches of each source.
async fn register(
    pipelines: &Pipelines,
    stores: &Stores,
) -> Result<HashMap<String, Vec<(BranchId, Arc<crate::plan::BranchSpec>)>>, PipelineError> {
    let (meta, generation) = (stores.committer.meta(), stores.committer.generation());
    let domains = stores.registry.iter().map(|domain| domain.table_schema());
    let tables: BTreeMap<TableName, TableSchema> = domains
        .chain(pipelines.tables.iter().cloned())
        .chain([TableSchema::dead_letters()])
        .map(|schema| (schema.name.clone(), schema))
        .collect();
    for schema in tables.values() {
        meta.register_table(generation, schema).await?;
    }
    let mut branches: HashMap<String, Vec<_>> = HashMap::new();
    let mut live = vec![];
    for branch in &pipelines.branches {
        let id = meta.register_branch(generation, &branch.identity).await?;
        live.push(id);
        branches.entry(branch.leg.source.clone()).or_default().push((id, Arc::new(branch.clone())));
    }
    meta.close_branches(generation, &live).await?;
    Ok(branches)
}

fn source_infos(pipelines: &Pipelines, graphs: &[SourceGraph]) -> Vec<SourceInfo> {
    let both = pipelines.sources.iter().zip(graphs);
    both.map(|(source, graph)| SourceInfo {
        name: source.name.clone(),
        max_disorder: i64::try_from(source.max_disorder.as_micros()).unwrap_or(i64::MAX),
        idle_after: source.idle_after,
        branches: graph.branches.iter().map(|(id, _)| *id).collect(),
    })
    .collect()
}

/// Starts the clients, on a thread that may wait for the broker. Dropped half-way, that thread ends by itself.
async fn start_sources(
    config: &RunConfig,
    pipelines: &Pipelines,
    graphs: &[SourceGraph],
    view: &CutView,
) -> Result<Vec<SourceRun>, PipelineError> {
    let queue_bytes = config.budget_bytes / CLIENT_SHARE / pipelines.sources.len().max(1);
    let mut starting = vec![];
    for (source, graph) in pipelines.sources.iter().zip(graphs) {
        let pattern = source.pattern.clone();
        let kafka = KafkaConfig {
            properties: config.kafka_properties.clone(),
            clients: config.workers,
            queue_bytes,
            discover_every: config.discover_every,
            paused: paused_topics(view, &source.name),
            ..KafkaConfig::new(&config.bootstrap, move |topic| pattern.matches(topic))
        };
        starting.push((kafka, graph.ingress.clone()));
    }
    let progress = view.progress.clone();
    let start = move || {
        let start = |(kafka, ingress): (KafkaConfig, Arc<Ingress>)| {
            let kafka = KafkaSource::start(kafka, ingress.clone(), progress.clone())?;
            Ok(SourceRun::new(ingress, kafka))
        };
        starting.into_iter().map(start).collect::<Result<Vec<_>, PipelineError>>()
    };
    tokio::task::spawn_blocking(start).await.map_err(PipelineError::Thread)?
}

fn paused_topics(view: &CutView, source: &str) -> BTreeSet<String> {
    view.pauses.iter().filter(|pause| pause.source == source).map(|pause| pause.topic.clone()).collect()
}

/// Starts the workers, each with its writer. Dropping the guards waits for them.
fn start_workers(
    config: &RunConfig,
    stores: &Stores,
    dataflow: Dataflow,
    tables: Arc<HashMap<TableName, TableSchema>>,
    written: mpsc::UnboundedSender<Written>,
) -> Result<timely::communication::WorkerGuards<()>, PipelineError> {
    let (data, durability, generation) = (config.data.clone(), config.durability, stores.committer.generation());
    timely::execute(timely::Config::process(config.workers), move |worker| {
        let writer = Writer { data: data.clone(), generation, durability, tables: tables.clone() };
        let (hand_over, sealed) = crossbeam_channel::unbounded();
        let failures = dataflow.failures.clone();
        let _alarm = PanicAlarm { failures: failures.clone(), thread: format!("worker {}", worker.index()) };
        let writing = start_writer(worker.index(), writer, sealed, written.clone(), failures.clone());
        let probe = dataflow::build(worker, &dataflow, move |sealed| {
            // The writer goes home only after this end does.
            let _ = hand_over.send(sealed);
        });
        match probe {
            Ok(probe) => {
                // When another worker has panicked, this one's probe is never done.
                while !probe.done() && worker.has_dataflows() && !failures.any() {
                    worker.step_or_park(Some(Duration::from_millis(100)));
                }
            }
            Err(error) => failures.report(error),
        }
        // Dropping the dataflow closes the channel.
        for dataflow in worker.installed_dataflows() {
            worker.drop_dataflow(dataflow);
        }
        // A panic of the writer has raised its own alarm.
        let _ = writing.join();
    })
    .map_err(|what| PipelineError::Workers { what })
}

fn start_writer(
    worker: usize,
    writer: Writer,
    sealed: crossbeam_channel::Receiver<Sealed>,
    written: mpsc::UnboundedSender<Written>,
    failures: Failures,
) -> std::thread::JoinHandle<()> {
    let thread = format!("writer {worker}");
    let alarm = PanicAlarm { failures: failures.clone(), thread: thread.clone() };
    let work = move || {
        let _alarm = alarm;
        for sealed in sealed {
            match writer.write(sealed) {
                // A coordinator that is gone has stopped the run.
                Ok(report) => drop(written.send(report)),
                Err(error) => return failures.report(error),
            }
        }
    };
    std::thread::Builder::new().name(thread).spawn(work).expect("the system gives us a thread")
}
