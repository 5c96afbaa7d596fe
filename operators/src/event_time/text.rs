//! Times as texts say them: ISO 8601, and what programs print.
//!
//! A day in figures is read where its order is beyond doubt (see `Figures`). Where it is not, the text says no time:
//! the broker's is near the truth, and a day taken for a month is not.

use thermocline_schemas::EventTime;
use thermocline_schemas::format::timestamp::{self, date_micros, digits, zone};

/// The time that `text` says as a whole.
///
/// ISO 8601; `20261121`, `20261121093000`; numbers since 1970; `Sat, 21 Nov 2026 09:30:00 +0100`; `Sat Nov 21 09:30:00
/// 2026`; `21/Nov/2026:09:30:00 +0100`; `26/11/21 09:30:00`; `11/21/2026 9:30:00 AM`. Without a zone it is UTC. Numbers are
/// held to the same range as numbers of JSON.
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
            9..=19 => super::number(text),
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
        if Figures::read(&line.as_bytes()[at..], b'/').is_some() {
            // The line's time, in an order that nobody can know: what comes later in the line is another one.
            return None;
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

/// `26/11/21 09:30:00`, `11/21/2026 9:30:00 PM`: a day in figures, and the time.
fn slashed(bytes: &[u8]) -> Option<(EventTime, usize)> {
    let (figures, length) = Figures::read(bytes, b'/')?;
    let mut at = length;
    while matches!(bytes.get(at), Some(b' ' | b',')) {
        at += 1;
    }
    if at == length {
        return None;
    }
    let (time, length, clock) = time_and_clock(&bytes[at..])?;
    Some((figures.day(clock)? + time, at + length))
}

/// The clock that a time was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clock {
    /// With `AM` or `PM`.
    TwelveHours,
    /// Without.
    TwentyFourHours,
}

/// A day in figures, such as `26/11/21` or `11/21/2026`. Which figure is the month only its writer knew.
///
/// - `AM` or `PM` behind it settles that the month is first, unless that is no month.
/// - Three figures of two digits, the first above 12, begin with the year: so do the logs of Spark and Hadoop.
/// - All else counts where one reading alone is a day, or all readings are the same: `13/02/2026` is 13 February, and
///   `12/02/2026` no day at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Figures {
    first: i64,
    second: i64,
    third: i64,
    /// The third has four digits.
    has_full_year: bool,
    /// All three have two digits.
    is_padded: bool,
}

impl Figures {
    /// The figures at the beginning of `bytes`, and their length.
    fn read(bytes: &[u8], separator: u8) -> Option<(Self, usize)> {
        let mut at = 0;
        let first = one_or_two(bytes, &mut at)?;
        expect(bytes, &mut at, separator)?;
        let second = one_or_two(bytes, &mut at)?;
        expect(bytes, &mut at, separator)?;
        let (third, has_full_year) = match digits(bytes, &mut at, 4) {
            Some(year) => (year, true),
            None => (digits(bytes, &mut at, 2)?, false),
        };
        let is_padded = !has_full_year && at == "26/11/21".len();
        Some((Self { first, second, third, has_full_year, is_padded }, at))
    }

    /// The day, where it is beyond doubt.
    fn day(self, clock: Clock) -> Option<EventTime> {
        let year = if self.has_full_year { self.third } else { full_year(self.third) };
        let month_first = date_micros(year, self.first, self.second);
        let day_first = date_micros(year, self.second, self.first);
        if clock == Clock::TwelveHours {
            return month_first.or(day_first);
        }
        let year_first =
            if self.is_padded { date_micros(full_year(self.first), self.second, self.third) } else { None };
        if self.first > 12 && year_first.is_some() {
            return year_first;
        }
        let mut readings = [month_first, day_first, year_first].into_iter().flatten();
        let day = readings.next()?;
        readings.all(|other| other == day).then_some(day)
    }
}

/// The year that two digits mean: from 70 on, one of the last century.
fn full_year(two_digits: i64) -> i64 {
    if two_digits < 70 { 2_000 + two_digits } else { 1_900 + two_digits }
}

/// `9:30:00.5 PM`, or with 24 hours: the time of day, its length, and by which clock.
fn time_and_clock(bytes: &[u8]) -> Option<(i64, usize, Clock)> {
    let mut at = 0;
    let hour = one_or_two(bytes, &mut at)?;
    let minutes = timestamp::after_hour(bytes, &mut at)?;
    match half_of_day(bytes, at).filter(|_| hour <= 12) {
        Some((hours, end)) => Some((clock(hour % 12 + hours, 0, 0)? + minutes, end, Clock::TwelveHours)),
        None => Some((clock(hour, 0, 0)? + minutes, at, Clock::TwentyFourHours)),
    }
}

