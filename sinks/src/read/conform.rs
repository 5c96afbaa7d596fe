//! Brings the columns of a scan into the shape of the logical table.

use crate::disk::cast;
use crate::read::event_id::EventIds;
use crate::read::pinned::PinHold;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Result, ScalarValue, Statistics};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties, SendableRecordBatchStream,
};
use futures::StreamExt;
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use thermocline_schemas::EventTime;
use thermocline_schemas::table::system;

/// Where a column comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A column of the input, by place; cast when its type differs.
    Input(usize),
    /// Null in every row: the input has no such column.
    Null,
    /// The same in every row.
    Constant(ScalarValue),
    /// The identity of each row, computed.
    EventId(Arc<EventIds>),
}

/// What is known of the rows without reading them.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// How many.
    pub rows: usize,
    /// Least and greatest event time, both inclusive.
    pub event_time: Option<(EventTime, EventTime)>,
}

/// Reads its input and yields exactly `schema`: columns renamed, cast, filled in; metadata of fields stripped, without
/// which a union over Iceberg fails in DataFusion 53.
#[derive(Debug)]
pub struct ConformExec {
    input: Arc<dyn ExecutionPlan>,
    sources: Arc<[Source]>,
    schema: SchemaRef,
    label: String,
    known: Option<Known>,
    hold: Option<Arc<PinHold>>,
    properties: Arc<PlanProperties>,
}

impl ConformExec {
    /// `input` as `schema`, whose columns come from `sources`, in the same order. `label` is what `EXPLAIN` shows.
    pub fn new(
        input: Arc<dyn ExecutionPlan>,
        sources: Vec<Source>,
        schema: SchemaRef,
        label: impl Into<String>,
    ) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            datafusion::physical_plan::Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        Self {
            input,
            sources: sources.into(),
            schema,
            label: label.into(),
            known: None,
            hold: None,
            properties: Arc::new(properties),
        }
    }

    /// With what is known of its rows, which must be all of them.
    pub fn with_known(self, known: Option<Known>) -> Self {
        Self { known, ..self }
    }

    /// With the pin that keeps what it reads from being deleted.
    pub fn with_hold(self, hold: Option<Arc<PinHold>>) -> Self {
        Self { hold, ..self }
    }

    fn column(&self, at: usize, known: Known) -> ColumnStatistics {
        let field = self.schema.field(at);
        let mut column = ColumnStatistics::new_unknown();
        if let (system::EVENT_TIME, Some((least, greatest))) = (field.name().as_str(), known.event_time) {
            let time = |micros| ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()));
            column.min_value = Precision::Exact(time(least));
            column.max_value = Precision::Exact(time(greatest));
            column.null_count = Precision::Exact(0);
        } else if !field.is_nullable() {
            column.null_count = Precision::Exact(0);
        }
        column
    }
}

fn conform(batch: &RecordBatch, sources: &[Source], schema: &SchemaRef) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let columns = sources.iter().zip(schema.fields()).map(|(source, field)| -> Result<ArrayRef> {
        Ok(match source {
            Source::Input(at) => cast(batch.column(*at), field.data_type())?,
            Source::Null => new_null_array(field.data_type(), rows),
            Source::Constant(value) => value.to_array_of_size(rows)?,
            Source::EventId(ids) => ids.compute(batch)?,
        })
    });
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect::<Result<_>>()?, &options)?)
}

impl DisplayAs for ConformExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConformExec: {}", self.label)
    }
}

impl ExecutionPlan for ConformExec {
    fn name(&self) -> &'static str {
        "ConformExec"
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().expect("a plan with one child gets one");
        let new = Self::new(input, self.sources.to_vec(), Arc::clone(&self.schema), self.label.clone());
        Ok(Arc::new(new.with_known(self.known).with_hold(self.hold.clone())))
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn supports_limit_pushdown(&self) -> bool {
        // What is known is of all rows.
        self.known.is_none()
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if let Some(hold) = &self.hold {
            hold.check()?;
        }
        let (sources, schema, hold) = (Arc::clone(&self.sources), Arc::clone(&self.schema), self.hold.clone());
        let input = self.input.execute(partition, context);
        let input = match (&self.hold, input) {
            (Some(hold), Err(error)) => return Err(hold.explain(error)),
            (_, input) => input?,
        };
        let batches = input.map(move |batch| match &hold {
            Some(hold) => batch
                .map_err(|error| hold.explain(error))
                .and_then(|batch| hold.check().and_then(|()| conform(&batch, &sources, &schema))),
            None => batch.and_then(|batch| conform(&batch, &sources, &schema)),
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches)))
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Statistics> {
        let mut statistics = Statistics::new_unknown(&self.schema);
        match (self.known, partition) {
            (Some(known), None) => {
                statistics.num_rows = Precision::Exact(known.rows);
                statistics.column_statistics =
                    (0..self.schema.fields().len()).map(|at| self.column(at, known)).collect();
            }
            _ => statistics.num_rows = self.input.partition_statistics(partition)?.num_rows,
        }
        Ok(statistics)
    }
}
