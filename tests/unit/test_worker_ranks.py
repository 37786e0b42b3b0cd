"""Ranks that fail, die or are told to stop: one error, one exit code, nobody left."""

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from dsgen.lock import hold_exclusive, hold_shared
from harness.worker.failure import RankDiedError
from harness.worker.ranks import crew
from harness.worker.spec import StepTime
from harness.worker.training import run_training
from tests.unit.dlrm_sets import dlrm_spec, make_rows
from tests.unit.worker_run import (
    REPOSITORY,
    command,
    describe,
    load,
    load_json,
    make_data_set,
    make_spec,
    run_worker,
    start_worker,
)
from tests.waiting import wait_until

LONG = StepTime(mean_s=0.05, sd_s=0.0)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return make_data_set(tmp_path_factory.mktemp("set") / "data", train=12, evaluation=2, side=16)


def long_spec(tmp_path, data_dir, **changes):
    values = {"accelerators": 3, "epochs": 1000, "step_time": LONG, "loader_workers": 2}
    return make_spec(tmp_path, data_dir, **(values | changes))


def children_of(pid):
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def gone(pids):
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


@contextlib.contextmanager
def training(tmp_path, spec):
    """Start a long run, wait until its ranks have trained a little; kill it in the end."""
    process = start_worker(tmp_path, spec)
    ranks = []
    try:
        for line in process.stdout:
            if json.loads(line)["step"] > 0:
                break
        ranks = children_of(process.pid)
        assert len(ranks) == spec.accelerators, process.stderr.read()
        yield process, ranks
    finally:
        process.kill()
        for pid in ranks:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if str(tmp_path).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
        process.communicate()


def finish(process):
    stdout, stderr = process.communicate(timeout=30)
    return process.returncode, [json.loads(line) for line in stdout.splitlines()], stderr


@pytest.mark.parametrize("loader_workers", [0, 2])
def test_a_killed_rank_is_named_and_takes_the_others_with_it(tmp_path, data_dir, loader_workers):
    spec = long_spec(tmp_path, data_dir, loader_workers=loader_workers)
    with training(tmp_path, spec) as (process, ranks):
        os.kill(sorted(ranks)[1], signal.SIGKILL)
        code, events, stderr = finish(process)
    assert code == 8
    assert events[-1]["kind"] == "error"
    assert events[-1]["exit_code"] == 8
    assert stderr == f"error: {events[-1]['text']}\n"
    assert "rank 1 died: killed by SIGKILL" in stderr
    wait_until(lambda: gone(ranks), "every rank ended")
    summary = load_json(spec, "worker.json")
    assert summary["status"] == "failed"
    assert "SIGKILL" in summary["ranks"][1]["error"]
    assert [rank["error"] for rank in summary["ranks"][::2]] == ["interrupted"] * 2
    for rank in range(3):  # the killed one's are saved by its parent
        rows = load(spec, f"trace/rank-{rank:05d}.npy")
        assert len(rows) == summary["ranks"][rank]["rows"] > 0
        assert len(load(spec, f"steps/rank-{rank:05d}.npy")) > 1
        assert (rows["rank"] == rank).all()


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)],
    ids=["term", "int", "hup"],
)
@pytest.mark.parametrize("loader_workers", [0, 2])
def test_a_signal_keeps_what_was_recorded(tmp_path, data_dir, number, code, loader_workers):
    spec = long_spec(tmp_path, data_dir, loader_workers=loader_workers)
    with training(tmp_path, spec) as (process, ranks):
        started = time.monotonic()
        process.send_signal(number)
        returned, _, stderr = finish(process)
    assert returned == code
    assert "Traceback" not in stderr
    assert time.monotonic() - started < 10
    assert gone(ranks)
    summary = load_json(spec, "worker.json")
    assert summary["status"] == "interrupted"
    for rank in range(3):
        steps = load(spec, f"steps/rank-{rank:05d}.npy")
        rows = load(spec, f"trace/rank-{rank:05d}.npy")
        assert len(steps) > 1
        assert (steps["barrier_end_ns"] > 0).all()
        assert len(rows) == summary["ranks"][rank]["rows"]
        assert (rows["t1_ns"] >= rows["t0_ns"]).all()


def test_no_rank_outlives_a_killed_parent(tmp_path, data_dir):
    with training(tmp_path, long_spec(tmp_path, data_dir)) as (process, ranks):
        process.kill()
        process.wait(30)
        wait_until(lambda: gone(ranks), "every rank ended")