/// The hours that `AM` or `PM` at `at` adds, and where it ends. Before it a blank may stand, which browsers print as
/// U+202F.
fn half_of_day(bytes: &[u8], at: usize) -> Option<(i64, usize)> {
    let start = at
        + match bytes.get(at..)? {
            [b' ', ..] => 1,
            [0xe2, 0x80, 0xaf, ..] => 3,
            _ => 0,
        };
    let hours = match bytes.get(start..start + 2)? {
        b"AM" | b"am" => 0,
        b"PM" | b"pm" => 12,
        _ => return None,
    };
    let is_word = bytes.get(start + 2).is_none_or(|byte| !byte.is_ascii_alphanumeric());
    is_word.then_some((hours, start + 2))
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
/// missing), `26/11/21` where its order is beyond doubt.
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
                date_micros(full_year(number / 10_000), number / 100 % 100, number % 100)
            }
            _ => None,
        };
    }
    if text.len() == 8 {
        let separator = *bytes.get(2).filter(|byte| matches!(byte, b'-' | b'/'))?;
        let (figures, _) = Figures::read(bytes, separator).filter(|(_, length)| *length == bytes.len())?;
        return figures.day(Clock::TwentyFourHours);
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

    #[test]
    fn a_day_in_figures_counts_where_its_order_is_beyond_doubt() {
        for (text, same) in [
            ("1/2/26 9:30 AM", "2026-01-02 09:30"),
            ("01/02/2026, 9:30:00 PM", "2026-01-02 21:30"),
            ("1/2/2026, 12:30:00\u{202f}AM", "2026-01-02 00:30"),
            ("1/2/2026 9:30PM", "2026-01-02 21:30"),
            ("13/02/2026 9:30 PM", "2026-02-13 21:30"),
            ("13/02/2026 09:30", "2026-02-13 09:30"),
            ("02/13/2026 09:30", "2026-02-13 09:30"),
            ("12/13/10 8:26", "2010-12-13 08:26"),
            ("02/02/2026 09:30", "2026-02-02 09:30"),
            ("13/2/26 09:30", "2026-02-13 09:30"),
            ("26/11/21 09:30:00", "2026-11-21 09:30"),
            ("17/06/09 09:30:00", "2017-06-09 09:30"),
            ("99/06/09 09:30:00", "1999-06-09 09:30"),
            ("12/25/21 09:30:00", "2021-12-25 09:30"),
            ("05/21/99 09:30:00", "1999-05-21 09:30"),
        ] {
            let same = timestamp::from_text(same);
            assert!(same.is_some());
            assert_eq!(whole(text), same, "{text}");
            assert_eq!(at_start_of_line(&format!("{text} backup done")), same, "{text}");
        }
        for text in [
            "12/02/2026 09:30",
            "1/2/2026 9:30:00",
            "11/5/21 9:30",
            "12/1/10 8:26",
            "11/05/21 09:30:00",
            "05/05/21 09:30:00",
            "02/30/2026 9:30 AM",
            "1/2/2612:30",
        ] {
            assert_eq!(whole(text), None, "{text}");
        }
        // Another time of the line is not the line's.
        assert_eq!(at_start_of_line("1/2/2026 9:30:00 due 2026-11-21 09:30:00"), None);
        assert_eq!((date("11/05/21"), date("02-03-04")), (None, None));
        assert_eq!(date("26-11-21"), date("2026-11-21"));
    }

    #[test]
    fn two_digits_from_70_on_are_a_year_of_the_last_century() {
        assert_eq!(date("991231"), date("1999-12-31"));
        assert_eq!(date("700101"), date("1970-01-01"));
        assert_eq!(date("691231"), date("2069-12-31"));
        assert_eq!(date("81109"), date("2008-11-09"));
        assert_eq!(at_start_of_line("991231 093000 done"), timestamp::from_text("1999-12-31 09:30"));
    }

    #[test]
    fn digits_in_a_text_are_held_to_the_range_of_numbers() {
        for text in ["000012345", "123456789", "0000000000000012345", "9999999999", "9223372036854775807"] {
            assert_eq!(whole(text), None, "{text}");
        }
        assert_eq!(whole("1795253400000000"), Some(TIME));
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
