#!/usr/bin/env python3
"""Checks the demo's records against their manifest, and prints what a run of the demo should find.

    deploy/demo/check.py [--json]

Exit status 1 and a list of what is wrong when a count, a licence, a time or a document does not agree with the data.
The tiers are those of the default policy (hot for 7 days, warm for 90), as of now.
"""

import json
import re
import sys
import time
from collections import Counter
from datetime import datetime, timezone

import manifest

LICENCES = {"MIT", "Apache-2.0", "CC0-1.0", "CC-BY-3.0", "CC-BY-4.0", "Apache-2.0 (our own recording)"}
LEAST_RECORDS, LEAST_SOURCES, MOST_BYTES = 90_000, 10, 9 * 1024 * 1024
HOT_SECONDS, WARM_SECONDS = 7 * 86_400, 90 * 86_400
FIELDS = list(manifest.entry("", "", 0, "", "", None, None, "", None))
MACHINE = re.compile(r"/root\b|/home/(?!app\b)\w+|pypi|npmjs")


def tier(age_seconds):
    return "hot" if age_seconds < HOT_SECONDS else "warm" if age_seconds < WARM_SECONDS else "cold"


def check_topic(topic, now, problems):
    """Checks one topic and returns what it holds."""
    name, event_time, age = topic["topic"], topic["event_time"], topic["newest_age_seconds"]

    def wrong(what):
        problems.append(f"{name}: {what}")

    if list(topic) != FIELDS:
        wrong(f"has the fields {list(topic)}, not {FIELDS}")
    if topic["licence"] not in LICENCES:
        wrong(f"the licence {topic['licence']!r} is not one that may ship")
    if topic["domain"] not in manifest.DOMAINS:
        wrong(f"{topic['domain']!r} is no domain")
    if event_time["path"] is None and age is not None:
        wrong("is moved in time but has no event time")
    lines = manifest.read_data(topic)
    if len(lines) != topic["records"]:
        wrong(f"holds {len(lines)} records, the manifest says {topic['records']}")
    texts, times, keyless = 0, [], 0
    for number, line in enumerate(lines, 1):
        try:
            record = manifest.parse(line)
        except ValueError as error:
            wrong(f"line {number} is not JSON: {error}")
            continue
        if not line.strip():
            wrong(f"line {number} is empty")
        texts += not isinstance(record, dict)
        if topic["key_field"] is not None and not (isinstance(record, dict) and topic["key_field"] in record):
            keyless += 1
        if topic["source"].startswith("recorded") and MACHINE.search(line):
            wrong(f"line {number} shows the machine it was recorded on: {line[:120]}")
        seconds = manifest.event_seconds(record, event_time)
        if seconds is not None:
            times.append(seconds)
    if keyless > len(lines) * 0.05:
        wrong(f"{keyless} records have no {topic['key_field']!r}")
    if event_time["path"] is not None and len(times) < len(lines) * 0.95:
        wrong(f"{len(lines) - len(times)} records have no event time at {event_time['path']!r}")
    shift = now - age - max(times) if age is not None and times else 0.0
    tiers = Counter(tier(now - seconds - shift) for seconds in times)
    untimed = len(lines) - len(times)
    tiers["hot"] += untimed
    return {
        "topic": name, "domain": topic["domain"], "records": len(lines), "text": texts, "without_time": untimed,
        "oldest": min(times, default=None), "newest": max(times, default=None),
        "hot": tiers["hot"], "warm": tiers["warm"], "cold": tiers["cold"],
    }


def check_all(topics, found, problems):
    """Checks what holds for the folder as a whole."""
    listed = {topic["file"] for topic in topics}
    there = {f"data/{path.name}" for path in manifest.DATA.iterdir()}
    problems += [f"{name} is not in the manifest" for name in sorted(there - listed)]
    total = sum(one["records"] for one in found)
    if total < LEAST_RECORDS:
        problems.append(f"only {total} records")
    sources = {repository for topic in topics for repository in re.findall(r"[\w-]+/[\w.-]+(?= @)", topic["source"])}
    recorded = {topic["source"] for topic in topics if topic["source"].startswith("recorded")}
    if len(sources) + bool(recorded) < LEAST_SOURCES:
        problems.append(f"only {len(sources)} sources")
    missing = set(manifest.DOMAINS) - {topic["domain"] for topic in topics}
    problems += [f"no topic of the domain {domain}" for domain in sorted(missing)]
    size = sum(path.stat().st_size for path in manifest.DATA.iterdir())
    if size > MOST_BYTES:
        problems.append(f"the data takes {size} bytes, more than {MOST_BYTES}")
    notice = (manifest.HERE / "NOTICE").read_text()
    problems += [f"NOTICE does not name {source}" for source in sorted(sources) if source not in notice]
    if manifest.table(topics) not in manifest.README.read_text():
        problems.append("the table in README.md is not the manifest's")
    for name in ("hot", "warm", "cold"):
        if sum(one[name] for one in found) < 2_000:
            problems.append(f"fewer than 2,000 records would be {name}")
    return {"records": total, "sources": len(sources), "recorded": len(recorded), "bytes": size}


def day(seconds):
    if seconds is None:
        return "-"
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M")


def main():
    problems, now = [], time.time()
    topics = manifest.load()
    found = [check_topic(topic, now, problems) for topic in topics]
    totals = check_all(topics, found, problems)
    if "--json" in sys.argv[1:]:
        print(json.dumps({"ok": not problems, **totals, "topics": found, "problems": problems}))
    else:
        print(f"{'topic':28}{'domain':12}{'records':>8}{'text':>7}{'hot':>7}{'warm':>7}{'cold':>7}  {'oldest':17} newest")
        for one in found:
            print(f"{one['topic']:28}{one['domain']:12}{one['records']:8}{one['text']:7}{one['hot']:7}{one['warm']:7}{one['cold']:7}"
                  f"  {day(one['oldest']):17} {day(one['newest'])}")
        for domain in manifest.DOMAINS:
            counts = {name: sum(one[name] for one in found if one["domain"] == domain) for name in ("records", "hot", "warm", "cold")}
            print(f"{'':28}{domain:12}{counts['records']:8}{'':7}{counts['hot']:7}{counts['warm']:7}{counts['cold']:7}")
        print(f"{len(topics)} topics, {totals['records']} records, {totals['sources']} sources and {totals['recorded']} recorded programs, "
              f"{totals['bytes'] / 1e6:.1f} MB")
        for problem in problems:
            print(f"wrong: {problem}", file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
