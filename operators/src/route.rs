//! Classify, map and tier one batch of one topic: the entry that the dataflow calls.
//!
//! What depends on a shape alone is decided once and kept: the domain where the shape is decisive, and the plan that
//! maps it. Records whose text decides are classified one by one. Each record's outcome depends on nothing but its
//! topic, its bytes, the broker's timestamp (or the event time that the pipeline declares) and the time its epoch
//! opened, so a replay gives the same rows.

use crate::classify::{Classifier, ShapeVerdict, Verdict};
use crate::event_time::{self, How};
use crate::map::columns::Rows;
use crate::map::{Dictionary, Plan, Reason};
use crate::{MappingOverrides, OperatorError, TopicRules};
use ahash::{AHashMap, AHashSet};
use arrow::array::{Array, ArrayRef, Float32Array, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use thermocline_schemas::domain::{Domain, Registry};
use thermocline_schemas::format::{Parsed, Shape};
use thermocline_schemas::table::{system, timestamp_type};
use thermocline_schemas::{EventTime, Tier};
use xxhash_rust::xxh3::xxh3_64;

/// Rows of one batch that go to one domain.
#[derive(Debug)]
pub struct Routed {
    /// The domain.
    pub domain: Arc<str>,
    /// Their positions among the rows that were routed, ascending.
    pub rows: UInt32Array,
    /// The tier of each.
    pub tiers: Vec<Tier>,
    /// `event_time`, the domain's columns in order, `attributes`, `_confidence`.
    pub batch: RecordBatch,
}

/// What was decided for the records of one shape, for people to read.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Decision {
    /// The shape's fingerprint, 16 hexadecimal digits.
    pub shape: String,
    /// A topic in which it occurred.
    pub topic: String,
    /// The domain of these records.
    pub domain: String,
    /// How sure that is, of the first record.
    pub confidence: f32,
    /// What said when the first record happened: a field's path, or two; none: the broker.
    pub event_time: Option<String>,
    /// What says so of records in which that says nothing, best first; after these the broker.
    #[serde(default)]
    pub event_time_else: Vec<String>,
    /// Which field fills which column.
    pub fields: Vec<DecidedField>,
    /// The paths of the fields that stay in `attributes`.
    pub unmapped: Vec<String>,
    /// The fingerprint of the entries of the mapping file that match, 16 hexadecimal digits; none without such.
    #[serde(default)]
    pub overrides: Option<String>,
}

/// [`Decision::event_time`] where the pipeline says when.
const DECLARED: &str = "(declared by the pipeline)";

impl Decision {
    /// What tells it from all others: the shape, the domain, and whatever else its plan depends on. A shape that two
    /// topics map differently is two decisions.
    pub fn key(&self) -> String {
        let mut key = format!("{}/{}", self.shape, self.domain);
        if self.event_time.as_deref() == Some(DECLARED) {
            key.push_str("/declared");
        }
        if let Some(overrides) = &self.overrides {
            key.push('/');
            key.push_str(overrides);
        }
        key
    }
}

/// One mapped field of a [`Decision`].
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct DecidedField {
    /// The field's path; empty for a whole record.
    pub path: String,
    /// The column that it fills.
    pub column: String,
    /// Why.
    pub reason: Reason,
}

/// A domain with what is needed to fill its table.
#[derive(Debug)]
struct Target {
    domain: Arc<Domain>,
    dictionary: Dictionary,
    schema: SchemaRef,
}

/// What is known of the records of one shape in one topic.
#[derive(Debug)]
struct Known {
    shape: Arc<Shape>,
    verdict: ShapeVerdict,
    /// By domain.
    plans: Vec<Plans>,
}

/// The plans of one shape for one domain, made when first needed.
#[derive(Debug, Default)]
struct Plans {
    /// Where each record says itself when it happened.
    own_time: OnceLock<Arc<Plan>>,
    /// Where the pipeline says so.
    declared_time: OnceLock<Arc<Plan>>,
}

/// Shapes, by topic, whose decisions are kept; when it is full it forgets all and begins again.
const MOST_KNOWN: usize = 16_384;
/// And so it does when they take more memory than this. Most of it is shared with the table of shapes; a plan takes
/// about as much as its shape.
const MOST_KNOWN_BYTES: usize = 64 << 20;
/// Larger shapes are not kept.
const LARGEST_KEPT_BYTES: usize = 512 << 10;

