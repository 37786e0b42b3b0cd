"""The commands of this repository, as acceptance runs them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

Outcome = tuple[bool, str]
ROOT = Path(__file__).parents[1]


def harness(*words: object) -> subprocess.CompletedProcess[str]:
    """Run `python -m harness` and return how it ended."""
    command = [sys.executable, "-m", "harness", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def result_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the result whose path is the last line that a run printed."""
    result: dict[str, Any] = json.loads(Path(done.stdout.splitlines()[-1]).read_text())
    return result
