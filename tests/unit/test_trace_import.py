"""A log of strace becomes rows: who read, what was dropped, and what cannot be meant."""

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import ResultError, TargetError
from harness.patterns import read_pattern
from harness.similarity.pattern import data_rows
from harness.similarity.score import score
from harness.trace.calls import by_thread
from harness.trace.importing import (
    Import,
    check_log,
    import_trace,
    local_sizes,
    parse_map,
    report_lines,
)
from harness.trace.readers import seats
from harness.trace.rows import import_rows
from harness.trace.strace import OPTIONS, parse
from harness.worker.record import FileClass, Op, Phase
from tests.unit.traced_calls import run_traced
from tests.unit.worker_run import make_data_set, make_spec

MAPS = ("*_x.npy=x", "*_y.npy=y", "*_e.npy=x:eval")


def line(text, *, pid=7, at=0.0, took=0.001):
    return f"{pid} {1_700_000_000 + at:.6f} {text} <{took:.6f}>\n"


def reading(path, *, pid=7, at=0.0, size_bytes=1000):
    """Return the lines that read a file whole."""
    calls = [
        f'openat(AT_FDCWD, "{path}", O_RDONLY) = 3',
        f"fstat(3, {{st_mode=S_IFREG|0644, st_size={size_bytes}, ...}}) = 0",
        f'read(3, ""..., {size_bytes}) = {size_bytes}',
        "close(3) = 0",
    ]
    return [line(call, pid=pid, at=at + 0.01 * number) for number, call in enumerate(calls)]


def born(child, *, at, pid=7):
    return line(f"clone(child_stack=NULL, flags=SIGCHLD) = {child}", pid=pid, at=at)


def ended(pid, *, at):
    return f"{pid} {1_700_000_000 + at:.6f} +++ exited with 0 +++\n"


def finished(lines):
    """Return the lines with an end of each thread that has none."""
    text = "".join(lines)
    own, gone = (
        re.findall(rf"^(\d+) {after}", text, re.MULTILINE) for after in ("", r"\S+ \+\+\+")
    )
    return [*lines, *(ended(pid, at=99) for pid in dict.fromkeys(own) if pid not in gone)]


@pytest.fixture
def imported(tmp_path):
    """Import these lines; return the recording, what was said, and where it is."""

    def run(lines, *, maps=MAPS, whole=False, **changes):
        (tmp_path / "log").write_text("".join(lines if whole else finished(lines)))
        wanted = Import(
            log=tmp_path / "log",
            maps=tuple(map(parse_map, maps)),
            output=tmp_path / "recording",
            **changes,
        )
        said = []
        directory = import_trace(wanted, said.append)
        return read_pattern(directory), said, directory

    return run


def test_rows_have_what_the_calls_had(imported):
    recorded, _, directory = imported(reading("/d/1_x.npy"), memory_bytes=10**9)
    rows = data_rows(recorded.pattern)
    assert rows["op"].tolist() == [Op.OPEN, Op.FSTAT, Op.READ, Op.CLOSE]
    assert rows[2]["offset"] == 0
    assert rows[2]["requested"] == rows[2]["returned"] == 1000
    assert rows[2]["t0_ns"] == 1_700_000_000_020_000_000
    assert rows[2]["t1_ns"] - rows[2]["t0_ns"] == 1_000_000
    assert set(rows["cpu_ns"]) == {-1}
    (file,) = recorded.pattern.files.values()
    assert (file.path, file.size_bytes, file.file_class) == ("/d/1_x.npy", 1000, FileClass.X)
    assert recorded.pattern.regime == "warm"
    assert np.load(directory / "trace/rank-00000.npy").dtype == rows.dtype


def test_ranks_are_processes_and_their_children_the_same_loaders_in_each_epoch(imported):
    lines = [born(10, at=0), born(20, at=0)]
    for epoch in (1, 2):
        for rank in (10, 20):
            children = [rank + 100 * epoch, rank + 100 * epoch + 1]
            lines += [born(child, pid=rank, at=epoch) for child in children]
            for child in children:
                lines += reading(f"/d/{child % 100}_x.npy", pid=child, at=epoch + 0.1)
            lines += [ended(child, at=epoch + 0.5) for child in children]
    rows = data_rows(imported(lines)[0].pattern)
    readers = {(int(row["rank"]), int(row["loader"])) for row in rows}
    assert readers == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert all(
        (rows["rank"] == rank).sum() == 16 and len(set(rows["file"][rows["rank"] == rank])) == 2
        for rank in (0, 1)
    )


