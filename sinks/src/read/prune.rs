//! Which parts and table versions can hold a row that is asked for.
//!
//! By the bounds that were recorded with them, never by the policy: a row stays where it landed.

use crate::read::canonical::columns_of;
use arrow::array::{ArrayRef, BooleanArray, StringArray, TimestampMicrosecondArray, UInt64Array};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_optimizer::pruning::PruningPredicate;
use std::collections::HashSet;
use std::sync::Arc;
use thermocline_schemas::table::system;
use thermocline_schemas::{EventTime, Tier};

/// Rows of which bounds are known: a part, or a table at a version.
#[derive(Debug, Clone, Copy)]
pub struct Container {
    /// Their tier.
    pub tier: Tier,
    /// How many.
    pub rows: u64,
    /// Least and greatest event time, both inclusive; none when there are no rows.
    pub event_time: Option<(EventTime, EventTime)>,
}

struct Bounds<'a> {
    domain: &'a str,
    containers: &'a [Container],
}

impl Bounds<'_> {
    fn values(&self, column: &Column, pick: fn((EventTime, EventTime)) -> EventTime) -> Option<ArrayRef> {
        match column.name() {
            system::EVENT_TIME => {
                let times = self.containers.iter().map(|container| container.event_time.map(pick));
                Some(Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC")))
            }
            system::TIER => {
                let tiers = self.containers.iter().map(|container| Some(container.tier.as_str()));
                Some(Arc::new(tiers.collect::<StringArray>()))
            }
            system::DOMAIN => {
                Some(Arc::new(self.containers.iter().map(|_| Some(self.domain)).collect::<StringArray>()))
            }
            _ => None,
        }
    }
}

impl PruningStatistics for Bounds<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |(least, _)| least)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |(_, greatest)| greatest)
    }

    fn num_containers(&self) -> usize {
        self.containers.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let known = matches!(column.name(), system::EVENT_TIME | system::TIER | system::DOMAIN);
        known.then(|| Arc::new(UInt64Array::from(vec![0; self.containers.len()])) as ArrayRef)
    }

    fn row_counts(&self, _: &Column) -> Option<ArrayRef> {
        Some(Arc::new(self.containers.iter().map(|container| Some(container.rows)).collect::<UInt64Array>()))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

/// True for a filter on `_tier` and `_domain` alone: constants of where a row is read, so pruning decides it exactly.
pub fn is_exact(filter: &Expr) -> bool {
    let columns = columns_of(filter);
    !columns.is_empty() && columns.iter().all(|name| matches!(name.as_str(), system::TIER | system::DOMAIN))
}

/// For each container, whether it must be read. What cannot be decided is read.
pub fn prune(
    session: &dyn Session,
    schema: &SchemaRef,
    domain: &str,
    filters: &[Expr],
    containers: &[Container],
) -> Result<Vec<bool>> {
    let mut keep: Vec<bool> = containers.iter().map(|container| container.rows > 0).collect();
    for filter in filters.iter().filter(|filter| is_exact(filter)) {
        let tiers = tiers_where(session, domain, filter)?;
        keep.iter_mut().zip(containers).for_each(|(keep, container)| *keep &= tiers.contains(&container.tier));
    }
    let Some(all) = conjunction(filters.iter().cloned()) else { return Ok(keep) };
    let df_schema = DFSchema::try_from(Arc::clone(schema))?;
    let predicate = session
        .create_physical_expr(all, &df_schema)
        .and_then(|filter| PruningPredicate::try_new(filter, Arc::clone(schema)));
    if let Ok(may) = predicate.and_then(|predicate| predicate.prune(&Bounds { domain, containers })) {
        keep.iter_mut().zip(may).for_each(|(keep, may)| *keep &= may);
    }
    Ok(keep)
}

/// The tiers for which `filter`, on constants alone, is true.
fn tiers_where(session: &dyn Session, domain: &str, filter: &Expr) -> Result<Vec<Tier>> {
    let text = |name| Field::new(name, arrow::datatypes::DataType::Utf8, false);
    let schema = Arc::new(Schema::new(vec![text(system::TIER), text(system::DOMAIN)]));
    let tiers = StringArray::from_iter_values(Tier::ALL.iter().map(|tier| tier.as_str()));
    let domains = StringArray::from_iter_values(Tier::ALL.iter().map(|_| domain));
    let batch = arrow::array::RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(tiers), Arc::new(domains)])?;
    let filter = session.create_physical_expr(filter.clone(), &DFSchema::try_from(schema)?)?;
    let answer = filter.evaluate(&batch)?.into_array(Tier::ALL.len())?;
    let answer = datafusion::common::cast::as_boolean_array(&answer)?;
    Ok(Tier::ALL.into_iter().zip(answer).filter(|(_, answer)| *answer == Some(true)).map(|(tier, _)| tier).collect())
}
