//! What can go wrong between a pipeline file and its tables, and what to do about it.

use crate::plan::Refusal;
use crate::source::SourceError;
use thermocline_schemas::metadata::MetaError;
use thermocline_schemas::{SchemaError, TableName};
use thermocline_sinks::SinkError;

/// A pipeline could not be planned, or could not do what it was planned to do.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// Pipeline files that cannot run as they are: fix them.
    #[error("{}", refusals.iter().map(Refusal::to_string).collect::<Vec<_>>().join("\n"))]
    Refused {
        /// Every reason, in the order of the files.
        refusals: Vec<Refusal>,
    },
    /// A name or a column is not what it should be.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// Columns do not have the lengths or types that the plan has promised: a bug of ours, never a bad row.
    #[error("{what}")]
    Columns {
        /// What was being put together.
        what: String,
        /// What arrow says.
        #[source]
        source: arrow::error::ArrowError,
    },
    /// A record's format, or the mapper.
    #[error(transparent)]
    Operator(#[from] thermocline_operators::OperatorError),
    /// The broker.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Segments and tables.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The metadata store refused or failed; its own message says which.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// Columns in the dataflow do not fit together: a bug of ours, never a bad row.
    #[error("a batch in the dataflow does not have the columns it should have")]
    Batch(#[from] arrow::error::ArrowError),
    /// A branch wrote rows for a table that was never made known: a bug of ours.
    #[error("there are rows for table {table}, which nobody has declared")]
    UnknownTable {
        /// The table.
        table: TableName,
    },
    /// The dataflow's threads could not be started.
    #[error("the workers could not be started: {what}")]
    Workers {
        /// What the system says.
        what: String,
    },
    /// A worker or its writer is gone: a bug of ours. The run ends, and the next one reads on from the newest manifest.
    #[error("{thread} has panicked; its epochs cannot become durable")]
    Panicked {
        /// Which.
        thread: String,
    },
    /// A thread that waited for others has panicked.
    #[error("a thread has panicked")]
    Thread(#[source] tokio::task::JoinError),
}
