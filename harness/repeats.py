"""Several runs over one data set, each with a result of its own, and the group they are."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from dsgen import events
from dsgen.errors import ExitCode, FeedrateError, StopRequested
from harness.analysis.repeat import Repeat
from harness.beside import write_beside
from harness.dataset import DataSet
from harness.errors import ResultError
from harness.result import RESULT_NAME, Result, read_result
from harness.run import train
from harness.run_name import run_name
from harness.setting import Setting
from harness.system import system_facts
from harness.target import create_directory

GROUP_NAME: Final = "group.json"
SCHEMA_VERSION: Final = 1
_ASIS_NOTICE: Final = (
    "With --cache asis, runs after the first find in memory what the one before left there."
)


def train_repeatedly(setting: Setting, data: DataSet) -> ExitCode:
    """Train as often as configured, and return the exit code of the first run that was not done.

    One run is a run and no group. Each run of a group is a whole result before the next begins;
    what ends one of them ends the group, and the results there are stay.

    Raises:
        FeedrateError: as `harness.run.train` has it.
        StopRequested: as it came, and where the results lie.
    """
    count = setting.config.repeat
    if count == 1:
        return train(setting, data)
    if setting.config.cache == "asis":
        setting = replace(setting, notices=(*setting.notices, _ASIS_NOTICE))
    name = run_name(datetime.now(UTC), f"x{count}")
    directory = setting.config.results / setting.config.workload / name
    create_directory(directory)
    try:
        codes = [_one_of(setting, data, directory, index) for index in range(1, count + 1)]
    except StopRequested as stop:
        where = f"; its group is {directory}" if directory.exists() else ""
        left = f"{stop.left or 'stopped between two runs'}{where}"
        raise StopRequested(stop.signal_number, left=left) from stop
    for line in spread_lines(_results(directory)):
        setting.progress.say(line)
    code = next((code for code in codes if code is not ExitCode.DONE), ExitCode.DONE)
    setting.progress.end(events.group(str(directory / GROUP_NAME), code))
    return code


def _one_of(setting: Setting, data: DataSet, directory: Path, index: int) -> ExitCode:
    count, seed = setting.config.repeat, setting.config.seed + index - 1
    repeat = Repeat(group=directory.name, index=index, of=count, seed=seed)
    try:
        # A run ends what shows its progress, so that its path is the last line.
        with setting.progress:
            setting.progress.say(f"run     {index} of {count}, seed {seed} of order and step times")
            code = train(replace(setting, repeat=repeat, system=system_facts()), data)
    except (FeedrateError, StopRequested):
        with suppress(ResultError):  # what ended the run is to be told, not what followed from it
            _write_group(directory, _results(directory), of=count)
        with suppress(OSError):  # it is not empty, unless there was nothing to begin with
            directory.rmdir()
        raise
    _write_group(directory, _results(directory), of=count)
    return code


def spread_lines(results: Sequence[Result]) -> list[str]:
    """Return what the runs of a group are together: means with intervals, and how they scatter."""
    # Only here, because it imports SciPy, which takes a while.
    from harness.analysis.compare import FIGURES, share_text
    from harness.analysis.welch import spread_of
    from harness.compare.table import value_text

    lines = []
    for figure in FIGURES:
        values = [value for result in results if (value := figure.of(result))]
        if len(values) < 2 or len(values) < len(results):
            continue
        spread = spread_of(values)
        ends = [value_text(end, figure.unit) for end in (spread.low, spread.high) if end]
        lines.append(
            f"runs    {figure.name} {value_text(spread.mean, figure.unit)}, 95 % interval "
            f"{' to '.join(ends)}, sd {share_text(spread.scatter or 0.0)} of {len(values)} runs"
        )
    return lines


def _results(directory: Path) -> list[Result]:
    """Return the results of a group, in the order of their runs."""
    results = [read_result(path) for path in directory.glob(f"*/{RESULT_NAME}")]
    return sorted(results, key=lambda result: result.repeat.index if result.repeat else 0)


def _write_group(directory: Path, results: Sequence[Result], *, of: int) -> None:
    """Write group.json once there is a run: which runs there are. Figures stand in their results.

    Raises:
        ResultError: the directory does not take it.
    """
    if not results:
        return
    content: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "group": directory.name,
        "repeats": of,
        "runs": [
            {
                **msgspec.structs.asdict(result.repeat),
                "result": f"{result.run_id}/{RESULT_NAME}",
                "status": result.status,
                "exit_code": result.exit_code,
            }
            for result in results
            if result.repeat is not None
        ],
    }
    path = directory / GROUP_NAME
    try:
        write_beside(path, json.dumps(content, indent=1).encode() + b"\n")
    except OSError as error:
        then = "free space; the results of its runs stand beside it"
        what = f"cannot write ({error.strerror})"
        raise ResultError(what, where=str(path), then=then) from error
