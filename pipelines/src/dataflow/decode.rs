//! The decode operator: raw payloads to the source's columns, or to dead letters.

use crate::PipelineError;
use crate::dataflow::contained::contain;
use crate::dataflow::dead::{self, Cause};
use crate::dataflow::rows::{PAYLOAD, Rows, Stage};
use crate::dataflow::tally::Ledger;
use crate::failures::Failures;
use crate::plan::SourceFormat;
use arrow::array::{ArrayRef, BinaryArray, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::{Arc, LazyLock};
use thermocline_schemas::Epoch;
use thermocline_schemas::columns;
use thermocline_schemas::format::{JsonDecoder, Rejected, ShapeTable, parse};
use thermocline_schemas::metadata::BranchId;
use timely::container::NoopBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

/// The one column of an `auto` source.
static AUTO_COLUMNS: LazyLock<SchemaRef> =
    LazyLock::new(|| Arc::new(Schema::new(vec![Field::new(PAYLOAD, DataType::Utf8, true)])));

/// What a decode operator needs to know of its source.
#[derive(Debug, Clone)]
pub(super) struct DecodeSpec {
    /// The source's number.
    pub(super) source: usize,
    /// The source's name.
    pub(super) name: String,
    /// Its format.
    pub(super) format: SourceFormat,
    /// The branches that read it: a record that cannot be decoded is a dead letter of each.
    pub(super) branches: Vec<BranchId>,
}

/// Turns payloads into columns. Keeps the decoder's buffers between batches.
pub(super) struct Decode {
    spec: DecodeSpec,
    shapes: Arc<ShapeTable>,
    json: Option<JsonDecoder>,
    /// False while it decodes: after a panic its buffers hold half a batch.
    is_clean: bool,
}

/// A raw batch, decoded: accepted and rejected rows add up to it.
pub(super) struct Decoded {
    /// The rows that were accepted.
    pub(super) rows: Rows,
    /// The others, as dead letters.
    pub(super) dead: Option<Rows>,
    /// Fields that the source does not name.
    pub(super) dropped_fields: u64,
}

impl Decode {
    pub(super) fn new(spec: DecodeSpec, shapes: Arc<ShapeTable>) -> Result<Self, PipelineError> {
        let json = decoder(&spec.format)?;
        Ok(Self { spec, shapes, json, is_clean: true })
    }

    /// Decodes one raw batch. A record on which that fails is a dead letter, and the others go on.
    fn decode_contained(&mut self, rows: &Rows) -> Result<Vec<Decoded>, PipelineError> {
        let shapes = self.shapes.clone();
        let contained = contain(rows, &shapes, |piece| {
            if !std::mem::replace(&mut self.is_clean, false) {
                self.json = decoder(&self.spec.format)?;
            }
            let decoded = self.decode(piece)?;
            self.is_clean = true;
            Ok(decoded)
        });
        let mut all: Vec<Decoded> = contained.done.into_iter().map(|(_, decoded)| decoded).collect();
        let rejected: Vec<Rejected> =
            contained.failed.into_iter().map(|(row, error)| Rejected { row, error }).collect();
        if !rejected.is_empty() {
            let none = rows.with(Stage::Decoded, rows.batch.slice(0, 0), rows.source.slice(0, 0));
            all.push(Decoded { rows: none, dead: self.dead_letters(rows, &rejected)?, dropped_fields: 0 });
        }
        Ok(all)
    }

    /// Decodes raw rows of one partition.
    fn decode(&mut self, rows: &Rows) -> Result<Decoded, PipelineError> {
        let payloads = columns::bytes(&rows.source, PAYLOAD)?;
        let Some(json) = &mut self.json else { return self.decode_auto(rows, payloads) };
        let decoded = json.decode(payloads);
        let rest = decoded_rows(rows, decoded.batch, &decoded.accepted)?;
        let dead = self.dead_letters(rows, &decoded.rejected)?;
        Ok(Decoded { rows: rest, dead, dropped_fields: decoded.unknown_fields })
    }

    fn decode_auto(&self, rows: &Rows, payloads: &BinaryArray) -> Result<Decoded, PipelineError> {
        let (parsed, rejected) = parse(payloads, &self.shapes);
        let text: ArrayRef = Arc::new(parsed.payload().clone());
        let batch = RecordBatch::try_new(AUTO_COLUMNS.clone(), vec![text])?;
        let mut rest = decoded_rows(rows, batch, parsed.accepted())?;
        rest.parsed = Some(Arc::new(parsed));
        Ok(Decoded { rows: rest, dead: self.dead_letters(rows, &rejected)?, dropped_fields: 0 })
    }

    fn dead_letters(&self, raw: &Rows, rejected: &[Rejected]) -> Result<Option<Rows>, PipelineError> {
        let cause = |it: &Rejected| Cause { row: it.row, stage: "decode", error: it.error.clone() };
        let causes: Vec<Cause> = rejected.iter().map(cause).collect();
        Ok(dead::letters(raw, &self.spec.name, None, &causes)?)
    }

    fn count(&self, epoch: Epoch, raw: &Rows, decoded: &Decoded, ledger: &Ledger) {
        let dead = decoded.dead.as_ref().map_or(0, Rows::len) as u64;
        let origin = raw.origin();
        ledger.note(epoch, |tally| {
            tally.saw(self.spec.source, &origin, None);
            *tally.dropped_fields.entry(self.spec.source).or_default() += decoded.dropped_fields;
            for branch in &self.spec.branches {
                let counts = tally.branch(*branch, &origin);
                counts.read += decoded.rows.len() as u64 + dead;
                counts.dead_letters += dead;
            }
        });
    }
}

fn decoder(format: &SourceFormat) -> Result<Option<JsonDecoder>, PipelineError> {
    match format {
        SourceFormat::Auto => Ok(None),
        SourceFormat::Json(schema) => Ok(Some(JsonDecoder::new(schema.clone())?)),
    }
}

fn decoded_rows(raw: &Rows, batch: RecordBatch, accepted: &UInt32Array) -> Result<Rows, PipelineError> {
    let selection = (accepted.len() != raw.len()).then_some(accepted);
    Ok(raw.with(Stage::Decoded, batch, raw.source_of(selection)?))
}

/// Adds the operator: decoded rows and dead letters leave on one stream; branches take the first, the seal the second.
pub(super) fn add<'scope>(
    stream: Stream<'scope, u64, Rows>,
    mut decode: Decode,
    ledger: Ledger,
    failures: Failures,
) -> Stream<'scope, u64, Rows> {
    stream.unary::<NoopBuilder<Rows>, _, _, _>(Pipeline, "decode", move |_, _| {
        move |input, output| {
            input.for_each(|capability, rows| {
                let all = match decode.decode_contained(rows) {
                    Ok(all) => all,
                    Err(error) => return failures.report(error),
                };
                let mut session = output.session_with_builder(&capability);
                for mut decoded in all {
                    decode.count(Epoch(*capability.time()), rows, &decoded, &ledger);
                    if !decoded.rows.is_empty() {
                        session.give_container(&mut decoded.rows);
                    }
                    if let Some(mut dead) = decoded.dead {
                        session.give_container(&mut dead);
                    }
                }
            });
        }
    })
}