/// The shapes whose decisions are kept. Bounded: records whose names are ever new cost time, never memory.
#[derive(Debug, Default)]
struct KnownShapes {
    /// By topic and fingerprint.
    by_topic: AHashMap<Arc<str>, AHashMap<u64, Arc<Known>>>,
    count: usize,
    /// The sum of their [`Shape::memory_bytes`].
    bytes: usize,
}

impl KnownShapes {
    fn get(&self, topic: &str, shape: &Arc<Shape>) -> Option<Arc<Known>> {
        let known = self.by_topic.get(topic)?.get(&shape.fingerprint)?;
        // Two shapes may have one fingerprint if somebody tries hard; the shapes themselves are compared.
        (Arc::ptr_eq(&known.shape, shape) || known.shape == *shape).then(|| Arc::clone(known))
    }

    fn keep(&mut self, topic: &str, known: &Arc<Known>) {
        let bytes = known.shape.memory_bytes();
        if bytes > LARGEST_KEPT_BYTES {
            return;
        }
        if self.count >= MOST_KNOWN || self.bytes + bytes > MOST_KNOWN_BYTES {
            *self = Self::default();
        }
        let topic = self.by_topic.entry(topic.into()).or_default();
        // Another thread may have been faster, and two shapes may have one fingerprint.
        match topic.insert(known.shape.fingerprint, Arc::clone(known)) {
            Some(replaced) => self.bytes -= replaced.shape.memory_bytes(),
            None => self.count += 1,
        }
        self.bytes += bytes;
    }
}

/// Decisions for people to read.
#[derive(Debug, Default)]
struct Decisions {
    /// The keys of those that were listed.
    seen: AHashSet<String>,
    new: Vec<Decision>,
    /// The sum of [`Shape::memory_bytes`] of those in `new`.
    new_bytes: usize,
}

/// Decisions that wait to be taken; further ones are not listed, nor are those beyond [`MOST_KNOWN_BYTES`].
const MOST_NEW_DECISIONS: usize = 4_096;

/// Classifies, maps and tiers batches. Shared by all workers.
#[derive(Debug)]
pub struct Router {
    classifier: Classifier,
    targets: Vec<Target>,
    rules: TopicRules,
    overrides: MappingOverrides,
    known: RwLock<KnownShapes>,
    decisions: Mutex<Decisions>,
}

impl Router {
    /// A router over the domains of `registry`.
    ///
    /// # Errors
    /// If a rule or an override names a domain or column that does not exist.
    pub fn new(registry: Arc<Registry>, rules: TopicRules, overrides: MappingOverrides) -> Result<Self, OperatorError> {
        rules.check(&registry)?;
        overrides.check(&registry)?;
        let targets = registry.iter().map(|domain| Target {
            dictionary: Dictionary::new(domain),
            schema: routed_schema(domain),
            domain: Arc::clone(domain),
        });
        Ok(Self {
            classifier: Classifier::new(&registry),
            targets: targets.collect(),
            rules,
            overrides,
            known: RwLock::default(),
            decisions: Mutex::default(),
        })
    }

    /// Routes `rows` of `parsed` (all if none), read from `topic`, in an epoch that opened at `opened_at`. `timestamps`
    /// are the broker's, one for each of these rows, for records that do not say when they happened. Every row comes
    /// back exactly once; domains in the order of the registry.
    ///
    /// # Errors
    /// If there are not as many timestamps as rows. Records never fail: what fits nowhere goes to `unclassified`.
    pub fn route(
        &self,
        topic: &str,
        parsed: &Parsed,
        rows: Option<&UInt32Array>,
        timestamps: &TimestampMicrosecondArray,
        opened_at: EventTime,
    ) -> Result<Vec<Routed>, OperatorError> {
        self.route_input(rows, Input { topic, parsed, times: timestamps, are_declared: false, opened_at })
    }

    /// The same where the pipeline says when each row happened: `event_times` are that, one for each of these rows, and
    /// no field of a record is taken for it, so that all that fill no column are in `attributes`.
    ///
    /// # Errors
    /// If there are not as many event times as rows.
    pub fn route_declared(
        &self,
        topic: &str,
        parsed: &Parsed,
        rows: Option<&UInt32Array>,
        event_times: &TimestampMicrosecondArray,
        opened_at: EventTime,
    ) -> Result<Vec<Routed>, OperatorError> {
        self.route_input(rows, Input { topic, parsed, times: event_times, are_declared: true, opened_at })
    }

