//! The domains there are: those that ship, and the user's.

use super::{Domain, UNCLASSIFIED, shipped};
use crate::table::{TableName, TableSchema, system};
use std::sync::{Arc, LazyLock};

/// A domain cannot be declared like that.
#[derive(Debug, thiserror::Error)]
pub enum DomainError {
    /// The name is not one word.
    #[error("{found:?} is no domain name; use one word of lower case letters, digits and _, as `billing`")]
    Name {
        /// What was there instead.
        found: String,
    },
    /// A column has a name that means something else.
    #[error("domain {domain}: the name {column} belongs to a column of the system")]
    SystemColumn {
        /// The domain.
        domain: Arc<str>,
        /// The column.
        column: String,
    },
    /// A column is there twice.
    #[error("domain {domain}: column {column} is declared twice")]
    ColumnTwice {
        /// The domain.
        domain: Arc<str>,
        /// The column.
        column: String,
    },
    /// A column is there already, with another type.
    #[error("domain {domain}: column {column} is {existing}, but is declared as {declared}")]
    ColumnType {
        /// The domain.
        domain: Arc<str>,
        /// The column.
        column: String,
        /// The type it has.
        existing: String,
        /// The type that was declared.
        declared: String,
    },
    /// The text columns name one that does not exist.
    #[error("domain {domain}: there is no column {column} to embed")]
    NoTextColumn {
        /// The domain.
        domain: Arc<str>,
        /// The missing column.
        column: String,
    },
    /// Nothing tells the classifier what belongs there.
    #[error("domain {domain} has no describing phrases; list field names and texts that one meets in it")]
    NoPhrases {
        /// The domain.
        domain: Arc<str>,
    },
}

/// The domains that ship, made once.
static SHIPPED: LazyLock<Registry> = LazyLock::new(Registry::shipped);

/// All domains, in a fixed order: the shipped ones, then the user's as they were added.
#[derive(Debug, Clone)]
pub struct Registry {
    domains: Vec<Arc<Domain>>,
}

impl Default for Registry {
    fn default() -> Self {
        Self::shipped()
    }
}

impl Registry {
    /// The shipped domains alone.
    pub fn shipped() -> Self {
        Self { domains: shipped().into_iter().map(Arc::new).collect() }
    }

    /// The shipped domains, and what tables say that was declared of theirs: columns and phrases, which is what the
    /// classifier asks for. Policies and synonyms are as they ship.
    ///
    /// # Errors
    /// [`DomainError`]: a table was registered by a version that ships other domains.
    pub fn declared<'a>(tables: impl IntoIterator<Item = &'a TableSchema>) -> Result<Self, DomainError> {
        let mut registry = Self::shipped();
        for table in tables.into_iter().filter(|table| !table.phrases.is_empty()) {
            let mut domain = Domain::new(table.name.as_str()).columns(&table.columns);
            domain.phrases = table.phrases.clone();
            registry.add(domain)?;
        }
        Ok(registry)
    }

    /// Adds a domain, or, if there is one of this name, adds to it: new columns (behind the others), phrases and
    /// synonyms; the policy is replaced, and so are the text columns where any are given.
    ///
    /// # Errors
    /// [`DomainError`], and the registry is as before.
    pub fn add(&mut self, domain: Domain) -> Result<(), DomainError> {
        let existing = self.domains.iter().position(|existing| existing.name == domain.name);
        let merged = match existing {
            Some(at) => merge(&self.domains[at], domain)?,
            None => domain,
        };
        check(&merged)?;
        match existing {
            Some(at) => self.domains[at] = Arc::new(merged),
            None => self.domains.push(Arc::new(merged)),
        }
        Ok(())
    }

    /// The domain of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Domain>> {
        self.domains.iter().find(|domain| domain.name.as_ref() == name)
    }

    /// Where records go that fit nowhere.
    pub fn unclassified(&self) -> &Arc<Domain> {
        self.get(UNCLASSIFIED).expect("`unclassified` ships, and nothing takes a domain away")
    }

    /// All domains.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Domain>> {
        self.domains.iter()
    }

    /// How many domains there are.
    pub fn len(&self) -> usize {
        self.domains.len()
    }

    /// Never: `unclassified` is always there.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// The logical table of a domain.
    pub fn table_schema(&self, name: &str) -> Option<TableSchema> {
        self.get(name).map(|domain| domain.table_schema())
    }
}

impl Domain {
    /// Its logical table.
    pub fn table_schema(&self) -> TableSchema {
        TableSchema {
            name: TableName::new(&self.name).expect("a domain's name is checked when it is added"),
            columns: self.columns.clone(),
            text_columns: self.text_columns.clone(),
            phrases: match SHIPPED.get(&self.name) {
                Some(shipped) => self.phrases.without(&shipped.phrases),
                None => self.phrases.clone(),
            },
        }
    }
}

