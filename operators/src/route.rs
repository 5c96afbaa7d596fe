//! Classify, map and tier one batch of one topic: the entry that the dataflow calls.
//!
//! What depends on a shape alone is decided once and kept: the domain where the shape is decisive, and the plan that
//! maps it. Records whose text decides are classified one by one. Each record's outcome depends on nothing but its
//! topic, its bytes, the broker's timestamp and the time its epoch opened, so a replay gives the same rows.

use crate::classify::{Classifier, ShapeVerdict, Verdict};
use crate::event_time::How;
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
    /// The path of the field that says when; none: the broker.
    pub event_time: Option<String>,
    /// Which field fills which column.
    pub fields: Vec<DecidedField>,
    /// The paths of the fields that stay in `attributes`.
    pub unmapped: Vec<String>,
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
    /// By domain, made when first needed.
    plans: Vec<OnceLock<Arc<Plan>>>,
}

/// By topic and fingerprint.
type KnownShapes = AHashMap<Arc<str>, AHashMap<u64, Arc<Known>>>;

/// Decisions for people to read.
#[derive(Debug, Default)]
struct Decisions {
    /// Those that were listed: fingerprint, and the domain's place.
    seen: AHashSet<(u64, usize)>,
    new: Vec<Decision>,
}

/// Shapes, by topic, whose decisions are kept; when it is full it forgets all and begins again.
const MOST_KNOWN: usize = 16_384;
/// Decisions that wait to be taken; further ones are not listed.
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
    /// are the broker's, one for each of these rows. Every row comes back exactly once; domains in the order of the
    /// registry.
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
        let count = rows.map_or(parsed.len(), |rows| rows.len());
        if timestamps.len() != count {
            return Err(OperatorError::Lengths { rows: count, timestamps: timestamps.len() });
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
            groups[verdict.domain].push(position, row, shape, verdict.confidence, || self.plan(topic, known, verdict));
        }
        let mut routed = vec![];
        for (target, group) in self.targets.iter().zip(groups) {
            if !group.positions.is_empty() {
                routed.push(target.build(group, parsed, timestamps, opened_at)?);
            }
        }
        Ok(routed)
    }

    /// The decisions that are new since the last call.
    pub fn take_new_decisions(&self) -> Vec<Decision> {
        std::mem::take(&mut self.decisions.lock().unwrap_or_else(PoisonError::into_inner).new)
    }

    fn target(&self, name: &str) -> Option<usize> {
        self.targets.iter().position(|target| target.domain.name.as_ref() == name)
    }

    fn known(&self, topic: &str, shape: &Arc<Shape>) -> Arc<Known> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        // Two shapes may have one fingerprint if somebody tries hard; the shapes themselves are compared.
        if let Some(known) = known.get(topic).and_then(|known| known.get(&shape.fingerprint))
            && (Arc::ptr_eq(&known.shape, shape) || known.shape == *shape)
        {
            return Arc::clone(known);
        }
        drop(known);
        let verdict = self.classifier.shape(topic, shape);
        let plans = self.targets.iter().map(|_| OnceLock::new()).collect();
        let new = Arc::new(Known { shape: Arc::clone(shape), verdict, plans });
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.values().map(|known| known.len()).sum::<usize>() >= MOST_KNOWN {
            known.clear();
        }
        known.entry(topic.into()).or_default().insert(shape.fingerprint, Arc::clone(&new));
        new
    }

    fn plan(&self, topic: &str, known: &Known, verdict: Verdict) -> Arc<Plan> {
        let plan = known.plans[verdict.domain].get_or_init(|| {
            let target = &self.targets[verdict.domain];
            let plan = Plan::new(topic, &known.shape, &target.domain, &target.dictionary, &self.overrides);
            self.note(topic, &plan, verdict);
            Arc::new(plan)
        });
        Arc::clone(plan)
    }

    /// Lists a decision, once for each shape and domain.
    fn note(&self, topic: &str, plan: &Plan, verdict: Verdict) {
        let mut decisions = self.decisions.lock().unwrap_or_else(PoisonError::into_inner);
        let Decisions { seen, new } = &mut *decisions;
        if seen.len() >= MOST_KNOWN {
            seen.clear();
        }
        if seen.insert((plan.shape.fingerprint, verdict.domain)) && new.len() < MOST_NEW_DECISIONS {
            new.push(decision(topic, plan, &self.targets[verdict.domain].domain, verdict.confidence));
        }
    }
}

fn decision(topic: &str, plan: &Plan, domain: &Domain, confidence: f32) -> Decision {
    let fields = domain.columns.iter().zip(&plan.filled).filter_map(|(field, filled)| {
        let filled = filled.as_ref()?;
        Some(DecidedField { path: filled.path.clone(), column: field.name().clone(), reason: filled.reason })
    });
    let path = |leaf: usize| plan.shape.fields[leaf].path.clone();
    let event_time = plan.event_time.first().map(|candidate| match candidate.how {
        How::WithTimeOf(other) => format!("{} + {}", path(candidate.leaf), path(other)),
        How::Line => "(start of the line)".to_owned(),
        How::Whole | How::Year => path(candidate.leaf),
    });
    Decision {
        shape: plan.shape.id(),
        topic: topic.to_owned(),
        domain: domain.name.to_string(),
        confidence,
        event_time,
        fields: fields.collect(),
        unmapped: plan.unmapped.iter().map(|leaf| path(*leaf)).collect(),
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
    fn build(
        &self,
        group: Group,
        parsed: &Parsed,
        timestamps: &TimestampMicrosecondArray,
        opened_at: EventTime,
    ) -> Result<Routed, OperatorError> {
        let Group { positions, confidences, rows, plan_of, plans, .. } = group;
        let rows = Rows { parsed, rows, plan_of, plans };
        let built = rows.build(&self.domain, |at| {
            let position = positions[at] as usize;
            if timestamps.is_null(position) { opened_at } else { timestamps.value(position) }
        });
        let tiers = built.event_times.iter().map(|time| self.domain.policy.tier(*time, opened_at)).collect();
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