def test_a_number_that_comes_again_is_another_process():
    trace = parse(
        [
            born(9, at=0),
            *reading("/d/1_x.npy", pid=9, at=1),
            ended(9, at=2),
            born(8, at=3),
            born(9, at=3, pid=8),
            *reading("/d/2_x.npy", pid=9, at=4),
        ]
    )
    first, second = (thread for thread in by_thread(trace.calls))
    assert first != second
    assert trace.parents[first] == 7
    assert trace.parents[second] == 8


def test_a_parent_that_reads_nothing_and_was_not_seen_to_begin_is_a_rank():
    lines = [*reading("/d/1_x.npy"), born(8, pid=9, at=1), *reading("/d/2_x.npy", pid=8, at=2)]
    rows = import_rows(parse(lines), [parse_map("*_x.npy=x")], sizes={}).rows
    assert set(rows["rank"].tolist()) == {0, 1}


def test_threads_read_for_themselves_or_for_their_process():
    lines = [
        "7 clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD, ...}, 88) = 8\n",
        *reading("/d/1_x.npy"),
        *reading("/d/2_x.npy", pid=8),
    ]
    trace = parse(lines)
    for readers, count in (("thread", 2), ("process", 1)):
        assert len(set(seats(trace, trace.calls, {}, readers).values())) == count


def test_marks_tell_rank_epoch_and_phase(imported):
    lines = []
    for epoch in (1, 2):
        for phase, path in (("train", "/d/1_x.npy"), ("eval", "/d/2_e.npy")):
            lines += reading(path, at=epoch)
            mark = f"/m/rank-00003-{phase}-{epoch:05d}-00001"
            lines.append(line(f'openat(AT_FDCWD, "{mark}", O_CREAT) = 9', at=epoch))
    recorded, said, _ = imported(lines)
    rows = recorded.pattern.rows
    assert recorded.pattern.labelled
    assert "of marks" in said[1]
    assert set(rows["rank"]) == {3}
    assert rows["epoch"].tolist() == [1] * 8 + [2] * 8
    assert rows["phase"].tolist() == ([Phase.TRAIN] * 4 + [Phase.EVAL] * 4) * 2


def test_a_mark_that_could_not_be_left_is_none(imported):
    mark = "/m/rank-00003-train-00001-00001"
    failed = f'openat(AT_FDCWD, "{mark}", O_CREAT) = -1 ENOSPC (No space left on device)'
    recorded, said, _ = imported([*reading("/d/1_x.npy"), line(failed, at=1)])
    assert not recorded.pattern.labelled
    assert "labels  none" in said[1]


def test_a_relative_path_is_the_traced_programs(imported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "1_x.npy").write_bytes(bytes(5000))
    opened, _, *rest = reading("1_x.npy")
    recorded, _, _ = imported([opened, *rest])
    (file,) = recorded.pattern.files.values()
    assert (file.path, file.size_bytes) == ("1_x.npy", 1000)


def test_a_relative_path_begins_where_the_log_says():
    opened = line('openat(AT_FDCWD</home/someone>, "1_x.npy", O_RDONLY) = 3</home/someone/1_x.npy>')
    (one,) = parse([opened]).calls
    assert one.call.path == "/home/someone/1_x.npy"


def test_what_is_dropped_is_counted_and_told(imported):
    lines = [
        *reading("/d/1_x.npy"),
        *reading("/other"),
        line('openat(AT_FDCWD, "/d/3_x.npy", O_RDONLY) = -1 ENOENT (No such file)'),
        line('openat(AT_FDCWD, "/d/2_x.npy", O_RDONLY) = 4'),
        line("mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, 4, 0) = 0x7f0000000000"),
        line("fadvise64(4, 0, 0, POSIX_FADV_RANDOM) = 0"),
        "7 1700000001.000000 what is this\n",
        "7 1700000001.000000 pread64(4,  <unfinished ...>\n",
        "7 1700000002.000000 +++ killed by SIGKILL +++\n",
    ]
    recorded, said, directory = imported(lines)
    dropped = json.loads((directory / "trace/source.json").read_text())["dropped"]
    assert dropped == {
        "other_files": 4,
        "other_calls": {"mmap": 1, "fadvise64": 1},
        "failed_opens": 1,
        "unreturned": {"pread64": 1},
        "unreadable_lines": 1,
        "unfollowed": {},
        "sizes_unknown": 0,
    }
    text = "\n".join(said)
    assert "4 calls on files that no --map names" in text
    assert "fadvise64 1, mmap 1" in text
    assert "pread64 1" in text
    assert "data may have moved by mmap" in text
    assert "fadvise64 1, mmap 1" in "".join(recorded.notices)


