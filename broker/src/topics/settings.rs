//! What can be set for one topic, under Kafka's names.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::Retention;

/// The settings that a topic may be created with.
const SETTINGS: [&str; 4] = ["cleanup.policy", "retention.bytes", "retention.ms", "segment.bytes"];

/// The smallest `segment.bytes`: that of the broker's own configuration. Every segment is a file and an index.
const LEAST_SEGMENT_BYTES: u64 = 4096;

/// The settings of one topic; what is absent follows the broker's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TopicSettings {
    given: BTreeMap<String, String>,
    /// `Some(None)` is "never", Kafka's -1.
    retention_ms: Option<Option<u64>>,
    retention_bytes: Option<Option<u64>>,
    pub(crate) segment_bytes: Option<u64>,
}

impl TopicSettings {
    /// Reads settings as a client sends them, or says which one cannot be followed.
    pub(crate) fn parse(given: BTreeMap<String, String>) -> Result<TopicSettings, String> {
        let mut settings = TopicSettings::default();
        for (name, value) in &given {
            match name.as_str() {
                "retention.ms" => settings.retention_ms = Some(limit(name, value)?),
                "retention.bytes" => settings.retention_bytes = Some(limit(name, value)?),
                "segment.bytes" => settings.segment_bytes = Some(segment_bytes(name, value)?),
                // Accepted where they ask for what happens anyway.
                "cleanup.policy" => must_be(name, value, "delete")?,
                "compression.type" => must_be(name, value, "producer")?,
                "message.timestamp.type" => must_be(name, value, "CreateTime")?,
                "min.insync.replicas" => must_be(name, value, "1")?,
                _ => {
                    let known = SETTINGS.join(", ");
                    return Err(format!("topic setting {name} is not supported by this broker; it knows {known}"));
                }
            }
        }
        settings.given = given;
        Ok(settings)
    }

    /// As the client wrote them.
    pub(crate) fn given(&self) -> &BTreeMap<String, String> {
        &self.given
    }

    /// The retention of the topic, where it says nothing that of the broker.
    pub(crate) fn retention(&self, broker: Retention) -> Retention {
        Retention {
            age: self.retention_ms.map_or(broker.age, |ms| ms.map(Duration::from_millis)),
            bytes: self.retention_bytes.unwrap_or(broker.bytes),
        }
    }
}

fn limit(name: &str, value: &str) -> Result<Option<u64>, String> {
    match value.trim().parse::<i64>() {
        Ok(-1) => Ok(None),
        Ok(number) if number >= 0 => Ok(Some(number as u64)),
        _ => Err(format!("topic setting {name} must be a whole number, or -1 for no limit, found {value:?}")),
    }
}

/// Unlike a limit it cannot be absent: -1 is refused, as it is by Kafka.
fn segment_bytes(name: &str, value: &str) -> Result<u64, String> {
    match value.trim().parse::<u64>() {
        Ok(bytes) if bytes >= LEAST_SEGMENT_BYTES => Ok(bytes),
        _ => Err(format!("topic setting {name} must be at least {LEAST_SEGMENT_BYTES}, found {value:?}")),
    }
}

fn must_be(name: &str, value: &str, only: &str) -> Result<(), String> {
    if value == only {
        return Ok(());
    }
    Err(format!("topic setting {name} can only be {only:?} with this broker, found {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, value: &str) -> Result<TopicSettings, String> {
        TopicSettings::parse(BTreeMap::from([(name.to_string(), value.to_string())]))
    }

    #[test]
    fn segments_that_are_too_small_are_refused() {
        for value in ["4095", "14", "1", "0", "-1", "", "4 KiB"] {
            let refused = format!("topic setting segment.bytes must be at least 4096, found {value:?}");
            assert_eq!(parse("segment.bytes", value), Err(refused));
        }
        assert_eq!(parse("segment.bytes", "4096").map(|settings| settings.segment_bytes), Ok(Some(4096)));
    }

    #[test]
    fn minus_one_keeps_records_for_ever() {
        let broker = Retention { age: Some(Duration::from_secs(1)), bytes: Some(1) };
        let age = parse("retention.ms", "-1").map(|settings| settings.retention(broker).age);
        let bytes = parse("retention.bytes", "-1").map(|settings| settings.retention(broker).bytes);
        assert_eq!((age, bytes), (Ok(None), Ok(None)));
    }
}
