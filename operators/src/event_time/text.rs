//! Times as texts say them: ISO 8601, and what programs print.

use thermocline_schemas::EventTime;
use thermocline_schemas::format::timestamp::{self, date_micros, digits, zone};

/// The time that `text` says as a whole.
///
/// ISO 8601; `20261121`, `20261121093000`; numbers since 1970; `Sat, 21 Nov 2026 09:30:00 +0100`; `Sat Nov 21 09:30:00
/// 2026`; `21/Nov/2026:09:30:00 +0100`; `26/11/21 09:30:00`; `11/21/2026 9:30:00 AM`. Without a zone it is UTC.
pub fn whole(text: &str) -> Option<EventTime> {
    let text = text.trim();
    if text.len() < 8 || text.len() > 64 {
        return None;
    }
    if let Some(time) = timestamp::from_text(text) {
        return Some(time);
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return match text.len() {
            8 => date(text),
            14 => compact(text),
            9..=19 => timestamp::from_number_text(text),
            _ => None,
        };
    }
    let (time, length) = prefix(text)?;
    Some(time - zone(&text.as_bytes()[length..])?)
}

fn compact(text: &str) -> Option<EventTime> {
    let (bytes, mut at) = (text.as_bytes(), 8);
    let hour = digits(bytes, &mut at, 2)?;
    let minute = digits(bytes, &mut at, 2)?;
    let second = digits(bytes, &mut at, 2)?;
    Some(date(&text[..8])? + clock(hour, minute, second)?)
}

fn clock(hour: i64, minute: i64, second: i64) -> Option<i64> {
    (hour < 24 && minute < 60 && second < 61).then_some(((hour * 60 + minute) * 60 + second) * 1_000_000)
}

/// The time near the beginning of a line of a log: within the first words.
pub fn at_start_of_line(line: &str) -> Option<EventTime> {
    let mut starts = 0;
    let mut previous = b' ';
    for (at, byte) in line.bytes().enumerate().take(100) {
        let begins = !previous.is_ascii_alphanumeric() && byte.is_ascii_alphanumeric();
        previous = byte;
        if !begins || matches!(line.as_bytes().get(at.wrapping_sub(1)), Some(b'-' | b':' | b'.' | b'_' | b'/')) {
            continue;
        }
        if let Some((time, length)) = prefix(&line[at..]) {
            let rest = &line[at + length..];
            return Some(time - leading_zone(rest));
        }
        if at == 0
            && let Some(time) = six_digits_twice(line)
        {
            return Some(time);
        }
        starts += 1;
        if starts == 6 {
            return None;
        }
    }
    None
}

/// The offset that directly follows a time, 0 if none does.
fn leading_zone(rest: &str) -> i64 {
    let word = rest.strip_prefix(' ').unwrap_or(rest);
    let length = word.bytes().take_while(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b':')).count();
    if length >= 5 || rest.len() == word.len() { zone(&word.as_bytes()[..length]).unwrap_or(0) } else { 0 }
}

/// `081109 203615`: the date and time of some Java logs.
fn six_digits_twice(line: &str) -> Option<EventTime> {
    let (date_part, rest) = line.split_at_checked(6)?;
    let time_part = rest.strip_prefix(' ')?.get(..6)?;
    let ends = rest.as_bytes().get(7).is_none_or(|byte| *byte == b' ');
    let all_digits = date_part.bytes().chain(time_part.bytes()).all(|byte| byte.is_ascii_digit());
    if !ends || !all_digits {
        return None;
    }
    Some(date(date_part)? + time_of_day(time_part)?)
}

/// A date and time at the beginning of `text`, as if in UTC, and its length.
fn prefix(text: &str) -> Option<(EventTime, usize)> {
    let bytes = text.as_bytes();
    match bytes.first()? {
        b'0'..=b'9' => iso(bytes).or_else(|| slashed(bytes)).or_else(|| day_first(bytes)),
        b'A'..=b'Z' => named_day(bytes),
        _ => None,
    }
}

