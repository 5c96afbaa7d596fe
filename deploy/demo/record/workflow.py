#!/usr/bin/env python3
"""Builds the sample project at each of its commits and writes what happened, as a build server reports it.

    workflow.py FOLDER

writes FOLDER/ci.steps (runs, jobs and steps as JSON lines) and FOLDER/build.tasks (the commands that make ran). Every
step is a real command; times, exit codes and attempts are those that were seen. Nothing leaves the machine.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from datetime import datetime, timezone
from pathlib import Path

import sample

TIMEOUT_SECONDS = 5
RETRIES = {"unit tests": 3}

# What a step runs; it succeeds with exit code 0. {src} is the checked-out commit, {data} the demo's data folder.
C_STEPS = [
    ("configure", "cc --version && printf 'CFLAGS=%s\\n' '{flags}' > {src}/c/config.mk"),
    ("compile", "make -C {src}/c -j2 SHELL={timed} CFLAGS='{flags}' all"),
    ("unit tests", "test \"$({src}/c/tally < {src}/README.md | grep -c .)\" -eq 8"),
    ("smoke test", "{src}/c/tally < {src}/README.md"),
    ("package", "make -C {src}/c SHELL={timed} CFLAGS='{flags}' dist"),
]
PIPELINES = {
    "tally-native": [
        ("build (debug)", C_STEPS, {"flags": "-O0 -g"}),
        ("build (release)", C_STEPS, {"flags": "-O2"}),
    ],
    "tally-python": [
        ("test", [
            ("byte-compile", "python3 -m compileall -q {src}/py"),
            ("unit tests", "cd {src}/py && python3 -m unittest -q"),
            ("package", "python3 -m zipapp {src}/py -o {src}/tally.pyz"),
            ("smoke test", "python3 {src}/tally.pyz < {src}/README.md"),
        ], {}),
    ],
    "tally-web": [
        ("test", [
            ("install", "cd {src}/js && npm install --offline --no-audit --no-fund"),
            ("lint", "cd {src}/js && node --check count/index.js"),
            ("unit tests", "cd {src}/js && node --test"),
            ("package", "cd {src}/js && npm pack --offline --silent"),
        ], {}),
    ],
    "tally-crate": [
        ("test", [
            ("format", "cd {src}/rs && cargo fmt --check"),
            ("compile", "cd {src}/rs && cargo build --offline --quiet"),
            ("unit tests", "cd {src}/rs && cargo test --offline --quiet"),
        ], {}),
    ],
    "edits-report": [
        ("report", [
            ("extract", "gzip -dc {data}/wiki.edits.jsonl.gz | head -n {rows} > {src}/edits.jsonl"),
            ("transform", "python3 -c \"import json,sys; [print(r['channel'], r['added'], sep=',') for r in map(json.loads, sys.stdin)]\""
             " < {src}/edits.jsonl > {src}/edits.csv"),
            ("load", "python3 -c \"import csv,sqlite3,sys; db=sqlite3.connect(sys.argv[1]); db.execute('create table e(channel,added int)');"
             " db.executemany('insert into e values(?,?)', csv.reader(sys.stdin)); db.commit()\" {src}/edits.db < {src}/edits.csv"),
            ("verify", "test \"$(wc -l < {src}/edits.csv)\" -eq {rows}"),
            ("publish", "python3 -c \"import sqlite3,sys; print(sqlite3.connect(sys.argv[1]).execute('select channel,sum(added) s from e"
             " group by 1 order by s desc limit 5').fetchall())\" {src}/edits.db > {src}/report.txt"),
        ], {}),
    ],
}
NEEDS = {"tally-web": ["npm", "node"], "tally-crate": ["cargo"], "tally-native": ["cc", "make"]}
TIMED = """#!/bin/bash
# Stands in for make's shell: runs one recipe line and notes what it was, how long it took and how it ended.
target=$1; shift 2
started=${EPOCHREALTIME/./}
bash -c "$1"; code=$?
finished=${EPOCHREALTIME/./}
case $code in 0) status=done ;; *) status=failed ;; esac
iso() { date -u -d "@${1:0:-6}.${1: -6:3}" +%Y-%m-%dT%H:%M:%S.%3NZ; }
printf '{"task_id":"%s","job_id":"%s","target":"%s","command":"%s","status":"%s","exit_code":%d,"started_at":"%s","finished_at":"%s","duration_ms":%d}\\n' \\
    "$$-$started" "$JOB_ID" "$target" "${1//\\"/\\\\\\"}" "$status" "$code" "$(iso "$started")" "$(iso "$finished")" $(((finished - started) / 1000)) >> "$TASKS"
