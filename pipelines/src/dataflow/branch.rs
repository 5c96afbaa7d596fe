//! The branch operator: one leg of one `INSERT`. Filters and projects, then classifies and routes, or binds to its table.

use crate::PipelineError;
use crate::dataflow::contained::contain;
use crate::dataflow::dead::{self, Cause};
use crate::dataflow::record;
use crate::dataflow::rows::{Rows, Stage};
use crate::dataflow::tally::Ledger;
use crate::failures::Failures;
use crate::plan::{BranchSpec, EventTimeFrom, Input, Output, Target};
use arrow::array::{
    Array, ArrayRef, Float32Array, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt8Array,
    UInt32Array,
};
use arrow::compute::{max, take};
use arrow::datatypes::{DataType, Field, Schema};
use std::iter::repeat_n;
use std::sync::Arc;
use thermocline_operators::{Routed, Router};
use thermocline_schemas::domain::Registry;
use thermocline_schemas::format::ShapeTable;
use thermocline_schemas::metadata::BranchId;
use thermocline_schemas::table::system;
use thermocline_schemas::tier::TierPolicy;
use thermocline_schemas::{Epoch, EventTime, TableName, Tier, columns};
use timely::container::NoopBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

/// One branch, ready to run.
#[derive(Clone)]
pub(super) struct Branch {
    /// Its number in the metadata store.
    pub(super) id: BranchId,
    /// Its source's number.
    pub(super) source: usize,
    /// What it does.
    pub(super) spec: Arc<BranchSpec>,
    /// Classifies and maps.
    pub(super) router: Arc<Router>,
    /// The domains, for their tier policies.
    pub(super) registry: Arc<Registry>,
    /// Shapes of records that the branch itself makes.
    pub(super) shapes: Arc<ShapeTable>,
}

/// What became of a batch: rows written, dead and filtered add up to it.
struct Outcome {
    written: Vec<Rows>,
    dead: Option<Rows>,
    filtered: u64,
    newest: Option<EventTime>,
}

impl Branch {
    /// Takes decoded rows of one partition.
    fn process(&self, rows: &Rows) -> Result<Outcome, PipelineError> {
        let source = self.source_columns(rows)?;
        let input = Input { batch: &rows.batch, source: &source };
        let mut output = self.spec.leg.evaluate(&input)?;
        let (written, output) = match &self.spec.target {
            Target::Domains => (self.route(rows, &input, &mut output)?, output),
            Target::Table { schema, .. } => {
                let bound = self.spec.bind(&input, output)?;
                let policy = self.policy(schema.name.domain());
                (vec![self.written(rows, &bound, schema.name.clone(), policy)?], bound)
            }
        };
        let causes: Vec<Cause> = output
            .failed
            .into_iter()
            .map(|failed| Cause { row: failed.row, stage: failed.stage, error: failed.error })
            .collect();
        let newest = |rows: &Rows| columns::event_time(&rows.batch).ok().and_then(max);
        Ok(Outcome {
            newest: written.iter().filter_map(newest).max(),
            written: written.into_iter().filter(|rows| !rows.is_empty()).collect(),
            dead: dead::letters(rows, &self.spec.leg.source, Some(self.id), &causes)?,
            filtered: output.filtered,
        })
    }

    /// The policy of a domain; of a table outside every domain, the default.
    fn policy(&self, domain: &str) -> TierPolicy {
        self.registry.get(domain).map_or_else(TierPolicy::default, |domain| domain.policy)
    }

    /// The source columns, with topic and partition where an expression names them.
    fn source_columns(&self, rows: &Rows) -> Result<RecordBatch, PipelineError> {
        let mut fields: Vec<Arc<Field>> = rows.source.schema().fields().iter().cloned().collect();
        let mut arrays = rows.source.columns().to_vec();
        let used = self.spec.columns_used();
        if used.contains(&system::TOPIC) {
            fields.push(Arc::new(Field::new(system::TOPIC, DataType::Utf8, false)));
            arrays.push(Arc::new(StringArray::from_iter_values(repeat_n(&*rows.topic.name, rows.len()))));
        }
        if used.contains(&system::PARTITION) {
            fields.push(Arc::new(Field::new(system::PARTITION, DataType::Int32, false)));
            arrays.push(Arc::new(Int32Array::from_value(rows.partition, rows.len())));
        }
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
    }

    /// Rows that are bound to one table, with their tier and no confidence.
    fn written(
        &self,
        rows: &Rows,
        bound: &Output,
        table: TableName,
        policy: TierPolicy,
    ) -> Result<Rows, PipelineError> {
        let tiers = tiers_of(columns::event_time(&bound.batch)?, policy, rows.opened_at);
        let unsure: ArrayRef = Arc::new(Float32Array::new_null(bound.batch.num_rows()));
        let batch = with_columns(&bound.batch, vec![(system::CONFIDENCE, unsure), (system::TIER, Arc::new(tiers))])?;
        let stage = Stage::Written { branch: self.id, table };
        Ok(rows.with(stage, batch, rows.source_of(bound.selection.as_ref())?))
    }

    /// Classifies the records, maps each onto the columns of its domain, and chooses tiers.
    fn route(&self, rows: &Rows, input: &Input<'_>, output: &mut Output) -> Result<Vec<Rows>, PipelineError> {
        if output.batch.num_rows() == 0 {
            return Ok(vec![]);
        }
        let record = record::of_output(rows, &self.spec.leg, output, &self.shapes)?;
        let broker = output.select(columns::column(input.source, system::TIMESTAMP)?)?;
        let broker = filled(&broker, rows.opened_at)?;
        let selected = record.selection.as_ref();
        let routed = self.router.route(&rows.topic.name, &record.parsed, selected, &broker, rows.opened_at)?;
        let declared = match self.spec.event_time {
            EventTimeFrom::Broker => None,
            _ => Some(filled(&(Arc::new(self.spec.event_times(input, output)?) as ArrayRef), rows.opened_at)?),
        };
        routed.into_iter().map(|routed| self.routed(rows, output, routed, declared.as_ref())).collect()
    }