def test_a_second_signal_does_not_lose_the_recording(tmp_path, data_dir):
    spec = long_spec(tmp_path, data_dir)
    with training(tmp_path, spec) as (process, _):
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        code, _, _ = finish(process)
    assert code in (130, 143)
    assert load_json(spec, "worker.json")["status"] == "interrupted"


def test_a_long_run_keeps_writers_out(tmp_path, data_dir):
    with training(tmp_path, long_spec(tmp_path, data_dir)):
        with pytest.raises(Exception, match="another process uses"), hold_exclusive(data_dir):
            pass
        with hold_shared(data_dir):
            pass


def refused(tmp_path, spec, code):
    done = run_worker(tmp_path, spec)
    assert done.returncode == code, done.stderr
    error = json.loads(done.stdout.splitlines()[-1])
    assert (error["kind"], error["exit_code"]) == ("error", code)
    assert done.stderr == f"error: {error['text']}\n"
    return done.stderr


@pytest.mark.parametrize("loader_workers", [0, 2])
def test_a_broken_file_is_one_line_that_names_it(tmp_path, loader_workers):
    data_dir = make_data_set(tmp_path / "data", train=6, side=16)
    broken = data_dir / "case_00003_y.npy"
    content = bytearray(broken.read_bytes())
    content[:6] = b"broken"
    broken.write_bytes(content)
    spec = make_spec(tmp_path, data_dir, accelerators=2, loader_workers=loader_workers)
    assert str(broken) in refused(tmp_path, spec, 6)
    assert load_json(spec, "worker.json")["status"] == "failed"


def test_a_file_that_was_cut_is_named(tmp_path):
    data_dir = make_data_set(tmp_path / "data", train=2, side=16)
    cut = data_dir / "case_00001_x.npy"
    os.truncate(cut, 5000)
    assert str(cut) in refused(tmp_path, make_spec(tmp_path, data_dir), 6)


def test_no_data_set_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no complete data set" in refused(tmp_path, make_spec(tmp_path, tmp_path / "empty"), 6)


def test_too_few_cases_are_refused_before_any_rank_starts(tmp_path, data_dir):
    spec = make_spec(tmp_path, data_dir, accelerators=13)
    assert "12 training cases" in refused(tmp_path, spec, 6)
    assert not Path(spec.out_dir).exists()


def test_another_workload_is_refused(tmp_path, data_dir):
    assert "no training" in refused(tmp_path, make_spec(tmp_path, data_dir, workload="x"), 2)


def test_a_checkpoint_directory_that_is_not_there_is_named(tmp_path, data_dir):
    absent = str(tmp_path / "absent")
    spec = make_spec(
        tmp_path, data_dir, accelerators=2, checkpoint_dir=absent, checkpoint_bytes=1000
    )
    assert absent in refused(tmp_path, spec, 7)
    assert len(load(spec, "steps/rank-00000.npy")) == 7


def test_an_output_directory_that_is_a_file_is_named(tmp_path, data_dir):
    (tmp_path / "file").touch()
    spec = make_spec(tmp_path, data_dir, out_dir=str(tmp_path / "file"))
    assert str(tmp_path / "file") in refused(tmp_path, spec, 7)


def test_a_directory_with_another_recording_is_refused(tmp_path, data_dir):
    spec = make_spec(tmp_path, data_dir)
    assert run_worker(tmp_path, spec).returncode == 0
    assert "another recording" in refused(tmp_path, spec, 7)


def test_a_bug_in_a_rank_shows_its_last_line_and_its_traceback(tmp_path, data_dir):
    # A step time that no configuration lets through stands for a bug.
    spec = make_spec(tmp_path, data_dir, step_time=StepTime(mean_s=float("nan"), sd_s=0.0))
    done = run_worker(tmp_path, spec)
    assert done.returncode == 8
    assert "Traceback" in done.stderr
    last = done.stderr.splitlines()[-1]
    assert "rank 0 died: exit code 70, ValueError: cannot convert float NaN" in last


@pytest.mark.parametrize("text", ["{", "{}", "[]", None], ids=["cut", "empty", "list", "absent"])
def test_a_spec_that_cannot_be_read_is_refused(tmp_path, text, capsys):
    from harness.worker.__main__ import main

    path = tmp_path / "spec.json"
    if text is not None:
        path.write_text(text)
    keep = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    try:
        assert main([str(path)]) == 2
    finally:
        signal.signal(signal.SIGINT, keep[0])
        signal.signal(signal.SIGTERM, keep[1])
    assert str(path) in capsys.readouterr().err


