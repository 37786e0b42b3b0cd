"""Rows from layout and order alone are those that a run over the same data set records."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from dsgen.choices import Wanted
from dsgen.described import manifest_of, unwritten
from dsgen.errors import UsageError
from dsgen.workloads import plan as layout_plan
from dsgen.write import generate
from harness.plan.content import InLayout, OnDisk
from harness.plan.rows import placed, plan_rows
from harness.worker.record import ROW, Op
from harness.worker.training import checkpoint_of
from harness.worker.workloads import plan
from tests.unit.bert_run import bert_spec, even_set
from tests.unit.dlrm_sets import dlrm_spec, make_days, make_rows, make_text
from tests.unit.worker_run import load, load_json, make_data_set, make_spec, run_worker

# All that a row says beside its times; which descriptor an open gave is chance.
FIELDS = [name for name in ROW.names if name not in ("t0_ns", "t1_ns", "cpu_ns")]


def quiet(_event):
    """Say nothing."""


def block_bytes_of(directory):
    return next(directory.iterdir()).stat().st_blksize


def planned_on_disk(spec):
    """Return the rows of each rank, planned over a data set that is there."""
    directory = Path(spec.data_dir)
    reading = plan(spec, manifest_of(directory, spec.workload))
    block_bytes = block_bytes_of(directory)
    checkpoint = checkpoint_of(spec, reading)
    return list(plan_rows(spec, reading, OnDisk(), checkpoint=checkpoint, block_bytes=block_bytes))


def by_thread(rows):
    """Return (rank, loader) -> the comparable rows, in their order."""
    threads = defaultdict(list)
    for row in rows:
        values = {name: int(row[name]) for name in FIELDS}
        if values["op"] in (Op.OPEN, Op.DUP):
            values["returned"] = min(values["returned"], 0)
        threads[values["rank"], values["loader"]].append(values)
    return threads


def check_equal(spec, planned):
    assert len(planned) == spec.accelerators
    for rank, rows in enumerate(planned):
        measured = by_thread(load(spec, f"trace/rank-{rank:05d}.npy"))
        expected = by_thread(rows)
        assert measured.keys() == expected.keys()
        for thread, ours in expected.items():
            assert len(ours) == len(measured[thread]), thread
            for number, (one, other) in enumerate(zip(ours, measured[thread], strict=True)):
                assert one == other, (thread, number)


IMSEG = {"accelerators": 2, "epochs": 3, "eval_from": 2, "eval_every": 1}


def imseg(tmp_path, **changes):
    data = make_data_set(tmp_path / "data", train=9, evaluation=3)
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    values = {"checkpoint_dir": str(checkpoint), "checkpoint_bytes": 100_000, **IMSEG, **changes}
    return make_spec(tmp_path, data, **values)


def bert(tmp_path, **changes):
    data = even_set(tmp_path / "data", files=20, records=300, evaluation=40)
    values = {"accelerators": 2, "batch_size": 3, "epochs": 2, "eval_from": 2, **changes}
    return bert_spec(tmp_path, data, **values)


def rows(tmp_path, **changes):
    data = make_rows(tmp_path / "data", train=1000, test=40_000)
    return dlrm_spec(tmp_path, data, **{"accelerators": 2, "epochs": 2, "eval_from": 1, **changes})


def saved_rows(tmp_path, **changes):
    """Return a spec that writes a checkpoint."""
    (tmp_path / "checkpoint").mkdir()
    values = {"checkpoint_dir": str(tmp_path / "checkpoint"), "checkpoint_bytes": 100_000}
    return rows(tmp_path, **values, **changes)


def days(tmp_path, *, compression="deflate", **changes):
    data = make_days(tmp_path / "data", [4000, 3000, 900], compression=compression)
    return dlrm_spec(tmp_path, data, **{"accelerators": 2, "epochs": 2, "eval_from": 1, **changes})


def text(tmp_path, **changes):
    data = make_text(tmp_path / "data", 3000)
    return dlrm_spec(tmp_path, data, **{"accelerators": 2, **changes})


@pytest.mark.parametrize(
    ("make", "changes"),
    [
        pytest.param(imseg, {}, id="imseg"),
        pytest.param(imseg, {"loader_workers": 2, "batch_size": 2}, id="imseg with workers"),
        pytest.param(bert, {}, id="bert"),
        pytest.param(bert, {"steps": 230}, id="bert for steps"),
        pytest.param(bert, {"pipelines": 1, "loader_workers": 0}, id="bert read by one"),
        pytest.param(rows, {}, id="dlrm bin"),
        pytest.param(rows, {"shuffle": "batches", "loader_workers": 2}, id="dlrm bin shuffled"),
        pytest.param(saved_rows, {}, id="dlrm bin saved after tests"),
        pytest.param(saved_rows, {"eval_every_steps": 3}, id="dlrm bin in parts"),
        pytest.param(
            saved_rows, {"eval_every_steps": 3, "loader_workers": 2}, id="dlrm bin by parts"
        ),
        pytest.param(days, {"eval_every_steps": 7}, id="dlrm npz in parts"),
        pytest.param(days, {}, id="dlrm npz"),
        pytest.param(days, {"compression": "stored"}, id="dlrm npz stored"),
        pytest.param(text, {}, id="dlrm text"),
    ],
)
def test_a_plan_has_the_calls_files_and_sizes_of_the_run(tmp_path, make, changes):
    spec = make(tmp_path, **changes)
    planned = planned_on_disk(spec)
    run = run_worker(tmp_path, spec)
    assert run.returncode == 0, run.stdout + run.stderr
    # A checkpoint's temporary name is each run's own; all else of the files is the same.
    files = load_json(spec, "trace/files.json")
    assert {file["role"] for file in files.values()} >= {"train"}
    check_equal(spec, planned)


def test_rows_of_a_later_part_come_later_however_many_there_are():
    rows = np.zeros(3, ROW)
    rows["step"] = [1, 1, 2]
    before, after, last = (placed(rows, number)["t0_ns"] for number in (32_767, 32_768, 2**18 - 1))
    assert before.max() < after.min() <= after.max() < last.min()
    assert sorted({*before.tolist()}) == before.tolist()
    with pytest.raises(UsageError, match="262,144 parts"):
        placed(rows, 2**18)


GENERATED = {
    "imseg": ("imseg", Wanted(law="small"), 10**8, {"eval_from": 0}),
    "bert": ("bert", Wanted(min_files=20), 4 * 10**6, {"batch_size": 3, "loader_workers": 1}),
    "bert of one file's length": ("bert", Wanted(), 10**8, {"steps": 400, "accelerators": 1}),
    "dlrm bin": ("dlrm", Wanted(format="bin"), 10**6, {"batch_size": 64}),
    "dlrm npz": ("dlrm", Wanted(format="npz"), 10**5, {"batch_size": 16}),
    "dlrm text": ("dlrm", Wanted(format="text"), 10**6, {"batch_size": 64, "eval_from": 0}),
}


@pytest.mark.parametrize("name", GENERATED)
def test_a_layout_tells_the_rows_that_its_files_would(tmp_path, name):
    workload, wanted, size_bytes, changes = GENERATED[name]
    layout = layout_plan(workload, size_bytes=size_bytes, seed=5, wanted=wanted)
    directory = tmp_path / "data"
    values = {"workload": workload, "accelerators": 2, "epochs": 2, "eval_from": 2, **changes}
    spec = make_spec(tmp_path, directory, **values)
    content = InLayout(layout, directory)
    before = list(plan_rows(spec, plan(spec, unwritten(layout)), content))
    assert not directory.exists()
    generate(layout, directory, processes=1, emit=quiet)
    after = planned_on_disk(spec)
    assert all(map(np.array_equal, before, after))
    assert len(before[0]) > 20
