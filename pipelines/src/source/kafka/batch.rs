//! One partition's messages on their way into a [`RawBatch`]: kept as librdkafka holds them until the batch is cut, then
//! copied once into columns of exactly their size.

use super::native::Message;
use crate::raw::{RawBatch, Topic};
use arrow::array::{BinaryArray, StringArray, TimestampMicrosecondArray};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use serde_json::json;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// Most records of a batch.
pub(super) const BATCH_RECORDS: usize = 4_096;
/// A batch of several records holds at most this many bytes of keys and payloads.
pub(super) const BATCH_BYTES: usize = 1 << 20;

/// What a partition has delivered and not yet handed on.
#[derive(Debug)]
pub(super) struct Pending {
    topic: Arc<Topic>,
    partition: i32,
    messages: Vec<Message>,
    absent: Vec<Range<i64>>,
    bytes: usize,
    since: Option<Instant>,
    next_offset: i64,
}

impl Pending {
    /// Nothing yet; the next record is `next_offset`, or what comes instead if the log has a hole there.
    pub(super) fn new(topic: Arc<Topic>, partition: i32, next_offset: i64) -> Self {
        let (messages, absent) = (vec![], vec![]);
        Self { topic, partition, messages, absent, bytes: 0, since: None, next_offset }
    }

    /// The offset after the newest message.
    pub(super) fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// When the oldest message came; none without messages.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// True if `message` must wait for the next batch.
    pub(super) fn is_full_for(&self, message: &Message) -> bool {
        let more = size(message);
        self.messages.len() >= BATCH_RECORDS || (self.bytes + more > BATCH_BYTES && !self.messages.is_empty())
    }

    /// Takes the next message. False if its offset was delivered before: it is not taken.
    pub(super) fn add(&mut self, message: Message, now: Instant) -> bool {
        let offset = message.offset();
        if offset < self.next_offset {
            return false;
        }
        if offset > self.next_offset {
            self.absent.push(self.next_offset..offset);
        }
        self.next_offset = offset + 1;
        self.bytes += size(&message);
        self.messages.push(message);
        self.since.get_or_insert(now);
        true
    }

    /// The log goes on at `offset`, and nothing of what lies before it is still to come: returns the offsets that hold no
    /// record. Called with no message gathered.
    pub(super) fn skip_to(&mut self, offset: i64) -> Option<Range<i64>> {
        let hole = self.next_offset..offset;
        self.next_offset = self.next_offset.max(offset);
        (!hole.is_empty()).then_some(hole)
    }

    /// What has gathered, as a batch; none without messages.
    pub(super) fn cut(&mut self) -> Option<RawBatch> {
        self.since = None;
        self.bytes = 0;
        if self.messages.is_empty() {
            return None;
        }
        let messages = &self.messages;
        let batch = RawBatch {
            topic: self.topic.clone(),
            partition: self.partition,
            offsets: messages.iter().map(Message::offset).collect::<Vec<_>>().into(),
            timestamps: timestamps(messages),
            keys: binary(messages, Message::key),
            headers: headers(messages),
            payloads: binary(messages, Message::payload),
            absent: std::mem::take(&mut self.absent),
        };
        self.messages.clear();
        Some(batch)
    }
}

fn size(message: &Message) -> usize {
    message.payload().map_or(0, <[u8]>::len) + message.key().map_or(0, <[u8]>::len)
}

/// Copies each value once. A batch stays below 2 GiB by far: the broker's largest record does.
fn binary<'a>(messages: &'a [Message], value: impl Fn(&'a Message) -> Option<&'a [u8]>) -> BinaryArray {
    let mut total = 0;
    let mut nulls = 0;
    for message in messages {
        match value(message) {
            Some(value) => total += value.len(),
            None => nulls += 1,
        }
    }
    if nulls == messages.len() {
        return BinaryArray::new_null(nulls);
    }
    let mut values = Vec::with_capacity(total);
    let mut ends = Vec::with_capacity(messages.len() + 1);
    ends.push(0);
    for message in messages {
        values.extend_from_slice(value(message).unwrap_or_default());
        ends.push(i32::try_from(values.len()).expect("a batch is about 1 MB, or one record"));
    }
    let valid = (nulls > 0).then(|| messages.iter().map(|message| value(message).is_some()).collect::<NullBuffer>());
    BinaryArray::new(OffsetBuffer::new(ScalarBuffer::from(ends)), Buffer::from_vec(values), valid)
}

fn timestamps(messages: &[Message]) -> TimestampMicrosecondArray {
    messages.iter().map(|message| message.timestamp_ms().and_then(|time| time.checked_mul(1_000))).collect()
}

fn headers(messages: &[Message]) -> StringArray {
    let texts: Vec<Option<String>> = messages.iter().map(|message| headers_text(&message.headers())).collect();
    if texts.iter().all(Option::is_none) {
        return StringArray::new_null(texts.len());
    }
    texts.into()
}

/// A JSON array of `{"key", "value"}`, in the producer's order; `"base64"` instead of `"value"` where it is not UTF-8.
fn headers_text(headers: &[(String, Option<&[u8]>)]) -> Option<String> {
    if headers.is_empty() {
        return None;
    }
    let entries = headers.iter().map(|(key, value)| match value.map(std::str::from_utf8) {
        None => json!({ "key": key, "value": null }),
        Some(Ok(text)) => json!({ "key": key, "value": text }),
        Some(Err(_)) => json!({ "key": key, "base64": base64(value.unwrap_or_default()) }),
    });
    Some(serde_json::Value::Array(entries.collect()).to_string())
}

/// Standard base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for digit in 0..4 {
            let value = (word >> (18 - 6 * digit)) & 63;
            text.push(if digit <= group.len() { char::from(DIGITS[value as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_before_the_end_without_a_record_is_a_hole_once() {
        let topic = Topic { cluster_id: "c".into(), name: "t".into(), id: uuid::Uuid::nil() };
        let mut pending = Pending::new(Arc::new(topic), 0, 12);
        assert_eq!(pending.skip_to(15), Some(12..15));
        assert_eq!((pending.skip_to(15), pending.skip_to(-1_001), pending.next_offset()), (None, None, 15));
    }

    #[test]
    fn headers_keep_order_duplicates_nulls_and_bytes() {
        let headers: Vec<(String, Option<&[u8]>)> =
            vec![("a".into(), Some(b"1")), ("a".into(), None), ("b\"".into(), Some(&[0xff, 0x00]))];
        assert_eq!(
            headers_text(&headers).as_deref(),
            Some(r#"[{"key":"a","value":"1"},{"key":"a","value":null},{"base64":"/wA=","key":"b\""}]"#)
        );
        assert_eq!(headers_text(&[]), None);
    }

    #[test]
    fn base64_is_padded_as_the_rfc_says() {
        let examples =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")];
        examples.iter().for_each(|(plain, coded)| assert_eq!(base64(plain.as_bytes()), *coded));
    }
}
