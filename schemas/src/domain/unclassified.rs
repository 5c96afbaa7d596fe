//! Records that fit no domain: kept whole, found by search, and moved by a rule when somebody knows better.

use super::Domain;

pub(super) fn domain() -> Domain {
    Domain::new(super::UNCLASSIFIED).text("text", "message, body, content").texts_in(&["text"], Some("text"))
}
