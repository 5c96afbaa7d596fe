//! What can be wrong with rules, overrides and batches.

/// An operator cannot work like that.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// A file of rules or overrides is not well-formed.
    #[error("{file}: {message}")]
    Config {
        /// Which file, as it was named.
        file: String,
        /// What is wrong, with its line.
        message: String,
    },
    /// A rule or an override names a domain that does not exist.
    #[error("{place}: there is no domain {domain}; there are {}", domains.join(", "))]
    NoDomain {
        /// Where it is named.
        place: String,
        /// The name.
        domain: String,
        /// Those that exist.
        domains: Vec<String>,
    },
    /// An override names a column that does not exist.
    #[error("{place}: domain {domain} has no column {column}; it has {}", columns.join(", "))]
    NoColumn {
        /// Where it is named.
        place: String,
        /// The domain.
        domain: String,
        /// The name.
        column: String,
        /// Those that exist.
        columns: Vec<String>,
    },
    /// Columns that belong together have different lengths.
    #[error("{rows} rows, but {timestamps} timestamps")]
    Lengths {
        /// Rows to route.
        rows: usize,
        /// Timestamps that came with them.
        timestamps: usize,
    },
    /// Arrow refused.
    #[error("a batch could not be built")]
    Arrow(#[from] arrow::error::ArrowError),
}
