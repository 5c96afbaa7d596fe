//! Domains: the business areas that records are sorted into, one logical table each.
//!
//! A domain *is* its description: its columns, the other names those columns go by in the world, phrases that list the
//! field names and texts one meets in it, and a tier policy. The classifier and the mapping read nothing else, so a
//! user's own domain works from the moment it is declared. Each shipped domain is one file here.

mod analytics;
mod archive;
mod chat;
mod compliance;
mod content;
mod integration;
mod logs;
mod metrics;
mod registry;
mod session;
mod unclassified;
mod user;
pub mod words;
mod workflow;

pub use registry::{DomainError, Registry};

use crate::table::timestamp_type;
use crate::tier::TierPolicy;
use arrow::datatypes::{DataType, Field};
use std::sync::Arc;
use words::normal;

/// The domain of records that fit no other.
pub const UNCLASSIFIED: &str = "unclassified";

/// One business area; see the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Domain {
    /// Its name, and its table's.
    pub name: Arc<str>,
    /// Its table's own columns.
    pub columns: Vec<Field>,
    /// The columns whose text the rollup into hot embeds; empty: names and values of all.
    pub text_columns: Vec<String>,
    /// The column that takes a record which is nothing but text, if there is one.
    pub whole_text: Option<String>,
    /// What one meets in it.
    pub phrases: Phrases,
    /// What fields fill which column, one entry a column, in the order of `columns`.
    pub lexicon: Vec<ColumnWords>,
    /// How long its rows stay hot and warm.
    pub policy: TierPolicy,
}

/// Describes a domain to the classifier.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Phrases {
    /// Field names, a phrase being a list of related ones: `invoice number, amount due, billing period`.
    pub names: Vec<String>,
    /// Texts, or descriptions of texts.
    pub texts: Vec<String>,
}

impl Phrases {
    /// Nothing is described.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.texts.is_empty()
    }

    /// Those that `other` has not.
    fn without(&self, other: &Self) -> Self {
        let rest =
            |own: &[String], other: &[String]| own.iter().filter(|phrase| !other.contains(phrase)).cloned().collect();
        Self { names: rest(&self.names, &other.names), texts: rest(&self.texts, &other.texts) }
    }
}

/// Which fields fill a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnWords {
    /// The column.
    pub column: String,
    /// The JSON types it takes.
    pub takes: Takes,
    /// The unit of its numbers. A field fills it only if its own name says a unit of the same kind; then it is
    /// converted.
    pub unit: Option<Unit>,
    /// The field names that mean it, best first, in normal form ([`words::normal`]); the column's own name is not among
    /// them. Of a nested field the whole path counts: `user.id` is `user_id`.
    pub synonyms: Vec<String>,
}

/// What a column takes; anything else stays in `attributes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Texts only.
    Text,
    /// Texts and numbers, kept as text: ids and codes.
    Code,
    /// Numbers.
    Number,
    /// Numbers without a fraction.
    Integer,
    /// `true` and `false`.
    Boolean,
    /// Texts and numbers that are times.
    Time,
    /// Arrays and objects, kept as JSON text; texts as they are.
    Json,
}

/// The unit of a number. Two units of one kind convert by their size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds; with others of its kind.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Bytes.
    Bytes,
}

impl Domain {
    /// A domain without columns yet.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            columns: vec![],
            text_columns: vec![],
            whole_text: None,
            phrases: Phrases::default(),
            lexicon: vec![],
            policy: TierPolicy::default(),
        }
    }

    /// Adds a nullable column that takes what its type suggests, under its own name and `synonyms` (a list with
    /// commas).
    #[must_use]
    pub fn column(self, field: Field, synonyms: &str) -> Self {
        let takes = match field.data_type() {
            DataType::Int32 | DataType::Int64 => Takes::Integer,
            DataType::Float32 | DataType::Float64 | DataType::Decimal128(..) => Takes::Number,
            DataType::Boolean => Takes::Boolean,
            DataType::Timestamp(..) | DataType::Date32 => Takes::Time,
            _ => Takes::Code,
        };
        self.column_taking(field, takes, None, synonyms)
    }

    /// Adds nullable columns as a user declares them: each under its own name only.
    pub fn columns(self, fields: &[Field]) -> Self {
        fields.iter().fold(self, |domain, field| domain.column(field.clone(), ""))
    }

    fn column_taking(mut self, field: Field, takes: Takes, unit: Option<Unit>, synonyms: &str) -> Self {
        let synonyms = synonyms.split(',').map(normal).filter(|name| !name.is_empty()).collect();
        self.lexicon.push(ColumnWords { column: field.name().clone(), takes, unit, synonyms });
        self.columns.push(field.with_nullable(true));
        self
    }

    fn code(self, name: &str, synonyms: &str) -> Self {
        self.column(Field::new(name, DataType::Utf8, true), synonyms)
    }

    fn text(self, name: &str, synonyms: &str) -> Self {
        self.column_taking(Field::new(name, DataType::Utf8, true), Takes::Text, None, synonyms)
    }

    fn json(self, name: &str, synonyms: &str) -> Self {
        self.column_taking(Field::new(name, DataType::Utf8, true), Takes::Json, None, synonyms)
    }

    fn integer(self, name: &str, synonyms: &str) -> Self {
        self.column(Field::new(name, DataType::Int64, true), synonyms)
    }

    fn number(self, name: &str, synonyms: &str) -> Self {
        self.column(Field::new(name, DataType::Float64, true), synonyms)
    }

    fn measure(self, name: &str, unit: Unit, synonyms: &str) -> Self {
        self.column_taking(Field::new(name, DataType::Float64, true), Takes::Number, Some(unit), synonyms)
    }

    fn time(self, name: &str, synonyms: &str) -> Self {
        self.column(Field::new(name, timestamp_type(), true), synonyms)
    }

    /// Says which columns are embedded, and that `column` takes records that are nothing but text.
    fn texts_in(mut self, columns: &[&str], whole: Option<&str>) -> Self {
        self.text_columns = columns.iter().map(|column| (*column).to_owned()).collect();
        self.whole_text = whole.map(ToOwned::to_owned);
        self
    }

    fn names(mut self, phrases: &[&str]) -> Self {
        self.phrases.names.extend(phrases.iter().map(|phrase| (*phrase).to_owned()));
        self
    }

    fn says(mut self, texts: &[&str]) -> Self {
        self.phrases.texts.extend(texts.iter().map(|phrase| (*phrase).to_owned()));
        self
    }
}

/// The eleven shipped domains, and `unclassified`.
fn shipped() -> Vec<Domain> {
    vec![
        user::domain(),
        session::domain(),
        chat::domain(),
        metrics::domain(),
        analytics::domain(),
        content::domain(),
        workflow::domain(),
        integration::domain(),
        logs::domain(),
        archive::domain(),
        compliance::domain(),
        unclassified::domain(),
    ]
}
