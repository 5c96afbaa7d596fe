//! Which topics a source reads.

use std::fmt;

/// A topic's name, or a glob: `*` stands for any characters, `?` for one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TopicPattern(String);

impl TopicPattern {
    /// Checks `text` and makes a pattern of it.
    ///
    /// # Errors
    /// What is wrong: empty, too long for a topic, or a character that no topic's name has.
    pub fn new(text: &str) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '*' | '?');
        if text.is_empty() {
            return Err("LOCATION is empty: it names the topics to read".to_owned());
        }
        if let Some(odd) = text.chars().find(|c| !allowed(*c)) {
            return Err(format!("{odd:?} cannot stand in a topic's name"));
        }
        if text.len() > 249 {
            return Err("a topic's name has at most 249 characters".to_owned());
        }
        Ok(Self(text.to_owned()))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True when it is one topic's name rather than a glob.
    pub fn is_exact(&self) -> bool {
        !self.0.contains(['*', '?'])
    }

    /// True when the source reads `topic`. Topics whose names begin with `__` are the broker's own: only their exact
    /// names match.
    pub fn matches(&self, topic: &str) -> bool {
        if self.is_exact() {
            return self.0 == topic;
        }
        !topic.starts_with("__") && glob(self.0.as_bytes(), topic.as_bytes())
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Tries the newest `*` again with one more character whenever the rest does not fit: no recursion, and at most
/// `pattern * text` steps.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[from] => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken + 1));
                at = star_at + 1;
                from = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_names_and_never_the_brokers_own() {
        let pattern = |text| TopicPattern::new(text).unwrap();
        assert!(pattern("orders.*").matches("orders.eu") && !pattern("orders.*").matches("orders"));
        assert!(pattern("*").matches("anything") && !pattern("*").matches("__consumer_offsets"));
        assert!(!pattern("__*").matches("__consumer_offsets"));
        assert!(pattern("__consumer_offsets").matches("__consumer_offsets"));
        assert!(pattern("a*b*c").matches("aXbbYc") && !pattern("a*b*c").matches("aXbbYcd"));
        assert!(pattern("log-?").matches("log-1") && !pattern("log-?").matches("log-12"));
        assert!(!pattern("orders").matches("orders.eu"));
    }

    #[test]
    fn a_pattern_is_made_of_what_topic_names_are_made_of() {
        for wrong in ["", "a,b", "a b", "[ab]", "s3://bucket", &"x".repeat(250)] {
            assert!(TopicPattern::new(wrong).is_err(), "{wrong:?}");
        }
    }
}
