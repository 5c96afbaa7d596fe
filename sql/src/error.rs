//! What can go wrong with a question.

use crate::mistakes;
use datafusion::error::DataFusionError;
use thermocline_schemas::metadata::MetaError;
use thermocline_schemas::{SchemaError, shell_word};
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
        /// What is wrong, with near misses or the line of SQL.
        message: String,
    },
    /// Running the plan failed.
    #[error("the query failed")]
    Query(#[source] DataFusionError),
    /// There is no data here.
    #[error("{path} holds no data of Thermocline; `thermocline up --data {}` makes it", shell_word(.path))]
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
            root @ (DataFusionError::SQL(..) | DataFusionError::Plan(_) | DataFusionError::SchemaError(..)) => {
                SqlError::Statement { message: mistakes::words(root) }
            }
            _ => SqlError::Query(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_makes_data_can_be_pasted() {
        let said = |path: &str| SqlError::NoData { path: path.to_owned() }.to_string();
        assert_eq!(
            said("/srv/d-1"),
            "/srv/d-1 holds no data of Thermocline; `thermocline up --data /srv/d-1` makes it"
        );
        assert!(said("/srv/my data").ends_with("; `thermocline up --data '/srv/my data'` makes it"));
        assert!(said("it's").ends_with(r"; `thermocline up --data 'it'\''s'` makes it"));
    }
}