/// `2026-11-21 09:30:00,123`, with `-` or `/`, and `T`, blank or `-` before the time.
fn iso(bytes: &[u8]) -> Option<(EventTime, usize)> {
    let mut at = 0;
    let year = digits(bytes, &mut at, 4)?;
    let separator = *bytes.get(at).filter(|byte| matches!(byte, b'-' | b'/' | b'.'))?;
    at += 1;
    let month = digits(bytes, &mut at, 2)?;
    expect(bytes, &mut at, separator)?;
    let day = digits(bytes, &mut at, 2)?;
    if !matches!(bytes.get(at)?, b'T' | b' ' | b'-' | b':' | b'_') {
        return None;
    }
    at += 1;
    let time = timestamp::time_of_day(bytes, &mut at)?;
    Some((date_micros(year, month, day)? + time, at))
}

/// `26/11/21 09:30:00` (year first), `11/21/2026 9:30:00 PM` (month first, unless that is no month).
fn slashed(bytes: &[u8]) -> Option<(EventTime, usize)> {
    let mut at = 0;
    let first = one_or_two(bytes, &mut at)?;
    expect(bytes, &mut at, b'/')?;
    let second = one_or_two(bytes, &mut at)?;
    expect(bytes, &mut at, b'/')?;
    let start = at;
    let date = if let Some(year) = digits(bytes, &mut at, 4) {
        let (month, day) = if first > 12 { (second, first) } else { (first, second) };
        date_micros(year, month, day)?
    } else {
        at = start;
        let day = digits(bytes, &mut at, 2)?;
        date_micros(2_000 + first, second, day)?
    };
    while matches!(bytes.get(at), Some(b' ' | b',')) {
        at += 1;
    }
    let (time, length) = twelve_hours(&bytes[at..])?;
    Some((date + time, at + length))
}

/// `9:30:00.5 PM`, or with 24 hours.
fn twelve_hours(bytes: &[u8]) -> Option<(i64, usize)> {
    let mut at = 0;
    let hour = one_or_two(bytes, &mut at)?;
    let minutes = timestamp::after_hour(bytes, &mut at)?;
    let hour = match bytes.get(at..at + 3) {
        Some(b" AM" | b" am") if hour <= 12 => (hour % 12, at += 3).0,
        Some(b" PM" | b" pm") if hour <= 12 => (hour % 12 + 12, at += 3).0,
        _ => hour,
    };
    Some((clock(hour, 0, 0)? + minutes, at))
}

/// `21/Nov/2026:09:30:00`, `21 Nov 2026 09:30:00`, `21-Nov-2026 09:30:00`.
fn day_first(bytes: &[u8]) -> Option<(EventTime, usize)> {
    let mut at = 0;
    let day = one_or_two(bytes, &mut at)?;
    at += usize::from(matches!(bytes.get(at)?, b'/' | b' ' | b'-'));
    let month = month(bytes, &mut at)?;
    at += usize::from(matches!(bytes.get(at)?, b'/' | b' ' | b'-'));
    let year = digits(bytes, &mut at, 4)?;
    at += usize::from(matches!(bytes.get(at)?, b':' | b' '));
    let time = timestamp::time_of_day(bytes, &mut at)?;
    Some((date_micros(year, month, day)? + time, at))
}