    fn routed(
        &self,
        rows: &Rows,
        output: &Output,
        routed: Routed,
        declared: Option<&TimestampMicrosecondArray>,
    ) -> Result<Rows, PipelineError> {
        let all = routed.rows.len() == output.batch.num_rows();
        let (mut batch, mut tiers) =
            (routed.batch, UInt8Array::from_iter_values(routed.tiers.iter().map(|it| *it as u8)));
        if let Some(declared) = declared {
            let times = take(declared, &routed.rows, None)?;
            batch = with_event_time(&batch, times)?;
            let policy = self.policy(&routed.domain);
            tiers = tiers_of(columns::event_time(&batch)?, policy, rows.opened_at);
        }
        let batch = with_columns(&batch, vec![(system::TIER, Arc::new(tiers))])?;
        let selection = match (&output.selection, all) {
            (None, true) => None,
            (Some(selection), true) => Some(selection.clone()),
            (None, false) => Some(routed.rows),
            (Some(selection), false) => {
                let input = routed.rows.values().iter().map(|row| selection.value(*row as usize));
                Some(UInt32Array::from_iter_values(input))
            }
        };
        let stage = Stage::Written { branch: self.id, table: TableName::new(&routed.domain)? };
        Ok(rows.with(stage, batch, rows.source_of(selection.as_ref())?))
    }

    /// Takes decoded rows of one partition; a row on which that fails is a dead letter, and the others go on.
    fn process_contained(&self, rows: &Rows) -> Result<Vec<Outcome>, PipelineError> {
        let contained = contain(rows, &self.shapes, |piece| self.process(piece));
        let mut outcomes: Vec<Outcome> = contained.done.into_iter().map(|(_, outcome)| outcome).collect();
        let cause = |(row, error)| Cause { row, stage: "route", error };
        let causes: Vec<Cause> = contained.failed.into_iter().map(cause).collect();
        if let Some(dead) = dead::letters(rows, &self.spec.leg.source, Some(self.id), &causes)? {
            outcomes.push(Outcome { written: vec![], dead: Some(dead), filtered: 0, newest: None });
        }
        Ok(outcomes)
    }

    fn count(&self, epoch: Epoch, rows: &Rows, outcome: &Outcome, ledger: &Ledger) {
        let origin = rows.origin();
        ledger.note(epoch, |tally| {
            tally.saw(self.source, &origin, outcome.newest);
            let counts = tally.branch(self.id, &origin);
            counts.rows += outcome.written.iter().map(Rows::len).sum::<usize>() as u64;
            counts.filtered += outcome.filtered;
            counts.dead_letters += outcome.dead.as_ref().map_or(0, Rows::len) as u64;
        });
    }
}

/// `times` without nulls: the epoch's opening stands in.
fn filled(times: &ArrayRef, opened_at: EventTime) -> Result<TimestampMicrosecondArray, PipelineError> {
    let batch = RecordBatch::try_from_iter([(system::TIMESTAMP, times.clone())])?;
    let times = columns::timestamp(&batch, system::TIMESTAMP)?;
    if times.null_count() == 0 {
        return Ok(times.clone());
    }
    let filled = times.iter().map(|time| time.unwrap_or(opened_at));
    Ok(TimestampMicrosecondArray::from_iter_values(filled).with_timezone("UTC"))
}

fn tiers_of(times: &TimestampMicrosecondArray, policy: TierPolicy, opened_at: EventTime) -> UInt8Array {
    let tier = |time: &EventTime| -> Tier { policy.tier(*time, opened_at) };
    UInt8Array::from_iter_values(times.values().iter().map(|time| tier(time) as u8))
}

fn with_columns(batch: &RecordBatch, more: Vec<(&str, ArrayRef)>) -> Result<RecordBatch, PipelineError> {
    let mut fields: Vec<Arc<Field>> = batch.schema().fields().iter().cloned().collect();
    let mut arrays = batch.columns().to_vec();
    for (name, array) in more {
        fields.push(Arc::new(Field::new(name, array.data_type().clone(), true)));
        arrays.push(array);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

fn with_event_time(batch: &RecordBatch, times: ArrayRef) -> Result<RecordBatch, PipelineError> {
    let place = batch.schema().index_of(system::EVENT_TIME)?;
    let mut arrays = batch.columns().to_vec();
    arrays[place] = times;
    Ok(RecordBatch::try_new(batch.schema(), arrays)?)
}

/// Adds the operator.
pub(super) fn add<'scope>(
    stream: Stream<'scope, u64, Rows>,
    branch: Branch,
    ledger: Ledger,
    failures: Failures,
) -> Stream<'scope, u64, Rows> {
    let name = format!("branch {}", branch.id);
    stream.unary::<NoopBuilder<Rows>, _, _, _>(Pipeline, &name, move |_, _| {
        move |input, output| {
            input.for_each(|capability, rows| {
                if rows.stage != Stage::Decoded {
                    return;
                }
                let outcomes = match branch.process_contained(rows) {
                    Ok(outcomes) => outcomes,
                    Err(error) => return failures.report(error),
                };
                let mut session = output.session_with_builder(&capability);
                for outcome in outcomes {
                    branch.count(Epoch(*capability.time()), rows, &outcome, &ledger);
                    for mut rows in outcome.written.into_iter().chain(outcome.dead) {
                        session.give_container(&mut rows);
                    }
                }
            });
        }
    })
}
