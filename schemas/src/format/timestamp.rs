//! Times as JSON says them: ISO 8601 text, and numbers since 1970 whose unit their magnitude tells.

use crate::time::{EventTime, MICROS_PER_SECOND};

/// The time that `text` says in ISO 8601 or RFC 3339: `2026-11-21`, `2026-11-21T09:30Z`, `2026-11-21
/// 09:30:00.123456+01:00`. `T` or blank between date and time, point or comma before the fraction, `Z`, ` UTC`,
/// `+01:00`, `+0100` or `+01` behind. Without a zone it is UTC. None for anything else.
pub fn from_text(text: &str) -> Option<EventTime> {
    let bytes = text.trim().as_bytes();
    let mut at = 0;
    let year = digits(bytes, &mut at, 4)?;
    let separator = *bytes.get(at)?;
    if !matches!(separator, b'-' | b'/') {
        return None;
    }
    at += 1;
    let month = digits(bytes, &mut at, 2)?;
    if *bytes.get(at)? != separator {
        return None;
    }
    at += 1;
    let day = digits(bytes, &mut at, 2)?;
    let date = date_micros(year, month, day)?;
    match bytes.get(at) {
        None => return Some(date),
        Some(b'T' | b't' | b' ' | b'_') => at += 1,
        Some(_) => return None,
    }
    let time = time_of_day(bytes, &mut at)?;
    let zone = zone(&bytes[at..])?;
    (date + time).checked_sub(zone)
}

/// `HH:MM[:SS[.fraction]]` as µs; moves `at` behind it. A leap second counts as the second before.
pub fn time_of_day(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let hour = digits(bytes, at, 2)?;
    let rest = after_hour(bytes, at)?;
    (hour < 24).then_some(hour * 3_600 * MICROS_PER_SECOND + rest)
}

/// `:MM[:SS[.fraction]]`, what follows the hour, as µs; moves `at` behind it. A leap second counts as the second before.
pub fn after_hour(bytes: &[u8], at: &mut usize) -> Option<i64> {
    take(bytes, at, b':')?;
    let minute = digits(bytes, at, 2)?;
    let (mut second, mut micros) = (0, 0);
    if bytes.get(*at) == Some(&b':') {
        *at += 1;
        second = digits(bytes, at, 2)?;
        micros = fraction(bytes, at)?;
    }
    (minute < 60 && second <= 60).then_some((minute * 60 + second.min(59)) * MICROS_PER_SECOND + micros)
}

/// `.fraction` of a second, of 1 to 12 digits, as µs; 0 where there is none.
fn fraction(bytes: &[u8], at: &mut usize) -> Option<i64> {
    if !matches!(bytes.get(*at), Some(b'.' | b',')) {
        return Some(0);
    }
    let start = *at + 1;
    let (mut micros, mut scale) = (0, MICROS_PER_SECOND);
    *at = start;
    while let Some(digit) = bytes.get(*at).filter(|byte| byte.is_ascii_digit()) {
        scale /= 10;
        micros += i64::from(digit - b'0') * scale;
        *at += 1;
    }
    (1..=12).contains(&(*at - start)).then_some(micros)
}

/// The offset from UTC, in µs, that the rest of a text says.
pub fn zone(rest: &[u8]) -> Option<i64> {
    let rest = rest.trim_ascii();
    match rest {
        b"" | b"Z" | b"z" | b"UTC" | b"GMT" => return Some(0),
        _ => {}
    }
    let sign = match rest[0] {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let mut at = 1;
    let hours = digits(rest, &mut at, 2)?;
    if rest.get(at) == Some(&b':') {
        at += 1;
    }
    let minutes = if at < rest.len() { digits(rest, &mut at, 2)? } else { 0 };
    (at == rest.len() && hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60 * MICROS_PER_SECOND)
}

/// Midnight of a day, if there is such a day.
pub fn date_micros(year: i64, month: i64, day: i64) -> Option<EventTime> {
    days(year, month, day).map(|days| days * 86_400 * MICROS_PER_SECOND)
}

/// Days since 1 January 1970, if there is such a day.
///
/// Source: Howard Hinnant, *chrono-Compatible Low-Level Date Algorithms*, `days_from_civil`.
pub fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=longest).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468)
}

