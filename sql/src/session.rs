//! A session: every logical table in one catalog, at one cut.

use crate::functions::Functions;
use crate::mistakes::{self, Known};
use crate::{SqlError, guard, statement, system_tables};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider, TableProvider};
use datafusion::execution::context::{SessionConfig, SessionContext};
use datafusion::logical_expr::ScalarUDF;
use datafusion::physical_plan::{SendableRecordBatchStream, execute_stream};
use futures::StreamExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use thermocline_schemas::metadata::{CutView, Gap, Meta};
use thermocline_schemas::table::{DEAD_LETTERS, system};
use thermocline_sinks::formats::Formats;
use thermocline_sinks::read::{PinnedReader, events};

/// The one catalog.
pub(crate) const CATALOG: &str = "thermocline";
/// The schema that holds the domains. A table inside a domain, `metrics.clicks`, lies in a schema of the domain's name.
pub(crate) const PUBLIC: &str = "public";
/// The view over all domains.
const EVENTS: &str = "events";

/// All tables at one cut, pinned for as long as the session lives.
pub struct Session {
    context: SessionContext,
    /// The same, with `_embedding` shown: what a statement that names it is planned against. Made for the first that
    /// does.
    with_embedding: OnceLock<SessionContext>,
    functions: Vec<Arc<ScalarUDF>>,
    pinned: PinnedReader,
    gaps: Vec<Gap>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("cut", &self.view().cut).finish_non_exhaustive()
    }
}

/// The rows of an answer, with their columns.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The columns.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
}

/// The rows of an answer as they come. The cut must stay pinned until the last of them.
pub struct Rows(SendableRecordBatchStream);

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("schema", &self.schema()).finish_non_exhaustive()
    }
}

impl Rows {
    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    /// The next rows; none after the last. May be dropped half-way: the batch is lost.
    ///
    /// # Errors
    /// [`SqlError`]: what came before it is not the whole answer.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, SqlError> {
        self.0.next().await.transpose().map_err(SqlError::of)
    }

    /// All of them.
    ///
    /// # Errors
    /// As [`Rows::next`].
    pub async fn collect(mut self) -> Result<Answer, SqlError> {
        let mut answer = Answer { schema: self.schema(), batches: vec![] };
        while let Some(batch) = self.next().await? {
            answer.batches.push(batch);
        }
        Ok(answer)
    }
}

impl Answer {
    /// How many rows.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

impl Session {
    pub(crate) async fn open(
        data: &Path,
        meta: Arc<dyn Meta>,
        formats: Arc<Formats>,
        functions: &Functions,
    ) -> Result<Self, SqlError> {
        let pinned = PinnedReader::open(meta.clone(), formats, data.to_owned(), "sql").await?;
        let gaps = meta.gaps().await?;
        let functions = functions.at(pinned.view());
        let context = context(&pinned, &gaps, &functions, false)?;
        Ok(Self { context, with_embedding: OnceLock::new(), functions, pinned, gaps })
    }

    /// What the session sees.
    pub fn view(&self) -> &CutView {
        self.pinned.view()
    }

    /// The offsets that were never delivered, or delivered again.
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// Releases the cut and waits for it. A session that is merely dropped releases it a moment later.
    pub async fn close(self) {
        let Self { context, with_embedding, pinned, .. } = self;
        drop((context, with_embedding));
        pinned.finish().await;
    }

    /// Answers one statement.
    ///
    /// # Errors
    /// [`SqlError`]: the statement writes, is wrong, or failed half-way. An answer is whole or an error.
    pub async fn query(&self, sql: &str) -> Result<Answer, SqlError> {
        self.stream(sql).await?.collect().await
    }

    /// Answers one statement, batch by batch.
    ///
    /// # Errors
    /// As [`Session::query`]; an error may also come in the stead of a batch.
    pub async fn stream(&self, sql: &str) -> Result<Rows, SqlError> {
        let asked = statement::parse(sql)?;
        guard::only_questions(&asked.statement)?;
        let state = self.context(asked.names(system::EMBEDDING))?.state();
        let mistake = |error| mistakes::of_plan(error, || self.tables());
        let plan = state.statement_to_plan(asked.statement).await.map_err(mistake)?;
        guard::only_reads(&plan)?;
        // Constants are worked out here: a date that is none is a mistake of the statement.
        let plan = state.optimize(&plan).map_err(mistake)?;
        let plan = state.query_planner().create_physical_plan(&plan, &state).await.map_err(SqlError::of)?;
        execute_stream(plan, state.task_ctx()).map(Rows).map_err(SqlError::of)
    }

    fn context(&self, embedding: bool) -> Result<&SessionContext, SqlError> {
        if !embedding {
            return Ok(&self.context);
        }
        if let Some(made) = self.with_embedding.get() {
            return Ok(made);
        }
        let made = context(&self.pinned, &self.gaps, &self.functions, true)?;
        Ok(self.with_embedding.get_or_init(|| made))
    }

    /// All tables, by schema and name.
    fn tables(&self) -> Vec<Known> {
        let catalog = self.context.catalog(CATALOG).expect("the session makes its default catalog");
        let mut names = vec![];
        for place in catalog.schema_names() {
            let schema = catalog.schema(&place);
            names.extend(schema.iter().flat_map(|schema| schema.table_names()).map(|name| (place.clone(), name)));
        }
        names.sort();
        names.iter().map(|(place, name)| Known::table(place, name)).collect()
    }
}

fn context(
    pinned: &PinnedReader,
    gaps: &[Gap],
    functions: &[Arc<ScalarUDF>],
    embedding: bool,
) -> Result<SessionContext, SqlError> {
    let mut config =
        SessionConfig::new().with_information_schema(true).with_default_catalog_and_schema(CATALOG, PUBLIC);
    config.options_mut().execution.time_zone = Some("UTC".to_owned());
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    let context = SessionContext::new_with_config(config);
    for function in functions {
        context.register_udf(function.as_ref().clone());
    }
    let catalog = context.catalog(CATALOG).expect("the session makes its default catalog");
    let register = |place: &str, name: &str, table: Arc<dyn TableProvider>| -> Result<(), SqlError> {
        let schema = match catalog.schema(place) {
            Some(schema) => schema,
            None => {
                let fresh: Arc<dyn SchemaProvider> = Arc::new(MemorySchemaProvider::new());
                catalog.register_schema(place, fresh.clone()).map_err(SqlError::of)?;
                fresh
            }
        };
        schema.register_table(name.to_owned(), table).map_err(SqlError::of)?;
        Ok(())
    };
    let mut domains = vec![];
    for table in pinned.tables() {
        let name = table.table().name.clone();
        let is_domain = !name.as_str().contains('.') && name.as_str() != DEAD_LETTERS;
        if is_domain {
            domains.push(table.clone());
        }
        let (place, short) = name.as_str().split_once('.').unwrap_or((PUBLIC, name.as_str()));
        register(place, short, Arc::new(table.with_embedding(embedding && short != DEAD_LETTERS)))?;
    }
    register(PUBLIC, EVENTS, events(&domains).map_err(SqlError::of)?)?;
    for (name, table) in system_tables::all(pinned.view(), gaps)? {
        register(system_tables::SCHEMA, name, table)?;
    }
    Ok(context)
}
