#!/usr/bin/env python3
"""Builds the demo's data files that come from public data sets.

    deploy/demo/build.py COLLECTION

COLLECTION is a folder with three files that hold the public records in one form, gzip JSON lines:

    classifier/dev.jsonl.gz         {"topic", "source", "payload", ...}   many sources
    stream/wikipedia_edits.jsonl.gz {"payload", ...}                      Apache Druid's tutorial data
    stream/ga4_events.jsonl.gz      {"payload", ...}                      the shop's web events
    metrics/nab_real.jsonl.gz       {"series", "ts", "value", ...}        the Numenta Anomaly Benchmark

It picks the sources that may be passed on, writes the original payloads, one a line, ordered by event time, and
brings `topics.json` and the table in `README.md` up to date. What each topic leaves out or re-shapes is said there.
"""

import gzip
import json
import re
import sys
import zlib
from pathlib import Path

import manifest

HOUR, DAY = 3_600, 86_400

SAMPLES = ("microsoft/sql-server-samples @ 481085d", "MIT")
MALLOY = ("malloydata/malloy-samples @ bff195e", "MIT")
POLYAI = ("PolyAI-LDN/task-specific-datasets @ 57ec275", "CC-BY-4.0")
CLINC = ("clinc/oos-eval @ 828f809", "CC-BY-3.0")
ABCD = ("asappresearch/abcd @ 6b8700c", "MIT")
DRUID = ("mirkan1/druid @ 2a604e8", "Apache-2.0")
NAB = ("numenta/NAB @ ea702d7", "MIT")
OCTOKIT = ("octokit/webhooks @ 3a58428", "MIT")
TATE = ("tategallery/collection @ a51d8af", "CC0-1.0")
OTRF = ("OTRF/Security-Datasets @ d9d40ef", "MIT")
OTRF_M365 = ("OTRF/Security-Datasets @ ae88d84, bcb6b50", "MIT")
PAGES = ("microsoft/sql-server-samples @ 481085d, OTRF/Security-Datasets @ d9d40ef", "MIT")

# What looks like a credential stays out, even where its owner published it and it no longer opens anything.
CREDENTIAL = re.compile(
    r"(AKIA|ASIA)[A-Z0-9]{16}|PRIVATE KEY|gh[pousr]_[A-Za-z0-9]{30}|xox[bp]-|eyJ[\w-]{20,}\.eyJ"
    r"|password[\"']?\s*[:=]\s*[\"']?\w{4}|(secret|api[_-]?key)[\"']?\s*[:=]",
    re.IGNORECASE,
)

ROW = "table row as JSON object"
AW = "adventureworks."
DW = "adventureworksdw.dbo."