/// A number since 1970 as a time. Below 10^11 in size it is seconds (until the year 5138), below 10^14 milliseconds,
/// below 10^17 microseconds, else nanoseconds.
pub fn from_integer(number: i64) -> EventTime {
    match number.unsigned_abs() {
        0..100_000_000_000 => number * 1_000_000,
        100_000_000_000..100_000_000_000_000 => number * 1_000,
        100_000_000_000_000..100_000_000_000_000_000 => number,
        _ => number / 1_000,
    }
}

/// The same for a number with a fraction. None if it is beyond all times.
pub fn from_float(number: f64) -> Option<EventTime> {
    let micros = match number.abs() {
        size if size < 1e11 => number * 1e6,
        size if size < 1e14 => number * 1e3,
        size if size < 1e17 => number,
        size if size < 9e18 => number / 1e3,
        _ => return None,
    };
    Some(micros.round() as i64)
}

/// The same for a number as it is written.
pub fn from_number_text(text: &str) -> Option<EventTime> {
    match text.parse::<i64>() {
        Ok(number) => Some(from_integer(number)),
        Err(_) => text.parse::<f64>().ok().filter(|number| number.is_finite()).and_then(from_float),
    }
}

/// Exactly `count` digits as a number; moves `at` behind them.
pub fn digits(bytes: &[u8], at: &mut usize, count: usize) -> Option<i64> {
    let digits = bytes.get(*at..*at + count)?;
    let value = digits
        .iter()
        .try_fold(0, |value, digit| digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0')))?;
    *at += count;
    Some(value)
}

fn take(bytes: &[u8], at: &mut usize, byte: u8) -> Option<()> {
    (bytes.get(*at) == Some(&byte)).then(|| *at += 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_texts_are_read_with_and_without_zone() {
        let expected = 1_700_000_000_123_000;
        for text in [
            "2023-11-14T22:13:20.123Z",
            "2023-11-14 22:13:20.123",
            "2023-11-14T23:13:20.123+01:00",
            "2023-11-14T23:13:20,123+0100",
            "2023/11/14 22:13:20.123000000 UTC",
            "2023-11-14T20:13:20.123-02",
        ] {
            assert_eq!(from_text(text), Some(expected), "{text}");
        }
        assert_eq!(from_text("1970-01-02"), Some(86_400_000_000));
        assert_eq!(from_text("1969-12-31T23:59Z"), Some(-60_000_000));
        for wrong in ["", "2023", "2023-13-01", "2023-02-29", "2023-11-14T25:00", "2023-11-14x", "2023-11-14T1:2:3"] {
            assert_eq!(from_text(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_leap_second_is_a_time_and_later_seconds_are_not() {
        assert_eq!(from_text("2016-12-31T23:59:60Z"), from_text("2016-12-31T23:59:59Z"));
        assert_eq!(from_text("2026-11-21T12:30:60.5Z"), from_text("2026-11-21T12:30:59.5Z"));
        for wrong in ["2026-11-21T12:30:61", "2026-11-21T12:30:99", "2026-11-21T12:60", "2026-11-21T12:30:00."] {
            assert_eq!(from_text(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn days_agree_with_chrono() {
        for days_since in (-800_000..800_000).step_by(37) {
            let date = chrono::DateTime::from_timestamp(days_since * 86_400, 0).unwrap().date_naive();
            use chrono::Datelike;
            let got = days(date.year().into(), date.month().into(), date.day().into());
            assert_eq!(got, Some(days_since), "{date}");
        }
    }

    #[test]
    fn magnitude_tells_the_unit_of_a_number() {
        for number in [1_700_000_000, 1_700_000_000_000, 1_700_000_000_000_000, 1_700_000_000_000_000_000] {
            assert_eq!(from_integer(number), 1_700_000_000_000_000);
        }
        assert_eq!(from_number_text("1700000000.25"), Some(1_700_000_000_250_000));
        assert_eq!(from_number_text("1e400"), None);
    }
}
