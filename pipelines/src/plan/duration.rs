//! Durations as people write them in options: `5 seconds`, `30s`, `1 hour 30 minutes`, `7 days`.

use std::time::Duration;

/// Names of units, the first of each row being the one we print, and their milliseconds.
const UNITS: &[(&[&str], u64)] = &[
    (&["d", "day", "days"], 86_400_000),
    (&["h", "hour", "hours", "hr", "hrs"], 3_600_000),
    (&["min", "m", "minute", "minutes", "mins"], 60_000),
    (&["s", "sec", "secs", "second", "seconds"], 1_000),
    (&["ms", "millisecond", "milliseconds"], 1),
];

/// Reads a duration of whole numbers and units; a bare `0` needs none.
///
/// # Errors
/// What is wrong with `text`.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let tail = tail.trim_start();
        let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, tail) = tail.split_at(letters);
        let millis = UNITS.iter().find(|(names, _)| names.contains(&unit.to_ascii_lowercase().as_str()));
        let (Ok(number), Some((_, millis))) = (number.parse::<u64>(), millis) else {
            return Err(format!("{text:?} is no duration"));
        };
        total = number
            .checked_mul(*millis)
            .and_then(|part| total.checked_add(part))
            .filter(|total| *total <= i64::MAX as u64 / 1_000)
            .ok_or_else(|| format!("{text:?} is longer than we can count in µs"))?;
        rest = tail.trim_start();
    }
    if text.is_empty() { Err("an empty text is no duration".to_owned()) } else { Ok(Duration::from_millis(total)) }
}

/// `1h 30min`: the largest units first.
pub(super) fn print(duration: Duration) -> String {
    let mut rest = duration.as_millis() as u64;
    let mut parts = vec![];
    for (names, millis) in UNITS {
        if rest >= *millis {
            parts.push(format!("{}{}", rest / millis, names[0]));
            rest %= millis;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, seconds) in
            [("5 seconds", 5), ("30s", 30), ("1 hour 30 minutes", 5_400), ("7 days", 604_800), ("0", 0), ("2MIN", 120)]
        {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "soon", "5", "-5 s", "5 parsecs", "1.5 s", "99999999999999 days", "s"] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(print(Duration::from_millis(5_400_001)), "1h 30min 1ms");
        assert_eq!(print(Duration::ZERO), "0s");
    }
}
