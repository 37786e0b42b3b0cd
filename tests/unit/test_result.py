import json
from dataclasses import replace

import numpy as np
import pytest

from dsgen.errors import ExitCode
from harness.errors import ResultError
from harness.result import build_result, read_recording, read_result, write_result
from harness.worker.record import ROW, Op, Phase
from tests.golden.recordings import MS, cut, facts, plan, record, write


@pytest.fixture
def result():
    return build_result(record(plan(2, 3, eval_ns=5 * MS, checkpoint_ns=7 * MS)), facts(2))


def test_what_is_written_is_read_back(result, tmp_path):
    assert read_result(write_result(result, tmp_path)) == result
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_the_same_result_is_the_same_bytes(result, tmp_path):
    first = write_result(result, tmp_path).read_bytes()
    assert write_result(read_result(tmp_path / "result.json"), tmp_path).read_bytes() == first


def test_a_recording_is_read_back(tmp_path):
    recording = record(plan(2, 3, eval_ns=5 * MS))
    write(recording, tmp_path)
    again = read_recording(tmp_path)
    assert build_result(again, facts(2)).metrics == build_result(recording, facts(2)).metrics
    assert again.files == recording.files
    for kind in ("steps", "windows", "rows"):
        pairs = zip(getattr(again, kind), getattr(recording, kind), strict=True)
        assert all(np.array_equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("where", [(), ("metrics",), ("verdict",), ("epochs", 0), ("losses", 1)])
def test_unknown_keys_are_refused(result, tmp_path, where):
    path = write_result(result, tmp_path)
    document = json.loads(path.read_text())
    place = document
    for key in where:
        place = place[key]
    place["surprise"] = 1
    path.write_text(json.dumps(document))
    with pytest.raises(ResultError, match="surprise"):
        read_result(path)


def test_a_result_from_before_the_client_was_looked_at_is_read(result, tmp_path):
    path = write_result(result, tmp_path)
    document = json.loads(path.read_text())
    for name in ("machine", "ceiling", "recording", "repeat", "memory"):
        del document[name]
    path.write_text(json.dumps(document))
    again = read_result(path)
    assert again.machine.idle_share is again.ceiling.au is None
    assert again.metrics == result.metrics


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_schema_version_is_refused_by_its_number(result, tmp_path, version):
    path = write_result(result, tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": version}))
    with pytest.raises(ResultError, match=f"result of schema {version}") as caught:
        read_result(path)
    assert caught.value.exit_code == ExitCode.RESULT


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b'{"schema_version": 1}'])
def test_a_malformed_result_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "result.json"
    path.write_bytes(content)
    with pytest.raises(ResultError) as caught:
        read_result(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_an_absent_result_is_refused(tmp_path):
    with pytest.raises(ResultError, match="no result"):
        read_result(tmp_path / "result.json")


def test_a_directory_that_does_not_exist_takes_no_result(result, tmp_path):
    with pytest.raises(ResultError, match="cannot write"):
        write_result(result, tmp_path / "absent")


def test_evaluation_and_checkpoint_are_told(result):
    (evaluation,) = result.evaluation
    assert (evaluation.epoch, evaluation.window_ns) == (1, 5 * MS)
    assert result.checkpoint.window_ns == 7 * MS


def test_a_checkpoint_of_every_rank_is_told_as_one():
    recording = record(plan(2, 3, checkpoint_ns=7 * MS))
    first = recording.windows[0][-1:].copy()
    second = first.copy()
    second["end_ns"] += 2 * MS
    written = np.zeros(2, ROW)
    written["phase"], written["op"], written["returned"] = Phase.CHECKPOINT, Op.WRITE, 500
    synced = np.zeros(1, ROW)
    synced["phase"], synced["op"], synced["t1_ns"] = Phase.CHECKPOINT, Op.FSYNC, 3 * MS
    recording = replace(
        recording,
        windows=(recording.windows[0], np.concatenate([recording.windows[1], second])),
        rows=(written, np.concatenate([written, synced])),
    )
    told = build_result(recording, facts(2)).checkpoint
    assert (told.written_bytes, told.window_ns, told.fsync_ns) == (2_000, 9 * MS, 3 * MS)


def test_an_evaluation_that_a_rank_did_not_finish_is_left_out():
    recording = record(plan(2, 3, eval_ns=5 * MS))
    windows = (recording.windows[0], recording.windows[1][:1])
    assert build_result(replace(recording, windows=windows), facts(2)).evaluation == []


def test_a_run_without_them_says_null_and_not_zero():
    result = build_result(record(plan(2, 3)), facts(2))
    assert result.evaluation == []
    assert result.checkpoint is None


def test_a_worker_that_left_nothing_gives_a_result_of_nulls(tmp_path):
    (tmp_path / "steps").mkdir()
    recording = read_recording(tmp_path)
    result = build_result(recording, facts(2, status="failed", exit_code=9))
    assert result.metrics.au.value is None
    assert result.losses == []
    assert result.losses_accelerator_s is None
    volume = result.metrics.bytes
    assert (volume.asked, volume.returned, volume.device.value, volume.page_cache) == (None,) * 4
    evidence = {item.name: item.value for item in result.verdict.evidence}
    assert {name for name, value in evidence.items() if value is not None} == {"threshold_au"}
    assert result.verdict.outcome == "withheld"
    assert read_result(write_result(result, tmp_path)) == result


def test_a_rank_file_that_is_missing_is_named(tmp_path):
    write(cut(record(plan(3, 3)), rank=1, rows=0), tmp_path)
    result = build_result(read_recording(tmp_path), facts(3, status="interrupted"))
    assert "rank 1 left no recording" in result.warnings
    assert result.epochs[0].complete is False


@pytest.mark.parametrize("name", ["steps/rank-00001.npy", "trace/files.json", "worker.json"])
def test_a_file_cut_in_half_is_an_error_that_names_it(tmp_path, name):
    write(record(plan(2, 3)), tmp_path)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ResultError, match=path.name):
        read_recording(tmp_path)


