"""Commands that are stopped at any moment, and what they leave: nothing, and data that goes on."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from commands import ROOT, Outcome, harness

from dsgen.lock import hold_exclusive
from harness.engine.client import connect
from harness.engine.daemon import LABEL


def interruption(directory: Path) -> Outcome:
    """Stop build, generate and train at 20 seeded moments each, by SIGINT and SIGTERM."""
    draw = random.Random(1)
    shutil.rmtree(directory / "interrupt", ignore_errors=True)
    trained = directory / "interrupt" / "train"
    prepared = harness("generate", "imseg", *_smoke_words(trained))
    if prepared.returncode:
        return False, prepared.stderr.splitlines()[-1]
    stopped, late = dict.fromkeys(("build", "generate", "train"), 0), 0
    for verb, longest_s in (("build", 5.0), ("generate", 2.5), ("train", 5.0)):
        for moment in range(20):
            where = trained if verb == "train" else directory / "interrupt" / f"{verb}-{moment}"
            number = (signal.SIGINT, signal.SIGTERM)[moment % 2]
            problem = _stop(verb, where, number, draw.uniform(0.4, longest_s))
            if problem == "late":
                late += 1
            elif problem:
                return False, f"{verb}, moment {moment}: {problem}"
            else:
                stopped[verb] += 1
            if verb == "generate":
                done = harness("generate", "imseg", *_smoke_words(where))
                if done.returncode:
                    return False, f"generate does not resume: {done.stderr.splitlines()[-1]}"
                shutil.rmtree(where)
    shutil.rmtree(directory / "interrupt")
    return min(stopped.values()) >= 10, f"stopped {stopped}, {late} signals came after the end"


def _smoke_words(where: Path) -> list[object]:
    return [
        *("--preset", "smoke", "--engine", "docker"),
        *("--data", where / "data", "--results", where / "results"),
    ]


def _stop(verb: str, where: Path, number: int, after_s: float) -> str | None:
    """Stop one command, and return what is wrong afterwards; "late" if it had ended before."""
    words = ["build", "cpu"] if verb == "build" else [verb, "imseg", *map(str, _smoke_words(where))]
    if verb == "build":
        _forget_image()
    child = subprocess.Popen(
        [sys.executable, "-m", "harness", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    time.sleep(after_s)
    child.send_signal(number)
    _, said = child.communicate(timeout=90)
    if child.returncode == 0:
        return "late"
    # Before its handlers stand, Python ends as any process does.
    if child.returncode not in (128 + number, -number):
        return f"exit code {child.returncode} after signal {number}: {said.splitlines()[-1:]}"
    if left := _containers(where):
        return f"containers {left} are left"
    if _is_alive(child.pid):
        return "a process is left"
    for data in (where / "data").glob("imseg-*"):
        with hold_exclusive(data):
            pass
    home = where / "results" / "imseg"
    if verb == "train" and (unfinished := list(home.glob(".*.partial"))):
        return f"{unfinished} is left"
    for path in home.glob("*/result.json"):
        if json.loads(path.read_text())["status"] not in ("interrupted", "ok"):
            return f"{path} is not marked interrupted"
    return None


def _is_alive(group: int) -> bool:
    """Say whether a process group has a process."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _containers(where: Path) -> set[str]:
    """Return the containers of this tool that see `where`, whatever their state."""
    found = connect().containers.list(all=True, filters={"label": LABEL}, ignore_removed=True)
    return {
        str(container.name)
        for container in found
        if any(mount["Source"].startswith(str(where)) for mount in container.attrs["Mounts"])
    }


def _forget_image() -> None:
    """Remove the CPU image with its layers, the packages' stage left, so that it is built again."""
    client = connect()
    for image in client.images.list(name="feedrate-cpu"):
        for tag in image.tags:
            client.images.remove(tag)
