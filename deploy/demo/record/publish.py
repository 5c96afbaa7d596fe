#!/usr/bin/env python3
"""Reads recorded lines from standard input, takes out what belongs to the machine they were recorded on, and writes the
data file of one topic.

    publish.py TOPIC DOMAIN PROGRAM KEY_FIELD|- TIME_PATH|- MAX_RECORDS < lines

RECORD_SCRUB holds pairs of what to replace and what to put there, one a line, with a tab between: folders, user, host name.
"""

import json
import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import manifest  # noqa: E402

LOCAL_PORT = re.compile(r"\b(127\.0\.0\.1|localhost):(1[0-9]{4}|[2-6][0-9]{4})\b")
FOREIGN_URL = re.compile(r"https?://(?!127\.|localhost|www\.example\.)[\w.-]+(:\d+)?")


def main():
    topic, domain, program, key_field, time_path, most = sys.argv[1:]
    pairs = [line.split("\t") for line in os.environ.get("RECORD_SCRUB", "").splitlines()]
    pairs.sort(key=lambda pair: -len(pair[0]))
    lines = []
    for raw in sys.stdin.buffer:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        for what, instead in pairs:
            line = line.replace(what, instead)
        line = LOCAL_PORT.sub(r"\1:9092" if "broker" in topic else r"\1:8080", line)
        if domain == "logs" and not topic.startswith("edge."):
            line = FOREIGN_URL.sub("https://packages.example.com", line)
        if not line.strip():
            continue
        if line.startswith("{"):
            json.loads(line)
        lines.append(line)
    lines = lines[: int(most)]
    if not lines:
        sys.exit(f"publish.py: nothing was recorded for {topic}")
    manifest.write_data(topic, lines)
    timed = time_path != "-"
    manifest.update([
        manifest.entry(
            topic, domain, len(lines), f"recorded: {program}", "Apache-2.0 (our own recording)",
            None if key_field == "-" else key_field,
            time_path if timed else None, "iso8601" if timed else "broker", manifest_age(topic) if timed else None,
            [(p, "iso8601") for p in ALSO.get(topic, [])],
            "folders, user and host name replaced" + ("" if timed else "; text lines"),
        )
    ])
    print(f"  {topic}: {len(lines)} records")


# Other times in the records that move with the event time, and how old the newest record is made.
ALSO = {"ci.steps": ["started_at", "finished_at"], "build.tasks": ["started_at"]}
AGES = {"build.tasks": 10 * 86_400, "broker.server": 20 * 86_400}


def manifest_age(topic):
    return AGES.get(topic, 3_600)


if __name__ == "__main__":
    main()
