"""Law 4: interrupted and resumed equals uninterrupted, wherever the kill falls."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from dsgen.directory import OWN_NAMES
from dsgen.journal import JOURNAL_NAME
from dsgen.lock import LOCK_NAME, hold_exclusive
from dsgen.manifest import MANIFEST_NAME
from dsgen.verify import verify
from tests.property.strategies import FORMATS, data_set
from tests.waiting import wait_for_file, wait_until

MOMENTS = 20


LARGE = data_set("imseg", 2 * 10**9, law="small")


def command(data_set, directory):
    words = [*data_set.command(directory), "--processes", "2", "--events"]
    return [sys.executable, "-m", "dsgen", *words]


def gone(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def leftovers(directory):
    names = {path.name for path in directory.iterdir()}
    return {n for n in names if n.endswith(".partial")} | (
        names & (OWN_NAMES - {MANIFEST_NAME, LOCK_NAME})
    )


@pytest.mark.parametrize("data_set", FORMATS, ids=lambda one: one.name)
def test_resume_after_kill_gives_the_same_manifest(data_set, tmp_path):
    whole = tmp_path / "whole"
    subprocess.run(command(data_set, whole), check=True, stdout=subprocess.PIPE)
    draw = random.Random(1)
    killed = 0
    for moment in range(MOMENTS):
        directory = tmp_path / f"killed-{moment}"
        arguments = command(data_set, directory)
        child = subprocess.Popen(arguments, stdout=subprocess.PIPE, start_new_session=True)
        if moment % 2:  # after so many finished segments, else after some time
            for _ in range(draw.randrange(1, 5)):
                child.stdout.readline()
        else:
            time.sleep(draw.uniform(0.1, 0.4))
        os.killpg(child.pid, signal.SIGKILL)
        killed += child.wait() == -signal.SIGKILL
        child.stdout.close()
        subprocess.run(arguments, check=True, stdout=subprocess.PIPE)
        assert leftovers(directory) == set()
        assert (directory / MANIFEST_NAME).read_bytes() == (whole / MANIFEST_NAME).read_bytes()
        for path in whole.iterdir():
            assert (directory / path.name).read_bytes() == path.read_bytes(), path.name
        for path in directory.iterdir():
            path.unlink()
    assert killed >= MOMENTS // 2, "the kills came too late to mean anything"


def test_killed_after_the_manifest_the_journal_goes(tmp_path):
    small = data_set("dlrm", 1_000_000, format="bin")
    subprocess.run(command(small, tmp_path), check=True, stdout=subprocess.PIPE)
    (tmp_path / JOURNAL_NAME).write_text("{}\n", encoding="utf-8")
    subprocess.run(command(small, tmp_path), check=True, stdout=subprocess.PIPE)
    assert leftovers(tmp_path) == set()


def test_writers_die_with_the_process_that_started_them(tmp_path):
    arguments = command(LARGE, tmp_path / "set")
    child = subprocess.Popen(arguments, stdout=subprocess.PIPE, start_new_session=True)
    for _ in range(4):
        child.stdout.readline()
    child.kill()  # the parent alone
    child.wait()
    child.stdout.close()
    wait_until(lambda: gone(child.pid), "every writer ended", timeout_s=5)
    assert (tmp_path / "set" / JOURNAL_NAME).exists()
    with hold_exclusive(tmp_path / "set"):
        pass  # no stale lock


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_stops_with_its_exit_code_and_leaves_no_process(number, code, tmp_path):
    arguments = command(LARGE, tmp_path / "set")
    child = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    for _ in range(4):
        child.stdout.readline()
    child.send_signal(number)
    _, said = child.communicate(timeout=30)
    assert child.returncode == code
    assert said.decode().splitlines() == ["stopped; the same command continues"]
    with pytest.raises(ProcessLookupError):
        os.killpg(child.pid, 0)


TEXT = data_set("dlrm", 300_000_000, format="text")


def killed_after(segments, directory):
    child = subprocess.Popen(
        command(TEXT, directory), stdout=subprocess.PIPE, start_new_session=True
    )
    for _ in range(2 + segments):  # two notices come first
        child.stdout.readline()
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()


@pytest.mark.parametrize("damage", ["removed", "emptied", "grown"])
def test_a_journal_vouches_for_nothing_that_is_gone(damage, tmp_path):
    directory = tmp_path / "set"
    killed_after(3, directory)
    partial = directory / "train.txt.partial"
    if damage == "removed":
        partial.unlink()
    elif damage == "emptied":
        os.truncate(partial, 0)
    else:
        os.truncate(partial, 400_000_000)
    killed_after(1, directory)
    subprocess.run(command(TEXT, directory), check=True, stdout=subprocess.PIPE)
    assert verify(directory, processes=2, emit=lambda _: None) == []
    assert leftovers(directory) == set()


@pytest.mark.parametrize("moment", range(20))
def test_ctrl_c_while_processes_start_is_neither_lost_nor_hangs(moment, tmp_path):
    words = [*command(data_set("dlrm", 300_000_000, format="bin"), tmp_path / "set")]
    words[words.index("--processes") + 1] = "4"
    child = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    child.stdout.readline()
    wait_for_file(tmp_path / "set" / JOURNAL_NAME, child)
    time.sleep(random.Random(moment).uniform(0, 0.03))
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does: to all of them
    _, said = child.communicate(timeout=20)
    assert (child.returncode, said.decode()) == (130, "stopped; the same command continues\n")
    with pytest.raises(ProcessLookupError):
        os.killpg(child.pid, 0)