def test_buffers_that_do_not_fit_are_refused(tmp_path):
    data_dir = make_data_set(tmp_path / "data", train=1, side=16)
    describe(data_dir, {path.name: 10**13 for path in data_dir.glob("case_*")})
    message = refused(tmp_path, make_spec(tmp_path, data_dir), 9)
    assert "20 TB for the buffers of 1 readers" in message
    assert "--buffer fresh" in message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loader_workers": 1, "prefetch_batches": 10**6}, ("1000001 batches", "fewer prefetch")),
        ({"epochs": 10**11}, ("what is recorded", "use fewer epochs")),
        ({"epochs": 10**11, "eval_from": 1}, ("what is recorded", "use fewer epochs")),
    ],
)
def test_what_does_not_fit_is_refused_with_what_makes_it_less(tmp_path, data_dir, changes, words):
    message = refused(tmp_path, make_spec(tmp_path, data_dir, **changes), 9)
    for word in (*words, "of memory is available"):
        assert word in message
    assert not (tmp_path / "out").exists()


def test_too_few_open_files_are_refused_with_the_figures(tmp_path, data_dir):
    spec = make_spec(tmp_path, data_dir, accelerators=2, loader_workers=1)
    limit = ("prlimit", "--nofile=16")
    done = subprocess.run(
        [*limit, *command(tmp_path, spec)], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert "the limit is 16" in done.stderr
    assert "ulimit -n" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_soft_limit_of_open_files_is_raised(tmp_path, data_dir):
    spec = make_spec(tmp_path, data_dir, accelerators=2, loader_workers=1)
    limit = ("prlimit", "--nofile=16:1024")
    done = subprocess.run(
        [*limit, *command(tmp_path, spec)], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.spoils
def test_a_summary_that_cannot_be_written_does_not_hide_why_the_run_failed(tmp_path, data_dir):
    spec = make_spec(tmp_path, data_dir, step_time=StepTime(mean_s=float("nan"), sd_s=0.0))
    (tmp_path / "out" / "worker.json" / "in-the-way").mkdir(parents=True)
    done = run_worker(tmp_path, spec)
    assert done.returncode == 8
    assert "rank 0 died" in done.stderr.splitlines()[-1]


def test_a_rank_that_cannot_be_started_is_named(tmp_path, data_dir, monkeypatch):
    def no_process(_self, rank):
        if rank == 1:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return fork(_self, rank)

    fork = crew.Crew._fork
    monkeypatch.setattr(crew.Crew, "_fork", no_process)
    spec = make_spec(tmp_path, data_dir, accelerators=2)
    with pytest.raises(RankDiedError, match=r"cannot be started: rank 1 .*ulimit -u"):
        run_training(spec, lambda _: None)


@pytest.fixture(scope="module")
def rows_dir(tmp_path_factory):
    return make_rows(tmp_path_factory.mktemp("rows") / "data", train=1000)


def rows_spec(tmp_path, rows_dir):
    """Return a long run of three ranks, of which the first one reads for all."""
    return dlrm_spec(tmp_path, rows_dir, accelerators=3, batch_size=10, epochs=2000)


def test_ranks_that_read_nothing_end_with_the_one_that_reads(tmp_path, rows_dir):
    spec = rows_spec(tmp_path, rows_dir)
    with training(tmp_path, spec) as (process, ranks):
        os.kill(sorted(ranks)[0], signal.SIGKILL)
        code, _, stderr = finish(process)
    assert code == 8
    assert "rank 0 died: killed by SIGKILL" in stderr
    wait_until(lambda: gone(ranks), "every rank ended")
    errors = [rank["error"] for rank in load_json(spec, "worker.json")["ranks"]]
    assert errors[1:] == ["interrupted"] * 2


def test_a_signal_ends_ranks_that_wait_for_another_ones_batch(tmp_path, rows_dir):
    spec = rows_spec(tmp_path, rows_dir)
    with training(tmp_path, spec) as (process, ranks):
        # The reader cannot give word of its next batch.
        os.kill(sorted(ranks)[0], signal.SIGSTOP)
        time.sleep(0.1)
        for rank in sorted(ranks)[1:]:
            os.kill(rank, signal.SIGTERM)
        wait_until(lambda: gone(sorted(ranks)[1:]), "those that wait ended")
        code, _, _ = finish(process)  # their end wakes and ends the reader
    assert code != 0
    assert len(load(spec, "steps/rank-00002.npy")) > 1
