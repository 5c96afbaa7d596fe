//! What can be typed. The doc comments are the help.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Thermocline: Kafka topics into hot, warm and cold tables, exactly once, answered as one.
///
/// Start with `thermocline up --data ./data`, write to a topic with `thermocline produce`, and ask with `thermocline sql`.
#[derive(Debug, Parser)]
#[command(name = "thermocline", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// How log lines on standard error look.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// More of what happens: -v for state changes, -vv for debugging. `RUST_LOG` overrides it.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The file that corrects mappings.
const MAPPINGS_HELP: &str = r#"To correct a mapping, write to mappings.toml in the data directory, and start `up` again:

  [[mapping]]
  topic = "orders*"               # or: shape = "90ab12cd34ef5678", as listed here; or both
  domain = "integration"          # optional: only where the records are of this domain
  event_time = "placed"           # a field's path, or "broker" for the time that the broker noted
  fields = { "customer.ref" = "partner", "note" = "ignore" }

A field that is ignored stays in `attributes`. Rows that are there already stay as they are."#;

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run pipelines: read topics, classify and route their records, keep the tables.
    Up(UpArgs),
    /// Run the embedded Kafka broker alone.
    Broker(BrokerArgs),
    /// Write a file of records to a topic, one record a line.
    Produce(ProduceArgs),
    /// Ask in SQL over hot, warm and cold as one.
    Sql(SqlArgs),
    /// Print the dataflow graph of pipeline files, or say where and why they are refused.
    Check(CheckArgs),
    /// Show what a data directory holds and what its run is doing.
    Status(ReportArgs),
    /// Recount everything by scanning: no record lost, none twice. Ends with status 1 if one is.
    Verify(ReportArgs),
    /// List how records were mapped onto the columns of their domains.
    #[command(after_help = MAPPINGS_HELP)]
    Mappings(ReportArgs),
    /// Look at the records that could not be used.
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Go on with topics that were paused because most of their records were dead letters.
    Resume(ResumeArgs),
    /// Read a topic from another offset. The records this skips, or reads again, are listed as a gap.
    ///
    /// Records that are read again become rows a second time, with the same `_event_id`; `verify` counts them apart.
    ///
    /// Stop `up` first and start it again afterwards: one that runs meanwhile is fenced and ends with status 3. The
    /// partitions are reset together, or none of them.
    ResetOffsets(ResetArgs),
    /// Measure how fast this machine classifies and streams.
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Load the real records that ship with Thermocline and ask questions over hot, warm and cold.
    Demo(DemoArgs),
}

impl Command {
    /// True for commands that must not end because nobody reads on what they print: a broker runs in them, or beside them.
    pub(crate) fn serves(&self) -> bool {
        matches!(self, Command::Up(_) | Command::Broker(_) | Command::Demo(_))
    }
}

/// Where the data is.
#[derive(Debug, Clone, Args)]
pub(crate) struct DataArg {
    /// The data directory.
    #[arg(long, value_name = "DIR", env = "THERMOCLINE_DATA")]
    pub(crate) data: PathBuf,
}

