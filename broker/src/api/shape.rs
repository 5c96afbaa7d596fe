//! A look over a request before it is decoded: do the arrays that it announces fit into its bytes?
//!
//! The codec reserves memory for as many elements as a request says it has, before it looks for them. Twelve bytes from
//! anybody could then claim hundreds of gigabytes and end the process. So each request that has arrays is walked over
//! first, by the table below; a request that does not match it is not decoded.

use bytes::Buf;
use kafka_protocol::messages::ApiKey;

/// The most elements of all arrays of one request together.
const MOST_ELEMENTS: usize = 1_000_000;

/// What stands in a request.
#[derive(Debug, Clone, Copy)]
enum Field {
    /// So many bytes.
    Fixed(usize),
    /// A text that may be null.
    Text,
    /// Bytes that may be null.
    Blob,
    /// An array of plain values; may be null.
    List(&'static Field),
    /// An array of structures; may be null.
    Rows(&'static [Part]),
}

/// A field with the first and the last version that have it.
type Part = (i16, i16, Field);

use Field::{Blob, Fixed, List, Rows, Text};

const LAST: i16 = i16::MAX;
const NUMBERS: Field = List(&Fixed(4));
const TEXTS: Field = List(&Text);

/// The fields of a request, as far as the versions go that the broker takes; none for requests without arrays.
fn parts(api: ApiKey) -> Option<&'static [Part]> {
    Some(match api {
        ApiKey::Produce => &[
            (0, LAST, Text),
            (0, LAST, Fixed(6)),
            (0, LAST, Rows(&[(0, LAST, Text), (0, LAST, Rows(&[(0, LAST, Fixed(4)), (0, LAST, Blob)]))])),
        ],
        ApiKey::Fetch => {
            const PARTITION: &[Part] = &[
                (0, LAST, Fixed(4)),
                (9, LAST, Fixed(4)),
                (0, LAST, Fixed(8)),
                (12, LAST, Fixed(4)),
                (5, LAST, Fixed(8)),
                (0, LAST, Fixed(4)),
            ];
            const FORGOTTEN: &[Part] = &[(0, LAST, Text), (0, LAST, NUMBERS)];
            &[
                (0, LAST, Fixed(17)),
                (7, LAST, Fixed(8)),
                (0, LAST, Rows(&[(0, LAST, Text), (0, LAST, Rows(PARTITION))])),
                (7, LAST, Rows(FORGOTTEN)),
                (11, LAST, Text),
            ]
        }
        ApiKey::ListOffsets => {
            const PARTITION: &[Part] = &[(0, LAST, Fixed(4)), (4, LAST, Fixed(4)), (0, LAST, Fixed(8))];
            &[(0, LAST, Fixed(4)), (2, LAST, Fixed(1)), (0, LAST, Rows(&[(0, LAST, Text), (0, LAST, Rows(PARTITION))]))]
        }
        ApiKey::Metadata => &[
            (0, LAST, Rows(&[(10, LAST, Fixed(16)), (0, LAST, Text)])),
            (4, LAST, Fixed(1)),
            (8, 10, Fixed(1)),
            (8, LAST, Fixed(1)),
        ],
        ApiKey::OffsetCommit => {
            const PARTITION: &[Part] = &[(0, LAST, Fixed(12)), (6, LAST, Fixed(4)), (0, LAST, Text)];
            &[
                (0, LAST, Text),
                (0, LAST, Fixed(4)),
                (0, LAST, Text),
                (7, LAST, Text),
                (0, 4, Fixed(8)),
                (0, LAST, Rows(&[(0, LAST, Text), (0, LAST, Rows(PARTITION))])),
            ]
        }
        ApiKey::OffsetFetch => {
            const TOPICS: Field = Rows(&[(0, LAST, Text), (0, LAST, NUMBERS)]);
            &[(0, 7, Text), (0, 7, TOPICS), (8, LAST, Rows(&[(0, LAST, Text), (0, LAST, TOPICS)])), (7, LAST, Fixed(1))]
        }
        ApiKey::FindCoordinator => &[(0, 3, Text), (1, LAST, Fixed(1)), (4, LAST, TEXTS)],
        ApiKey::JoinGroup => &[
            (0, LAST, Text),
            (0, LAST, Fixed(4)),
            (1, LAST, Fixed(4)),
            (0, LAST, Text),
            (5, LAST, Text),
            (0, LAST, Text),
            (0, LAST, Rows(&[(0, LAST, Text), (0, LAST, Blob)])),
            (8, LAST, Text),
        ],
        ApiKey::LeaveGroup => {
            &[(0, LAST, Text), (0, 2, Text), (3, LAST, Rows(&[(0, LAST, Text), (0, LAST, Text), (5, LAST, Text)]))]
        }
        ApiKey::SyncGroup => &[
            (0, LAST, Text),
            (0, LAST, Fixed(4)),
            (0, LAST, Text),
            (3, LAST, Text),
            (5, LAST, Text),
            (5, LAST, Text),
            (0, LAST, Rows(&[(0, LAST, Text), (0, LAST, Blob)])),
        ],
        ApiKey::DescribeGroups => &[(0, LAST, TEXTS), (3, LAST, Fixed(1))],
        ApiKey::ListGroups => &[(4, LAST, TEXTS), (5, LAST, TEXTS)],
        ApiKey::CreateTopics => {
            const TOPIC: &[Part] = &[
                (0, LAST, Text),
                (0, LAST, Fixed(6)),
                (0, LAST, Rows(&[(0, LAST, Fixed(4)), (0, LAST, NUMBERS)])),
                (0, LAST, Rows(&[(0, LAST, Text), (0, LAST, Text)])),
            ];
            &[(0, LAST, Rows(TOPIC)), (0, LAST, Fixed(5))]
        }
        ApiKey::DeleteTopics => {
            &[(6, LAST, Rows(&[(0, LAST, Text), (0, LAST, Fixed(16))])), (0, 5, TEXTS), (0, LAST, Fixed(4))]
        }
        ApiKey::OffsetForLeaderEpoch => {
            &[(3, LAST, Fixed(4)), (0, LAST, Rows(&[(0, LAST, Text), (0, LAST, Rows(&[(0, LAST, Fixed(12))]))]))]
        }
        ApiKey::DescribeConfigs => &[
            (0, LAST, Rows(&[(0, LAST, Fixed(1)), (0, LAST, Text), (0, LAST, TEXTS)])),
            (0, LAST, Fixed(1)),
            (3, LAST, Fixed(1)),
        ],
        ApiKey::CreatePartitions => &[
            (0, LAST, Rows(&[(0, LAST, Text), (0, LAST, Fixed(4)), (0, LAST, Rows(&[(0, LAST, NUMBERS)]))])),
            (0, LAST, Fixed(5)),
        ],
        ApiKey::DeleteGroups => &[(0, LAST, TEXTS)],
        _ => return None,
    })
}

/// Whether the body of a request has the shape that its API and version promise. Bytes behind it are ignored, as Kafka
/// does: librdkafka sends three too many when it asks for all topics in Metadata 9 or later.
pub(super) fn fits(api: ApiKey, version: i16, body: &[u8]) -> bool {
    let Some(parts) = parts(api) else { return true };
    let flexible = api.request_header_version(version) >= 2;
    let mut walk = Walk { rest: body, version, flexible, elements_left: MOST_ELEMENTS };
    walk.structure(parts).is_some()
}

/// A walk over a body; every step is `None` when the bytes end too early.
struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    /// Lengths are variable-length integers, and structures end in tagged fields.
    flexible: bool,
    elements_left: usize,
}

