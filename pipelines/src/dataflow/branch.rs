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
use arrow::compute::max;
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
        Ok(rows.with(stage, batch, rows.kept_of(bound.selection.as_ref())?))
    }

    /// Classifies the records, maps each onto the columns of its domain, and chooses tiers.
    fn route(&self, rows: &Rows, input: &Input<'_>, output: &mut Output) -> Result<Vec<Rows>, PipelineError> {
        if output.batch.num_rows() == 0 {
            return Ok(vec![]);
        }
        let record = record::of_output(rows, &self.spec.leg, output, &self.shapes)?;
        let times = self.spec.event_times(input, output)?;
        let (topic, selected) = (&rows.topic.name, record.selection.as_ref());
        let routed = match self.spec.event_time {
            EventTimeFrom::Broker => self.router.route(topic, &record.parsed, selected, &times, rows.opened_at)?,
            EventTimeFrom::Output(_) | EventTimeFrom::Source(_) => {
                self.router.route_declared(topic, &record.parsed, selected, &times, rows.opened_at)?
            }
        };
        routed.into_iter().map(|routed| self.routed(rows, output, routed)).collect()
    }

    fn routed(&self, rows: &Rows, output: &Output, routed: Routed) -> Result<Rows, PipelineError> {
        let all = routed.rows.len() == output.batch.num_rows();
        let tiers = UInt8Array::from_iter_values(routed.tiers.iter().map(|it| *it as u8));
        let batch = with_columns(&routed.batch, vec![(system::TIER, Arc::new(tiers))])?;
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
        Ok(rows.with(stage, batch, rows.kept_of(selection.as_ref())?))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan;
    use crate::raw::{RawBatch, Topic};
    use arrow::array::{AsArray, BinaryArray, Int64Array};
    use thermocline_operators::{MappingOverrides, TopicRules};
    use thermocline_schemas::table::timestamp_type;

    const OPENED_AT: EventTime = 1_795_253_400_000_000;
    const OLD: EventTime = 1_577_836_800_000_000;

    /// The first branch of `text`.
    fn branch(text: &str) -> Branch {
        let mut registry = Registry::shipped();
        let files = [("test.sql", text)];
        let pipelines = plan::load(&files, &mut registry, |_| vec![])
            .unwrap_or_else(|refusals| panic!("{}", plan::render_all(&refusals, &files)));
        let registry = Arc::new(registry);
        let rules = TopicRules::default().with("*", "logs");
        let router = Router::new(registry.clone(), rules, MappingOverrides::default()).unwrap();
        Branch {
            id: BranchId(1),
            source: 0,
            spec: Arc::new(pipelines.branches[0].clone()),
            router: Arc::new(router),
            registry,
            shapes: Arc::default(),
        }
    }

    /// Decoded rows with the columns of `batch`; the broker gave no timestamps.
    fn decoded(batch: RecordBatch) -> Rows {
        let rows = batch.num_rows();
        let raw = RawBatch {
            topic: Arc::new(Topic { cluster_id: "c".into(), name: "t".into(), id: uuid::Uuid::nil() }),
            partition: 0,
            offsets: Int64Array::from_iter_values(0..rows as i64),
            timestamps: TimestampMicrosecondArray::new_null(rows),
            keys: BinaryArray::new_null(rows),
            headers: StringArray::new_null(rows),
            payloads: BinaryArray::new_null(rows),
            absent: vec![],
        };
        let raw = Rows::raw(raw, OPENED_AT).unwrap();
        raw.with(Stage::Decoded, batch, raw.source.clone())
    }

    #[test]
    fn a_declared_event_time_decides_the_tier_and_costs_no_field() {
        let branch = branch(
            "CREATE EXTERNAL TABLE s (ts TIMESTAMP, created_at TIMESTAMP) STORED AS KAFKA LOCATION 's' \
             OPTIONS ('event_time' 'created_at');\nINSERT INTO domains SELECT * FROM s;",
        );
        let times = |times: [Option<EventTime>; 2]| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from_iter(times).with_timezone("UTC"))
        };
        let fields = ["ts", "created_at"].map(|name| Field::new(name, timestamp_type(), true));
        let columns = vec![times([Some(OPENED_AT - 1), Some(OPENED_AT - 1)]), times([Some(OLD), None])];
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), columns).unwrap();
        let outcome = branch.process(&decoded(batch)).unwrap();
        let [written] = &outcome.written[..] else { panic!("one domain") };
        // Without a declared time and without the broker's, the epoch's opening stands in.
        assert_eq!(columns::event_time(&written.batch).unwrap().values(), &[OLD, OPENED_AT]);
        assert_eq!(outcome.newest, Some(OPENED_AT));
        let tiers = written.batch[system::TIER].as_primitive::<arrow::datatypes::UInt8Type>();
        assert_eq!(tiers.values(), &[Tier::Cold as u8, Tier::Hot as u8]);
        let attributes = written.batch[system::ATTRIBUTES].as_string::<i32>();
        for row in 0..2 {
            let json: serde_json::Value = serde_json::from_str(attributes.value(row)).unwrap();
            assert!(json["ts"].as_str().is_some_and(|ts| ts.starts_with("2026-11-21T09:29:59.999999")), "{json}");
        }
    }
}
