//! What can go wrong with a question.

use datafusion::error::DataFusionError;
use thermocline_schemas::SchemaError;
use thermocline_schemas::metadata::MetaError;
use thermocline_sinks::SinkError;

/// A question could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// The statement would change something.
    #[error("only statements that read are allowed here, this is {found}; pipelines write")]
    Writes {
        /// What it is, as SQL names it.
        found: String,
    },
    /// The statement is no SQL, or asks for what is not there.
    #[error("{message}")]
    Statement {
        /// What is wrong, and near misses.
        message: String,
    },
    /// Running the plan failed.
    #[error("the query failed")]
    Query(#[source] DataFusionError),
    /// There is no data here.
    #[error("{path} holds no data of Thermocline; `thermocline up --data {path}` makes it")]
    NoData {
        /// The data directory.
        path: String,
    },
    /// The metadata store.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The tables.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// A column.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// Columns of our own tables do not fit together.
    #[error("rows do not have the columns they should have")]
    Columns(#[from] arrow::error::ArrowError),
}

impl SqlError {
    /// Sorts an error of the planner from one of a running plan.
    pub(crate) fn of(error: DataFusionError) -> Self {
        match error.find_root() {
            DataFusionError::SQL(..) | DataFusionError::Plan(_) | DataFusionError::SchemaError(..) => {
                SqlError::Statement { message: error.strip_backtrace() }
            }
            _ => SqlError::Query(error),
        }
    }
}
