//! When a record happened: which of its fields says so is chosen once a shape, by name and type.
//!
//! The candidates of a shape are ranked by what such fields are called in the world; each record takes the first one
//! whose value is a plausible time (the unit of a number by its magnitude), else the broker's timestamp. A record's
//! time depends on nothing but the record, so that a replay gives the same.
//!
//! What stands for long has times of its own: `author.created_at` says when somebody signed up, not when he wrote. Below
//! such a thing a field counts only if its name says that something happened then.

pub mod text;

use std::sync::Arc;
use thermocline_schemas::EventTime;
use thermocline_schemas::domain::words::normal;
use thermocline_schemas::format::timestamp::{date_micros, from_number_text};
use thermocline_schemas::format::{FieldKind, Leaf, LeafKind, Shape, scan::unescape};

/// Earlier than this is no event time: 1 January 1700.
const EARLIEST: EventTime = -8_520_336_000_000_000;
/// Later than this is none: 1 January 2100.
const LATEST: EventTime = 4_102_444_800_000_000;
/// A number is a time only from here on, 1 January 1980: smaller ones are ids and counts.
const EARLIEST_NUMBER: EventTime = 315_532_800_000_000;
/// Every field of the record's own is tried before one of something in it.
const BEHIND_ITS_OWN: i32 = 1_000;
/// Candidates that a record tries.
const MOST_CANDIDATES: usize = 6;

/// Words of the names of what was there long before the record, and has times of its own: people, what they form and own,
/// and where things come from. Unlike an order, a run, a ticket: those are often what the record is about.
const STANDING: &[&str] = &[
    "author",
    "user",
    "users",
    "owner",
    "sender",
    "recipient",
    "customer",
    "client",
    "account",
    "actor",
    "member",
    "profile",
    "person",
    "employee",
    "creator",
    "assignee",
    "reporter",
    "manager",
    "contact",
    "subscriber",
    "organization",
    "organisation",
    "org",
    "company",
    "team",
    "tenant",
    "vendor",
    "supplier",
    "shop",
    "store",
    "repository",
    "repo",
    "project",
    "product",
    "plan",
    "device",
    "source",
];

/// A field, or two, that may say when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The leaf.
    pub leaf: usize,
    /// How to read it.
    pub how: How,
}

/// How a candidate is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// The whole time stands in it.
    Whole,
    /// The date stands in it, and the time of day in this other leaf.
    WithTimeOf(usize),
    /// It is a year.
    Year,
    /// It is a line of text that begins with the time.
    Line,
}

