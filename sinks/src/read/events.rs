//! All domains as one table.

use crate::read::LogicalTable;
use arrow::datatypes::DataType;
use datafusion::catalog::TableProvider;
use datafusion::catalog::view::ViewTable;
use datafusion::common::{Column, Result, ScalarValue, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::functions::expr_fn::coalesce;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};
use std::sync::Arc;
use thermocline_schemas::table::system;

/// The columns of `events` besides `text`, which comes second.
const SHARED: [&str; 14] = [
    system::EVENT_TIME,
    system::ATTRIBUTES,
    system::TOPIC,
    system::PARTITION,
    system::OFFSET,
    system::ORDINAL,
    system::KEY,
    system::HEADERS,
    system::TIMESTAMP,
    system::EPOCH,
    system::BRANCH,
    system::EVENT_ID,
    system::DOMAIN,
    system::TIER,
];

/// `tables` united: event time, `text` (the first of a table's text columns that is not null), attributes, and the
/// system columns. A view, so that filters reach, and prune, every table below.
pub fn events(tables: &[LogicalTable]) -> Result<Arc<dyn TableProvider>> {
    let plans = tables.iter().map(one).collect::<Result<Vec<LogicalPlan>>>()?;
    let mut plans = plans.into_iter();
    let first = match plans.next() {
        Some(first) => first,
        None => LogicalPlanBuilder::empty(false).build()?,
    };
    let mut all = LogicalPlanBuilder::from(first);
    for plan in plans {
        all = all.union(plan)?;
    }
    Ok(Arc::new(ViewTable::new(all.build()?, None)))
}

fn one(table: &LogicalTable) -> Result<LogicalPlan> {
    let name = TableReference::bare(table.table().name.as_str());
    let column = |column: &str| Expr::Column(Column::new(Some(name.clone()), column));
    let stored = table.table().stored();
    let is_text = |name: &&String| stored.field_with_name(name).is_ok_and(|field| field.data_type() == &DataType::Utf8);
    let texts: Vec<Expr> = table.table().text_columns.iter().filter(is_text).map(|name| column(name)).collect();
    let text = match texts.len() {
        0 => lit(ScalarValue::Utf8(None)),
        1 => texts.into_iter().next().expect("there is one"),
        _ => coalesce(texts),
    };
    // Under their bare names, so that the columns of all domains are the same.
    let shared = SHARED.iter().chain(&[system::CONFIDENCE]);
    let mut columns: Vec<Expr> = shared.map(|name| column(name).alias(*name)).collect();
    columns.insert(1, text.alias("text"));
    let source = provider_as_source(Arc::new(table.clone()));
    LogicalPlanBuilder::scan(name, source, None)?.project(columns)?.build()
}
