"""bert's ranks, seen by strace: their rows are their calls, and no other touches the files."""

import subprocess
from collections import defaultdict

import pytest

from harness.worker.record import Phase
from harness.worker.tfrecords import CHUNK_BYTES
from tests.unit.bert_run import bert_spec, even_set
from tests.unit.record_calls import STRACE, recorded_calls, thread_calls
from tests.unit.worker_run import REPOSITORY, command, load, load_json

pytestmark = pytest.mark.strace


def traced(tmp_path, spec):
    """Return the calls on records of each thread that made any."""
    output = tmp_path / "strace"
    output.mkdir()
    subprocess.run(
        [*STRACE, str(output / "log"), *command(tmp_path, spec)],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        timeout=120,
    )
    return [calls for log in sorted(output.iterdir()) if (calls := thread_calls(log))]


@pytest.mark.parametrize("changes", [{}, {"loader_workers": 0}, {"pipelines": 1}], ids=str)
def test_rows_are_the_calls_of_each_thread_in_order(tmp_path, changes):
    data_dir = even_set(tmp_path / "set", files=60, records=150, evaluation=120)
    spec = bert_spec(
        tmp_path,
        data_dir,
        **{"accelerators": 2, "batch_size": 6, "steps": 300, "eval_from": 1, **changes},
    )
    made = traced(tmp_path, spec)
    files = load_json(spec, "trace/files.json")
    recorded = []
    for rank in range(2):
        rows = load(spec, f"trace/rank-{rank:05d}.npy")
        if not len(rows):
            continue
        # A loader worker lives for one phase.
        parts = (
            [rows]
            if spec.loader_workers == 0
            else [rows[rows["phase"] == phase] for phase in (Phase.TRAIN, Phase.EVAL)]
        )
        recorded += [recorded_calls(part, files) for part in parts]
    assert sorted(recorded, key=str) == sorted(made, key=str)
    assert {call[0] for calls in made for call in calls} == {"openat", "pread64", "close"}


def test_eight_ranks_hold_192_files_open_before_the_first_batch(tmp_path):
    data_dir = even_set(tmp_path / "set", files=200, records=130)
    made = traced(tmp_path, bert_spec(tmp_path, data_dir, accelerators=8, steps=1))
    opened = defaultdict(int)
    for calls in made:
        assert [call[0] for call in calls[:48]] == ["openat", "pread64"] * 24
        assert {call[2:4] for call in calls[1:48:2]} == {(CHUNK_BYTES, 0)}
        for call in calls:
            opened[call[1]] += call[0] == "openat"
    assert len(made) == 8
    assert list(opened.values()) == [1] * 192