/// `Sat Nov 21 09:30:00 2026`, `Sat, 21 Nov 2026 09:30:00`.
fn named_day(bytes: &[u8]) -> Option<(EventTime, usize)> {
    const DAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
    if !DAYS.contains(&bytes.get(..3)?) {
        return None;
    }
    let mut at = 3;
    if bytes.get(at) == Some(&b',') {
        let (time, length) = day_first(bytes.get(5..)?)?;
        return Some((time, length + 5));
    }
    expect(bytes, &mut at, b' ')?;
    let month = month(bytes, &mut at)?;
    while bytes.get(at) == Some(&b' ') {
        at += 1;
    }
    let day = one_or_two(bytes, &mut at)?;
    expect(bytes, &mut at, b' ')?;
    let time = timestamp::time_of_day(bytes, &mut at)?;
    expect(bytes, &mut at, b' ')?;
    if bytes.get(at).is_some_and(u8::is_ascii_uppercase) {
        at += bytes[at..].iter().position(|byte| *byte == b' ')? + 1;
    }
    let year = digits(bytes, &mut at, 4)?;
    Some((date_micros(year, month, day)? + time, at))
}

fn month(bytes: &[u8], at: &mut usize) -> Option<i64> {
    const MONTHS: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let name = bytes.get(*at..*at + 3)?;
    let month = MONTHS.as_chunks::<3>().0.iter().position(|month| month == name)?;
    *at += 3;
    Some(month as i64 + 1)
}

fn one_or_two(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let two = bytes.get(*at + 1).is_some_and(u8::is_ascii_digit);
    digits(bytes, at, if two { 2 } else { 1 })
}

fn expect(bytes: &[u8], at: &mut usize, byte: u8) -> Option<()> {
    (bytes.get(*at) == Some(&byte)).then(|| *at += 1)
}

/// The day that a text or number says: `2026-11-21`, `20261121`, `261121` (the leading zero of a number may be
/// missing), `26/11/21`.
pub fn date(text: &str) -> Option<EventTime> {
    let bytes = text.as_bytes();
    let mut at = 0;
    if bytes.iter().all(u8::is_ascii_digit) {
        return match bytes.len() {
            8 => {
                let year = digits(bytes, &mut at, 4).filter(|year| (1_800..2_200).contains(year))?;
                date_micros(year, digits(bytes, &mut at, 2)?, digits(bytes, &mut at, 2)?)
            }
            5 | 6 => {
                let number: i64 = text.parse().ok()?;
                date_micros(2_000 + number / 10_000, number / 100 % 100, number % 100)
            }
            _ => None,
        };
    }
    if text.len() == 8 {
        let year = digits(bytes, &mut at, 2)?;
        let separator = *bytes.get(at).filter(|byte| matches!(byte, b'-' | b'/'))?;
        at += 1;
        let month = digits(bytes, &mut at, 2)?;
        expect(bytes, &mut at, separator)?;
        return date_micros(2_000 + year, month, digits(bytes, &mut at, 2)?);
    }
    (text.len() == 10).then(|| timestamp::from_text(text)).flatten()
}

