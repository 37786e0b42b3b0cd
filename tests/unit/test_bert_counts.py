"""Records of a set without a manifest are counted once, by their headers, and only if need be."""

import json
import sys
from pathlib import Path

import pytest

from dsgen.described import described
from dsgen.tfrecord import HEADER_BYTES
from dsgen.write import generate
from harness.worker.training import recording_bytes
from harness.worker.workloads import bert_plan, plan
from harness.worker.workloads.bert_plan import plan_bert, records_of, with_records
from tests.property.strategies import data_set
from tests.unit.bert_run import bert_spec
from tests.unit.traced_calls import run_traced


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Return files without a manifest, and how many records each has."""
    directory = tmp_path_factory.mktemp("own") / "set"
    layout = data_set("bert", 2_000_000, min_files=5).layout()
    generate(layout, directory, processes=1, emit=lambda _: None)
    for path in (directory / "manifest.json", *directory.glob(".*")):
        path.unlink()
    return directory, tuple(file.samples for file in layout.files if file.role == "train")


def test_counted_records_are_those_that_were_written(own, tmp_path):
    directory, records = own
    spec = bert_spec(tmp_path, directory)
    manifest = with_records(described(directory, "bert"), spec)
    assert records_of(manifest) == records
    assert manifest.samples_train == sum(records)
    assert records_of(described(directory, "bert")) is None


def test_what_was_counted_is_not_counted_again(own, tmp_path, monkeypatch):
    directory, records = own
    manifest = described(directory, "bert")
    spec = bert_spec(tmp_path, directory, records=records)
    known = with_records(manifest, spec)

    def again(*_):
        raise AssertionError("counted again")

    monkeypatch.setattr(bert_plan, "count_records", again)
    by_manifest = plan(bert_spec(tmp_path, directory), known)
    by_spec = plan_bert(type(spec).read(written(tmp_path, spec)), manifest)
    assert by_manifest.records == by_spec.records == records
    assert by_manifest.steps_per_epoch == by_spec.steps_per_epoch
    assert recording_bytes(spec, manifest) > 0
    assert with_records(known, spec) == known


def written(tmp_path, spec):
    path = tmp_path / "spec.json"
    path.write_text(spec.to_json())
    return path


@pytest.mark.strace
@pytest.mark.parametrize(("steps", "counted"), [(0, True), (3, False)])
def test_a_run_looks_at_each_header_once(own, tmp_path, steps, counted):
    directory, records = own
    words = ["train", "bert", "--data", directory, "--results", tmp_path, "--preset", "smoke"]
    words += ["--accelerators", 2, "--epochs", 1, "--eval-from", 0, "--steps", steps]
    words += ["--engine", "local", "--loader-workers", 0, "--cache", "asis"]
    # A client's ceiling is another run, whose steps are given: it looks at a thousand.
    words += ["--set", "ceiling=false"]
    trace = run_traced(tmp_path / "log", [sys.executable, "-m", "harness", *map(str, words)])
    calls = [traced.call for traced in trace.below(f"{directory}/part-")]
    headers = [call for call in calls if (call.name, call.requested) == ("pread", HEADER_BYTES)]
    path = next(path for path in tmp_path.glob("bert/*/result.json") if path.is_file())
    result = json.loads(path.read_text())
    if counted:
        assert len(headers) == sum(records)
        assert len({(call.path, call.offset) for call in headers}) == len(headers)
        assert result["dataset"]["samples"]["train"] == sum(records)
        assert result["coverage"]["steps_per_epoch"] > 3
    else:
        # A thousand at most tell the mean length, for the host and for its worker.
        assert {Path(call.path).name for call in headers} == {"part-00000-of-00500"}
        assert result["dataset"]["samples"]["train"] is None
