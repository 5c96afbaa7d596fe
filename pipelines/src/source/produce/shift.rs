//! Moves recorded streams in time, each topic by one constant, by rewriting nothing but the digits of its times.

use super::Target;
use super::fields::{self, Envelope};
use super::input::Lines;
use crate::source::error::SourceError;
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeDelta, Timelike};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use thermocline_schemas::EventTime;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const DAY: i64 = 24 * 60 * MINUTE;

/// Moves every record so that the newest of its topic happened at `newest_at`, give or take the precision of its times:
/// whole seconds, or minutes or days where a topic's times have nothing finer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShiftTime {
    /// Fields of the payload that hold times; dots lead into inner objects. All are moved by the same constant; the
    /// first that a record has says when it happened. In an envelope, `ts` does where no field is given.
    pub fields: Vec<String>,
    /// The time of the newest record, µs since the Unix epoch.
    pub newest_at: EventTime,
}

/// The constants, by topic.
#[derive(Debug, Default)]
pub(super) struct Shifts {
    fields: Vec<String>,
    micros: BTreeMap<String, i64>,
}

impl Shifts {
    pub(super) fn none() -> Self {
        Self::default()
    }

    pub(super) fn by_topic(&self) -> BTreeMap<String, i64> {
        self.micros.clone()
    }

    /// The payload with its times moved; every other byte stays.
    pub(super) fn apply<'a>(&self, topic: &str, payload: Cow<'a, [u8]>) -> Result<Cow<'a, [u8]>, String> {
        let Some(micros) = self.micros.get(topic) else { return Ok(payload) };
        let mut payload = payload;
        for field in &self.fields {
            let Some((range, text)) = time_text(&payload, field) else { continue };
            let moved = move_by(&text, *micros).ok_or_else(|| no_time(field, &text))?;
            payload.to_mut().splice(range, moved.into_bytes());
        }
        Ok(payload)
    }

    /// A time outside of the payload, moved like its topic.
    pub(super) fn move_text(&self, topic: &str, text: &str) -> Result<String, String> {
        match self.micros.get(topic) {
            None => Ok(text.to_owned()),
            Some(micros) => move_by(text, *micros).ok_or_else(|| no_time("ts", text)),
        }
    }
}

fn no_time(field: &str, text: &str) -> String {
    format!("{field} holds {text:?}, which is no time that can be moved (ISO 8601, or a number since 1970)")
}

/// The first pass: the newest time of each topic, and how precise its times are.
pub(super) fn measure(shift: &ShiftTime, target: &Target, mut lines: Lines) -> Result<Shifts, SourceError> {
    let mut newest: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    while let Some((number, line)) = lines.next()? {
        let failed = |reason| SourceError::line(number, reason);
        let (topic, payload, ts) = match target {
            Target::Topic(topic) => (Cow::Borrowed(topic.as_str()), Cow::Borrowed(line), None),
            Target::Envelope { prefix } => {
                let envelope = Envelope::read(line).map_err(failed)?;
                (format!("{prefix}{}", envelope.topic).into(), envelope.payload, envelope.ts)
            }
        };
        let mut happened = None;
        let mut precision = SECOND;
        for field in &shift.fields {
            let Some((_, text)) = time_text(&payload, field) else { continue };
            let moment = Moment::read(&text).ok_or_else(|| failed(no_time(field, &text)))?;
            happened.get_or_insert(moment.micros);
            precision = precision.max(moment.precision);
        }
        if let Some(moment) = ts.as_deref().and_then(Moment::read) {
            happened.get_or_insert(moment.micros);
            precision = precision.max(moment.precision);
        }
        let Some(happened) = happened else { continue };
        let entry = newest.entry(topic.into_owned()).or_insert((happened, precision));
        *entry = (entry.0.max(happened), entry.1.max(precision));
    }
    let constant = |(topic, (newest, precision)): (String, (i64, i64))| {
        (topic, (shift.newest_at - newest).div_euclid(precision) * precision)
    };
    Ok(Shifts { fields: shift.fields.clone(), micros: newest.into_iter().map(constant).collect() })
}

