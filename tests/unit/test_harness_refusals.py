"""Bad input of the harness: one line (or one for each problem), its exit code, nothing lost."""

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from dsgen.choices import Wanted
from dsgen.manifest import MANIFEST_NAME
from dsgen.signals import STOPPING
from dsgen.workloads import plan
from dsgen.write import generate

ROOT = Path(__file__).parents[2]
SIZE = "500MB"  # eight cases: six train, two evaluate


def harness(*words, cwd=ROOT, **environment):
    return subprocess.run(
        [sys.executable, "-m", "harness", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


def errors(done):
    """Return the lines of the error: what comes before it is the echo of the plan."""
    lines = done.stderr.splitlines()
    start = next(index for index, line in enumerate(lines) if "error:" in line)
    return lines[start:]


def refused(done, code, *words):
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    said = errors(done)
    assert len(said) == 1, said
    for word in words:
        assert word in said[0]
    return True


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return flags for a small data set that is there, and for a run that is short."""
    root = tmp_path_factory.mktemp("harness")
    size_bytes = 500_000_000
    layout = plan("imseg", size_bytes=size_bytes, seed=1, wanted=Wanted(law="small"))
    directory = root / "data" / "imseg-npy-500MB-small-s1"
    generate(layout, directory, processes=2, emit=lambda _: None)
    return root


def flags(root, *more):
    return (
        *("--data", root / "data", "--results", root / "results", "--engine", "local"),
        *("--preset", "smoke", "--size", SIZE, "--accelerators", 2, "--epochs", 1),
        *("--eval-from", 1, "--loader-workers", 1, "--checkpoint", "none"),
        *("--ceiling", "false", *more),
    )


def results(root):
    return sorted((root / "results" / "imseg").glob("2*/result.json"))


def test_a_run_that_is_fine(place):
    done = harness("train", "imseg", *flags(place, "--ceiling", "true"))
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.splitlines()[-1])
    result = json.loads(path.read_text())
    assert result["status"] == "ok"
    assert result["exit_code"] == 0
    assert result["self_check"]["passed"]
    assert 0 < result["ceiling"]["au"] <= 1, result["ceiling"]
    assert (path.parent / "report.html").stat().st_size > 10_000


def test_unknown_workload():
    assert refused(harness("train", "resnet"), 2, "resnet", "imseg")


def test_unknown_verb():
    assert refused(harness("fly"), 2, "fly")


@pytest.mark.parametrize("size", ["16G", "-1", "many", "0"])
def test_size_that_is_none(size, tmp_path):
    done = harness("generate", "imseg", "--data", tmp_path / "data", f"--size={size}")
    assert refused(done, 2, "size", size)
    assert not (tmp_path / "data").exists()


def test_all_problems_are_shown_at_once(tmp_path):
    words = ("--accelerators", 0, "--batch-size", "x", "--set", "colour=red", "--law", "normal")
    done = harness("train", "imseg", "--data", tmp_path, *words)
    assert done.returncode == 2
    said = "\n".join(errors(done))
    for word in ("accelerators", "batch_size", "colour", "normal"):
        assert word in said


@pytest.mark.parametrize("flag", ["data", "results", "checkpoint", "config"])
def test_a_home_directory_that_nobody_has(flag):
    done = harness("train", "imseg", f"--{flag}", "~nobody-at-all/data")
    assert refused(done, 2, f"--{flag}", "~nobody-at-all")


@pytest.mark.parametrize("flag", ["data", "results", "checkpoint", "image-archive", "config"])
@pytest.mark.parametrize("name", [os.fsdecode(b"nu\xff\xfex"), "two\nlines"])
def test_a_path_that_no_result_could_name(flag, name, tmp_path):
    done = harness("train", "imseg", f"--{flag}", tmp_path / name, cwd=tmp_path)
    assert refused(done, 2, f"--{flag}", "UTF-8")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_no_result_could_name(tmp_path):
    here = tmp_path / os.fsdecode(b"nu\xff")
    here.mkdir()
    done = harness("train", "imseg", "--preset", "smoke", "--data", "d", "--dry-run", cwd=here)
    assert done.returncode == 2
    assert "--data" in done.stderr
    (tmp_path / "link").symlink_to(here)
    words = ("--preset", "smoke", "--data", tmp_path / "link", "--dry-run")
    assert refused(harness("train", "imseg", *words), 7, str(tmp_path / "link"), "UTF-8")


def test_a_path_through_its_parent_is_resolved_as_the_kernel_would(tmp_path):
    (tmp_path / "far" / "below").mkdir(parents=True)
    (tmp_path / "link").symlink_to("far/below")
    (tmp_path / "here").mkdir()
    words = ("--data", "../link/../data", "--results", "../results", "--dry-run")
    done = harness("train", "imseg", "--preset", "smoke", *words, cwd=tmp_path / "here")
    assert done.returncode == 0, done.stderr
    assert f"data    {tmp_path}/far/data/imseg" in done.stderr


def test_target_is_a_file(tmp_path):
    (tmp_path / "data").write_text("mine")
    done = harness("generate", "imseg", "--data", tmp_path / "data", "--engine", "local")
    assert refused(done, 7, str(tmp_path / "data"))
    assert (tmp_path / "data").read_text() == "mine"


def test_foreign_files_in_the_data_set(tmp_path):
    directory = tmp_path / "data" / "imseg-npy-500MB-small-s1"
    directory.mkdir(parents=True)
    (directory / "thesis.tex").write_text("mine")
    done = harness("generate", "imseg", *flags(tmp_path))
    assert refused(done, 7, "thesis.tex")
    assert (directory / "thesis.tex").read_text() == "mine"


def test_too_little_space(tmp_path):
    words = flags(tmp_path, "--size", "5TB")
    assert refused(harness("generate", "imseg", *words), 7, "too little space")


def test_data_set_absent(tmp_path):
    assert refused(harness("train", "imseg", *flags(tmp_path)), 6, "no complete data set")


def test_data_set_incomplete(tmp_path, place):
    directory = tmp_path / "data" / "imseg-npy-500MB-small-s1"
    shutil.copytree(place / "data" / directory.name, directory)
    (directory / MANIFEST_NAME).unlink()
    assert refused(harness("train", "imseg", *flags(tmp_path)), 6, "no complete data set")


@pytest.mark.parametrize(
    ("harm", "word"),
    [
        (lambda path: path.unlink(), "case_00001_x.npy"),
        (lambda path: os.truncate(path, 1000), "case_00001_x.npy"),
        (lambda path: path.write_bytes(b"x" * path.stat().st_size), "verify"),
    ],
)
def test_data_set_corrupt(harm, word, tmp_path, place):
    directory = tmp_path / "data" / "imseg-npy-500MB-small-s1"
    shutil.copytree(place / "data" / directory.name, directory)
    harm(directory / "case_00001_x.npy")
    done = harness("train", "imseg", *flags(tmp_path))
    assert refused(done, 6, word)
    assert [json.loads(path.read_text())["status"] for path in results(tmp_path)] in (
        [],
        ["failed"],
    )
    # Whatever a run left is named where a script looks for it.
    assert done.stdout.splitlines() == [str(path) for path in results(tmp_path)]


def test_data_set_of_another_workload(tmp_path, place):
    directory = tmp_path / "data" / "imseg-npy-500MB-small-s1"
    shutil.copytree(place / "data" / directory.name, directory)
    document = json.loads((directory / MANIFEST_NAME).read_text())
    (directory / MANIFEST_NAME).write_text(json.dumps(document | {"workload": "bert"}))
    assert refused(harness("train", "imseg", *flags(tmp_path)), 6, "bert", "imseg")


def test_data_set_too_small_for_the_ranks(place):
    done = harness("train", "imseg", *flags(place, "--batch-size", 8, "--eval-from", 0))
    assert refused(done, 6, "6")


def test_memory_limit_without_containers(place):
    assert refused(harness("train", "imseg", *flags(place, "--memory", "1GB")), 2, "memory")


@pytest.mark.parametrize("workload", ["imseg", "bert", "dlrm"])
def test_memory_limit_below_the_need_of_the_ranks(tmp_path, workload):
    places = ("--data", tmp_path / "data", "--results", tmp_path / "results", "--size", "2GB")
    words = (*places, "--preset", "smoke", "--accelerators", 4, "--memory", "120MB", "--dry-run")
    told = ("4 ranks keep", "168 MB for 5 proc", "120 MB of memory is the limit; use fewer")
    assert refused(harness("benchmark", workload, *words), 9, *told)
    assert not (tmp_path / "data").exists()
    words = (*words, "--memory", "2GB")
    done = harness("benchmark", workload, *words)
    assert done.returncode == 0, done.stderr
    assert "memory  2 GB (limit of the run), the ranks keep " in done.stderr


def test_profile_outside_its_range(place):
    words = flags(place, "--profile", "v100", "--batch-size", 64)
    assert refused(harness("train", "imseg", *words), 2, "v100", "--extrapolate")


def test_engine_absent(place, tmp_path):
    words = flags(place, "--engine", "docker")
    done = harness("train", "imseg", *words, DOCKER_HOST=f"unix://{tmp_path}/none.sock")
    assert refused(done, 3)


def test_auto_without_an_engine_says_so_and_runs(place, tmp_path):
    words = flags(place, "--engine", "auto")
    done = harness("train", "imseg", *words, DOCKER_HOST=f"unix://{tmp_path}/none.sock")
    assert done.returncode == 0, done.stderr
    engine = json.loads(Path(done.stdout.splitlines()[-1]).read_text())["engine"]
    assert engine["name"] == "local"
    assert engine["reason"] in done.stderr


def test_au_below_the_mark_has_its_exit_code(place):
    done = harness("train", "imseg", *flags(place, "--require-au", 1.0))
    assert done.returncode == 20
    assert json.loads(Path(done.stdout.splitlines()[-1]).read_text())["exit_code"] == 20


def test_a_run_that_takes_too_long_says_where_it_was_and_leaves_its_log(place, tmp_path):
    # Ranks are looked at about once a second: a run of some 30 s cannot end before that.
    lasting = ("--epochs", 100, "--max-duration", 0.5)
    words = flags(place, "--results", tmp_path / "results", *lasting)
    done = harness("train", "imseg", *words)
    assert refused(done, 10, "time limit of 0.5 s", "--max-duration")
    (path,) = results(tmp_path)
    assert json.loads(path.read_text())["exit_code"] == 10
    assert (path.parent / "logs" / "worker.log").is_file()


def test_a_checkpoint_directory_that_cannot_be_made_is_told_in_a_result(place, tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    words = flags(place, "--results", tmp_path / "results", "--checkpoint", tmp_path / "link")
    done = harness("train", "imseg", *words)
    assert refused(done, 7, str(tmp_path / "link"))
    (path,) = results(tmp_path)
    assert json.loads(path.read_text())["status"] == "failed"
    assert not list((tmp_path / "results" / "imseg").glob(".*"))


@pytest.mark.root
def test_training_over_a_read_only_mount(place, tmp_path):
    """It takes nothing but another place for the checkpoint; to generate is refused."""
    mount = tmp_path / "mount"
    mount.mkdir()
    subprocess.run(["mount", "--bind", str(place / "data"), str(mount)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(mount)], check=True)
        words = flags(place, "--results", tmp_path / "results", "--data", mount)
        done = harness("train", "imseg", *words)
        assert done.returncode == 0, done.stderr
        below = ("--checkpoint", mount / "checkpoint")
        assert refused(harness("train", "imseg", *words, *below), 7, "not writable", "checkpoint")
        assert refused(harness("generate", "imseg", *words), 7, "not writable", mount.name)
        assert len(results(tmp_path)) == 1
    finally:
        subprocess.run(["umount", str(mount)], check=True)


@contextmanager
def small_disk(path, size_kb):
    path.mkdir()
    options = f"size={size_kb}k"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


@pytest.mark.root
def test_results_without_space_for_the_recording_are_refused_before_the_start(place, tmp_path):
    with small_disk(tmp_path / "disk", 64) as disk:
        done = harness("train", "imseg", *flags(place, "--results", disk))
        assert refused(done, 7, "too little space for what is recorded", "needed", "65.5 kB free")
        assert list(disk.iterdir()) == []


@pytest.mark.root
def test_a_report_without_space_leaves_the_result_whole(place, tmp_path):
    with small_disk(tmp_path / "disk", 140) as disk:
        done = harness("train", "imseg", *flags(place, "--results", disk))
        path = Path(done.stdout.strip())
        assert refused(done, 11, "No space left", f"report {path.parent}")
        result = json.loads(path.read_text())
        assert (result["status"], result["exit_code"]) == ("ok", 11)
        assert "report" in "".join(result["warnings"])
        subprocess.run(["mount", "-o", "remount,size=2m", str(disk)], check=True)
        assert harness("report", path.parent).returncode == 0


@pytest.mark.root
def test_a_disk_that_fills_up_has_the_exit_code_of_the_worker(place, tmp_path):
    with small_disk(tmp_path / "disk", 300) as disk:
        words = flags(place, "--results", disk, "--epochs", 3)
        command = [sys.executable, "-m", "harness", "train", "imseg", *map(str, words)]
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as started:
            while started.poll() is None and not list(disk.glob("imseg/.*/trace/files.json")):
                time.sleep(0.01)
            with suppress(OSError), (disk / "fill").open("wb", buffering=0) as fill:
                while True:
                    fill.write(bytes(4096))
            said, heard = started.communicate(timeout=120)
        done = subprocess.CompletedProcess(command, started.returncode, said, heard)
        assert refused(done, 7, "cannot write", "No space left")


def test_dry_run_writes_nothing(tmp_path):
    done = harness("benchmark", "imseg", *flags(tmp_path, "--dry-run"))
    assert done.returncode == 0
    assert "6 training and 2 evaluation samples" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_while_modules_are_loaded_gives_its_exit_code(number):
    """The interpreter names each module as it is loaded, which is when the signal is sent."""
    command = [sys.executable, "-X", "importtime", "-m", "harness", "clean", "--help"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=ROOT
    ) as started:
        loaded = next(line for line in started.stderr if "numpy" in line)
        started.send_signal(number)
        said = loaded + started.stderr.read()
    assert started.returncode == 128 + number, said
    assert "Traceback" not in said


def test_help_lists_the_exit_codes():
    done = harness("--help")
    assert done.returncode == 0
    assert "AU below --require-au" in done.stdout
