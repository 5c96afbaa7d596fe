//! Cheap features of structure, for where words do not reach: bare numbers, log lines, questions.

use crate::event_time::text::at_start_of_line;
use ahash::AHashMap;
use std::sync::LazyLock;
use thermocline_schemas::domain::words::normal;
use thermocline_schemas::format::{Body, FieldKind, Shape};

/// Tells `add` which domains the structure of `shape` speaks for, by name.
pub fn of_shape(shape: &Shape, add: &mut impl FnMut(&str, f32)) {
    if shape.body != Body::Object {
        return;
    }
    let names: Vec<String> = shape.fields.iter().map(|field| normal(&field.name)).collect();
    let count = |wanted: &[&str]| wanted.iter().filter(|wanted| names.iter().any(|name| name == *wanted)).count();
    let has = |wanted: &[&str]| count(wanted) > 0;
    let starting =
        |starts: &[&str]| names.iter().filter(|name| starts.iter().any(|start| name.starts_with(start))).count();

    let times = ["timestamp", "time", "ts", "date", "datetime", "observed", "measured_at"];
    let numbers = shape.fields.iter().filter(|field| field.kind == FieldKind::Number).count();
    if shape.fields.len() <= 4 && has(&["value", "val", "reading"]) && has(&times) {
        add("metrics", 4.0);
    } else if numbers >= 4
        && numbers * 4 >= shape.fields.len() * 3
        && starting(&["id", "order", "price"]) == 0
        && !names.iter().any(|name| name.ends_with("_id") || name.ends_with("_key"))
    {
        add("metrics", 2.0);
    }
    // Who, on what, in which logon: an audit trail, even inside the envelope of a log.
    let subjects = count(&[
        "subject_user_sid",
        "subject_user_name",
        "subject_domain_name",
        "subject_logon_id",
        "target_user_name",
        "target_user_sid",
        "target_logon_id",
        "logon_type",
        "access_mask",
        "privilege_list",
        "object_server",
        "principal_id",
    ]);
    if subjects >= 2 {
        add("compliance", 5.0);
    }
    let audit =
        usize::from(has(&[
            "actor",
            "principal",
            "initiator",
            "performed_by",
            "user_identity",
            "authentication_info",
            "actor_id",
        ])) + usize::from(has(&["action", "operation", "verb", "event_name", "event_type", "method_name", "command"]))
            + usize::from(has(&[
                "outcome",
                "result",
                "result_status",
                "decision",
                "granted",
                "error_code",
                "response_status",
            ]))
            + usize::from(has(&[
                "source_ip",
                "source_ip_address",
                "client_ip",
                "source_ips",
                "remote_address",
                "caller_ip",
            ]));
    if audit >= 3 {
        add("compliance", 2.0);
    }
    if starting(&["audit"]) > 0 {
        add("compliance", 2.5);
    }
    let leveled = has(&["level", "severity", "log_level", "severity_text", "loglevel", "levelname", "priority"]);
    if leveled && has(&["message", "msg", "content", "body", "short_message", "event_message"]) {
        add("logs", 3.0);
    }
    let sessions =
        names.iter().filter(|name| name.split('_').any(|word| word.starts_with("session") || word == "visit")).count();
    if sessions >= 2 {
        add("session", 2.5);
    }
    if has(&["valid_from", "from_date", "start_date", "effective_from"])
        && has(&["valid_to", "to_date", "end_date", "effective_to"])
        && shape.fields.len() <= 8
    {
        add("archive", 1.5);
    }
}

/// The leaves that say what kind of record this is: an audit trail often says so here.
pub fn kind_leaves(shape: &Shape) -> Vec<usize> {
    const KINDS: &[&str] = &[
        "source_name",
        "provider_name",
        "log_type",
        "category",
        "event_category",
        "type",
        "kind",
        "dataset",
        "event_dataset",
        "log_name",
        "logger",
        "logger_name",
        "api_version",
        "audit_type",
        "event_provider",
        "channel",
        "event_kind",
    ];
    let texts = shape.fields.iter().enumerate().filter(|(_, field)| field.kind == FieldKind::Text && !field.shadowed);
    texts.filter(|(_, field)| KINDS.contains(&normal(&field.name).as_str())).map(|(leaf, _)| leaf).take(8).collect()
}

/// Whether a record says of itself that it belongs to an audit trail.
pub fn says_audit(kind: &str) -> bool {
    kind.len() <= 80 && kind.as_bytes().windows(5).any(|word| word.eq_ignore_ascii_case(b"audit"))
}

/// How much that counts, in natural logarithms: an audit trail may look like a log in all other ways.
pub const AUDIT_EVIDENCE: f32 = 3.0;

/// Tells `add` which domains the look of a free text speaks for, by name.
pub fn of_text(text: &str, add: &mut impl FnMut(&str, f32)) {
    let start = &text[..text.char_indices().nth(100).map_or(text.len(), |(at, _)| at)];
    let programs = looks_printed(start, text);
    if start.starts_with("type=") && start.contains("msg=audit(") {
        add("compliance", 8.0);
    } else if programs > 0.0 {
        add("logs", programs);
    } else {
        prose(text, add);
    }
}

