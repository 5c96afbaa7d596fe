//! A table of one format under its logical names and types.

use crate::read::conform::{ConformExec, Source};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use std::any::Any;
use std::sync::Arc;

/// A provider of a format's library, wrapped: names on disk become logical ones, types become the stored schema's,
/// columns that an older version has not are null.
#[derive(Debug)]
pub struct Canonical {
    inner: Arc<dyn TableProvider>,
    schema: SchemaRef,
    /// For each column of `schema`, its place in the inner schema.
    places: Vec<Option<usize>>,
}

impl Canonical {
    /// `inner` as `schema`; `on_disk` tells what a logical column is called there.
    pub fn new(inner: Arc<dyn TableProvider>, schema: SchemaRef, on_disk: impl Fn(&str) -> Option<String>) -> Self {
        let disk = inner.schema();
        let places = schema.fields().iter().map(|field| disk.index_of(&on_disk(field.name())?).ok()).collect();
        Self { inner, schema, places }
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.places[self.schema.index_of(name).ok()?]
    }

    fn can_take(&self, filter: &Expr) -> bool {
        is_plain(filter, &|name| {
            let at = self.schema.index_of(name).ok()?;
            self.places[at].map(|_| self.schema.field(at).data_type().clone())
        })
    }

    fn under_disk_names(&self, filter: &Expr) -> Result<Expr> {
        let disk = self.inner.schema();
        let renamed = filter.clone().transform(|expr| match &expr {
            Expr::Column(column) => match self.place(&column.name) {
                Some(at) => Ok(Transformed::yes(Expr::Column(Column::from_name(disk.field(at).name())))),
                None => Ok(Transformed::no(expr)),
            },
            _ => Ok(Transformed::no(expr)),
        });
        Ok(renamed?.data)
    }
}

/// True for a filter that every format takes without dropping a row that DataFusion would keep: comparisons, `IN` and
/// `IS NULL` on bare columns and literals of the very same type, joined by `AND` and `OR`.
///
/// The formats prune files and drop rows by what they are given, and only rows too many are caught later. Left out for
/// that: casts, which Iceberg strips; floats, whose NaN no statistics count; `NOT` and `<>`, which treat null
/// differently from library to library.
pub fn is_plain(filter: &Expr, type_of: &dyn Fn(&str) -> Option<DataType>) -> bool {
    let column = |expr: &Expr| match expr {
        Expr::Column(column) => type_of(&column.name),
        _ => None,
    };
    let literal = |expr: &Expr, wanted: &DataType| match expr {
        Expr::Literal(value, _) => !value.is_null() && value.data_type() == *wanted && is_plain_type(value),
        _ => false,
    };
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) => {
            is_plain(left, type_of) && is_plain(right, type_of)
        }
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Eq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq,
            right,
        }) => match (column(left), column(right)) {
            (Some(kind), None) => literal(right, &kind),
            (None, Some(kind)) => literal(left, &kind),
            _ => false,
        },
        Expr::InList(list) if !list.negated => {
            column(&list.expr).is_some_and(|kind| list.list.iter().all(|value| literal(value, &kind)))
        }
        Expr::Between(between) if !between.negated => {
            column(&between.expr).is_some_and(|kind| literal(&between.low, &kind) && literal(&between.high, &kind))
        }
        Expr::IsNull(expr) | Expr::IsNotNull(expr) => column(expr).is_some(),
        _ => false,
    }
}

fn is_plain_type(value: &ScalarValue) -> bool {
    matches!(
        value,
        ScalarValue::Int32(_)
            | ScalarValue::Int64(_)
            | ScalarValue::Utf8(_)
            | ScalarValue::Date32(_)
            | ScalarValue::TimestampMicrosecond(..)
    )
}

#[async_trait::async_trait]
impl TableProvider for Canonical {
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
        let wanted: Vec<usize> = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let schema = Arc::new(self.schema.project(&wanted)?);
        let mut inner: Vec<usize> = wanted.iter().filter_map(|at| self.places[*at]).collect();
        inner.sort_unstable();
        inner.dedup();
        if inner.is_empty() {
            // Not every library counts rows of which no column is read; event time is first, narrow, and never null.
            inner.extend(self.places.iter().flatten().next());
        }
        let taken: Vec<&Expr> = filters.iter().filter(|filter| self.can_take(filter)).collect();
        let limit = limit.filter(|_| taken.len() == filters.len());
        let taken = taken.into_iter().map(|filter| self.under_disk_names(filter)).collect::<Result<Vec<_>>>()?;
        let plan = self.inner.scan(session, Some(&inner), &taken, limit).await?;
        let disk = self.inner.schema();
        let found = plan.schema();
        let sources = wanted.iter().map(|at| match self.places[*at] {
            Some(place) => Ok(Source::Input(found.index_of(disk.field(place).name())?)),
            None => Ok(Source::Null),
        });
        let sources = sources.collect::<Result<_>>()?;
        Ok(Arc::new(ConformExec::new(plan, sources, schema, "logical names and types")))
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match self.can_take(filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }
}

/// The columns that `expr` names.
pub(crate) fn columns_of(expr: &Expr) -> Vec<String> {
    let mut names = Vec::new();
    let walked = expr.apply(|expr| {
        if let Expr::Column(column) = expr {
            names.push(column.name.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(walked.is_ok(), "the closure never fails");
    names
}