    fn route_input(&self, rows: Option<&UInt32Array>, input: Input<'_>) -> Result<Vec<Routed>, OperatorError> {
        let Input { topic, parsed, .. } = input;
        let count = rows.map_or(parsed.len(), |rows| rows.len());
        if input.times.len() != count {
            return Err(OperatorError::Lengths { rows: count, timestamps: input.times.len() });
        }
        let settled = self.rules.domain_of(topic).and_then(|name| self.target(name));
        let mut known: Vec<Option<Arc<Known>>> = vec![None; parsed.shapes().len()];
        let mut groups: Vec<Group> = self.targets.iter().map(|_| Group::default()).collect();
        for position in 0..count {
            let row = rows.map_or(position, |rows| rows.value(position) as usize);
            let shape = parsed.shape_index(row);
            let known = known[shape].get_or_insert_with(|| self.known(topic, &parsed.shapes()[shape]));
            let verdict = match settled {
                Some(domain) => Verdict { domain, confidence: 1.0 },
                None => self.classifier.record(&known.verdict, parsed, row),
            };
            let plan = || self.plan(&input, row, known, verdict);
            groups[verdict.domain].push(position, row, shape, verdict.confidence, plan);
        }
        let mut routed = vec![];
        for (target, group) in self.targets.iter().zip(groups) {
            if !group.positions.is_empty() {
                routed.push(target.build(group, &input)?);
            }
        }
        Ok(routed)
    }

    /// The decisions that are new since the last call.
    pub fn take_new_decisions(&self) -> Vec<Decision> {
        let mut decisions = self.decisions.lock().unwrap_or_else(PoisonError::into_inner);
        decisions.new_bytes = 0;
        std::mem::take(&mut decisions.new)
    }

    fn target(&self, name: &str) -> Option<usize> {
        self.targets.iter().position(|target| target.domain.name.as_ref() == name)
    }

    fn known(&self, topic: &str, shape: &Arc<Shape>) -> Arc<Known> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).get(topic, shape);
        if let Some(known) = known {
            return known;
        }
        let verdict = self.classifier.shape(topic, shape);
        let plans = self.targets.iter().map(|_| Plans::default()).collect();
        let new = Arc::new(Known { shape: Arc::clone(shape), verdict, plans });
        self.known.write().unwrap_or_else(PoisonError::into_inner).keep(topic, &new);
        new
    }

    /// The plan for the shape of row `row`.
    fn plan(&self, input: &Input<'_>, row: usize, known: &Known, verdict: Verdict) -> Arc<Plan> {
        let plans = &known.plans[verdict.domain];
        let plan = if input.are_declared { &plans.declared_time } else { &plans.own_time };
        let plan = plan.get_or_init(|| {
            let target = &self.targets[verdict.domain];
            let mut plan = Plan::new(input.topic, &known.shape, &target.domain, &target.dictionary, &self.overrides);
            if input.are_declared {
                plan.event_time.clear();
                plan.attributes_without_time.clear();
            }
            self.note(self.decision(input, row, &plan, verdict), &plan.shape);
            Arc::new(plan)
        });
        Arc::clone(plan)
    }

    /// What the plan that was made for row `row` says.
    fn decision(&self, input: &Input<'_>, row: usize, plan: &Plan, verdict: Verdict) -> Decision {
        let domain = &self.targets[verdict.domain].domain;
        let fields = domain.columns.iter().zip(&plan.filled).filter_map(|(field, filled)| {
            let filled = filled.as_ref()?;
            Some(DecidedField { path: filled.path.clone(), column: field.name().clone(), reason: filled.reason })
        });
        let path = |leaf: usize| plan.shape.fields[leaf].path.clone();
        let candidates = plan.event_time.iter().map(|candidate| match candidate.how {
            How::WithTimeOf(other) => format!("{} + {}", path(candidate.leaf), path(other)),
            How::Line => "(start of the line)".to_owned(),
            How::Whole | How::Year => path(candidate.leaf),
        });
        let mut others: Vec<String> = candidates.collect();
        let said = event_time::event_time(&plan.event_time, input.parsed.text(row), input.parsed.leaves(row));
        let said = said.map(|(_, candidate)| others.remove(candidate));
        Decision {
            shape: plan.shape.id(),
            topic: input.topic.to_owned(),
            domain: domain.name.to_string(),
            confidence: verdict.confidence,
            event_time: if input.are_declared { Some(DECLARED.to_owned()) } else { said },
            event_time_else: others,
            fields: fields.collect(),
            unmapped: plan.unmapped.iter().map(|leaf| path(*leaf)).collect(),
            overrides: self.overrides_of(input.topic, &plan.shape, domain),
        }
    }

    /// The fingerprint of the entries of the mapping file that match.
    fn overrides_of(&self, topic: &str, shape: &Shape, domain: &Domain) -> Option<String> {
        let shape = shape.id();
        let entries: Vec<_> = self.overrides.matching(topic, &shape, &domain.name).collect();
        (!entries.is_empty()).then(|| format!("{:016x}", xxh3_64(format!("{entries:?}").as_bytes())))
    }

    /// Lists a decision about `shape`, once.
    fn note(&self, decision: Decision, shape: &Shape) {
        let bytes = shape.memory_bytes();
        let mut decisions = self.decisions.lock().unwrap_or_else(PoisonError::into_inner);
        if decisions.seen.len() >= MOST_KNOWN {
            decisions.seen.clear();
        }
        let has_room = decisions.new.len() < MOST_NEW_DECISIONS && decisions.new_bytes + bytes <= MOST_KNOWN_BYTES;
        if decisions.seen.insert(decision.key()) && has_room {
            decisions.new_bytes += bytes;
            decisions.new.push(decision);
        }
    }
}

