//! Hot, warm, cold.

use crate::time::{EventTime, MICROS_PER_DAY};
use std::fmt;
use std::str::FromStr;

/// Where rows lie: hot in Lance, warm in Delta Lake, cold in Apache Iceberg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Lance: vector tables.
    Hot,
    /// Delta Lake.
    Warm,
    /// Apache Iceberg.
    Cold,
}

impl Tier {
    /// All tiers, hottest first.
    pub const ALL: [Tier; 3] = [Tier::Hot, Tier::Warm, Tier::Cold];

    /// `hot`, `warm` or `cold`: the value of `_tier`, and the folder's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::Hot => "hot",
            Tier::Warm => "warm",
            Tier::Cold => "cold",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Tier {
    type Err = crate::SchemaError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Tier::ALL
            .into_iter()
            .find(|tier| tier.as_str() == text)
            .ok_or_else(|| crate::SchemaError::NotATier { found: text.to_owned() })
    }
}

/// How old a row may be to be written hot or warm; what is older goes straight to cold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TierPolicy {
    /// Rows younger than this, in µs, are hot. Default 7 days.
    pub hot_for_micros: i64,
    /// Rows younger than this, in µs, are warm. Default 90 days.
    pub warm_for_micros: i64,
}

impl Default for TierPolicy {
    fn default() -> Self {
        Self { hot_for_micros: 7 * MICROS_PER_DAY, warm_for_micros: 90 * MICROS_PER_DAY }
    }
}

impl TierPolicy {
    /// The tier of a row that happened at `event_time`, routed in an epoch that opened at `opened_at`.
    /// A time in the future is hot.
    pub fn tier(&self, event_time: EventTime, opened_at: EventTime) -> Tier {
        let age = opened_at.saturating_sub(event_time);
        if age < self.hot_for_micros {
            Tier::Hot
        } else if age < self.warm_for_micros {
            Tier::Warm
        } else {
            Tier::Cold
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tier_follows_age_and_the_future_is_hot() {
        let policy = TierPolicy::default();
        let now = 1_000 * MICROS_PER_DAY;
        assert_eq!(policy.tier(now + 1, now), Tier::Hot);
        assert_eq!(policy.tier(now - 7 * MICROS_PER_DAY + 1, now), Tier::Hot);
        assert_eq!(policy.tier(now - 7 * MICROS_PER_DAY, now), Tier::Warm);
        assert_eq!(policy.tier(now - 90 * MICROS_PER_DAY, now), Tier::Cold);
        assert_eq!(policy.tier(i64::MIN, now), Tier::Cold);
    }
}
