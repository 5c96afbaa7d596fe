"""The manifest of the demo's records: `topics.json`, and the table in `README.md` made from it.

`build.py` and `record.sh` each add the topics they make; `check.py` compares both files with the data.
"""

import gzip
import io
import json
import re
from datetime import datetime, timezone
from pathlib import Path

HERE = Path(__file__).resolve().parent
DATA = HERE / "data"
MANIFEST = HERE / "topics.json"
README = HERE / "README.md"
BEGIN, END = "<!-- topics: begin -->", "<!-- topics: end -->"

DOMAINS = [
    "user", "session", "chat", "metrics", "analytics", "content",
    "workflow", "integration", "logs", "archive", "compliance",
]

UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000}
ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?)?\s*(Z|[+-]\d\d:?\d\d)?"
)


def seconds(value, time_format):
    """Seconds since 1970 (UTC) of one event time, or None where `value` is not one."""
    if value is None:
        return None
    if time_format in UNITS:
        return value / UNITS[time_format]
    if time_format == "year":
        return datetime(int(value), 1, 1, tzinfo=timezone.utc).timestamp()
    match = ISO.fullmatch(value)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    moment = datetime(
        int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=timezone.utc
    ).timestamp()
    moment += float("0." + fraction) if fraction else 0.0
    if zone and zone != "Z":
        offset = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
        moment -= offset if zone[0] == "+" else -offset
    return moment


def at(record, path):
    """The value at a dotted path of a JSON object, or None."""
    for name in path.split("."):
        if not isinstance(record, dict):
            return None
        record = record.get(name)
    return record


def event_seconds(record, event_time):
    """The event time of one record by its manifest entry, or None where the record does not hold one."""
    if event_time["path"] is None or not isinstance(record, dict):
        return None
    return seconds(at(record, event_time["path"]), event_time["format"])


def parse(line):
    """A line of a data file as the pipeline sees it: an object where it is JSON, else the text itself."""
    if line.startswith("{"):
        return json.loads(line)
    return line


def write_data(topic, lines):
    """Writes `lines` as the topic's data file; the same lines give the same bytes."""
    text = "".join(line + "\n" for line in lines).encode()
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, mtime=0, fileobj=buffer) as out:
        out.write(text)
    DATA.mkdir(exist_ok=True)
    (DATA / f"{topic}.jsonl.gz").write_bytes(buffer.getvalue())


def read_data(topic_entry):
    """The lines of a topic's data file."""
    with gzip.open(HERE / topic_entry["file"], "rt", encoding="utf-8", newline="\n") as source:
        return source.read().split("\n")[:-1]


def entry(topic, domain, records, source, licence, key_field, path, time_format, newest_age_seconds, also=(), changed=""):
    """One topic of the manifest, fields in their fixed order."""
    return {
        "topic": topic,
        "file": f"data/{topic}.jsonl.gz",
        "records": records,
        "domain": domain,
        "source": source,
        "licence": licence,
        "key_field": key_field,
        "event_time": {
            "path": path,
            "format": time_format,
            "also": [{"path": p, "format": f} for p, f in also],
        },
        "newest_age_seconds": newest_age_seconds,
        "changed": changed,
    }


def load():
    return json.loads(MANIFEST.read_text())["topics"] if MANIFEST.exists() else []


def age_in_words(topic):
    age = topic["newest_age_seconds"]
    if age is None:
        return "broker's" if topic["event_time"]["path"] is None else "kept"
    return f"newest {age // 3600} h old" if age < 86_400 else f"newest {age // 86_400} days old"


def table(topics):
    """The README's table, as text."""
    rows = ["| topic | domain expected | records | event time | source @ commit | licence | what was changed |",
            "| --- | --- | ---: | --- | --- | --- | --- |"]
    for t in topics:
        path = t["event_time"]["path"]
        time = age_in_words(t) if path is None else f"`{path}` ({t['event_time']['format']}), {age_in_words(t)}"
        rows.append(
            f"| `{t['topic']}` | {t['domain']} | {t['records']:,} | {time} | {t['source']} | {t['licence']} | {t['changed']} |"
        )
    total = sum(t["records"] for t in topics)
    rows.append(f"| **{len(topics)} topics** | **{len({t['domain'] for t in topics})} domains** | **{total:,}** | | | | |")
    return "\n".join(rows)


def update(new_topics):
    """Puts `new_topics` in place of those of the same name, and writes the manifest and the README's table."""
    by_name = {t["topic"]: t for t in load()}
    by_name.update({t["topic"]: t for t in new_topics})
    topics = sorted(by_name.values(), key=lambda t: (DOMAINS.index(t["domain"]), t["topic"]))
    topics = [t for t in topics if (HERE / t["file"]).exists()]
    MANIFEST.write_text(json.dumps({"topics": topics}, indent=2, ensure_ascii=False) + "\n")
    text = README.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    README.write_text(before + BEGIN + "\n" + table(topics) + "\n" + END + after)
