//! The logical table as a table provider: each row once, wherever it lies at the cut.

use crate::read::canonical::columns_of;
use crate::read::conform::{ConformExec, Known, Source};
use crate::read::event_id::{EventIds, MADE_OF};
use crate::read::pinned::PinHold;
use crate::read::prune::{Container, is_exact, prune};
use crate::read::staged::StagedExec;
use crate::tier::ReadTables;
use crate::{SinkError, hot};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use std::any::Any;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use thermocline_schemas::metadata::{CutView, LiveVersion, Part};
use thermocline_schemas::table::system;
use thermocline_schemas::{TableSchema, Tier};

/// What all logical tables at one cut share.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Everything as of the cut.
    pub view: Arc<CutView>,
    /// Opens tables at exact versions.
    pub tables: Arc<dyn ReadTables>,
    /// The data directory, which segments lie under.
    pub data_dir: PathBuf,
    /// Keeps the cut readable for as long as anything of it is used. None where nothing can be cleaned up.
    pub hold: Option<Arc<PinHold>>,
}

/// A logical table at one cut: the union of its staged parts and of its hot, warm and cold versions.
///
/// Tables are opened when a query is planned, and only those that can hold an asked row.
#[derive(Debug, Clone)]
pub struct LogicalTable {
    table: TableSchema,
    sources: Sources,
    schema: SchemaRef,
}

/// One place where rows of the table lie.
enum Place<'a> {
    Part(&'a Part),
    Version(&'a LiveVersion),
}

impl Place<'_> {
    fn container(&self) -> Container {
        match self {
            Place::Part(part) => {
                let part = &part.part;
                Container { tier: part.table.tier, rows: part.rows, event_time: Some(part.event_time) }
            }
            Place::Version(live) => Container { tier: live.table.tier, rows: live.rows, event_time: live.event_time },
        }
    }
}

impl LogicalTable {
    /// The table with the columns `table`, at the cut of `sources`.
    pub fn new(table: TableSchema, sources: Sources) -> Self {
        let schema = table.logical();
        Self { table, sources, schema }
    }

    /// Shows or hides `_embedding`. It is hidden from `SELECT *`: whoever plans a statement that names the column asks
    /// for it here. Rows that are not hot have none.
    pub fn with_embedding(self, shown: bool) -> Self {
        let logical = self.table.logical();
        let embedding = shown.then(|| Arc::new(hot::embedding_field()));
        let schema = Arc::new(Schema::new(logical.fields().iter().cloned().chain(embedding).collect::<Vec<_>>()));
        Self { schema, ..self }
    }

    /// The columns, as they are kept.
    pub fn table(&self) -> &TableSchema {
        &self.table
    }