/// The time of day that a text or number says, in µs: `09:30:00,123`, `93000`.
pub fn time_of_day(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if !bytes.is_empty() && bytes.len() <= 6 && bytes.iter().all(u8::is_ascii_digit) {
        let number: i64 = text.parse().ok()?;
        return clock(number / 10_000, number / 100 % 100, number % 100);
    }
    let mut at = 0;
    let time = timestamp::time_of_day(bytes, &mut at)?;
    (at == bytes.len()).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    const TIME: EventTime = 1_795_253_400_000_000;

    #[test]
    fn whole_texts_are_read_in_the_formats_of_the_world() {
        for text in [
            "2026-11-21T09:30:00Z",
            "20261121093000",
            "1795253400",
            "1795253400000",
            "Sat, 21 Nov 2026 10:30:00 +0100",
            "Sat Nov 21 09:30:00 2026",
            "Sat Nov 21 09:30:00 UTC 2026",
            "21/Nov/2026:10:30:00 +0100",
            "26/11/21 09:30:00",
            "11/21/2026 9:30:00 AM",
            "21/11/2026 09:30",
            "2026/11/21 09:30:00.000",
            "21 Nov 2026 09:30:00 GMT",
        ] {
            assert_eq!(whole(text), Some(TIME), "{text}");
        }
        assert_eq!(whole("11/21/2026 9:30:00 PM"), Some(TIME + 43_200_000_000));
        for text in [
            "",
            "soon",
            "Saturday",
            "12:30:00",
            "99999999",
            "2026-11-21 and more",
            "13/13/2026 1:00:00 AM",
            "é€ßé€ßé€ß",
        ] {
            assert_eq!(whole(text), None, "{text}");
        }
    }

    #[test]
    fn lines_say_when_in_their_first_words() {
        for line in [
            "2026-11-21 09:30:00,000 - INFO main",
            "[Sat Nov 21 09:30:00 2026] [error] x",
            "26/11/21 09:30:00 INFO x",
            "261121 093000 148 INFO dfs",
            "node.log.1.2020-05-16_13:53:08 2026-11-21 09:30:00.000 257 INFO x",
            "10.0.0.1 - - [21/Nov/2026:10:30:00 +0100] \"GET / HTTP/1.1\" 200 1",
            "2026-11-21T10:30:00+01:00 host app: x",
            "2026-11-21 09:30:00 startup archives unpack",
            "<34>1 2026-11-21T09:30:00.000Z host su - - x",
        ] {
            assert_eq!(at_start_of_line(line), Some(TIME), "{line}");
        }
        for line in ["", "he was born on 2 May 1890", "é", "block 123456 789012345", "Nov 21 09:30:00 host sshd[1]: x"]
        {
            assert_eq!(at_start_of_line(line), None, "{line}");
        }
    }

    #[test]
    fn a_time_of_twelve_hours_that_is_cut_short_is_none() {
        for text in [
            "1/2/2026 9:30:1",
            "11/21/2026 9:3",
            "1/2/2026 9:",
            "12/05/26 10:",
            "backup started 1/2/2026 9:30:5",
            "[26/11/21 09:",
            "1/2/2026 9:30:00.",
        ] {
            assert_eq!((whole(text), at_start_of_line(text)), (None, None), "{text}");
        }
        assert_eq!(whole("11/21/2026 9:30"), Some(TIME));
        assert_eq!(whole("11/21/2026 9:30:00.25 AM"), Some(TIME + 250_000));
    }

    const TIMES: &[&str] = &[
        "2026-11-21T09:30:00.123456+01:00",
        "2026-11-21 09:30:00,123 UTC",
        "26/11/21 09:30:00",
        "11/21/2026 9:30:00.5 AM",
        "21/Nov/2026:09:30:00 +0100",
        "Sat, 21 Nov 2026 09:30:00 +0100",
        "Sat Nov 21 09:30:00 CET 2026",
        "081109 203615",
        "20261121093000",
        "9223372036854775807",
        "9999-12-31T23:59:60-23:59",
        "0001/01/01 00:00 +23:59",
    ];

    /// A time behind some text, cut off and with something put into it.
    fn nearly_a_time() -> impl Strategy<Value = String> {
        let before = select(vec!["", "", "x ", "[", "é ", "backup started "]);
        let put_in = prop_oneof![Just(String::new()), "[0-9/:. +-]{1,2}", "\\PC{1,2}"];
        (before, select(TIMES), any::<[Index; 3]>(), put_in).prop_map(|(before, time, cuts, put_in)| {
            let mut cuts = cuts.map(|cut| cut.index(time.len() + 1));
            cuts.sort_unstable();
            let [start, middle, end] = cuts;
            // Times are mostly read from their first byte on.
            let start = if start % 4 == 0 { start } else { 0 };
            format!("{before}{}{put_in}{}", &time[start..middle], &time[middle..end])
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn no_text_panics(text in prop_oneof![4 => nearly_a_time(), 1 => "\\PC{0,40}", 1 => any::<String>()]) {
            whole(&text);
            at_start_of_line(&text);
            date(&text);
            time_of_day(&text);
        }
    }
}
