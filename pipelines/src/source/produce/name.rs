//! Which names a topic may have: Kafka's rule.

use crate::source::error::SourceError;

/// The longest name: brokers make a folder's name of it, and of the partition.
const LONGEST: usize = 249;

/// # Errors
/// [`SourceError::TopicName`], which says the rule.
pub(super) fn check(topic: &str) -> Result<(), SourceError> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let fits = (1..=LONGEST).contains(&topic.len()) && topic.bytes().all(legal);
    if !fits || matches!(topic, "." | "..") {
        return Err(SourceError::TopicName { topic: topic.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_has_the_names_that_kafka_allows() {
        for right in ["t", "Orders.eu-west_1", "...", "__own", &"x".repeat(249)] {
            assert!(check(right).is_ok(), "{right:?}");
        }
        for wrong in ["", ".", "..", "bad topic!", "a/b", "caf\u{e9}", "nul\0", "line\n", &"x".repeat(250)] {
            let error = check(wrong).expect_err("no name").to_string();
            assert!(error.starts_with(&format!("{wrong:?} cannot be")) && error.contains("1 to 249"), "{error}");
        }
    }
}
