//! Values at a path of a JSON object, as they stand in its text.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

#[derive(Deserialize)]
struct Members<'a>(#[serde(borrow)] HashMap<String, &'a RawValue>);

/// Where the value at `path` stands in `json`: dots lead into inner objects, but a member whose own name has dots comes
/// first. None where it is absent, or `json` is no object.
pub(super) fn find(json: &[u8], path: &str) -> Option<Range<usize>> {
    let text = std::str::from_utf8(json).ok()?;
    let found = find_in(text, path)?.get();
    let start = found.as_ptr() as usize - text.as_ptr() as usize;
    Some(start..start + found.len())
}

fn find_in<'a>(object: &'a str, path: &str) -> Option<&'a RawValue> {
    let Members(members) = serde_json::from_str(object).ok()?;
    if let Some(found) = members.get(path) {
        return Some(found);
    }
    let dots = path.match_indices('.').map(|(at, _)| at);
    dots.filter_map(|dot| find_in(members.get(&path[..dot])?.get(), &path[dot + 1..])).next()
}

/// The value at `path` as text: a string without its quotes and escapes, anything else as it stands. None for null.
pub(super) fn text_at<'a>(json: &'a [u8], path: &str) -> Option<Cow<'a, str>> {
    let range = find(json, path)?;
    as_text(std::str::from_utf8(&json[range]).ok()?)
}

fn as_text(value: &str) -> Option<Cow<'_, str>> {
    match value.as_bytes().first()? {
        b'n' => None,
        b'"' => match value[1..value.len() - 1].contains('\\') {
            true => serde_json::from_str::<String>(value).ok().map(Cow::Owned),
            false => Some(Cow::Borrowed(&value[1..value.len() - 1])),
        },
        _ => Some(Cow::Borrowed(value)),
    }
}

/// One line of a recorded stream.
pub(super) struct Envelope<'a> {
    pub(super) topic: Cow<'a, str>,
    pub(super) ts: Option<Cow<'a, str>>,
    pub(super) key: Option<Cow<'a, str>>,
    pub(super) payload: Cow<'a, [u8]>,
}

impl<'a> Envelope<'a> {
    pub(super) fn read(line: &'a [u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Text<'a> {
            topic: String,
            #[serde(borrow)]
            ts: Option<&'a RawValue>,
            #[serde(borrow)]
            key: Option<&'a RawValue>,
            #[serde(borrow)]
            payload: &'a RawValue,
        }
        let text: Text<'a> = serde_json::from_slice(line).map_err(|error| format!("no envelope: {error}"))?;
        let payload = text.payload.get();
        let payload = match payload.as_bytes().first() {
            Some(b'"') => as_text(payload).ok_or("no envelope: a broken string")?,
            _ => Cow::Borrowed(payload),
        };
        let payload = match payload {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        let ts = text.ts.and_then(|ts| as_text(ts.get()));
        Ok(Self { topic: text.topic.into(), ts, key: text.key.and_then(|key| as_text(key.get())), payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_into_objects_and_names_with_dots_come_first() {
        let json = br#" {"a.b": 1, "a": {"b": 2, "c.d": {"e": "x\"y"}}, "n": null}"#;
        assert_eq!(text_at(json, "a.b").as_deref(), Some("1"));
        assert_eq!(text_at(json, "a.c.d.e").as_deref(), Some("x\"y"));
        assert_eq!(text_at(json, "n"), None);
        assert_eq!(text_at(json, "a.z"), None);
        assert_eq!(text_at(b"plain text", "a"), None);
        let range = find(json, "a.c.d.e").expect("it is there");
        assert_eq!(&json[range], br#""x\"y""#);
    }

    #[test]
    fn an_envelope_keeps_objects_as_they_stand_and_opens_strings() {
        let envelope =
            Envelope::read(br#"{"topic":"t","ts":null,"payload":{"a": 1.50},"key":7}"#).expect("an envelope");
        assert_eq!(
            (&*envelope.topic, &*envelope.payload, envelope.key.as_deref()),
            ("t", &br#"{"a": 1.50}"#[..], Some("7"))
        );
        let envelope = Envelope::read(br#"{"topic":"t","payload":"line\tone"}"#).expect("an envelope");
        assert_eq!(&*envelope.payload, b"line\tone");
        assert!(Envelope::read(br#"{"topic":"t"}"#).is_err());
    }
}
