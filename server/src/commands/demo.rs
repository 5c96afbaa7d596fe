//! `thermocline demo`: the real records that ship, from topics into three tiers, and questions over them.

use crate::cli::{DataArg, DemoArgs, UpArgs};
use crate::commands::broker::FOLDER;
use crate::commands::produce::{ago, days, with_progress};
use crate::commands::up::{self, progress::print_rows};
use crate::commands::verify::{BROKEN, law};
use crate::report::{self, say, thousands};
use crate::run_file::RunFile;
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thermocline_broker::{Broker, BrokerConfig};
use thermocline_pipelines::coordinator::{Ended, data_flag};
use thermocline_pipelines::source::produce::{Input, Produce, ShiftTime};
use thermocline_schemas::shell_word;
use thermocline_schemas::time::SystemClock;
use thermocline_sql::Engine;
use thermocline_sql::verify::verify;
use tokio::sync::watch;

/// Marks a data directory that the demo may empty: a file of this name with [`MARK`] in it.
const MARKER: &str = ".thermocline-demo";
const MARK: &str = "`thermocline demo` may empty this directory\n";
/// Partitions of each topic.
const PARTITIONS: i32 = 2;

/// `topics.json` among the records.
#[derive(Debug, Deserialize)]
struct Manifest {
    topics: Vec<Topic>,
}

/// One file of records.
#[derive(Debug, Deserialize)]
struct Topic {
    topic: String,
    file: PathBuf,
    records: u64,
    key_field: Option<String>,
    event_time: EventTime,
    /// How old the newest record is made; none: the times are kept.
    newest_age_seconds: Option<u64>,
}

/// Where a record says when it happened.
#[derive(Debug, Deserialize)]
struct EventTime {
    path: Option<String>,
    /// Further times that move along.
    #[serde(default)]
    also: Vec<Also>,
}

#[derive(Debug, Deserialize)]
struct Also {
    path: String,
}

pub(crate) async fn run(args: DemoArgs) -> Result<ExitCode> {
    let manifest = args.records.join("topics.json");
    let manifest = std::fs::read_to_string(&manifest).with_context(|| {
        format!(
            "cannot read {}; --records DIR names the records that ship, deploy/demo of the sources",
            manifest.display()
        )
    })?;
    let manifest: Manifest = serde_json::from_str(&manifest).context("topics.json is damaged")?;
    fresh(&args.data)?;
    let broker = BrokerConfig { data_dir: args.data.join(FOLDER), ..BrokerConfig::default() };
    let broker = Broker::start(broker).await.context("the embedded broker cannot start")?;
    let bootstrap = broker.bootstrap();
    say!("1. records to topics of the embedded broker at {bootstrap}");
    tokio::task::block_in_place(|| fill(&args.records, &manifest, &bootstrap))?;

    say!("\n2. classified, mapped and written to hot, warm and cold, exactly once");
    let started = Instant::now();
    let ended = load(&args.data, bootstrap).await?;
    broker.shutdown().await;
    ensure!(ended.how == Ended::CaughtUp, "the pipeline did not read everything: {:?}", ended.how);
    say!("{:.1} s until everything was committed and rolled up\n", started.elapsed().as_secs_f64());
    print_rows(&ended.view);

    let engine = Engine::open(&args.data, Arc::new(SystemClock)).await?;
    let session = engine.session().await?;
    say!("\n3. no record lost, none twice");
    let verified = verify(&session).await?;
    say!("{}", law(&verified.domains));
    if !verified.ok {
        verified.problems.iter().for_each(|problem| say!("problem: {problem}"));
        bail!(BROKEN);
    }

    say!("\n4. questions over all tiers as one");
    for question in questions(&args.records.join("questions.sql"))? {
        let asked = Instant::now();
        let answer = session.query(&question.sql).await.with_context(|| question.sql.clone())?;
        say!("\n{}\n{}", question.title, question.sql);
        report::print_table(&answer)?;
        say!("{} rows, {} ms", thousands(answer.rows() as u64), asked.elapsed().as_millis());
    }
    // As it was called here: after `make demo` the binary is not on the path.
    let called = std::env::args().next().map_or_else(|| "thermocline".into(), |called| shell_word(&called));
    let data = data_flag(&args.data);
    say!("\nask on:  {called} sql {data} \"SELECT _domain, _tier, count(*) FROM events GROUP BY 1, 2\"");
    say!("serve:   {called} up {data}");
    Ok(ExitCode::SUCCESS)
}

