"""Every event of every training run, as a line of JSON.

The file is `events.jsonl` of the run folder, or the one that ZOO_EVENT_LOG names, which several runs may share.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime

from zoo import hookimpl


@hookimpl
def zoo_run_started(run):
    record(run, "started", data=run.settings.data, examples=run.settings.examples)


@hookimpl
def zoo_run_logged(run, metrics):
    record(run, "logged", metrics=metrics)


@hookimpl
def zoo_run_checkpointed(run, path):
    record(run, "checkpointed", path=str(path))


@hookimpl
def zoo_run_finished(run, summary):
    record(run, "finished", summary=summary)


def record(run, event, **details):
    """Add one line, in a single write: those of runs side by side don't mix."""
    head = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "event": event,
        "model": run.spec.name,
        "run": str(run.folder),
        "seen": run.seen,
    }
    line = json.dumps({**head, **details}) + "\n"
    with open(os.environ.get("ZOO_EVENT_LOG") or run.folder / "events.jsonl", "ab", buffering=0) as file:
        file.write(line.encode())
