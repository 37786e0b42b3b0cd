"""What a running command says: one JSON object a line on standard output.

The harness reads these lines to draw progress; with a person at the terminal `__main__` prints
sentences instead. Every event has a `kind`; counts are running totals, never differences.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

Emit = Callable[[Mapping[str, Any]], None]


def emit_json(event: Mapping[str, Any]) -> None:
    """Write one event as a line of JSON and flush it."""
    print(event_line(event), flush=True)


def event_line(event: Mapping[str, Any]) -> str:
    """Return the line that an event is, without its end."""
    return json.dumps(event, separators=(",", ":"))


def progress(task: str, done_bytes: int, total_bytes: int) -> dict[str, Any]:
    """Return the event that moves a bar: `task` is what runs, the totals are bytes."""
    return {"kind": "progress", "task": task, "done_bytes": done_bytes, "total_bytes": total_bytes}


def notice(text: str) -> dict[str, Any]:
    """Return the event of a sentence that the user should read."""
    return {"kind": "notice", "text": text}


def data_set(path: str) -> dict[str, Any]:
    """Return the event that a data set is complete, and where."""
    return {"kind": "data_set", "path": path}


def plan(path: str) -> dict[str, Any]:
    """Return the event that the rows of a planned run stand below `path`."""
    return {"kind": "plan", "path": path}


def result(path: str, exit_code: int) -> dict[str, Any]:
    """Return the event that a result stands at `path`; the run will end with `exit_code`."""
    return {"kind": "result", "path": path, "exit_code": exit_code}


def group(path: str, exit_code: int) -> dict[str, Any]:
    """Return the event that the results of repeats stand beside the file `path`."""
    return {"kind": "group", "path": path, "exit_code": exit_code}


def error(exit_code: int, text: str) -> dict[str, Any]:
    """Return the event of an expected failure, before the process ends with `exit_code`."""
    return {"kind": "error", "exit_code": exit_code, "text": text}