/// An empty directory: a new one, or an earlier demo's.
fn fresh(data: &Path) -> Result<()> {
    let is_empty = |data: &Path| data.read_dir().map(|mut entries| entries.next().is_none()).unwrap_or(true);
    if let Some(run) = RunFile::living(data) {
        bail!(
            "process {} is running in {}; stop it first, or say --data with a new directory",
            run.pid,
            data.display()
        );
    }
    if std::fs::read_to_string(data.join(MARKER)).is_ok_and(|mark| mark == MARK) {
        std::fs::remove_dir_all(data).with_context(|| format!("cannot empty {}", data.display()))?;
    } else if !is_empty(data) {
        bail!("{} holds something else than a demo; say --data with a new directory", data.display());
    }
    std::fs::create_dir_all(data).with_context(|| format!("cannot create {}", data.display()))?;
    std::fs::write(data.join(MARKER), MARK)?;
    Ok(())
}

fn fill(records: &Path, manifest: &Manifest, bootstrap: &str) -> Result<()> {
    let mut sum = 0;
    for topic in &manifest.topics {
        let fields = topic.event_time.path.iter().chain(topic.event_time.also.iter().map(|also| &also.path));
        let shift_time = match topic.newest_age_seconds {
            Some(age) if topic.event_time.path.is_some() => {
                Some(ShiftTime { fields: fields.cloned().collect(), newest_at: ago(Duration::from_secs(age))? })
            }
            _ => None,
        };
        let options = Produce {
            partitions: Some(PARTITIONS),
            key_field: topic.key_field.clone(),
            shift_time,
            ..Produce::new(bootstrap, &topic.topic)
        };
        let produced = with_progress(&options, Input::Path(records.join(&topic.file)))?;
        let (expected, found, name) = (topic.records, produced.records, &topic.topic);
        ensure!(found == expected, "{name} has {found} records, but topics.json says {expected}");
        let moved = produced.moved_by.get(&topic.topic).map(|by| format!(", moved in time by {}", days(*by)));
        say!("   {:<28} {:>7}{}", topic.topic, thousands(produced.records), moved.unwrap_or_default());
        sum += produced.records;
    }
    say!("   {:<28} {:>7}", "all", thousands(sum));
    Ok(())
}

async fn load(data: &Path, bootstrap: String) -> Result<up::UpEnded> {
    let args = UpArgs {
        data: DataArg { data: data.to_owned() },
        kafka: Some(bootstrap),
        kafka_port: 0,
        kafka_property: vec![],
        pipeline: vec![],
        workers: None,
        once: true,
        topics: None,
        mappings: None,
        memory_mib: 512,
        no_sync: false,
        epoch_interval: Duration::from_secs(1),
    };
    let (_running, stop) = watch::channel(false);
    up::up(&args, stop).await
}

/// A question of the demo.
struct Question {
    title: String,
    sql: String,
}

/// Statements, each after a line `-- question: …`; what stands before the first is for readers of the file.
fn questions(path: &Path) -> Result<Vec<Question>> {
    const BEGINS: &str = "\n-- question:";
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let question = |block: &str| -> Option<Question> {
        let (title, sql) = block.split_once('\n')?;
        let sql = sql.trim().trim_end_matches(';').to_owned();
        Some(Question { title: title.trim().to_owned(), sql })
    };
    // The first block is what stands before.
    let questions: Vec<Question> = text.split(BEGINS).skip(1).filter_map(question).collect();
    ensure!(!questions.is_empty(), "{} holds no line that begins with {}", path.display(), BEGINS.trim());
    Ok(questions)
}