impl Walk<'_> {
    fn structure(&mut self, parts: &[Part]) -> Option<()> {
        for (first, last, field) in parts {
            if (*first..=*last).contains(&self.version) {
                self.field(*field)?;
            }
        }
        if self.flexible { self.tagged_fields() } else { Some(()) }
    }

    fn field(&mut self, field: Field) -> Option<()> {
        match field {
            Fixed(bytes) => self.skip(bytes),
            Text => {
                let length =
                    if self.flexible { self.compact_length()? } else { i64::from(self.rest.try_get_i16().ok()?) };
                self.skip(usize::try_from(length).unwrap_or(0))
            }
            Blob => {
                let length = self.length()?;
                self.skip(usize::try_from(length).unwrap_or(0))
            }
            List(element) => self.elements(|walk| walk.field(*element)),
            Rows(parts) => self.elements(|walk| walk.structure(parts)),
        }
    }

    fn elements(&mut self, mut one: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        let count = usize::try_from(self.length()?).unwrap_or(0);
        self.elements_left = self.elements_left.checked_sub(count)?;
        (0..count).try_for_each(|_| one(self))
    }

    fn length(&mut self) -> Option<i64> {
        if self.flexible { self.compact_length() } else { Some(i64::from(self.rest.try_get_i32().ok()?)) }
    }

    /// One more than the length; 0 is null.
    fn compact_length(&mut self) -> Option<i64> {
        Some(i64::from(self.varint()?) - 1)
    }

    fn varint(&mut self) -> Option<u32> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.rest.try_get_u8().ok()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).ok();
            }
        }
        None
    }

    fn tagged_fields(&mut self) -> Option<()> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let bytes = self.varint()?;
            self.skip(bytes as usize)?;
        }
        Some(())
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.rest = self.rest.get(bytes..)?;
        Some(())
    }
}

#[cfg(test)]
#[path = "shape/tests.rs"]
mod tests;
