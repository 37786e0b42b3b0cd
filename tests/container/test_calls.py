"""The ranks in a container, seen by strace: the recorded rows are the calls, and np.load's."""

import numpy as np
import pytest

from harness.trace.calls import by_thread, calls_of
from harness.worker.record import Phase
from tests.reference.calls import by_file, recorded_calls
from tests.unit.worker_run import load, load_json, make_data_set, make_spec

pytestmark = pytest.mark.engine

CASES = 20
NP_LOAD = "import sys, numpy; [numpy.load(path) for path in sys.argv[1:]]"


def calls_of_threads(trace, data):
    """Return the calls of each thread on the data."""
    return list(map(calls_of, by_thread(trace.below(f"{data}/case_")).values()))


def train(traced, spec, tmp_path):
    """Run our ranks; return their Trace."""
    (tmp_path / "spec.json").write_text(spec.to_json())
    return traced("-m", "harness.worker", tmp_path / "spec.json")


@pytest.mark.parametrize("loader_workers", [0, 2])
@pytest.mark.parametrize("buffer", ["reuse", "fresh"])
def test_rows_are_the_calls_of_each_thread_in_order(traced, tmp_path, buffer, loader_workers):
    data = make_data_set(tmp_path / "data", train=CASES, side=40)
    spec = make_spec(
        tmp_path, data, accelerators=2, epochs=1, buffer=buffer, loader_workers=loader_workers
    )
    seen = calls_of_threads(train(traced, spec, tmp_path), data)
    files = load_json(spec, "trace/files.json")
    recorded = []
    for rank in range(2):
        rows = load(spec, f"trace/rank-{rank:05d}.npy")
        assert set(rows["phase"]) == {Phase.TRAIN}
        for loader in np.unique(rows["loader"]):
            recorded.append(recorded_calls(rows[rows["loader"] == loader], files))
    assert len(recorded) == 2 * max(1, loader_workers)
    assert sorted(recorded) == sorted(seen)
    assert sum(call.name == "open" for calls in recorded for call in calls) == 2 * CASES


def test_a_file_is_read_with_the_calls_of_np_load(traced, tmp_path):
    data = make_data_set(tmp_path / "data", train=CASES, side=40)
    (ours,) = calls_of_threads(train(traced, make_spec(tmp_path, data), tmp_path), data)
    paths = sorted(data.glob("*.npy"))
    (theirs,) = calls_of_threads(traced("-c", NP_LOAD, *paths), data)
    assert len(by_file(ours)) == 2 * CASES
    assert by_file(ours) == by_file(theirs)