/// Run pipelines.
#[derive(Debug, Clone, Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) data: DataArg,
    /// Brokers to read from, as host:port,host:port. Without it the embedded broker runs inside.
    #[arg(long, value_name = "BOOTSTRAP")]
    pub(crate) kafka: Option<String>,
    /// The port of the embedded broker; 0 takes any that is free.
    #[arg(long, value_name = "PORT", default_value_t = 9092, conflicts_with = "kafka")]
    pub(crate) kafka_port: u16,
    /// A further property of the Kafka client, as librdkafka names it. May be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_property)]
    pub(crate) kafka_property: Vec<(String, String)>,
    /// A pipeline file. May be repeated; without any, the one that ships: it takes every topic.
    #[arg(long, value_name = "FILE")]
    pub(crate) pipeline: Vec<PathBuf>,
    /// Threads of the dataflow. Default: one a core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) workers: Option<u16>,
    /// End when everything is read, committed and rolled up that was on the broker at the start.
    #[arg(long)]
    pub(crate) once: bool,
    /// Topics whose domain is settled, in TOML: for each a line `[[topic]]`, then `pattern = "payments.*"` (`*` is any
    /// text, `?` any character) and `domain = "integration"`. Default: topics.toml in the data directory, if it is there.
    #[arg(long, value_name = "FILE")]
    pub(crate) topics: Option<PathBuf>,
    /// Corrections of mappings, in TOML; see `thermocline mappings --help`. Default: mappings.toml in the data directory.
    #[arg(long, value_name = "FILE")]
    pub(crate) mappings: Option<PathBuf>,
    /// Memory for everything under way, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u32).range(16..))]
    pub(crate) memory_mib: u32,
    /// Do not sync segments and tables to disk: a killed process loses nothing, a power cut may.
    #[arg(long)]
    pub(crate) no_sync: bool,
    /// An epoch closes, and its rows become visible, at least so often.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_interval)]
    pub(crate) epoch_interval: std::time::Duration,
}

/// Every epoch is a commit: a shorter one would do nothing else.
fn parse_interval(text: &str) -> Result<std::time::Duration, String> {
    let least = std::time::Duration::from_millis(10);
    match humantime::parse_duration(text) {
        Ok(interval) if interval >= least => Ok(interval),
        Ok(_) => Err("at least 10ms".to_owned()),
        Err(error) => Err(format!("{error}; write it as 500ms, 1s or 2min")),
    }
}

fn parse_property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not NAME=VALUE, as security.protocol=ssl")),
    }
}

/// Run the embedded broker.
#[derive(Debug, Clone, Args)]
pub(crate) struct BrokerArgs {
    #[command(flatten)]
    pub(crate) data: DataArg,
    /// The port to listen on; 0 takes any that is free.
    #[arg(long, value_name = "PORT", default_value_t = 9092)]
    pub(crate) port: u16,
    /// The address to listen on and to tell clients.
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    pub(crate) host: String,
    /// Sync every batch to disk before it is acknowledged.
    #[arg(long)]
    pub(crate) sync: bool,
}

/// Write records to a topic.
#[derive(Debug, Clone, Args)]
pub(crate) struct ProduceArgs {
    /// Brokers to write to, as host:port.
    #[arg(long, value_name = "BOOTSTRAP", default_value = "127.0.0.1:9092")]
    pub(crate) kafka: String,
    /// The topic; created if it is missing.
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: String,
    /// Take the key from this field of each record; a dot goes into objects.
    #[arg(long, value_name = "NAME")]
    pub(crate) key_field: Option<String>,
    /// Write to this partition only.
    #[arg(long, value_name = "N")]
    pub(crate) partition: Option<i32>,
    /// Partitions of a topic that has to be created.
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) partitions: i32,
    /// Move the times in this field by one constant, so that the newest record is as old as --newest-age says.
    #[arg(long, value_name = "FIELD")]
    pub(crate) shift_time: Option<String>,
    /// How old the newest record shall be; with --shift-time.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = humantime::parse_duration)]
    pub(crate) newest_age: std::time::Duration,
    /// The records, one a line, JSON or text, plain or gzip; - is standard input. Blank lines are left out and counted.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// One JSON object on standard output instead of words.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Ask in SQL.
#[derive(Debug, Clone, Args)]
pub(crate) struct SqlArgs {
    #[command(flatten)]
    pub(crate) data: DataArg,
    /// How the answer looks.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
    /// The statement; - reads it from standard input.
    #[arg(value_name = "SQL")]
    pub(crate) sql: String,
}

/// How an answer looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table for people.
    Table,
    /// One JSON object a row.
    Json,
    /// Comma-separated values with a header.
    Csv,
}