fn merge(existing: &Domain, added: Domain) -> Result<Domain, DomainError> {
    let mut merged = existing.clone();
    for (field, words) in added.columns.into_iter().zip(added.lexicon) {
        match merged.columns.iter().position(|known| known.name() == field.name()) {
            Some(at) if merged.columns[at].data_type() == field.data_type() => {
                merged.lexicon[at].synonyms.extend(words.synonyms);
            }
            Some(at) => {
                return Err(DomainError::ColumnType {
                    domain: merged.name,
                    column: field.name().clone(),
                    existing: merged.columns[at].data_type().to_string(),
                    declared: field.data_type().to_string(),
                });
            }
            None => {
                merged.columns.push(field);
                merged.lexicon.push(words);
            }
        }
    }
    merged.phrases.names.extend(added.phrases.names);
    merged.phrases.texts.extend(added.phrases.texts);
    merged.policy = added.policy;
    if !added.text_columns.is_empty() {
        merged.text_columns = added.text_columns;
    }
    if added.whole_text.is_some() {
        merged.whole_text = added.whole_text;
    }
    Ok(merged)
}

fn check(domain: &Domain) -> Result<(), DomainError> {
    let name = || Arc::clone(&domain.name);
    let one_word = TableName::new(&domain.name).is_ok_and(|table| !table.as_str().contains('.'));
    if !one_word || domain.name.as_ref() == crate::table::DEAD_LETTERS {
        return Err(DomainError::Name { found: domain.name.to_string() });
    }
    for (at, field) in domain.columns.iter().enumerate() {
        let column = field.name().clone();
        if system::is_system(&column) {
            return Err(DomainError::SystemColumn { domain: name(), column });
        }
        if domain.columns[..at].iter().any(|other| other.name() == &column) {
            return Err(DomainError::ColumnTwice { domain: name(), column });
        }
    }
    for column in domain.text_columns.iter().chain(&domain.whole_text) {
        if !domain.columns.iter().any(|field| field.name() == column) {
            return Err(DomainError::NoTextColumn { domain: name(), column: column.clone() });
        }
    }
    let described = domain.phrases.names.iter().chain(&domain.phrases.texts).any(|phrase| !phrase.trim().is_empty());
    if !described && domain.name.as_ref() != UNCLASSIFIED {
        return Err(DomainError::NoPhrases { domain: name() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{DataType, Field};

    #[test]
    fn every_shipped_domain_is_well_formed() {
        let registry = Registry::shipped();
        assert_eq!(registry.len(), 12);
        for domain in registry.iter() {
            check(domain).unwrap();
            assert_eq!(domain.columns.len(), domain.lexicon.len());
            let mut meanings: Vec<&str> = vec![];
            for (field, words) in domain.columns.iter().zip(&domain.lexicon) {
                assert_eq!(field.name(), &words.column);
                assert!(field.is_nullable());
                meanings.extend(words.synonyms.iter().map(String::as_str));
                meanings.push(field.name());
            }
            let count = meanings.len();
            meanings.sort_unstable();
            let twice: Vec<_> = meanings.windows(2).filter(|pair| pair[0] == pair[1]).collect();
            assert!(twice.is_empty(), "{}: {twice:?} of {count} mean two columns", domain.name);
            assert_eq!(registry.table_schema(&domain.name).unwrap().name.as_str(), domain.name.as_ref());
        }
    }

    #[test]
    fn a_user_adds_domains_and_columns() {
        let mut registry = Registry::shipped();
        let mut billing =
            Domain::new("billing").column(Field::new("invoice_no", DataType::Utf8, true), "invoice number");
        assert!(matches!(registry.add(billing.clone()), Err(DomainError::NoPhrases { .. })));
        billing.phrases.names.push("invoice number, amount due".to_owned());
        registry.add(billing).unwrap();
        assert!(registry.get("billing").is_some());

        let more = Domain::new("chat").column(Field::new("mood", DataType::Utf8, true), "sentiment");
        registry.add(more).unwrap();
        let chat = registry.get("chat").unwrap();
        assert_eq!(chat.columns.last().unwrap().name(), "mood");
        assert!(!chat.phrases.names.is_empty());

        let wrong = Domain::new("chat").column(Field::new("text", DataType::Int64, true), "");
        assert!(matches!(registry.add(wrong), Err(DomainError::ColumnType { .. })));
        let wrong = Domain::new("a.b");
        assert!(matches!(registry.add(wrong), Err(DomainError::Name { .. })));
        let wrong = Domain::new("chat").column(Field::new("_offset", DataType::Utf8, true), "");
        assert!(matches!(registry.add(wrong), Err(DomainError::SystemColumn { .. })));
    }

    #[test]
    fn tables_say_what_was_declared_and_nothing_that_ships() {
        let shipped = Registry::shipped();
        assert!(shipped.iter().all(|domain| domain.table_schema().phrases.is_empty()));

        let mut registry = Registry::shipped();
        let mut more = Domain::new("chat").column(Field::new("mood", DataType::Utf8, true), "");
        more.phrases.texts.push("how are you feeling today".to_owned());
        registry.add(more).unwrap();
        let mut billing = Domain::new("billing").column(Field::new("invoice_no", DataType::Utf8, true), "");
        billing.phrases.names.push("invoice number, amount due".to_owned());
        registry.add(billing).unwrap();

        let tables: Vec<TableSchema> = registry.iter().map(|domain| domain.table_schema()).collect();
        let found = Registry::declared(&tables).unwrap();
        assert_eq!(found.len(), registry.len());
        for (found, known) in found.iter().zip(registry.iter()) {
            assert_eq!(found.name, known.name);
            assert_eq!(found.phrases, known.phrases, "{}", known.name);
            assert_eq!(found.columns, known.columns, "{}", known.name);
        }
    }
}
