//! The SQL surface, as text: every file of `slt/` is asked over one small data directory.
//!
//! `THERMOCLINE_UPDATE_SLT=1` writes the answers into the files instead; read what changed before you keep it.

#[path = "slt/data.rs"]
mod data;

use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use sqllogictest::{
    DBOutput, DefaultColumnType, Runner, default_normalizer, default_validator, strict_column_validator,
};
use std::path::{Path, PathBuf};
use thermocline_sql::{Answer, Engine, Session, SqlError};

/// One connection: a session at the newest cut.
struct Connection(Session);

#[async_trait::async_trait]
impl sqllogictest::AsyncDB for Connection {
    type Error = SqlError;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, SqlError> {
        let answer = self.0.query(sql).await?;
        let types = answer.schema.fields().iter().map(|field| kind(field.data_type())).collect();
        Ok(DBOutput::Rows { types, rows: rows(&answer)? })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "thermocline"
    }
}

fn kind(data_type: &DataType) -> DefaultColumnType {
    match data_type {
        data_type if data_type.is_integer() => DefaultColumnType::Integer,
        data_type if data_type.is_floating() => DefaultColumnType::FloatingPoint,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DefaultColumnType::Text,
        _ => DefaultColumnType::Any,
    }
}

fn rows(answer: &Answer) -> Result<Vec<Vec<String>>, SqlError> {
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = vec![];
    for batch in &answer.batches {
        let columns: Vec<ArrayFormatter<'_>> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options)).collect::<Result<_, _>>()?;
        let text = |column: &ArrayFormatter<'_>, row| match column.value(row).to_string() {
            text if text.is_empty() => "(empty)".to_owned(),
            text => text,
        };
        rows.extend(
            (0..batch.num_rows()).map(|row| columns.iter().map(|column| text(column, row)).collect::<Vec<_>>()),
        );
    }
    Ok(rows)
}

/// All files of `slt/`, by name.
fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("slt");
    let entries = std::fs::read_dir(&folder).expect("the folder is there");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be read").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "slt"));
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_gets_the_answers_it_expects() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    data::fill(directory.path()).await;
    let engine = Engine::open(directory.path(), data::clock()).await.expect("the data directory can be asked");
    let (files, mut wrong) = (files(), vec![]);
    assert!(files.len() > 5, "{files:?}");
    for file in &files {
        let mut runner = Runner::new(|| async { Ok(Connection(engine.session().await?)) });
        runner.with_column_validator(strict_column_validator);
        if std::env::var_os("THERMOCLINE_UPDATE_SLT").is_some() {
            let updated = runner
                .update_test_file(file, " ", default_validator, default_normalizer, strict_column_validator)
                .await;
            updated.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        } else if let Err(error) = runner.run_file_async(file).await {
            wrong.push(error.display(false).to_string());
        }
    }
    assert!(wrong.is_empty(), "{} of {} files:\n\n{}", wrong.len(), files.len(), wrong.join("\n\n"));
}

/// The test of every column stays complete by itself.
#[test]
fn every_column_of_every_domain_is_asked_for_by_its_bare_name() {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("slt/columns.slt")).expect("it is there");
    for domain in thermocline_schemas::domain::Registry::shipped().iter() {
        let from = format!("FROM {}\n", domain.name);
        let statement = text.split("\n\n").find(|block| block.contains(&from));
        let statement = statement.unwrap_or_else(|| panic!("columns.slt does not ask {}", domain.name));
        let asked = statement.split_once("SELECT ").and_then(|(_, rest)| rest.split_once(&from)).map(|(list, _)| list);
        let asked: Vec<&str> = asked.unwrap_or_default().split(',').map(str::trim).collect();
        for field in &domain.table_schema().columns {
            let name = field.name().as_str();
            assert!(asked.contains(&name), "columns.slt does not ask {} for {name}", domain.name);
        }
    }
}