exit $code
"""


def now():
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Recorder:
    """Appends events to a file, one JSON object a line."""

    def __init__(self, path):
        self.out = open(path, "w")

    def event(self, **fields):
        self.out.write(json.dumps({"timestamp": now(), **fields}, separators=(",", ":")) + "\n")
        self.out.flush()


def run_step(command, environment):
    """Runs one command; returns its state and exit code. The output is not kept."""
    process = subprocess.Popen(["bash", "-c", command], env=environment, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        code = process.wait(TIMEOUT_SECONDS if "tally <" in command else 120)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()
        return "timed_out", None
    return ("succeeded" if code == 0 else "failed"), code


def run_job(recorder, common, name, steps, values, environment):
    """Runs the steps of a job one after the other; after one that fails the rest are skipped."""
    job = {**common, "job_id": str(uuid.uuid4()), "job": name}
    environment = {**environment, "JOB_ID": job["job_id"]}
    job_started, clock = now(), time.monotonic()
    recorder.event(event="job.started", **job, state="running", started_at=job_started)
    state = "succeeded"
    for number, (step, command) in enumerate([("checkout", "git clone -q {repo} {src}")] + steps, 1):
        fields = {**job, "step": number, "step_name": step}
        if state != "succeeded":
            recorder.event(event="step.skipped", **fields, state="skipped", finished_at=now())
            continue
        for attempt in range(1, RETRIES.get(step, 1) + 1):
            step_started, step_clock = now(), time.monotonic()
            recorder.event(event="step.started", **fields, attempt=attempt, state="running", started_at=step_started)
            state, code = run_step(command.format(**values), environment)
            recorder.event(event="step.finished", **fields, attempt=attempt, state=state, exit_code=code, started_at=step_started,
                           finished_at=now(), duration_ms=round((time.monotonic() - step_clock) * 1000))
            if state == "succeeded":
                break
    recorder.event(event="job.finished", **job, state=state, started_at=job_started, finished_at=now(),
                   duration_ms=round((time.monotonic() - clock) * 1000))
    return state


def main():
    folder = Path(sys.argv[1]).resolve()
    data = Path(__file__).resolve().parents[1] / "data"
    repo, timed = folder / "tally.git", folder / "timed.sh"
    timed.write_text(TIMED)
    timed.chmod(0o755)
    git = {"GIT_AUTHOR_NAME": "Sam", "GIT_AUTHOR_EMAIL": "sam@example.com", "GIT_COMMITTER_NAME": "Sam",
           "GIT_COMMITTER_EMAIL": "sam@example.com", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    environment = {**os.environ, **git, "TASKS": str(folder / "build.tasks"), "npm_config_userconfig": "/dev/null",
                   "npm_config_cache": str(folder / "npm"), "npm_config_update_notifier": "false", "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("CARGO_TARGET_DIR", None)
    subprocess.run(["git", "init", "-q", "-b", "main", str(repo)], check=True, env=environment)
    sample.write(repo)
    recorder = Recorder(folder / "ci.steps")
    for number, (subject, edits) in enumerate(sample.CHANGES, 1):
        sample.change(repo, edits)
        subprocess.run(["git", "-C", str(repo), "add", "-A"], check=True, env=environment)
        subprocess.run(["git", "-C", str(repo), "commit", "-q", "-m", subject], check=True, env=environment)
        commit = subprocess.run(["git", "-C", str(repo), "rev-parse", "HEAD"], check=True, env=environment,
                                capture_output=True, text=True).stdout.strip()
        for pipeline, jobs in PIPELINES.items():
            if any(shutil.which(tool) is None for tool in NEEDS.get(pipeline, [])):
                continue
            common = {"pipeline": pipeline, "run_id": str(uuid.uuid4()), "run_number": number, "branch": "main", "commit": commit,
                      "trigger": "schedule" if pipeline == "edits-report" else "push"}
            run_started, clock = now(), time.monotonic()
            recorder.event(event="run.started", **common, title=subject, state="running", started_at=run_started)
            states = []
            for name, steps, more in jobs:
                src = folder / "checkout"
                values = {"repo": repo, "src": src, "timed": timed, "data": data, "rows": 500 * number, **more}
                states.append(run_job(recorder, common, name, steps, values, environment))
                shutil.rmtree(src, ignore_errors=True)
            state = "succeeded" if all(s == "succeeded" for s in states) else "failed"
            recorder.event(event="run.finished", **common, state=state, started_at=run_started, finished_at=now(),
                           duration_ms=round((time.monotonic() - clock) * 1000))
        print(f"  commit {number} of {len(sample.CHANGES)}: {subject}", flush=True)


if __name__ == "__main__":
    main()