# topic, domain, the collection's topics, origin, key, event time (path, format), age of the newest record, other
# time fields that move along, what was changed.
PICKED = [
    ("crm.accounts", "user", [AW + "sales.customer"], SAMPLES, "CustomerID", ("ModifiedDate", "iso8601"), HOUR, [], ROW),
    ("crm.prospects", "user", [DW + "prospectivebuyer"], SAMPLES, "ProspectAlternateKey", None, None, [], ROW),
    ("people.directory", "user", [AW + "humanresources.employee"], SAMPLES, "BusinessEntityID", ("ModifiedDate", "iso8601"), None, [], ROW),
    ("people.emails", "user", [AW + "person.emailaddress"], SAMPLES, "BusinessEntityID", ("ModifiedDate", "iso8601"), HOUR, [], ROW),
    ("people.phones", "user", [AW + "person.personphone"], SAMPLES, "BusinessEntityID", ("ModifiedDate", "iso8601"), HOUR, [], ROW),
    ("shop.visits", "session", ["ga.sessions"], MALLOY, "fullVisitorId", ("visitStartTime", "s"), HOUR, [],
     "first 5 hits of each visit; product sub-records and placeholder strings left out"),
    ("bank.questions", "chat", ["banking.questions"], POLYAI, None, None, None, [], "intent label left out"),
    ("table.bookings", "chat", ["restaurant.bookings"], POLYAI, None, None, None, [], "slot labels left out"),
    ("helper.queries", "chat", ["assistant.queries"], CLINC, None, None, None, [], "intent label left out"),
    ("support.desk", "chat", ["support.conversations"], ABCD, "convo_id", None, None, [], "one record a turn"),
    ("support.calls", "analytics", [DW + "factcallcenter"], SAMPLES, None, ("Date", "iso8601"), 20 * DAY, [], ROW),
    ("finance.ledger", "analytics", [DW + "factfinance"], SAMPLES, "AccountKey", ("Date", "iso8601"), None, [], ROW),
    ("sales.targets", "analytics", [DW + "factsalesquota"], SAMPLES, "EmployeeKey", ("Date", "iso8601"), None, [], ROW),
    ("survey.responses", "analytics", [DW + "factsurveyresponse"], SAMPLES, "CustomerKey", ("Date", "iso8601"), HOUR, [], ROW),
    ("handbook.pages", "content", ["docs.pages"], PAGES, None, None, None, [],
     "Markdown page as a JSON object or, half of them, a JSON string; cut at 4,000 characters"),
    ("catalog.descriptions", "content", [AW + "production.productdescription"], SAMPLES, "ProductDescriptionID", ("ModifiedDate", "iso8601"), 30 * DAY, [], ROW),
    ("catalog.translations", "content", [DW + "factadditionalinternationalproductdescription"], SAMPLES, "ProductKey", None, None, [], ROW),
    ("hiring.resumes", "content", [AW + "humanresources.jobcandidate"], SAMPLES, "JobCandidateID", ("ModifiedDate", "iso8601"), None, [], ROW),
    ("github.hooks", "integration", ["github.webhooks."], OCTOKIT, None, None, None, [], "none"),
    ("catalog.items", "integration", [AW + "production.product"], SAMPLES, "ProductID", ("ModifiedDate", "iso8601"), None, [], ROW),
    ("catalog.parts", "integration", [AW + "production.billofmaterials"], SAMPLES, "ProductAssemblyID", ("ModifiedDate", "iso8601"), None, [], ROW),
    ("stock.levels", "integration", [AW + "production.productinventory"], SAMPLES, "ProductID", ("ModifiedDate", "iso8601"), HOUR, [], ROW),
    ("purchasing.orders", "integration", [AW + "purchasing.purchaseorderheader"], SAMPLES, "VendorID", ("OrderDate", "iso8601"), HOUR,
     [("ShipDate", "iso8601"), ("ModifiedDate", "iso8601")], ROW),
    ("purchasing.lines", "integration", [AW + "purchasing.purchaseorderdetail"], SAMPLES, "PurchaseOrderID", ("ModifiedDate", "iso8601"), HOUR,
     [("DueDate", "iso8601")], ROW),
    ("purchasing.offers", "integration", [AW + "purchasing.productvendor"], SAMPLES, "BusinessEntityID", ("ModifiedDate", "iso8601"), None, [], ROW),
    ("purchasing.vendors", "integration", [AW + "purchasing.vendor"], SAMPLES, "BusinessEntityID", ("ModifiedDate", "iso8601"), None, [], ROW),
    ("partners.stores", "integration", [AW + "sales.store"], SAMPLES, "BusinessEntityID", ("ModifiedDate", "iso8601"), 14 * DAY, [], ROW),
    ("partners.resellers", "integration", [DW + "dimreseller"], SAMPLES, "ResellerKey", None, None, [], ROW),
    ("desktop.events", "logs", ["windows."], OTRF, "Hostname", ("@timestamp", "iso8601"), None, [], "channels other than Security"),
    ("museum.catalogue", "archive", ["tate.collection"], TATE, "acno", ("acquisitionYear", "year"), None, [], "none"),
    ("people.department-history", "archive", [AW + "humanresources.employeedepartmenthistory"], SAMPLES, "BusinessEntityID", ("StartDate", "iso8601"), None, [], ROW),
    ("people.pay-history", "archive", [AW + "humanresources.employeepayhistory"], SAMPLES, "BusinessEntityID", ("RateChangeDate", "iso8601"), None, [], ROW),
    ("catalog.cost-history", "archive", [AW + "production.productcosthistory"], SAMPLES, "ProductID", ("ModifiedDate", "iso8601"), 45 * DAY,
     [("StartDate", "iso8601"), ("EndDate", "iso8601")], ROW),
    ("catalog.price-history", "archive", [AW + "production.productlistpricehistory"], SAMPLES, "ProductID", ("ModifiedDate", "iso8601"), None, [], ROW),
    ("sales.quota-history", "archive", [AW + "sales.salespersonquotahistory"], SAMPLES, "BusinessEntityID", ("QuotaDate", "iso8601"), HOUR,
     [("ModifiedDate", "iso8601")], ROW),
    ("desktop.security", "compliance", ["windows.security"], OTRF, "Hostname", ("EventTime", "iso8601"), None, [],
     "at most 150 records an event id; those with `EventTime`"),
    ("servers.security", "compliance", ["windows.security"], OTRF, "Hostname", ("@timestamp", "iso8601"), HOUR, [("TimeCreated", "iso8601")],
     "at most 150 records an event id; those with `TimeCreated`"),
    ("buckets.alarms", "compliance", ["aws.s3.honeybucket"], OTRF, None, ("Event DateTime", "iso8601"), HOUR, [("Alarm DateTime", "iso8601")], "none"),
    ("office.activity", "compliance", ["m365.unified_audit"], OTRF_M365, "UserId", ("CreationTime", "iso8601"), HOUR, [], "none"),
]

