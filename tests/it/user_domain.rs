//! What a user settles: domains of one's own, topics, mappings.

use serde_json::Value;
use thermocline_tests::{Broker, Site, on_both_brokers};

/// Invoices: none of the shipped domains is about them.
fn invoices(range: std::ops::Range<usize>) -> Vec<String> {
    let line = |n| {
        format!(
            "{{\"invoice_number\":\"INV-{n}\",\"amount_due\":{}.25,\"billing_period\":\"2024-0{}\",\
             \"tax_rate\":0.19,\"due_on\":\"2024-06-30\"}}",
            n * 3,
            n % 9 + 1
        )
    };
    range.map(line).collect()
}

/// A pipeline that declares `billing` with `columns`.
fn billing(topic: &str, columns: &str) -> String {
    format!(
        "CREATE EXTERNAL TABLE billing ({columns}) STORED AS TIERED LOCATION 'billing' OPTIONS (
           'phrases' 'invoice number, amount due, billing period, tax rate, due date; invoice, bill, credit note',
           'hot_for' '1 day');
         CREATE EXTERNAL TABLE incoming STORED AS KAFKA LOCATION '{topic}';
         INSERT INTO domains SELECT * FROM incoming;"
    )
}

on_both_brokers!(
    a_declared_domain_takes_its_records_and_grows_columns,
    rules_settle_topics_and_overrides_settle_fields,
    without_a_rule_what_fits_nowhere_is_unclassified_and_not_lost,
);

fn a_declared_domain_takes_its_records_and_grows_columns(broker: &Broker) {
    let topic = broker.topic("ledger", 1);
    broker.produce_lines(&topic, invoices(0..200));
    let site = Site::reading(broker).pipeline(&billing(&topic, "invoice_number TEXT, amount_due DOUBLE"));
    site.up_once();
    assert_eq!(site.verify()["rows"], 200);
    let row =
        &site.sql("SELECT count(*) AS n, count(invoice_number) AS numbers, sum(amount_due) AS due FROM billing")[0];
    assert_eq!(
        (&row["n"], &row["numbers"]),
        (&200.into(), &200.into()),
        "the domain's phrases should win its records: {row}"
    );
    let asked =
        "SELECT classify('{\"invoice_number\":\"INV-9\",\"amount_due\":27.25,\"tax_rate\":0.19}')['domain'] AS domain";
    assert_eq!(site.texts(asked), ["billing"], "a question classifies as the run does");
    let due: f64 = (0..200).map(|n| f64::from(n) * 3.0 + 0.25).sum();
    assert!((row["due"].as_f64().expect("a sum") - due).abs() < 0.01, "{row}");
    let kept = site.texts("SELECT attributes FROM billing LIMIT 1");
    let kept: Value = serde_json::from_str(&kept[0]).expect("attributes are JSON");
    assert!(kept["billing_period"].is_string() && kept["tax_rate"].is_number(), "what no column takes is kept: {kept}");

    // A nullable column more; old rows have none, new ones fill it.
    broker.produce_lines(&topic, invoices(200..250));
    let site = site
        .without_pipelines()
        .pipeline(&billing(&topic, "invoice_number TEXT, amount_due DOUBLE, billing_period TEXT"));
    site.up_once();
    site.verify();
    let row = &site.sql("SELECT count(*) AS n, count(billing_period) AS periods FROM billing")[0];
    assert_eq!((&row["n"], &row["periods"]), (&250.into(), &50.into()), "{row}");

    // A column cannot change its type.
    let site = site.without_pipelines().pipeline(&billing(&topic, "invoice_number TEXT, amount_due TEXT"));
    site.up().arg("--once").run().ended_with(1).says(&["billing", "amount_due"]);
}

fn rules_settle_topics_and_overrides_settle_fields(broker: &Broker) {
    let topic = broker.topic("settled", 1);
    let lines: Vec<String> = (0..50)
        .map(|n| {
            format!(
                "{{\"qq\":\"who {n}\",\"zz\":\"what {n}\",\"value\":{n},\"timestamp\":\"2024-05-06T07:08:{n:02}Z\"}}"
            )
        })
        .collect();
    broker.produce_lines(&topic, &lines);
    let site = Site::reading(broker).routing(&topic).rule(&topic, "chat");
    site.file(
        "data/mappings.toml",
        &format!(
            "[[mapping]]\ntopic = \"{topic}\"\ndomain = \"chat\"\n\
             fields = {{ qq = \"author\", zz = \"text\", value = \"ignore\" }}\n"
        ),
    );
    site.up_once();
    let rows = site.sql("SELECT author, text, attributes FROM chat ORDER BY _offset LIMIT 2");
    assert_eq!((&rows[1]["author"], &rows[1]["text"]), (&"who 1".into(), &"what 1".into()), "{rows:?}");
    assert!(rows[1]["attributes"].as_str().is_some_and(|rest| rest.contains("\"value\"")), "{rows:?}");
    assert_eq!(site.verify()["rows"], 50);

    let listed = site.command("mappings").json();
    let decisions = listed["mappings"].as_array().expect("a list").clone();
    let all = Value::from(decisions.clone()).to_string();
    assert!(
        !decisions.is_empty() && all.contains("qq") && all.contains("author") && all.contains("override"),
        "{listed:#}"
    );
    let shape = decisions.iter().find(|decision| decision["topic"] == topic).expect("its shape is listed");
    assert_eq!(shape["event_time"], "timestamp", "the field that says when: {listed:#}");
    let words = site.command("mappings").ok();
    assert!(words.stdout.contains("qq") && words.stdout.contains("author"), "{words}");
}

#[test]
fn mistakes_in_rules_and_overrides_stop_the_run_with_the_place() {
    let broker = Broker::embedded();
    let topic = broker.topic("mistaken", 1);
    let cases = [
        ("topics.toml", "[[topic]]\npattern = \"a.*\"\ndomain = \"chta\"\n", ["chta", "chat"]),
        ("topics.toml", "[[topic]]\npatern = \"a.*\"\ndomain = \"chat\"\n", ["topics.toml", "patern"]),
        (
            "mappings.toml",
            "[[mapping]]\ntopic = \"*\"\ndomain = \"chat\"\nfields = { a = \"nosuch\" }\n",
            ["nosuch", "author"],
        ),
        ("mappings.toml", "[[mapping]]\nevent_time = \"x\"\n", ["mappings.toml", "topic"]),
    ];
    for (file, text, said) in cases {
        let site = Site::reading(&broker).routing(&topic);
        site.file(&format!("data/{file}"), text);
        site.up().arg("--once").run().ended_with(1).says(&said);
        assert!(!site.data().join("metadata.db").exists(), "nothing is touched before the files are right");
    }
}

fn without_a_rule_what_fits_nowhere_is_unclassified_and_not_lost(broker: &Broker) {
    let topic = broker.topic("nowhere", 1);
    broker.produce_lines(&topic, (0..40).map(|n| format!("{{\"foo\":{n},\"zorp\":\"blim {n}\"}}")));
    let site = Site::reading(broker).routing(&topic);
    site.up_once();
    assert_eq!(site.verify()["rows"], 40);
    assert_eq!(site.number("SELECT count(*) FROM unclassified WHERE attributes LIKE '%zorp%'"), 40);
}