    fn places(&self) -> Vec<Place<'_>> {
        let view = &self.sources.view;
        let parts = view.parts.iter().filter(|part| part.part.table.name == self.table.name).map(Place::Part);
        let versions = view.versions.iter().filter(|live| live.table.name == self.table.name).map(Place::Version);
        parts.chain(versions).collect()
    }

    /// The stored columns that `wanted` is made of.
    fn needed(wanted: &Schema) -> BTreeSet<String> {
        let mut needed = BTreeSet::new();
        for field in wanted.fields() {
            match field.name().as_str() {
                system::EVENT_ID => needed.extend(MADE_OF.map(str::to_owned)),
                system::DOMAIN | system::TIER => {}
                name => _ = needed.insert(name.to_owned()),
            }
        }
        needed
    }

    /// `plan`, whose columns have their logical names, with what is computed and constant.
    fn shaped(&self, plan: Arc<dyn ExecutionPlan>, wanted: &SchemaRef, tier: Tier) -> Result<ConformExec> {
        let found = plan.schema();
        let sources = wanted.fields().iter().map(|field| {
            let constant = |text: &str| Source::Constant(ScalarValue::Utf8(Some(text.to_owned())));
            Ok(match field.name().as_str() {
                system::DOMAIN => constant(self.table.name.domain()),
                system::TIER => constant(tier.as_str()),
                system::EVENT_ID => {
                    let mut columns = [0; 6];
                    for (column, name) in columns.iter_mut().zip(MADE_OF) {
                        *column = found.index_of(name)?;
                    }
                    Source::EventId(Arc::new(EventIds::new(&self.sources.view, columns)))
                }
                name => found.index_of(name).map_or(Source::Null, Source::Input),
            })
        });
        let sources = sources.collect::<Result<_>>()?;
        let label = format!("table={}, tier={tier}", self.table.name);
        Ok(ConformExec::new(plan, sources, Arc::clone(wanted), label).with_hold(self.sources.hold.clone()))
    }

    fn staged(
        &self,
        session: &dyn Session,
        wanted: &SchemaRef,
        tier: Tier,
        parts: Vec<Part>,
        limit: Option<usize>,
    ) -> Result<ConformExec> {
        let needed = Self::needed(wanted);
        let stored = self.table.stored();
        let fields = stored.fields().iter().filter(|field| needed.contains(field.name())).cloned();
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let rows = parts.iter().map(|part| part.part.rows).sum::<u64>();
        let least = parts.iter().map(|part| part.part.event_time.0).min();
        let greatest = parts.iter().map(|part| part.part.event_time.1).max();
        let known = known(rows, least.zip(greatest)).filter(|_| limit.is_none());
        let partitions = session.config().target_partitions();
        let scan = StagedExec::new(self.sources.data_dir.clone(), tier, parts, schema, partitions, limit);
        Ok(self.shaped(Arc::new(scan), wanted, tier)?.with_known(known))
    }

    async fn version(
        &self,
        session: &dyn Session,
        wanted: &SchemaRef,
        live: &LiveVersion,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<ConformExec> {
        let external = |error: SinkError| self.explain(DataFusionError::External(Box::new(error)));
        let provider = self.sources.tables.open(&self.table, &live.table, &live.version).await.map_err(external)?;
        let schema = provider.schema();
        let needed = Self::needed(wanted);
        let projection: Vec<usize> =
            (0..schema.fields().len()).filter(|at| needed.contains(schema.field(*at).name())).collect();
        let refers = |filter: &&Expr| columns_of(filter).iter().all(|name| schema.index_of(name).is_ok());
        let filters: Vec<Expr> = filters.iter().filter(refers).cloned().collect();
        let scan =
            provider.scan(session, Some(&projection), &filters, limit).await.map_err(|error| self.explain(error))?;
        let known = known(live.rows, live.event_time).filter(|_| filters.is_empty() && limit.is_none());
        Ok(self.shaped(scan, wanted, live.table.tier)?.with_known(known))
    }

    fn explain(&self, error: DataFusionError) -> DataFusionError {
        match &self.sources.hold {
            Some(hold) => hold.explain(error),
            None => error,
        }
    }
}

fn known(rows: u64, event_time: Option<(i64, i64)>) -> Option<Known> {
    Some(Known { rows: usize::try_from(rows).ok()?, event_time })
}

#[async_trait::async_trait]
impl TableProvider for LogicalTable {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let wanted = match projection {
            Some(projection) => Arc::new(self.schema.project(projection)?),
            None => Arc::clone(&self.schema),
        };
        let places = self.places();
        let containers: Vec<Container> = places.iter().map(Place::container).collect();
        let keep = prune(session, &self.schema, self.table.name.domain(), filters, &containers)?;
        let kept: Vec<Place<'_>> =
            places.into_iter().zip(keep).filter(|(_, keep)| *keep).map(|(place, _)| place).collect();
        let mut scans: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
        for tier in Tier::ALL {
            let parts = kept.iter().filter_map(|place| match place {
                Place::Part(part) if part.part.table.tier == tier => Some((*part).clone()),
                _ => None,
            });
            let parts: Vec<Part> = parts.collect();
            if !parts.is_empty() {
                scans.push(Arc::new(self.staged(session, &wanted, tier, parts, limit)?));
            }
        }
        // Constants are decided by now; the rest goes down to whoever can use it.
        let filters: Vec<Expr> = filters.iter().filter(|filter| !is_exact(filter)).cloned().collect();
        for place in &kept {
            if let Place::Version(live) = place {
                scans.push(Arc::new(self.version(session, &wanted, live, &filters, limit).await?));
            }
        }
        match scans.is_empty() {
            true => Ok(Arc::new(EmptyExec::new(wanted))),
            false => UnionExec::try_new(scans),
        }
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match is_exact(filter) {
            true => TableProviderFilterPushDown::Exact,
            false => TableProviderFilterPushDown::Inexact,
        };
        Ok(filters.iter().map(support).collect())
    }
}
