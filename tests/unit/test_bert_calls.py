"""bert's ranks, seen by strace: their rows are their calls, and no other touches the files."""

from collections import defaultdict

import pytest

from harness.trace.calls import by_thread, calls_of
from harness.worker.loading.tfrecords import CHUNK_BYTES
from harness.worker.record import Phase
from tests.reference.calls import recorded_calls
from tests.unit.bert_run import bert_spec, even_set
from tests.unit.traced_calls import run_traced
from tests.unit.worker_run import command, load, load_json

pytestmark = pytest.mark.strace


def traced(tmp_path, spec):
    """Return the calls on records of each thread that made any."""
    trace = run_traced(tmp_path / "strace", command(tmp_path, spec))
    data_dir = spec.data_dir
    seen = trace.below(f"{data_dir}/part-", f"{data_dir}/eval_10k")
    return [calls_of(own) for own in by_thread(seen).values()]


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
    assert sorted(recorded) == sorted(made)
    assert {call.name for calls in made for call in calls} == {"open", "pread", "close"}


def test_eight_ranks_hold_192_files_open_before_the_first_batch(tmp_path):
    data_dir = even_set(tmp_path / "set", files=200, records=130)
    made = traced(tmp_path, bert_spec(tmp_path, data_dir, accelerators=8, steps=1))
    opened = defaultdict(int)
    for calls in made:
        assert [call.name for call in calls[:48]] == ["open", "pread"] * 24
        assert {(call.offset, call.requested) for call in calls[1:48:2]} == {(0, CHUNK_BYTES)}
        for call in calls:
            opened[call.path] += call.name == "open"
    assert len(made) == 8
    assert list(opened.values()) == [1] * 192