/// How much a text looks as if a program had printed it.
fn looks_printed(start: &str, text: &str) -> f32 {
    let mut score = 0.0;
    if at_start_of_line(start).is_some() || starts_with_short_date(start) {
        score += 3.5;
    }
    if start.split([' ', '\t', '(', ']']).any(names_a_level) {
        score += 2.5;
    }
    if text.contains("\n\tat ") || text.contains("\n    at ") || text.contains("Traceback (most recent call last)") {
        score += 4.0;
    }
    let words = || start.split_ascii_whitespace();
    let pairs = words()
        .filter(|word| {
            word.split_once('=').is_some_and(|(key, _)| {
                !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            })
        })
        .count();
    if pairs >= 2 {
        score += 2.5;
    }
    let technical = words()
        .filter(|word| {
            let word = word.trim_matches(|character: char| character.is_ascii_punctuation() && character != '/');
            word.contains("::")
                || word.matches('/').count() >= 2
                || word.matches('.').count() >= 2
                || word.starts_with("0x")
                || (word.contains('_') && word.bytes().any(|byte| byte.is_ascii_digit()))
        })
        .count();
    if technical >= 2 {
        score += 1.5;
    }
    score
}

/// Whether a word is, or gives, the level of a log line.
fn names_a_level(word: &str) -> bool {
    const LEVELS: &[&str] = &[
        "INFO", "WARN", "WARNING", "ERROR", "DEBUG", "TRACE", "FATAL", "NOTICE", "CRITICAL", "LOG", "[info", "[notice",
        "[warn", "[error", "[debug", "ERR", "SEVERE",
    ];
    word.starts_with("level=") || LEVELS.contains(&word.trim_end_matches([':', ',']))
}

/// `Nov 21 09:30:00`, as syslog begins its lines.
fn starts_with_short_date(start: &str) -> bool {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = start.split_ascii_whitespace();
    words.next().is_some_and(|month| MONTHS.contains(&month))
        && words.next().is_some_and(|day| day.len() <= 2 && day.bytes().all(|byte| byte.is_ascii_digit()))
        && words.next().is_some_and(|time| time.len() >= 8 && time.as_bytes()[2] == b':')
        || {
            // `11-21 09:30:00.123`, without a year.
            let bytes = start.as_bytes();
            bytes.len() > 14
                && bytes[2] == b'-'
                && bytes[5] == b' '
                && bytes[8] == b':'
                && bytes[..2].iter().all(u8::is_ascii_digit)
        }
}

/// What a word tells of who speaks.
#[derive(Debug, Default, Clone, Copy)]
struct Speech {
    /// At the beginning: somebody asks, answers or wants something.
    asking: bool,
    /// Somebody speaks of himself, or to somebody.
    person: bool,
    /// Somebody tells of something.
    telling: bool,
}

/// No word of [`SPEECH`] is longer; longer words are cut, and not found.
const LONGEST_WORD: usize = 12;

/// The words that tell, in lower case, without apostrophes.
static SPEECH: LazyLock<AHashMap<&'static [u8], Speech>> = LazyLock::new(|| {
    const ASKING: &str = "how what whats why when where who which can could would will do does did is are am please tell show \
        give find help set play call book yes no yeah yep ok okay thanks thank hello hi hey sorry let i im my make put add \
        turn need should sure great cancel change remind schedule order";
    const PERSONS: &str = "i im ive id my me you your we our us mine u lets";
    const TELLING: &str = "was were is are has had been the of by his her its their which these such also between during from \
        as with into than being may most first used";
    let mut speech: AHashMap<&'static [u8], Speech> = AHashMap::new();
    ASKING.split_ascii_whitespace().for_each(|word| speech.entry(word.as_bytes()).or_default().asking = true);
    PERSONS.split_ascii_whitespace().for_each(|word| speech.entry(word.as_bytes()).or_default().person = true);
    TELLING.split_ascii_whitespace().for_each(|word| speech.entry(word.as_bytes()).or_default().telling = true);
    speech
});

/// Talking, or writing: who speaks, and how.
fn prose(text: &str, add: &mut impl FnMut(&str, f32)) {
    let heading = text.starts_with("# ")
        || text.contains("\n# ")
        || text.contains("\n## ")
        || text.contains("](")
        || text.starts_with("---\n")
        || text.contains("</");
    if heading {
        add("content", 4.0);
    }
    let (mut words, mut persons, mut telling, mut asking) = (0, 0, 0, false);
    let mut lower = [0u8; LONGEST_WORD];
    for word in
        text.split(|character: char| !character.is_alphanumeric() && character != '\'').filter(|word| !word.is_empty())
    {
        words += 1;
        let mut length = 0;
        for byte in word.bytes().filter(|byte| *byte != b'\'').take(LONGEST_WORD) {
            lower[length] = byte.to_ascii_lowercase();
            length += 1;
        }
        if let Some(speech) = SPEECH.get(&lower[..length]) {
            asking |= words == 1 && speech.asking;
            persons += usize::from(speech.person);
            telling += usize::from(speech.telling);
        }
    }
    if words == 0 {
        return;
    }
    if text.trim_end().ends_with('?') {
        add("chat", 2.5);
    }
    if asking {
        add("chat", 1.0);
    }
    if persons > 0 {
        add("chat", if words <= 40 { 2.0 } else { 0.5 });
    } else if words >= 5 && telling >= 1 && !asking {
        add("content", 2.0 + 0.15 * (words.min(30) as f32));
    }
    if words > 60 {
        add("content", 1.5);
    } else if words < 8 && persons == 0 && telling < 2 {
        add("chat", 0.5);
    }
}
