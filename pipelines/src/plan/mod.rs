//! Pipeline SQL to branches of a dataflow, or a refusal with line, column and reason.
//!
//! In reading order: `text` splits a file into statements and finds places in it; `declare` reads `CREATE EXTERNAL
//! TABLE`; `check` looks at the syntax tree of an `INSERT` and refuses what cannot run for ever; `insert` has DataFusion
//! plan the rest, and `words` says what it refuses; `translate` turns its physical plan into [`Leg`]s; `leg` evaluates
//! them over batches; `bind` gives the result the columns of its target, by name; `explain` prints it all. [`load`] goes
//! the whole way.
//!
//! Nothing here executes a DataFusion plan, and nothing here knows of timely, brokers or tables.

mod bind;
mod check;
mod declare;
mod duration;
mod explain;
mod insert;
mod leg;
mod load;
mod options;
mod pattern;
mod refusal;
#[cfg(test)]
mod tests;
pub(crate) mod text;
mod translate;
mod types;
mod words;

pub use bind::{Binding, EventTimeFrom};
pub use explain::explain;
pub use leg::{Failed, Input, Leg, Output, ProjectStage, Stage};
pub use load::load;
pub use pattern::TopicPattern;
pub use refusal::{Refusal, render, render_all};
pub use translate::source_columns;

use arrow::datatypes::SchemaRef;
use std::sync::Arc;
use std::time::Duration;
use thermocline_schemas::metadata::NewBranch;
use thermocline_schemas::{TableName, TableSchema};

/// How far a row may lag behind the newest of its partition unless the source says otherwise: `max_disorder`. Longer
/// closes windows later, shorter sends more rows to the late side output; without windows it only holds the watermark.
pub const DEFAULT_MAX_DISORDER: Duration = Duration::from_secs(5);

/// How long a partition may stay silent before it stops holding the watermark back: `idle_after`.
pub const DEFAULT_IDLE_AFTER: Duration = Duration::from_secs(30);

/// The one column of a source that is declared without columns.
pub const PAYLOAD: &str = "payload";

/// Everything that the pipeline files of a run say.
#[derive(Debug, Clone, Default)]
pub struct Pipelines {
    /// The declared sources, in the order of the files.
    pub sources: Vec<SourceSpec>,
    /// The branches, in the order of the files: one a leg of an `INSERT`.
    pub branches: Vec<BranchSpec>,
    /// All tables that an `INSERT` names, with the columns they need: domains, and tables inside them.
    pub tables: Vec<TableSchema>,
    /// The domains that are declared here, or given more columns, in the order of the files.
    pub domains: Vec<DeclaredDomain>,
}

impl Pipelines {
    /// The source called `name`.
    pub fn source(&self, name: &str) -> Option<&SourceSpec> {
        self.sources.iter().find(|source| source.name == name)
    }

    /// The branches that read `source`.
    pub fn branches_of<'a>(&'a self, source: &'a str) -> impl Iterator<Item = &'a BranchSpec> {
        self.branches.iter().filter(move |branch| branch.leg.source == source)
    }
}

/// `CREATE EXTERNAL TABLE ... STORED AS KAFKA`.
#[derive(Debug, Clone)]
pub struct SourceSpec {
    /// Its name: unique in a run, and what its offsets are kept under.
    pub name: String,
    /// The topics it reads.
    pub pattern: TopicPattern,
    /// How payloads become columns.
    pub format: SourceFormat,
    /// The column that says when a record happened; none: the broker's timestamp.
    pub event_time: Option<String>,
    /// How far a row may lag behind the newest of its partition. Default [`DEFAULT_MAX_DISORDER`].
    pub max_disorder: Duration,
    /// How long a partition may stay silent before it stops holding the watermark back. Default
    /// [`DEFAULT_IDLE_AFTER`].
    pub idle_after: Duration,
    /// Where it is declared.
    pub position: Position,
}

impl SourceSpec {
    /// The columns of a decoded batch, without the source columns.
    pub fn columns(&self) -> SchemaRef {
        match &self.format {
            SourceFormat::Auto => Arc::new(arrow::datatypes::Schema::new(vec![types::text_field(PAYLOAD)])),
            SourceFormat::Json(schema) => schema.clone(),
        }
    }
}

/// How payloads become columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceFormat {
    /// Whatever comes; one column [`PAYLOAD`].
    Auto,
    /// Exactly one JSON object a record, with these columns: all nullable, of the types that tables take.
    Json(SchemaRef),
}

/// One leg of one `INSERT`.
#[derive(Debug, Clone)]
pub struct BranchSpec {
    /// What makes it the same branch after a restart.
    pub identity: NewBranch,
    /// What it does to a batch of its source.
    pub leg: Leg,
    /// Where its rows go.
    pub target: Target,
    /// Where a row's event time comes from.
    pub event_time: EventTimeFrom,
    /// Where it stands.
    pub position: Position,
}

/// Where the rows of a branch go.
#[derive(Debug, Clone)]
pub enum Target {
    /// Classified, mapped to a domain's columns, and routed there. The leg's output is the record.
    Domains,
    /// One table, bound by name.
    Table {
        /// The table with all its columns.
        schema: TableSchema,
        /// How the leg's output fills them.
        binding: Binding,
    },
}

impl Target {
    /// `domains`, or the table's name.
    pub fn name(&self) -> &str {
        match self {
            Target::Domains => DOMAINS,
            Target::Table { schema, .. } => schema.name.as_str(),
        }
    }
}

/// The routing target.
pub const DOMAINS: &str = "domains";

/// `CREATE EXTERNAL TABLE ... STORED AS TIERED`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredDomain {
    /// Its name.
    pub name: TableName,
    /// The columns that are declared here, all nullable. For a domain that ships, those it has not yet got.
    pub columns: Vec<arrow::datatypes::Field>,
    /// What it is about, for the classifier. For a domain that ships, more of them.
    pub phrases: Vec<String>,
    /// `hot_for`, where it is said.
    pub hot_for: Option<Duration>,
    /// `warm_for`, where it is said.
    pub warm_for: Option<Duration>,
    /// The columns whose text is embedded, where it is said.
    pub text_columns: Option<Vec<String>>,
    /// True when nobody ships a domain of this name.
    pub is_new: bool,
}

/// A place in a pipeline file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The file, as it was given.
    pub file: Arc<str>,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}