/// Check pipeline files.
#[derive(Debug, Clone, Args)]
pub(crate) struct CheckArgs {
    /// The pipeline files, as `up` would run them together.
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// One JSON object on standard output instead of words.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Report on a data directory.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReportArgs {
    #[command(flatten)]
    pub(crate) data: DataArg,
    /// One JSON object on standard output instead of words.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// List them, newest first, with where they stood and what was wrong.
    List(DeadLettersArgs),
}

/// List dead letters.
#[derive(Debug, Clone, Args)]
pub(crate) struct DeadLettersArgs {
    #[command(flatten)]
    pub(crate) data: DataArg,
    /// Only of this topic.
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,
    /// One JSON object on standard output instead of words.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Resume topics.
#[derive(Debug, Clone, Args)]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    pub(crate) data: DataArg,
    /// Only this topic; without it, all that are paused.
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: Option<String>,
    /// One JSON object on standard output instead of words.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Reset offsets.
#[derive(Debug, Clone, Args)]
pub(crate) struct ResetArgs {
    #[command(flatten)]
    pub(crate) data: DataArg,
    /// The topic.
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: String,
    /// The offset to read next, in every partition or in --partition.
    #[arg(long, value_name = "earliest|latest|OFFSET")]
    pub(crate) to: String,
    /// Only this partition.
    #[arg(long, value_name = "N")]
    pub(crate) partition: Option<i32>,
    /// Only this source; needed where several read the topic.
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// Brokers that have the topic. Without it the embedded broker is started for the moment.
    #[arg(long, value_name = "BOOTSTRAP")]
    pub(crate) kafka: Option<String>,
    /// A further property of the Kafka client, as librdkafka names it. May be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_property)]
    pub(crate) kafka_property: Vec<(String, String)>,
    /// One JSON object on standard output instead of words.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Measure.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// How many records a second are classified and mapped.
    Classify(BenchClassifyArgs),
    /// How many records a second go from a topic into tables, beside a hand-written ceiling in the same run.
    Stream(BenchStreamArgs),
    /// The ceiling alone; `bench stream` runs it as a process of its own.
    #[command(hide = true)]
    Ceiling(CeilingArgs),
}

/// Measure the ceiling.
#[derive(Debug, Clone, Args)]
pub(crate) struct CeilingArgs {
    /// Brokers to read from.
    #[arg(long, value_name = "BOOTSTRAP")]
    pub(crate) kafka: String,
    /// The topic.
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: String,
    /// Threads.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) threads: usize,
    /// Where the files go.
    #[arg(value_name = "DIR")]
    pub(crate) out: PathBuf,
}

/// Measure the classifier.
#[derive(Debug, Clone, Args)]
pub(crate) struct BenchClassifyArgs {
    /// The folder of shipped records.
    #[arg(long, value_name = "DIR", default_value = "deploy/demo")]
    pub(crate) records: PathBuf,
    /// Threads.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) threads: usize,
    /// Times over the records.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) passes: usize,
    /// One JSON object on standard output instead of words.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Measure the stream.
#[derive(Debug, Clone, Args)]
pub(crate) struct BenchStreamArgs {
    /// Records to produce and read.
    #[arg(long, value_name = "N", default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) records: u64,
    /// Partitions of the topic.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) partitions: i32,
    /// Threads.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) workers: usize,
    /// Runs of each; the median counts.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) runs: u16,
    /// Brokers to use. Without it the embedded broker runs in a process of its own.
    #[arg(long, value_name = "BOOTSTRAP")]
    pub(crate) kafka: Option<String>,
    /// Where to put tables and files; removed afterwards.
    #[arg(long, value_name = "DIR")]
    pub(crate) scratch: Option<PathBuf>,
    /// One JSON object on standard output instead of words.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Run the demo.
#[derive(Debug, Clone, Args)]
pub(crate) struct DemoArgs {
    /// The data directory; must be new or a demo's.
    #[arg(long, value_name = "DIR", default_value = "data/demo")]
    pub(crate) data: PathBuf,
    /// The folder of shipped records.
    #[arg(long, value_name = "DIR", default_value = "deploy/demo")]
    pub(crate) records: PathBuf,
}