/// What is to be routed.
#[derive(Debug, Clone, Copy)]
struct Input<'a> {
    topic: &'a str,
    parsed: &'a Parsed,
    /// One for each row: the broker's, or the event times where those are declared.
    times: &'a TimestampMicrosecondArray,
    are_declared: bool,
    opened_at: EventTime,
}

impl Input<'_> {
    /// The time of the row at `position` where its record says none.
    fn time(&self, position: usize) -> EventTime {
        if self.times.is_null(position) { self.opened_at } else { self.times.value(position) }
    }
}

/// The columns of [`Routed::batch`].
pub fn routed_schema(domain: &Domain) -> SchemaRef {
    let mut fields = vec![Field::new(system::EVENT_TIME, timestamp_type(), false)];
    fields.extend(domain.columns.iter().cloned());
    fields.push(Field::new(system::ATTRIBUTES, DataType::Utf8, true));
    fields.push(Field::new(system::CONFIDENCE, DataType::Float32, true));
    Arc::new(Schema::new(fields))
}

/// The rows of one domain while they are gathered.
#[derive(Default)]
struct Group {
    positions: Vec<u32>,
    confidences: Vec<f32>,
    rows: Vec<u32>,
    plan_of: Vec<u32>,
    plans: Vec<Arc<Plan>>,
    /// By shape index, the plan's place in `plans`.
    places: AHashMap<usize, u32>,
    /// The shape of the last row, and its plan's place: mostly the next one's too.
    last: Option<(usize, u32)>,
}

impl Group {
    fn push(&mut self, position: usize, row: usize, shape: usize, confidence: f32, plan: impl FnOnce() -> Arc<Plan>) {
        let place = match self.last {
            Some((last, place)) if last == shape => place,
            _ => *self.places.entry(shape).or_insert_with(|| {
                self.plans.push(plan());
                (self.plans.len() - 1) as u32
            }),
        };
        self.last = Some((shape, place));
        self.positions.push(position as u32);
        self.confidences.push(confidence);
        self.rows.push(row as u32);
        self.plan_of.push(place);
    }
}

impl Target {
    fn build(&self, group: Group, input: &Input<'_>) -> Result<Routed, OperatorError> {
        let Group { positions, confidences, rows, plan_of, plans, .. } = group;
        let rows = Rows { parsed: input.parsed, rows, plan_of, plans };
        let built = rows.build(&self.domain, |at| input.time(positions[at] as usize));
        let tiers = built.event_times.iter().map(|time| self.domain.policy.tier(*time, input.opened_at)).collect();
        let event_times = TimestampMicrosecondArray::from(built.event_times).with_timezone("UTC");
        let mut columns: Vec<ArrayRef> = vec![Arc::new(event_times)];
        columns.extend(built.columns);
        columns.push(built.attributes);
        columns.push(Arc::new(Float32Array::from(confidences)));
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        Ok(Routed { domain: Arc::clone(&self.domain.name), rows: positions.into(), tiers, batch })
    }
}

#[cfg(test)]
mod tests;