def test_rows_of_another_kind_are_refused(tmp_path):
    write(record(plan(2, 3)), tmp_path)
    np.save(tmp_path / "steps/rank-00000.npy", np.zeros(3))
    with pytest.raises(ResultError, match="another kind"):
        read_recording(tmp_path)


def test_no_recording_is_an_error(tmp_path):
    with pytest.raises(ResultError, match="no recording"):
        read_recording(tmp_path)


def test_facts_that_figures_need_are_asked_for_by_name():
    with pytest.raises(ResultError, match="batch_size"):
        build_result(record(plan(1, 1)), facts(1, accelerators={"count": 1, "profile": "ci"}))


def test_few_steps_are_warned_of(result):
    assert any("an epoch has 3 steps" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    ("loader", "known_ms", "told"), [(0, 10, True), (0, 30, False), (1, 10, False)]
)
def test_waiting_for_a_core_that_the_run_queue_knows_nothing_of_is_told(loader, known_ms, told):
    recording = record(plan(2, 3, split={"storage": 0.4, "runqueue": 0.6}))  # 30 of 150 ms a step
    for steps, rows in zip(recording.steps, recording.rows, strict=True):
        steps["runqueue_ns"][1:] = known_ms * MS
        rows["loader"] = loader
    warnings = build_result(recording, facts(2)).warnings
    sentence = "rank 1: 13.3 % of its time counts as waiting for a core, but"
    assert any(warning.startswith(sentence) for warning in warnings) is told


def test_a_kernel_without_run_queue_delays_gives_no_reason_for_doubt():
    recording = record(plan(2, 3, split={"runqueue": 1.0}))
    assert not any("run queue" in warning for warning in build_result(recording, facts(2)).warnings)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"steps": 3, "last_loss": 1.5, "ranks_on_zeros": [1, 2]}, "rank 1, 2 got word"),
        ({"steps": 3, "last_loss": None, "ranks_on_zeros": []}, "the loss is no number"),
        ({"steps": 3, "last_loss": 1.5, "ranks_on_zeros": []}, None),
        ({"steps": 0, "last_loss": None, "ranks_on_zeros": []}, None),
    ],
)
def test_a_training_that_was_none_is_said(found, words):
    recording = record(plan(2, 8, load_ms=1))
    worker = replace(recording.worker, tensorflow=found)
    said = build_result(replace(recording, worker=worker), facts(2)).warnings
    before = build_result(recording, facts(2)).warnings
    new = [line for line in said if line not in before]
    assert [words in line for line in new] == ([True] if words else [])