def without_times(lines):
    return [" ".join([one.split()[0], *one.split()[2:]]) + "\n" for one in lines]


READ = finished(reading("/d/1_x.npy"))
BAD = {
    "empty": ([], "an empty log"),
    "another file": (["\x00\x01 what\n", "else\n"], "no log of strace"),
    "no clock": (without_times(READ), "no times"),
    "time of day": (
        [one.replace("1700000000.0", "12:34:56.0") for one in READ],
        "times of another clock",
    ),
    "relative": ([one.replace("1700000000.0", "0.0") for one in READ], "times of another clock"),
    "cut off": ([*READ, "7 1700000001.0 read(3, "], "its last line does not end"),
    "strace killed": (reading("/d/1_x.npy"), "1 of its threads were not seen to end"),
    "detached": (
        [*READ, *reading("/d/2_x.npy", pid=8), "8 1700000001.0 read(0,  <detached ...>\n"],
        "1 of its threads were not seen to end",
    ),
    "no data": (finished(reading("/elsewhere")), "no data was read"),
    "no data, odd names": (finished(reading("/else\\nwhere")), "most was read of /else.nwhere"),
    "no reads": ([READ[0], READ[3], READ[4]], "no data was read"),
    "nothing but signals": (["7 1700000000.0 --- SIGCHLD {} ---\n"] * 3, "no call"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_log_that_cannot_be_compared_is_refused_in_one_line(imported, tmp_path, name):
    lines, said = BAD[name]
    with pytest.raises(ResultError, match=said) as refusal:
        imported(lines, whole=True)
    assert "\n" not in str(refusal.value)
    assert str(tmp_path / "log") in str(refusal.value)
    assert not (tmp_path / "recording").exists()


@pytest.mark.parametrize("name", ["cut off", "strace killed"])
def test_a_log_that_was_cut_off_is_taken_if_asked_for(imported, name):
    recorded, _, _ = imported(BAD[name][0], whole=True, partial=True)
    assert len(recorded.pattern.rows) == 4
    assert any("cut off" in notice for notice in recorded.notices)


def test_threads_without_numbers_end_with_the_log():
    lines = [re.sub(r"^7 ", "[pid 7] ", one) for one in READ[:-1]]
    log = parse([*lines, READ[-1].removeprefix("7 ")]).log
    assert (log.calls, log.unended, log.partial) == (4, 0, False)


def test_calls_that_cannot_be_followed_are_counted_and_told(imported):
    lines = [
        *READ[:-1],
        line('openat2(AT_FDCWD, "/d/2_x.npy", {flags=O_RDONLY|O_CLOEXEC, resolve=0}, 24) = 3'),
        line("readv(3, [...], 2) = 500"),
        line("close(3) = 0"),
        line('read(3, ""..., 9) = 9'),
        line('pread64(5</d/3_x.npy>, ""..., 9, 0) = 9'),
        line('pread64(5, ""..., 9, 9) = 0'),
        line('write(2, ""..., 9) = 9'),
        line("io_submit(0x7f0000000000, 1, [...]) = 1"),
        line("pipe2([8, 9], O_CLOEXEC) = 0"),
        line("pipe2([...], O_CLOEXEC) = 0"),
        line('memfd_create("", MFD_CLOEXEC) = 6'),
        line("dup(6) = 7"),
        *(line(f'read({own}, ""..., 4) = 4') for own in (6, 7, 8)),
        line('write(9, ""..., 4) = 4'),
    ]
    recorded, said, directory = imported(lines)
    dropped = json.loads((directory / "trace/source.json").read_text())["dropped"]
    assert dropped["unfollowed"] == {"read": 1, "pread64": 1, "io_submit": 1}
    text = "\n".join(said)
    assert "3 calls by descriptors whose opening is not in the log: io_submit 1, pread64" in text
    assert "data may have moved by io_submit, which no row can show" in text
    assert any("pread64 1" in notice for notice in recorded.notices)
    (vector,) = recorded.pattern.rows[recorded.pattern.rows["returned"] == 500]
    assert (recorded.pattern.files[vector["file"]].path, vector["requested"]) == ("/d/2_x.npy", -1)


def test_without_the_sizes_of_files_there_is_no_coverage_and_no_regime(imported, tmp_path):
    path = tmp_path / "1_x.npy"
    half = [
        line(f'openat(AT_FDCWD, "{path}", O_RDONLY) = 3'),
        line('pread64(3, ""..., 600, 0) = 500'),
    ]
    unknown, said, _ = imported(half, memory_bytes=10**9)
    assert "sizes   1 files: the end of what was read of them" in said
    assert "sizes of 1 files" in unknown.notices[0]
    path.write_bytes(bytes(1000))
    shutil.rmtree(tmp_path / "recording")
    here, said, directory = imported(half, memory_bytes=10**9)
    assert "sizes   1 files: what such files have here" in said
    assert json.loads((directory / "trace/source.json").read_text())["sizes_elsewhere"] == 1
    path.unlink()
    shutil.rmtree(tmp_path / "recording")
    met = [*half, line('pread64(3, ""..., 600, 500) = 0')]
    ending, _, _ = imported(met, memory_bytes=10**9)
    assert [own.pattern.sized for own in (unknown, here, ending)] == [False, True, True]
    assert [own.pattern.data_bytes for own in (unknown, here, ending)] == [500, 1000, 500]
    found = score(unknown.pattern, here.pattern)
    assert "coverage" not in found.components
    assert "sizes" in found.time_withheld
    assert (found.L, unknown.pattern.regime) == (1.0, None)
    both = score(here.pattern, here.pattern)
    assert both.components["coverage"] == 1
    assert both.time_withheld == ""


def test_a_rank_whose_rows_are_not_here_is_missed(imported):
    born_first = [born(8, at=0), born(9, at=0)]
    lines = [*reading("/d/1_x.npy", pid=8, at=1), *reading("/d/2_x.npy", pid=9, at=2)]
    _, _, directory = imported([*born_first, *lines])
    (directory / "trace/rank-00001.npy").unlink()
    with pytest.raises(ResultError, match="4 rows, where 8 were written"):
        read_pattern(directory)


def test_no_log_and_a_taken_output_are_refused(imported, tmp_path):
    imported(READ)
    with pytest.raises(TargetError, match="not empty"):
        imported(READ)
    absent = Import(log=tmp_path / "absent", maps=(), output=tmp_path / "other")
    with pytest.raises(ResultError, match="cannot read the log"):
        import_trace(absent, print)


@pytest.mark.root
@pytest.mark.parametrize("pages", [1, 2])  # full at files.json, and at the document after it
def test_a_full_disk_is_told_by_the_output_that_was_named(tmp_path, pages):
    (tmp_path / "log").write_text("".join(READ))
    mount = tmp_path / "mount"
    mount.mkdir()
    options = f"size={pages * os.sysconf('SC_PAGE_SIZE')}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(mount)], check=True)
    try:
        output = mount / "recording"
        wanted = Import(log=tmp_path / "log", maps=tuple(map(parse_map, MAPS)), output=output)
        with pytest.raises(TargetError) as caught:
            import_trace(wanted, print)
        assert (caught.value.where, list(mount.iterdir())) == (str(output), [])
        assert "name another --output" in str(caught.value)
    finally:
        subprocess.run(["umount", str(mount)], check=True)


LINES = [
    *READ,
    born(8, at=1),
    *reading("/d/2_x.npy", pid=8),
    line('openat(AT_FDCWD, "/d/3_x.npy", O_RDONLY) = 4', at=2),
    line("lseek(4, 10, SEEK_SET) = 10", at=2),
    line('pread64(4, ""..., 18446744073709551615, 7) = 5', at=2),
    line('preadv2(4, [{iov_base=""..., iov_len=8}], 1, 16, 0) = 8', at=2),
    line("dup2(4, 9) = 9", at=2),
    line("close_range(3, ~0U, 0) = 0", at=3),
    ended(8, at=3),
]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_log_whatever_is_in_it_ends_in_a_traceback(data):
    text = list("".join(LINES))
    for _ in range(data.draw(st.integers(0, 6))):
        place = data.draw(st.integers(0, len(text) - 1))
        text[place] = data.draw(
            st.sampled_from(["", "9", "(", ")", ", ", '"', "\n", "<", "x", "="])
        )
    trace = parse("".join(text).splitlines(keepends=True))
    with suppress(ResultError):
        check_log(trace.log, Path("log"), partial=False)
        found = import_rows(trace, tuple(map(parse_map, MAPS)), sizes={})
        assert len(found.rows) <= len(LINES)
        report_lines(found)


def test_of_odd_calls_those_that_can_be_read_are():
    trace = parse(LINES)
    names = [(one.call.name, one.call.offset, one.call.requested) for one in trace.calls[-5:]]
    assert names == [
        ("open", -1, -1),
        ("lseek", 10, -1),
        ("pread", 7, 2**64 - 1),
        ("pread", 16, 8),
        ("dup", -1, -1),
    ]
    assert trace.log.unreadable == (len(LINES) - 1,)
    rows = import_rows(trace, [parse_map("*_x.npy=x")], sizes={}).rows
    assert rows["requested"].max() == 2**63 - 1


@pytest.mark.strace
def test_a_log_of_tracing_that_was_not_permitted_says_what_to_allow(imported, tmp_path):
    # Who is traced already cannot be traced by another.
    words = ["strace", "-f", "-o", str(tmp_path / "outer")]
    words += ["strace", *OPTIONS, str(tmp_path / "inner"), "cat", "/etc/hostname"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert "not permitted" in done.stderr
    with pytest.raises(ResultError, match="no call") as refusal:
        imported((tmp_path / "inner").read_text().splitlines(keepends=True))
    assert "SYS_PTRACE" in str(refusal.value)


@pytest.mark.strace
@pytest.mark.parametrize("loader_workers", [0, 2])
def test_two_tracers_of_one_run_agree(tmp_path, loader_workers):
    data = make_data_set(tmp_path / "data", train=12, evaluation=4, side=40)
    spec = make_spec(
        tmp_path, data, accelerators=2, epochs=3, eval_from=2, loader_workers=loader_workers
    )
    (tmp_path / "spec.json").write_text(spec.to_json())
    run_traced(
        tmp_path / "traced", [sys.executable, "-m", "harness.worker", str(tmp_path / "spec.json")]
    )
    maps = [f"case_{case:05d}_{kind}.npy={kind}:eval" for case in range(12, 16) for kind in "xy"]
    wanted = Import(
        log=tmp_path / "traced/strace.log",
        maps=tuple(map(parse_map, [*maps, *MAPS])),
        output=tmp_path / "seen",
    )
    import_trace(wanted, print)
    ours, seen = read_pattern(tmp_path / "out"), read_pattern(tmp_path / "seen")
    found = score(ours.pattern, seen.pattern)
    assert found.L >= 0.999, found


def test_a_file_that_cannot_be_looked_at_has_no_size():
    path = f"/{'long' * 2_000}_x.npy"
    trace = parse([f'7  openat(AT_FDCWD, "{path}", O_RDONLY) = 3'])
    assert local_sizes(trace, [parse_map("*_x.npy=x")]) == {}


def test_numbers_that_no_row_can_hold_are_clamped_or_left_out():
    begin = "7  1700000000.100001 "
    trace = parse(
        [
            f'{begin}openat(AT_FDCWD, "/a_x.npy", O_RDONLY) = 3 <0.000001>',
            f'{begin}read(3, ""..., 10) = 10 <9999999999.000001>',
            f'{begin}read(3, ""..., 10) = -9999999999999999999 EIO (odd) <0.1>',
            f'{begin}pread64(3, ""..., 10, {10**30}) = 10 <0.000001>',
            f'{begin}pread64(3, ""..., 10, -{10**30}) = 10 <0.000001>',
            f"{begin}lseek(3, 0, SEEK_SET) = {10**18 - 1} <0.000001>",
        ]
    )
    assert trace.log.unreadable == (3,)
    rows = import_rows(trace, [parse_map("*_x.npy=x")], sizes={}).rows
    assert len(rows) == 5
    assert rows["offset"].max() == 2**63 - 1
    assert rows["returned"].max() == 10**18 - 1
