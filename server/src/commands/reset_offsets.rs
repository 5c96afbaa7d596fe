//! `thermocline reset-offsets`.

use crate::cli::ResetArgs;
use crate::commands::broker::FOLDER;
use crate::data_dir::DataDir;
use crate::report::print_json;
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use thermocline_broker::{Broker, BrokerConfig};
use thermocline_pipelines::source::topics::{PartitionInfo, TopicInfo, look_up};
use thermocline_schemas::metadata::{CutView, Durability, OffsetReset, Progress};

/// How long a broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Where to read on.
enum To {
    Earliest,
    Latest,
    Offset(i64),
}

pub(crate) async fn run(args: ResetArgs) -> Result<ExitCode> {
    let to = match args.to.as_str() {
        "earliest" => To::Earliest,
        "latest" => To::Latest,
        offset => {
            To::Offset(offset.parse().with_context(|| format!("{offset:?} is not earliest, latest or an offset"))?)
        }
    };
    let data = DataDir::open_existing(&args.data.data, Durability::Disk).await?;
    let broker = match &args.kafka {
        Some(_) => None,
        None => Some(embedded(data.path.join(FOLDER)).await?),
    };
    let bootstrap = args.kafka.clone().or_else(|| broker.as_ref().map(Broker::bootstrap)).unwrap_or_default();
    let (topic, properties) = (args.topic.clone(), args.kafka_property.iter().cloned().collect::<BTreeMap<_, _>>());
    let looked = tokio::task::spawn_blocking(move || look_up(&bootstrap, &properties, &topic, PATIENCE)).await;
    if let Some(broker) = broker {
        broker.shutdown().await;
    }
    let topic = looked??;
    let view = data.meta.newest().await?;
    let resets = resets(&args, &to, &topic, &view)?;
    data.meta.reset_offsets(&resets).await?;
    if args.json {
        print_json(&serde_json::json!({ "reset": resets }))?;
    }
    for reset in resets.iter().filter(|_| !args.json) {
        println!("{} <- {}/{}@{}", reset.source, reset.topic, reset.partition, reset.next_offset);
    }
    if !args.json && resets.iter().any(|reset| moves_back(reset, &view)) {
        println!("what is read again becomes rows a second time, with the same _event_id");
    }
    Ok(ExitCode::SUCCESS)
}

fn moves_back(reset: &OffsetReset, view: &CutView) -> bool {
    let here = |it: &&Progress| (&it.source, &it.topic, it.partition) == (&reset.source, &reset.topic, reset.partition);
    let known = view.progress.iter().find(here);
    known.is_some_and(|it| it.topic_id == reset.topic_id && reset.next_offset < it.next_offset)
}

/// Starts the broker whose log is in `data_dir`. Where there is none, none is made: it would know no topic.
async fn embedded(data_dir: PathBuf) -> Result<Broker> {
    if !data_dir.exists() {
        bail!("no embedded broker has ever run in {}: say --kafka, as for `up`", data_dir.display())
    }
    Ok(Broker::start(BrokerConfig { data_dir, ..BrokerConfig::default() }).await?)
}

fn resets(args: &ResetArgs, to: &To, topic: &TopicInfo, view: &CutView) -> Result<Vec<OffsetReset>> {
    let reading = view.progress.iter().filter(|it| it.topic == args.topic);
    let sources: BTreeSet<&str> = reading.map(|it| it.source.as_str()).collect();
    let source = match (&args.source, sources.len()) {
        (Some(source), _) if sources.contains(source.as_str()) => source.as_str(),
        (None, 1) => sources.first().copied().unwrap_or_default(),
        (None, 0) => {
            bail!("nothing has been read of topic {} yet; a new topic is read from its first record", args.topic)
        }
        (named, _) => {
            let sources: Vec<&str> = sources.into_iter().collect();
            let wrong = named.as_ref().map_or("several sources".to_owned(), |named| format!("not {named}, but others"));
            bail!("topic {} is read by {wrong}: say --source, one of {}", args.topic, sources.join(", "))
        }
    };
    let id = topic.topic.id;
    let anew = view.progress.iter().any(|it| (&*it.source, &it.topic) == (source, &args.topic) && it.topic_id != id);
    if args.partition.is_some() && anew {
        bail!("topic {} was made anew: none of its old offsets means anything; leave --partition out", args.topic)
    }
    let partitions = i32::try_from(topic.partitions.len())?;
    let mut resets = vec![];
    for at in topic.partitions.iter().filter(|at| args.partition.is_none_or(|only| only == at.partition)) {
        resets.push(OffsetReset {
            source: source.to_owned(),
            cluster_id: topic.topic.cluster_id.to_string(),
            topic: args.topic.clone(),
            topic_id: id,
            partition: at.partition,
            partitions,
            next_offset: offset(to, at, &args.topic)?,
        });
    }
    if let (Some(partition), true) = (args.partition, resets.is_empty()) {
        bail!("topic {} has no partition {partition}; it has {}", args.topic, topic.partitions.len());
    }
    Ok(resets)
}

fn offset(to: &To, at: &PartitionInfo, topic: &str) -> Result<i64> {
    match to {
        To::Earliest => Ok(at.earliest),
        To::Latest => Ok(at.end),
        To::Offset(offset) if (at.earliest..=at.end).contains(offset) => Ok(*offset),
        To::Offset(offset) => {
            let (partition, earliest, end) = (at.partition, at.earliest, at.end);
            bail!("{topic}/{partition} holds the offsets {earliest} to {end}, {offset} is not among them")
        }
    }
}
