//! Field names as words: `customerID`, `customer_id` and `Customer-Id` are all "customer id".

/// The words of a name in lower case, joined by `_`: the normal form in which names are compared. A run of capitals is
/// one word (`HTTPStatus` is `http_status`), and so are digits at the end of one (`ipv4`).
pub fn normal(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    let mut before = None::<char>;
    for (at, character) in name.char_indices() {
        if !character.is_alphanumeric() {
            before = None;
            continue;
        }
        let begins = match before {
            None => true,
            Some(before) if before.is_uppercase() => character.is_uppercase() && begins_word(&name[at..]),
            Some(_) => character.is_uppercase(),
        };
        if begins && !out.is_empty() {
            out.push('_');
        }
        out.extend(character.to_lowercase());
        before = Some(character);
    }
    out
}

/// Whether the capital at the start of `rest`, which follows another capital, begins a word: `S` in `HTTPStatus` does,
/// `D` in `userIDs` does not.
fn begins_word(rest: &str) -> bool {
    let mut after = rest.chars().skip(1);
    match (after.next(), after.next()) {
        (Some('s'), next) => next.is_some_and(char::is_lowercase),
        (next, _) => next.is_some_and(char::is_lowercase),
    }
}

/// The words of a name, abbreviations written out: `custAcctNo` gives customer, account, number.
pub fn spelled(name: &str) -> Vec<String> {
    normal(name).split('_').filter(|word| !word.is_empty()).map(|word| expand(word).to_owned()).collect()
}

/// What an abbreviation stands for, or the word itself.
pub fn expand(word: &str) -> &str {
    match ABBREVIATIONS.binary_search_by_key(&word, |(short, _)| short) {
        Ok(at) => ABBREVIATIONS[at].1,
        Err(_) => word,
    }
}

/// Abbreviations in field names that the embedding table does not know by meaning. Sorted.
const ABBREVIATIONS: &[(&str, &str)] = &[
    ("acct", "account"),
    ("addr", "address"),
    ("agg", "aggregate"),
    ("amt", "amount"),
    ("app", "application"),
    ("attr", "attribute"),
    ("auth", "authentication"),
    ("authn", "authentication"),
    ("authz", "authorization"),
    ("avg", "average"),
    ("bal", "balance"),
    ("bday", "birthday"),
    ("btn", "button"),
    ("cat", "category"),
    ("cd", "code"),
    ("cfg", "configuration"),
    ("cmd", "command"),
    ("cnt", "count"),
    ("coll", "collection"),
    ("conf", "configuration"),
    ("config", "configuration"),
    ("cpu", "cpu"),
    ("ctr", "counter"),
    ("ctx", "context"),
    ("cur", "currency"),
    ("curr", "currency"),
    ("cust", "customer"),
    ("db", "database"),
    ("del", "deleted"),
    ("dept", "department"),
    ("desc", "description"),
    ("dest", "destination"),
    ("dev", "device"),
    ("dim", "dimension"),
    ("dob", "birth date"),
    ("doc", "document"),
    ("dst", "destination"),
    ("dt", "date"),
    ("dur", "duration"),
    ("emp", "employee"),
    ("env", "environment"),
    ("err", "error"),
    ("evt", "event"),
    ("exc", "exception"),
    ("exec", "execution"),
    ("fk", "foreign key"),
    ("fname", "first name"),
    ("freq", "frequency"),
    ("fwd", "forward"),
    ("geo", "geography"),
    ("grp", "group"),
    ("hdr", "header"),
    ("hist", "history"),
    ("hrs", "hours"),
    ("img", "image"),
    ("inv", "invoice"),
    ("ip", "ip address"),
    ("lang", "language"),
    ("lat", "latitude"),
    ("lname", "last name"),
    ("lng", "longitude"),
    ("loc", "location"),
    ("lon", "longitude"),
    ("lvl", "level"),
    ("max", "maximum"),
    ("mem", "memory"),
    ("mfr", "manufacturer"),
    ("mgr", "manager"),
    ("min", "minimum"),
    ("mob", "mobile"),
    ("msg", "message"),
    ("msgs", "messages"),
    ("mtime", "modified time"),
    ("nbr", "number"),
    ("no", "number"),
    ("ns", "namespace"),
    ("num", "number"),
    ("obj", "object"),
    ("op", "operation"),
    ("ord", "order"),
    ("org", "organization"),
    ("orig", "original"),
    ("os", "operating system"),
    ("param", "parameter"),
    ("params", "parameters"),
    ("perf", "performance"),
    ("pid", "process id"),
    ("pk", "primary key"),
    ("pmt", "payment"),
    ("po", "purchase order"),
    ("pos", "position"),
    ("prev", "previous"),
    ("proc", "process"),
    ("prod", "product"),
    ("prog", "program"),
    ("pwd", "password"),
    ("qry", "query"),
    ("qty", "quantity"),
    ("rcv", "received"),
    ("rec", "record"),
    ("recv", "received"),
    ("ref", "reference"),
    ("reg", "registration"),
    ("repo", "repository"),
    ("req", "request"),
    ("res", "result"),
    ("resp", "response"),
    ("rev", "revision"),
    ("rss", "memory"),
    ("rx", "received"),
    ("sec", "seconds"),
    ("secs", "seconds"),
    ("seq", "sequence"),
    ("sess", "session"),
    ("sid", "session id"),
    ("sku", "product number"),
    ("src", "source"),
    ("srv", "server"),
    ("ssn", "social security number"),
    ("stat", "status"),
    ("std", "standard"),
    ("svc", "service"),
    ("sys", "system"),
    ("tel", "telephone"),
    ("temp", "temperature"),
    ("tid", "thread id"),
    ("tmp", "temporary"),
    ("tot", "total"),
    ("ts", "timestamp"),
    ("tx", "transaction"),
    ("txn", "transaction"),
    ("txt", "text"),
    ("tz", "time zone"),
    ("ua", "user agent"),
    ("uid", "user id"),
    ("uname", "user name"),
    ("upd", "updated"),
    ("uri", "url"),
    ("usr", "user"),
    ("utm", "campaign"),
    ("val", "value"),
    ("vals", "values"),
    ("ver", "version"),
    ("vol", "volume"),
    ("yr", "year"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_normal_form() {
        for (name, expected) in [
            ("customerID", "customer_id"),
            ("customer_id", "customer_id"),
            ("Customer-Id", "customer_id"),
            ("HTTPStatusCode", "http_status_code"),
            ("userIDs", "user_ids"),
            ("@timestamp", "timestamp"),
            ("case:concept:name", "case_concept_name"),
            ("ipv4", "ipv4"),
            ("SHA256Hash", "sha256_hash"),
            ("Straße", "straße"),
            ("", ""),
            ("--", ""),
        ] {
            assert_eq!(normal(name), expected, "{name}");
        }
    }

    #[test]
    fn abbreviations_are_sorted_and_written_out() {
        assert!(ABBREVIATIONS.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(spelled("custAcctNo"), ["customer", "account", "number"]);
    }
}