/// The text of a time, and where it stands: inside the quotes, if there are any. None where there is none.
fn time_text(payload: &[u8], field: &str) -> Option<(Range<usize>, String)> {
    let range = fields::find(payload, field)?;
    let range = match payload[range.clone()] {
        [b'n', ..] | [b'"', b'"'] => return None,
        [b'"', ..] => range.start + 1..range.end - 1,
        _ => range,
    };
    let text = String::from_utf8_lossy(&payload[range.clone()]).into_owned();
    Some((range, text))
}

/// The time that a text says, in µs; numbers since 1970 by their magnitude.
pub(super) fn micros_of(text: &str) -> Option<EventTime> {
    Moment::read(text).map(|moment| moment.micros)
}

/// The text with its time moved, in the same format.
fn move_by(text: &str, micros: i64) -> Option<String> {
    Moment::read(text)?.moved(text, micros)
}

/// How a time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// `20261121`
    CompactDate,
    /// `2026-11-21`, with a time of day to the minute or second behind, or nothing.
    Iso { digits: usize },
    /// Digits since 1970, each worth so many nanoseconds; a decimal fraction may follow.
    Number { nanos: i64, digits: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment {
    /// As UTC where the text has no zone.
    micros: i64,
    /// The finest that the text can say, but at least a second: fractions stay as they are.
    precision: i64,
    format: Format,
}

impl Moment {
    fn read(text: &str) -> Option<Self> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        if digits >= 8 && (digits == text.len() || text.as_bytes()[digits] == b'.') {
            return Self::read_number(text, digits);
        }
        let local = read_local(text)?;
        let (rest, precision, digits) = match text.len() {
            10 => ("", DAY, 10),
            _ if text.as_bytes().get(16) == Some(&b':') => (&text[19..], SECOND, 19),
            _ => (&text[16..], MINUTE, 16),
        };
        let fraction =
            rest.strip_prefix(['.', ',']).map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
        let fraction_text = if fraction == 0 { "" } else { &rest[1..=fraction] };
        let zone = zone_micros(if fraction == 0 { rest } else { &rest[fraction + 1..] })?;
        let micros = local.and_utc().timestamp_micros() + fraction_micros(fraction_text) - zone;
        Some(Self { micros, precision, format: Format::Iso { digits } })
    }

    fn read_number(text: &str, digits: usize) -> Option<Self> {
        let number: i64 = text[..digits].parse().ok()?;
        if digits == 8
            && text.len() == 8
            && let Some(date) = NaiveDate::parse_from_str(text, "%Y%m%d").ok().filter(|date| date.year() >= 1900)
        {
            let micros = date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros();
            return Some(Self { micros, precision: DAY, format: Format::CompactDate });
        }
        // Seconds until the year 5138, then milliseconds, microseconds and nanoseconds.
        let nanos = match number {
            0..100_000_000_000 => 1_000_000_000,
            100_000_000_000..100_000_000_000_000 => 1_000_000,
            100_000_000_000_000..100_000_000_000_000_000 => 1_000,
            _ => 1,
        };
        let fraction = fraction_micros(text.get(digits + 1..).unwrap_or_default());
        let micros = if nanos >= 1_000 { number.checked_mul(nanos / 1_000)? } else { number / 1_000 };
        let micros = micros + fraction * nanos / 1_000_000_000;
        Some(Self { micros, precision: SECOND, format: Format::Number { nanos, digits } })
    }

    fn moved(&self, text: &str, micros: i64) -> Option<String> {
        let by = TimeDelta::microseconds(micros);
        match self.format {
            Format::Number { nanos, digits } => {
                let number: i64 = text[..digits].parse().ok()?;
                let by = if nanos >= 1_000 { micros / (nanos / 1_000) } else { micros * 1_000 };
                Some(format!("{}{}", number.checked_add(by).filter(|number| *number >= 0)?, &text[digits..]))
            }
            Format::CompactDate => {
                let date = NaiveDate::parse_from_str(text, "%Y%m%d").ok()?.and_time(chrono::NaiveTime::MIN);
                Some(date.checked_add_signed(by)?.format("%Y%m%d").to_string())
            }
            Format::Iso { digits } => {
                let moved = read_local(text)?.checked_add_signed(by)?;
                if !(0..=9999).contains(&moved.year()) {
                    return None;
                }
                let text_bytes = text.as_bytes();
                let mut out = format!("{:04}{}", moved.year(), char::from(text_bytes[4]));
                let date = format!("{:02}{}{:02}", moved.month(), char::from(text_bytes[7]), moved.day());
                out.push_str(&date);
                if digits >= 16 {
                    out.push_str(&format!("{}{:02}:{:02}", char::from(text_bytes[10]), moved.hour(), moved.minute()));
                }
                if digits >= 19 {
                    out.push_str(&format!(":{:02}", moved.second()));
                }
                out.push_str(&text[digits..]);
                Some(out)
            }
        }
    }
}

