"""The commands of this repository, as acceptance runs them."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness.similarity.document import Similarity
from harness.similarity.sides import DOCUMENT_NAME

Outcome = tuple[bool, str]
ROOT = Path(__file__).parents[1]
# What records a reference reader is the tests' own, and they are no installed package.
sys.path.append(str(ROOT))


def harness(*words: object) -> subprocess.CompletedProcess[str]:
    """Run `python -m harness` and return how it ended."""
    command = [sys.executable, "-m", "harness", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def checked(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a command printed; end with what it said if it failed."""
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def result_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the result whose path is the last line that a run printed."""
    result: dict[str, Any] = json.loads(Path(done.stdout.splitlines()[-1]).read_text())
    return result


def compared(workload: str, sides: Mapping[str, Sequence[Path]], output: Path) -> Similarity:
    """Compare recordings, named side by side, and return what is found, which stays in `output`."""
    flags = [word for side, own in sides.items() for path in own for word in (f"--{side}", path)]
    checked(harness("similarity", workload, *flags, "--output", output))
    return msgspec.json.decode((output / DOCUMENT_NAME).read_bytes(), type=Similarity)
