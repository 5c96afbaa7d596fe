//! What a person has settled: which topics belong to which domain, and which field fills which column. Both are TOML
//! files.

use crate::OperatorError;
use thermocline_schemas::domain::Registry;

/// Topics whose domain is settled by a rule; the first rule that matches counts.
///
/// ```toml
/// [[topic]]
/// pattern = "orders.*"    # * is any text, ? any character
/// domain = "integration"
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicRules {
    #[serde(default)]
    topic: Vec<TopicRule>,
}

/// One rule of [`TopicRules`].
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicRule {
    pattern: String,
    domain: String,
}

/// Field mappings that replace what the lexicon finds.
///
/// ```toml
/// [[mapping]]
/// topic = "orders.*"              # or: shape = "90ab12cd34ef5678", as `mappings` lists it; or both
/// domain = "integration"          # optional: only where the records are of this domain
/// event_time = "placed"           # a field's path, or "broker"
/// fields = { "customer.ref" = "partner", "note" = "ignore" }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MappingOverrides {
    #[serde(default)]
    mapping: Vec<MappingOverride>,
}

/// One entry of [`MappingOverrides`].
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MappingOverride {
    topic: Option<String>,
    shape: Option<String>,
    domain: Option<String>,
    pub(crate) event_time: Option<String>,
    #[serde(default)]
    pub(crate) fields: std::collections::BTreeMap<String, String>,
}

/// The column that means: leave this field in `attributes`.
pub(crate) const IGNORE: &str = "ignore";
/// The event time that means: take the broker's.
pub(crate) const BROKER: &str = "broker";

fn parse<T: serde::de::DeserializeOwned>(file: &str, text: &str) -> Result<T, OperatorError> {
    toml::from_str(text).map_err(|error| OperatorError::Config { file: file.to_owned(), message: error.to_string() })
}

fn check_domain(registry: &Registry, place: &str, domain: &str) -> Result<(), OperatorError> {
    if registry.get(domain).is_some() {
        return Ok(());
    }
    let domains = registry.iter().map(|domain| domain.name.to_string()).collect();
    Err(OperatorError::NoDomain { place: place.to_owned(), domain: domain.to_owned(), domains })
}

impl TopicRules {
    /// Reads a file's text; `file` is its name in errors.
    ///
    /// # Errors
    /// [`OperatorError::Config`], with the line.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, OperatorError> {
        parse(file, text)
    }

    /// One more rule, behind the others.
    #[must_use]
    pub fn with(mut self, pattern: &str, domain: &str) -> Self {
        self.topic.push(TopicRule { pattern: pattern.to_owned(), domain: domain.to_owned() });
        self
    }

    /// The domain of `topic`, if a rule settles it.
    pub fn domain_of(&self, topic: &str) -> Option<&str> {
        self.topic.iter().find(|rule| matches(&rule.pattern, topic)).map(|rule| rule.domain.as_str())
    }

    pub(crate) fn check(&self, registry: &Registry) -> Result<(), OperatorError> {
        self.topic
            .iter()
            .try_for_each(|rule| check_domain(registry, &format!("rule for topics {}", rule.pattern), &rule.domain))
    }
}

impl MappingOverrides {
    /// Reads a file's text; `file` is its name in errors.
    ///
    /// # Errors
    /// [`OperatorError::Config`], with the line.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, OperatorError> {
        let overrides: Self = parse(file, text)?;
        for entry in &overrides.mapping {
            let message = match (&entry.topic, &entry.shape) {
                (None, None) => "a mapping needs a topic or a shape".to_owned(),
                (_, Some(shape)) if u64::from_str_radix(shape, 16).is_err() || shape.len() != 16 => {
                    format!("shape {shape:?} should be 16 hexadecimal digits, as `mappings` lists them")
                }
                _ => continue,
            };
            return Err(OperatorError::Config { file: file.to_owned(), message });
        }
        Ok(overrides)
    }

    /// The entries for records of this topic, shape and domain, in the order of the file.
    pub(crate) fn matching(&self, topic: &str, shape: &str, domain: &str) -> impl Iterator<Item = &MappingOverride> {
        self.mapping.iter().filter(move |entry| {
            entry.topic.as_ref().is_none_or(|pattern| matches(pattern, topic))
                && entry.shape.as_ref().is_none_or(|wanted| wanted == shape)
                && entry.domain.as_ref().is_none_or(|wanted| wanted == domain)
        })
    }

    pub(crate) fn check(&self, registry: &Registry) -> Result<(), OperatorError> {
        for entry in &self.mapping {
            let place =
                format!("mapping of {}", entry.topic.as_ref().or(entry.shape.as_ref()).map_or("", |place| place));
            if let Some(domain) = &entry.domain {
                check_domain(registry, &place, domain)?;
            }
            let domains =
                registry.iter().filter(|domain| entry.domain.as_ref().is_none_or(|name| *name == *domain.name));
            let columns: Vec<&String> =
                domains.flat_map(|domain| domain.columns.iter().map(|field| field.name())).collect();
            for column in entry.fields.values().filter(|column| *column != IGNORE) {
                if !columns.contains(&column) {
                    return Err(OperatorError::NoColumn {
                        place,
                        domain: entry.domain.clone().unwrap_or_else(|| "(any)".to_owned()),
                        column: column.clone(),
                        columns: columns.into_iter().cloned().collect(),
                    });
                }
            }
        }
        Ok(())
    }
}

/// Whether `pattern`, where `*` is any text and `?` any character, matches all of `topic`.
fn matches(pattern: &str, topic: &str) -> bool {
    let (pattern, topic): (Vec<char>, Vec<char>) = (pattern.chars().collect(), topic.chars().collect());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < topic.len() {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == '?' || pattern[p] == topic[t]) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((star_p, star_t)) = star {
            star = Some((star_p, star_t + 1));
            (p, t) = (star_p + 1, star_t + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|character| *character == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_shells_match() {
        for (pattern, topic, expected) in [
            ("orders.*", "orders.eu", true),
            ("orders.*", "orders", false),
            ("*", "", true),
            ("*a*b", "xaxxbxb", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, topic), expected, "{pattern} {topic}");
        }
    }

    #[test]
    fn mistakes_in_files_are_named() {
        let registry = Registry::shipped();
        let rules = TopicRules::from_toml("rules.toml", "[[topic]]\npattern = \"a.*\"\ndomain = \"chta\"").unwrap();
        assert!(matches!(rules.check(&registry), Err(OperatorError::NoDomain { .. })));
        assert!(
            TopicRules::from_toml("rules.toml", "[[topic]]\npatern = \"a\"")
                .unwrap_err()
                .to_string()
                .contains("patern")
        );
        assert!(MappingOverrides::from_toml("m.toml", "[[mapping]]\nevent_time = \"x\"").is_err());
        assert!(MappingOverrides::from_toml("m.toml", "[[mapping]]\nshape = \"xyz\"").is_err());
        let text = "[[mapping]]\ntopic = \"*\"\ndomain = \"chat\"\nfields = { a = \"nosuch\" }";
        let overrides = MappingOverrides::from_toml("m.toml", text).unwrap();
        assert!(matches!(overrides.check(&registry), Err(OperatorError::NoColumn { .. })));
    }
}