/// `2026-11-21`, `2026-11-21T09:30` or `2026-11-21T09:30:15` at the start of a text; `/` between, blank or `_` for `T`. A
/// leap second counts as the second before.
fn read_local(text: &str) -> Option<NaiveDateTime> {
    let bytes = text.as_bytes();
    let number = |range: Range<usize>| {
        let digits = bytes.get(range)?;
        digits.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0')))
    };
    if !text.is_ascii() || !matches!(bytes.get(4)?, b'-' | b'/') || bytes.get(7)? != bytes.get(4)? {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(number(0..4)? as i32, number(5..7)?, number(8..10)?)?;
    match bytes.get(10) {
        None => return Some(date.and_time(chrono::NaiveTime::MIN)),
        Some(b'T' | b't' | b' ' | b'_') => {}
        Some(_) => return None,
    }
    if bytes.get(13)? != &b':' {
        return None;
    }
    let second = if bytes.get(16) == Some(&b':') { number(17..19)?.min(59) } else { 0 };
    date.and_hms_opt(number(11..13)?, number(14..16)?, second)
}

fn fraction_micros(digits: &str) -> i64 {
    let digits = digits.bytes().chain(std::iter::repeat(b'0')).take(6);
    digits.fold(0, |micros, digit| micros * 10 + i64::from(digit.wrapping_sub(b'0').min(9)))
}

/// What follows the time of day: nothing, `Z`, ` UTC`, `+01:00`, `+0100` or `+01`.
fn zone_micros(rest: &str) -> Option<i64> {
    let rest = rest.trim();
    if matches!(rest, "" | "Z" | "z" | "UTC" | "GMT") {
        return Some(0);
    }
    let format = match rest.len() {
        3 => format!("2000-01-01T00:00:00{rest}:00"),
        5 => format!("2000-01-01T00:00:00{}:{}", rest.get(..3)?, rest.get(3..)?),
        _ => format!("2000-01-01T00:00:00{rest}"),
    };
    let zone = DateTime::parse_from_rfc3339(&format).ok()?;
    Some(i64::from(zone.offset().local_minus_utc()) * SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_kept_and_only_the_time_moves() {
        let day_and_second = DAY + SECOND;
        let examples = [
            ("2015-09-12T00:47:08.770Z", "2015-09-13T00:47:09.770Z"),
            ("2011-10-01T00:38:44.546+02:00", "2011-10-02T00:38:45.546+02:00"),
            ("2015/12/31 23:59:59,123456", "2016/01/02 00:00:00,123456"),
            ("2015-12-31 23:59", "2016-01-01 23:59"),
            ("2015-12-31", "2016-01-01"),
            ("20161231", "20170101"),
            ("1604188995", "1604275396"),
            ("1604188995199", "1604275396199"),
            ("1604188995199688", "1604275396199688"),
            ("1604188995199688123", "1604275396199688123"),
            ("1433188255.25", "1433274656.25"),
        ];
        for (before, after) in examples {
            let precision = Moment::read(before).map_or(SECOND, |moment| moment.precision);
            let by = day_and_second.div_euclid(precision) * precision;
            assert_eq!(move_by(before, by).as_deref(), Some(after), "{before}");
        }
        for other in ["", "Jun 14 15:16:01", "12", "2015-13-01", "2015-01-01 25:00", "hello world"] {
            assert_eq!(move_by(other, DAY), None, "{other}");
        }
    }

    #[test]
    fn one_moment_in_every_format_reads_as_the_same_time() {
        let same = [
            "2020-11-01T00:03:15.199688Z",
            "2020-11-01 01:03:15,199688+01:00",
            "2020-10-31T19:03:15.199688-0500",
            "1604188995199688",
            "1604188995.199688",
            "1604188995199688000",
        ];
        same.iter().for_each(|text| assert_eq!(micros_of(text), Some(1_604_188_995_199_688), "{text}"));
    }
}