/// The candidates of `shape`, best first.
pub fn candidates(shape: &Shape) -> Vec<Candidate> {
    if shape.body == thermocline_schemas::format::Body::Text {
        return vec![Candidate { leaf: 0, how: How::Line }];
    }
    let mut ranked: Vec<(i32, Candidate)> = vec![];
    for (leaf, field) in shape.fields.iter().enumerate() {
        if field.shadowed || !matches!(field.kind, FieldKind::Text | FieldKind::Number) || field.raw_names.is_empty() {
            continue;
        }
        let name = normal(&field.name);
        let is_own = is_of_the_record(&field.raw_names[..field.raw_names.len() - 1]);
        if !is_own && !says_event(&name) {
            continue;
        }
        let deeper = 15 * (field.raw_names.len() as i32 - 1) + if is_own { 0 } else { BEHIND_ITS_OWN };
        if let Some(partner) = time_of_day_beside(shape, leaf, &name) {
            ranked.push((15 + deeper, Candidate { leaf, how: How::WithTimeOf(partner) }));
        }
        if let Some((rank, how)) = rank(&name) {
            ranked.push((rank + deeper, Candidate { leaf, how }));
        }
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.truncate(MOST_CANDIDATES);
    ranked.into_iter().map(|(_, candidate)| candidate).collect()
}

/// Whether the times inside `parents` may be the record's own: none of these stands for itself, and none is called like a
/// time that is no event's (`{"birth_date": {"$date": …}}`).
fn is_of_the_record(parents: &[Arc<str>]) -> bool {
    parents.iter().all(|parent| {
        // Elasticsearch hands out its documents in `_source`; a `source` is somebody.
        if &**parent == "_source" {
            return true;
        }
        let name = normal(parent);
        let is_a_time = matches!(name.rsplit('_').next(), Some("date" | "time" | "at" | "timestamp" | "ts"));
        !name.split('_').any(|word| STANDING.contains(&word)) && (!is_a_time || rank(&name).is_some())
    })
}

/// Whether a field of this name is the time of what happened, whatever it lies in (`transaction.timestamp`,
/// `order.order_date`), and not one in the life of the thing that it lies in (`author.created_at`, `plan.end_date`).
fn says_event(name: &str) -> bool {
    let is_of_a_life = matches!(name, "time_created" | "creation_time");
    name == "event_created" || !is_of_a_life && matches!(rank(name), Some((0..=20 | 30, _)))
}

/// The field that holds the time of day for the date in `leaf`, called `name`: its sibling.
fn time_of_day_beside(shape: &Shape, leaf: usize, name: &str) -> Option<usize> {
    let wanted = match name {
        "date" | "day" => "time",
        "log_date" => "log_time",
        "event_date" => "event_time",
        "local_date" => "local_time",
        _ => return None,
    };
    let parents = |field: usize| shape.fields[field].raw_names.split_last().map(|(_, parents)| parents);
    (0..shape.fields.len()).find(|&other| {
        let field = &shape.fields[other];
        matches!(field.kind, FieldKind::Text | FieldKind::Number)
            && normal(&field.name) == wanted
            && parents(other) == parents(leaf)
    })
}

/// How good a field of this name is as an event time, lower being better; none if it is not one.
fn rank(name: &str) -> Option<(i32, How)> {
    let whole = |rank| Some((rank, How::Whole));
    match name {
        "event_time" | "event_timestamp" | "event_date_time" | "event_datetime" | "occurred_at" | "event_ts"
        | "time_timestamp" | "happened_at" | "event_time_utc" | "occurred_on" | "event_at" | "occurrence_time" => {
            return whole(0);
        }
        "time_created" | "creation_time" | "visit_start_time" | "session_start_time" | "event_created"
        | "activity_date_time" | "sent_at" | "originated_at" | "client_timestamp" | "time_generated"
        | "request_time_epoch" | "measured_at" | "event_start_time" | "original_timestamp" | "transaction_time" => {
            return whole(10);
        }
        "timestamp"
        | "ts"
        | "time"
        | "datetime"
        | "date_time"
        | "when"
        | "instant"
        | "epoch"
        | "time_stamp"
        | "ts_ms"
        | "at"
        | "time_unix_nano"
        | "timestamp_ms"
        | "timestamp_utc"
        | "utc_time"
        | "unix_time"
        | "epoch_ms"
        | "unixtime"
        | "timestampms"
        | "time_ms"
        | "t"
        | "utc"
        | "posix_time"
        | "epoch_time"
        | "time_utc"
        | "ts_utc"
        | "timestamp_us"
        | "timestamp_ns"
        | "realtime_timestamp"
        | "source_realtime_timestamp"
        | "asctime"
        | "time_local"
        | "time_iso8601" => {
            return whole(20);
        }
        "order_date" | "transaction_date" | "posting_date" | "invoice_date" | "logged_at" | "log_time"
        | "recorded_at" | "reported_at" | "submitted_at" | "start_time" | "started_at" | "visit_date"
        | "event_date" | "published_at" | "posted_at" | "post_date" | "published" | "measurement_date"
        | "reading_time" | "log_timestamp" | "sample_time" | "purchase_date" | "sale_date" | "payment_date"
        | "begin_time" | "pub_date" | "publish_date" | "date_published" | "publication_date" | "received_at"
        | "order_time" | "purchased_at" | "ordered_at" => return whole(30),
        "updated_at" | "update_time" | "updated" | "last_updated_at" => return whole(35),
        "created_at" | "created" | "created_on" | "create_time" | "created_time" | "creation_date" | "date_created"
        | "create_date" | "created_date" | "created_utc" | "signup_date" | "registered_at" | "registration_date"
        | "submission_date" => return whole(38),
        "date" | "day" | "full_date" | "calendar_date" => return whole(40),
        "end_date" | "end_time" | "ended_at" | "finished_at" | "completed_at" | "closed_at" | "complete_time"
        | "finish_time" => {
            return whole(50);
        }
        "start_date" | "begin_date" | "effective_date" | "from_date" | "valid_from" | "begin" | "start" => {
            return whole(60);
        }
        "modified_date" | "modified" | "modified_at" | "last_modified" | "last_updated" | "last_update"
        | "changed_at" | "update_date" | "last_modified_date" | "date_modified" | "modified_on"
        | "modification_date" | "mtime" | "last_changed" | "updated_on" | "updated_date" | "last_modified_at" => {
            return whole(80);
        }
        "acquisition_year" | "accession_year" | "publication_year" | "release_year" | "fiscal_year" => {
            return Some((110, How::Year));
        }
        "year" | "calendar_year" => return Some((115, How::Year)),
        _ => {}
    }
    const NEVER: &[&str] = &[
        "birth",
        "born",
        "hire",
        "expiry",
        "expires",
        "expire",
        "expiration",
        "due",
        "deadline",
        "ship",
        "delivery",
        "next",
        "scheduled",
        "schedule",
        "planned",
        "estimated",
        "expected",
        "sell",
        "discontinued",
        "password",
        "first",
        "previous",
        "prev",
        "retention",
        "until",
        "to",
        "response",
        "elapsed",
        "duration",
        "average",
        "avg",
        "mean",
        "up",
        "uptime",
        "cpu",
        "zone",
        "on",
        "lead",
        "days",
        "count",
        "number",
        "per",
        "total",
        "life",
        "run",
        "wait",
        "boot",
        "not",
        "half",
        "full",
        "part",
        "real",
        "play",
        "watch",
        "reading",
        "death",
        "opened",
        "shift",
        "lunch",
        "service",
        "hold",
        "travel",
        "seek",
    ];
    let words: Vec<&str> = name.split('_').collect();
    let last = *words.last()?;
    if words.len() < 2 || words.iter().any(|word| NEVER.contains(word)) {
        return None;
    }
    match last {
        "timestamp" | "ts" | "datetime" => whole(if words.contains(&"received") { 90 } else { 25 }),
        "date" if words.contains(&"change") || words.contains(&"last") || words.contains(&"receipt") => whole(70),
        "time" if words.contains(&"received") || words.contains(&"ingest") => whole(90),
        "date" | "time" | "at" | "utc" => whole(100),
        "year" if words.contains(&"acquisition") || words.contains(&"accession") => Some((110, How::Year)),
        _ => None,
    }
}

/// The time of one record by its candidates, and which of them said so. None: the broker's.
pub fn event_time(candidates: &[Candidate], record: &str, leaves: &[Leaf]) -> Option<(EventTime, usize)> {
    candidates.iter().enumerate().find_map(|(at, candidate)| {
        let time = read(*candidate, record, leaves)?;
        (EARLIEST..LATEST).contains(&time).then_some((time, at))
    })
}

fn read(candidate: Candidate, record: &str, leaves: &[Leaf]) -> Option<EventTime> {
    let leaf = leaves.get(candidate.leaf)?;
    match candidate.how {
        How::Whole => leaf_time(leaf, record),
        How::WithTimeOf(other) => {
            let (date, time) = (leaf.raw(record), leaves.get(other)?.raw(record));
            Some(text::date(date)? + text::time_of_day(time)?)
        }
        How::Year => {
            let year: i64 = leaf.raw(record).parse().ok().filter(|year| (1_000..2_200).contains(year))?;
            date_micros(year, 1, 1)
        }
        How::Line => text::at_start_of_line(leaf.raw(record)),
    }
}

/// The time that one leaf says as a whole.
pub fn leaf_time(leaf: &Leaf, record: &str) -> Option<EventTime> {
    let raw = leaf.raw(record);
    match leaf.kind {
        LeafKind::Text => text::whole(raw),
        LeafKind::EscapedText => text::whole(&unescape(raw)),
        LeafKind::Integer if raw.len() == 8 => text::date(raw).or_else(|| number(raw)),
        LeafKind::Integer | LeafKind::Float => number(raw),
        _ => None,
    }
}

fn number(raw: &str) -> Option<EventTime> {
    from_number_text(raw).filter(|time| (EARLIEST_NUMBER..LATEST).contains(time))
}

/// Whether a leaf that became a time can be had back from it: numbers, and ISO texts of at most µs in UTC or without
/// zone.
pub fn is_lossless(leaf: &Leaf, record: &str) -> bool {
    match leaf.kind {
        LeafKind::Integer => leaf.raw(record).len() <= 16,
        LeafKind::Text => {
            let raw = leaf.raw(record);
            let plain = raw.strip_suffix('Z').unwrap_or(raw);
            (10..=26).contains(&plain.len())
                && plain.as_bytes()[4] == b'-'
                && !plain[10..].contains(['+', '-', ' ', 'C'])
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::BinaryArray;
    use thermocline_schemas::format::{ShapeTable, parse};

    fn time_of(record: &str) -> Option<EventTime> {
        let (parsed, rejected) = parse(&BinaryArray::from_iter_values([record]), &ShapeTable::default());
        assert!(rejected.is_empty());
        event_time(&candidates(parsed.shape(0)), record, parsed.leaves(0)).map(|(time, _)| time)
    }

    #[test]
    fn the_field_that_says_when_is_found() {
        let day = 20_412 * 86_400_000_000;
        for (record, expected) in [
            (r#"{"id":1700000000,"ts":1763596800}"#, Some(day)),
            (r#"{"timestamp":"2025-11-20T00:00:00.000Z","event_time":"x"}"#, Some(day)),
            (r#"{"birthDate":"1979-01-14","modifiedDate":"2025-11-20"}"#, Some(day)),
            (r#"{"Date":"2025-11-20","Time":"00:00:01,5"}"#, Some(day + 1_500_000)),
            (r#"{"Date":251120,"Time":1}"#, Some(day + 1_000_000)),
            (r#"{"createdAt":1763596800000,"user":{"createdAt":5}}"#, Some(day)),
            (r#"{"data":{"event":{"occurredAt":"2025-11-20"}}}"#, Some(day)),
            (r#"{"startDate":"2020-01-01","endDate":"2025-11-20"}"#, Some(day)),
            (r#"{"startDate":"2025-11-20","endDate":null}"#, Some(day)),
            (r#"{"dueDate":"2025-11-20","orderId":20251120}"#, None),
            (r#"{"timestamp":12,"value":3}"#, None),
            (r#"{"time":"9999-12-31"}"#, None),
            (r#"{"ts":"0000-00-00 00:00:00"}"#, None),
            (r#"{"ts":"1/2/2026 9:30:00"}"#, None),
            (r#"{"ts":"000012345"}"#, None),
            ("[Thu Nov 20 00:00:00 2025] [notice] done", Some(day)),
            ("no time here", None),
        ] {
            assert_eq!(time_of(record), expected, "{record}");
        }
    }

    #[test]
    fn the_times_of_what_is_inside_a_record_are_not_its_own() {
        let day = 20_412 * 86_400_000_000;
        for (record, expected) in [
            (r#"{"text":"hi","author":{"id":2,"created_at":"2015-03-01T00:00:00Z"}}"#, None),
            (r#"{"text":"hi","author":{"timestamp":"2015-03-01"},"date":"2025-11-20"}"#, Some(day)),
            (r#"{"data":{"user":{"updated_at":"2015-03-01"},"created_at":"2025-11-20"}}"#, Some(day)),
            (r#"{"shop":{"Date":"2015-03-01","Time":"09:30"}}"#, None),
            (r#"{"customer_info":{"date":"2015-03-01"}}"#, None),
            (r#"{"birth_date":{"$date":"1979-01-14"},"n":1}"#, None),
            (r#"{"source":{"created_at":"2015-03-01"}}"#, None),
            (r#"{"customer":{"signup_ts":1425168000}}"#, None),
            // What the record is about, and names that say it themselves.
            (r#"{"data":{"object":{"created":1763596800}}}"#, Some(day)),
            (
                r#"{"action":"done","workflow_run":{"created_at":"2025-11-20"},"repository":{"created_at":"2015-03-01"}}"#,
                Some(day),
            ),
            (r#"{"transaction":{"timestamp":"2025-11-20"}}"#, Some(day)),
            (r#"{"order":{"order_date":"2025-11-20","created_at":"2015-03-01"}}"#, Some(day)),
            (r#"{"_source":{"@timestamp":"2025-11-20"}}"#, Some(day)),
            (r#"{"event-data":{"timestamp":1763596800.0}}"#, Some(day)),
            (r#"{"jsonPayload":{"fields":{"time":"2025-11-20"}}}"#, Some(day)),
            (r#"{"payload":{"ChangeEventHeader":{"commitTimestamp":1763596800000}}}"#, Some(day)),
            (r#"{"created_at":{"$date":"2025-11-20"}}"#, Some(day)),
            (r#"{"mail":{"occurredAt":"2025-11-20","created_at":"2015-03-01"}}"#, Some(day)),
            (r#"{"sensor":{"event_date":"2025-11-20","event_time":"00:00:00"}}"#, Some(day)),
        ] {
            assert_eq!(time_of(record), expected, "{record}");
        }
    }
}
