//! What can be wrong with names and columns.

/// A name or a column is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Not a tier.
    #[error("{found:?} is no tier; the tiers are hot, warm and cold")]
    NotATier {
        /// What was there instead.
        found: String,
    },
    /// Not a table's name.
    #[error(
        "{found:?} is no table name; use lower case letters, digits and single _ between them, as `chat` or \
         `metrics.clicks_per_minute`"
    )]
    TableName {
        /// What was there instead.
        found: String,
    },
    /// A column is missing.
    #[error("there is no column {column}; there are {}", columns.join(", "))]
    NoColumn {
        /// The column that was looked for.
        column: String,
        /// Those that exist.
        columns: Vec<String>,
    },
    /// A column has another type.
    #[error("column {column} is {found}, but should be {wanted}")]
    ColumnType {
        /// The column.
        column: String,
        /// The type it should have.
        wanted: String,
        /// The type it has.
        found: String,
    },
}