# Whole series, so that a reader sees them as they were measured.
SERIES = {
    "cloud.readings": [
        "realAWSCloudwatch/ec2_cpu_utilization_825cc2",
        "realAWSCloudwatch/ec2_network_in_257a54",
        "realAWSCloudwatch/elb_request_count_8c0756",
        "realAWSCloudwatch/rds_cpu_utilization_e47b3b",
    ],
    "office.climate": ["realKnownCause/ambient_temperature_system_failure"],
    "road.sensors": [
        f"realTraffic/{name}"
        for name in ("TravelTime_387", "TravelTime_451", "occupancy_6005", "occupancy_t4013", "speed_6005", "speed_7578", "speed_t4013")
    ],
}


def records(path):
    with gzip.open(path, "rt", encoding="utf-8") as source:
        for line in source:
            yield json.loads(line)


def as_line(payload):
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"))


def wanted(name, record):
    """Whether a record of the collection belongs to the topic `name`, beyond what its topic says."""
    if name == "desktop.events":
        return record["topic"] != "windows.security"
    if name == "desktop.security":
        return "EventTime" in record["payload"]
    if name == "servers.security":
        return "TimeCreated" in record["payload"] and "@timestamp" in record["payload"]
    return True


def write(name, payloads, domain, origin, key_field, event_time, age, also, changed):
    """Writes one topic, its records by event time, and returns its entry; what looks like a credential stays out."""
    path, time_format = event_time or (None, "broker")
    place = {"path": path, "format": time_format}
    lines = [(manifest.event_seconds(payload, place) or 0.0, as_line(payload)) for payload in payloads]
    kept = [line for line in lines if not CREDENTIAL.search(line[1])]
    if len(kept) < len(lines):
        note = f"{len(lines) - len(kept)} records that show a credential left out"
        changed = note if changed == "none" else f"{changed}; {note}"
    if path is not None:
        kept.sort(key=lambda line: line[0])
    manifest.write_data(name, [line for _, line in kept])
    source, licence = origin
    return manifest.entry(name, domain, len(kept), source, licence, key_field, path, time_format, age, also, changed)


def main():
    collection = Path(sys.argv[1])
    labelled = list(records(collection / "classifier/dev.jsonl.gz"))
    topics = []
    for name, domain, origins, origin, key_field, event_time, age, also, changed in PICKED:
        match = tuple(origins)
        payloads = [
            r["payload"]
            for r in labelled
            if (r["topic"].startswith(match) if match[0].endswith(".") else r["topic"] in match) and wanted(name, r)
        ]
        topics.append(write(name, payloads, domain, origin, key_field, event_time, age, also, changed))

    edits = [r["payload"] for r in records(collection / "stream/wikipedia_edits.jsonl.gz") if r["ts"].startswith("2015-09-12")]
    topics.append(write("wiki.edits", edits, "analytics", DRUID, "channel", ("time", "iso8601"), HOUR, [],
                        "the edits of 12 September 2015; 45 single records of other days left out"))

    shop = [
        r["payload"]
        for r in records(collection / "stream/ga4_events.jsonl.gz")
        if zlib.crc32(r["payload"]["user_pseudo_id"].encode()) % 3 == 0
        and r["payload"]["event_name"] not in ("session_start", "first_visit")
    ]
    topics.append(write("shop.events", shop, "analytics", MALLOY, "user_pseudo_id", ("event_timestamp", "us"), HOUR,
                        [("user_first_touch_timestamp", "us")],
                        "one visitor in three; `session_start` and `first_visit` left out"))

    readings = {name: [] for name in SERIES}
    topic_of = {series: name for name, all_series in SERIES.items() for series in all_series}
    for r in records(collection / "metrics/nab_real.jsonl.gz"):
        name = topic_of.get(r["series"])
        if name:
            timestamp = r["ts"].replace("T", " ").removesuffix("Z")
            readings[name].append({"series": r["series"].split("/")[1], "timestamp": timestamp, "value": r["value"]})
    for name, payloads in readings.items():
        topics.append(write(name, payloads, "metrics", NAB, "series", ("timestamp", "iso8601"), HOUR, [],
                            "CSV row as JSON object with the file's name as `series`"))
    manifest.update(topics)


if __name__ == "__main__":
    main()
