"""What strace writes is followed: torn calls, shared and copied descriptors, and positions."""

import subprocess
import sys
from collections import defaultdict

import pytest

from harness.trace.strace import OPTIONS, parse
from tests.reference.calls import Call, compare, compare_files, recorded_calls


def calls_of(text):
    return [traced.call for traced in parse(text.splitlines()).calls]


def test_reads_begin_where_the_position_is():
    assert calls_of(
        '7  openat(AT_FDCWD, "/d/f", O_RDONLY|O_CLOEXEC) = 3\n'
        '7  read(3, ""..., 4096) = 4096\n'
        "7  lseek(3, 0, SEEK_CUR) = 4096\n"
        "7  lseek(3, 128, SEEK_SET) = 128\n"
        '7  read(3, ""..., 8192) = 100\n'
        '7  pread64(3, ""..., 262144, 524288) = 262144\n'
        '7  read(3, "", 8192) = 0\n'
        "7  close(3) = 0\n"
    ) == [
        Call("/d/f", "open", -1, -1, 0),
        Call("/d/f", "read", 0, 4096, 4096),
        Call("/d/f", "lseek", -1, -1, 4096),
        Call("/d/f", "lseek", 128, -1, 128),
        Call("/d/f", "read", 128, 8192, 100),
        Call("/d/f", "pread", 524288, 262144, 262144),
        Call("/d/f", "read", 228, 8192, 0),
        Call("/d/f", "close", -1, -1, 0),
    ]


@pytest.mark.parametrize(
    "duplicating", ["dup(3)", "dup2(3, 9)", "dup3(3, 9, O_CLOEXEC)", "fcntl(3, F_DUPFD_CLOEXEC, 0)"]
)
def test_duplicates_share_the_position(duplicating):
    calls = parse(
        [
            '7  openat(AT_FDCWD, "/f", O_RDONLY) = 3',
            f"7  {duplicating} = 9",
            '7  read(9, ""..., 10) = 10',
            "7  close(3) = 0",
            '7  read(9, ""..., 10) = 5',
        ]
    ).calls
    assert [(one.call.name, one.call.offset, one.copy) for one in calls] == [
        ("open", -1, 0),
        ("dup", -1, 0),
        ("read", 0, 1),
        ("close", -1, 0),
        ("read", 10, 1),
    ]


def test_a_call_torn_by_another_keeps_its_place_and_a_closed_number_is_reused():
    calls = parse(
        [
            '7  openat(AT_FDCWD, "/a", O_RDONLY <unfinished ...>',
            '8  openat(AT_FDCWD, "/other", O_RDONLY) = 3',
            "7  <... openat resumed>) = 3",
            "7  close(3 <unfinished ...>",
            "7  <... close resumed>) = 0",
            '7  openat(AT_FDCWD, "/b", O_RDONLY) = 3',
            "7  pread64(3,  <unfinished ...>",
            '8  read(3, ""..., 7) = 7',
            '7  <... pread64 resumed>""..., 262144, 0) = 1000',
            "8  read(3,  <unfinished ...>",
            "8  <... read resumed> <unfinished ...>) = ?",
            "8  +++ killed by SIGKILL +++",
        ]
    ).calls
    assert [(one.process, str(one.call)) for one in calls] == [
        (7, "a: open = 0"),
        (8, "other: open = 0"),
        (7, "a: close = 0"),
        (7, "b: open = 0"),
        (7, "b: pread at 0 of 262144 = 1000"),
        (8, "other: read at 0 of 7 = 7"),
    ]


def test_threads_share_descriptors_and_a_closed_one_is_no_longer_the_file():
    calls = parse(
        [
            "7  clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD, ...}, 88) = 8",
            '7  openat(AT_FDCWD, "/a", O_RDONLY) = 3',
            '8  read(3, ""..., 7) = 7',
            "8  close(3) = 0",
            '7  read(3, ""..., 1) = 1',  # a pipe
        ]
    ).calls
    assert [(one.thread, str(one.call)) for one in calls] == [
        (7, "a: open = 0"),
        (8, "a: read at 0 of 7 = 7"),
        (8, "a: close = 0"),
    ]


def test_a_call_takes_effect_when_it_returns():
    calls = parse(
        [
            "7  clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD, ...}, 88) = 8",
            '7  openat(AT_FDCWD, "/a", O_RDONLY) = 3',
            '7  openat(AT_FDCWD, "/b", O_RDONLY <unfinished ...>',
            '8  read(3, ""..., 7) = 7',
            "8  close(3) = 0",
            "7  <... openat resumed>) = 3",
            '8  read(3, ""..., 7) = 7',
        ]
    ).calls
    assert [str(one.call) for one in calls] == [
        "a: open = 0",
        "b: open = 0",
        "a: read at 0 of 7 = 7",
        "a: close = 0",
        "b: read at 0 of 7 = 7",
    ]


def test_a_thread_that_closes_lets_another_reuse_the_number_before_it_hears_of_it():
    calls = parse(
        [
            "7  clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD, ...}, 88) = 8",
            '7  openat(AT_FDCWD, "/a", O_RDONLY) = 3',
            "7  close(3 <unfinished ...>",
            '8  openat(AT_FDCWD, "/b", O_RDONLY) = 3',
            "7  <... close resumed>) = 0",
            '8  read(3, ""..., 7) = 7',
        ]
    ).calls
    assert [(one.thread, one.process, str(one.call)) for one in calls] == [
        (7, 7, "a: open = 0"),
        (7, 7, "a: close = 0"),
        (8, 7, "b: open = 0"),
        (8, 7, "b: read at 0 of 7 = 7"),
    ]


def test_a_fork_copies_descriptors_and_shares_positions_even_if_seen_before_it_returns():
    trace = parse(
        [
            '7  openat(AT_FDCWD, "/a", O_RDONLY|O_CLOEXEC) = 3',
            '7  openat(AT_FDCWD, "/b", O_RDONLY) = 4',
            "7  clone(child_stack=NULL, flags=CLONE_CHILD_SETTID|SIGCHLD <unfinished ...>",
            '8  read(3, ""..., 10) = 10',
            "7  <... clone resumed>, child_tidptr=0x7f) = 8",
            "8  close(3) = 0",
            '7  read(3, ""..., 10) = 10',
            "7  vfork() = 9",
            '9  execve("/bin/x", [...], 0x7f /* 3 vars */) = 0',
            '9  openat(AT_FDCWD, "/c", O_RDONLY) = 5',
            '9  read(3, ""..., 1) = 1',  # a pipe that this log does not show being opened
            '9  read(4, ""..., 1) = 1',
        ]
    )
    assert trace.parents == {8: 7, 9: 7}
    assert [(one.process, str(one.call)) for one in trace.calls[2:]] == [
        (8, "a: read at 0 of 10 = 10"),
        (8, "a: close = 0"),
        (7, "a: read at 10 of 10 = 10"),
        (9, "c: open = 0"),
        (9, "b: read at 0 of 1 = 1"),
    ]


def test_what_is_not_a_call_on_a_file_is_left_out():
    assert calls_of(
        '7  openat(AT_FDCWD, "/f", O_RDONLY) = 4\n'
        "7  select(4, [3], NULL, NULL, NULL) = 1\n"
        '7  read(5, ""..., 10) = 10\n'
        "7  mmap(NULL, 8192, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f00\n"
        "7  --- SIGCHLD {si_signo=SIGCHLD} ---\n"
    ) == [Call("/f", "open", -1, -1, 0)]


def test_a_relative_name_begins_in_the_directory_of_strace_y_as_it_is_called():
    assert calls_of('7  openat(AT_FDCWD</d\\303\\251>, "x", O_RDONLY) = 4\n') == [
        Call("/dé/x", "open", -1, -1, 0)
    ]


def test_maps_stats_failures_and_odd_names_are_told():
    assert calls_of(
        '7  openat(AT_FDCWD, "/d\\303\\251 (a), b", O_RDONLY) = -1 ENOENT (No such file)\n'
        '7  openat(AT_FDCWD</home>, "/d", O_RDONLY|O_DIRECTORY) = 4</d>\n'
        '7  openat(4</d>, "\\"q\\"", O_RDONLY) = 3</d/q>\n'
        '7  newfstatat(4</d>, "\\"q\\"", {st_mode=S_IFREG, ...}, 0) = 0\n'
        '7  lstat("/e", 0x7ffe) = -1 ENOENT (No such file or directory)\n'
        '7  newfstatat(3</d/q>, "", {st_mode=S_IFREG, st_size=9, ...}, AT_EMPTY_PATH) = 0\n'
        "7  ioctl(3, TCGETS, 0x7f) = -1 ENOTTY (Inappropriate ioctl for device)\n"
        "7  fcntl(3, F_GETFL) = 0x8000 (flags O_RDONLY|O_LARGEFILE)\n"
        '7  readv(3, [{iov_base=""..., iov_len=4}, {iov_base=""..., iov_len=8}], 2) = 9\n'
        "7  mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, 3, 0) = 0x7f12345678\n"
        "7  fadvise64(3, 0, 0, POSIX_FADV_RANDOM) = 0\n"
    ) == [
        Call("/dé (a), b", "open", -1, -1, -1),
        Call("/d", "open", -1, -1, 0),
        Call('/d/"q"', "open", -1, -1, 0),
        Call('/d/"q"', "stat", -1, -1, 0),
        Call("/e", "stat", -1, -1, -1),
        Call('/d/"q"', "fstat", -1, -1, 0),
        Call('/d/"q"', "ioctl", -1, -1, -1),
        Call('/d/"q"', "fcntl", -1, -1, 0x8000),
        Call('/d/"q"', "readv", 0, 12, 9),
        Call('/d/"q"', "mmap", -1, -1, 0),
        Call('/d/"q"', "fadvise64", -1, -1, 0),
    ]


PROGRAM = """
import os, sys, threading
path = sys.argv[1]
file = os.open(path, os.O_RDONLY)
copy = os.dup(file)
os.read(file, 100)
os.lseek(copy, 10, os.SEEK_CUR)
def read():
    own = os.open(path, os.O_RDONLY)
    for offset in range(0, 1000, 10):
        os.pread(own, 10, offset)
    os.close(own)
threads = [threading.Thread(target=read) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
if os.fork() == 0:
    os.read(copy, 5)
    os._exit(0)
os.wait()
os.read(file, 1000)
"""


@pytest.mark.strace
def test_a_real_program_of_threads_and_processes_is_followed(tmp_path):
    path, log = tmp_path / "the file", tmp_path / "log"
    path.write_bytes(bytes(1000))
    subprocess.run(
        ["strace", *OPTIONS, str(log), sys.executable, "-c", PROGRAM, str(path)], check=True
    )
    trace = parse(log.read_text().splitlines())
    threads = defaultdict(list)
    for traced in trace.calls:
        if traced.call.path == str(path):
            threads[traced.thread].append((traced.process, traced.call))
    main, *others = threads.values()
    (parent,) = {process for process, _ in main}
    assert [str(call).partition(": ")[2] for _, call in main] == [
        "open = 0",
        "dup = 0",
        "read at 0 of 100 = 100",
        "lseek = 110",
        "read at 115 of 1000 = 885",
    ]
    ((child, only),) = others.pop()
    assert str(only) == "the file: read at 110 of 5 = 5"
    assert trace.parents[child] == parent
    assert len(others) == 8
    for calls in others:
        assert {process for process, _ in calls} == {parent}
        assert [call.offset for _, call in calls] == [-1, *range(0, 1000, 10), -1]


def test_equal_sequences_have_no_difference_and_others_are_told_where_they_part():
    calls = [Call("/d/f", "read", 10 * number, 10, 10) for number in range(9)]
    assert compare(calls, list(calls)) == ""
    other = [*calls[:5], calls[5]._replace(returned=7), *calls[6:]]
    told = compare(calls, other).splitlines()
    assert told[0] == "call 6 differs (9 of the reference, 9 ours)"
    assert told[3] == "  both       f: read at 40 of 10 = 10"
    assert told[4] == "  reference  f: read at 50 of 10 = 10"
    assert told[7] == "  ours       f: read at 50 of 10 = 7"
    assert compare(calls, calls[:8]).splitlines()[-1] == "  ours       no more"
    assert compare([], calls).splitlines()[1] == "  reference  no more"


def test_files_may_be_read_less_far_but_not_otherwise():
    def calls(path, reads, *, ended=False):
        found = [Call(path, "pread", 10 * number, 10, 10) for number in range(reads)]
        if ended:
            found.append(Call(path, "pread", 10 * reads, 10, 0))
        return [*found, Call(path, "close", -1, -1, 0)]

    whole = calls("/a", 5, ended=True)
    reference = [*whole, *calls("/b", 3)]
    assert compare_files(reference, list(reference)) == ""
    assert compare_files(reference, [*calls("/b", 9, ended=True), *calls("/a", 2)]) == ""
    assert compare_files(reference, calls("/c", 1)) == ""
    assert "/a: call 7 differs (7 of the reference, 6 ours)" in compare_files(whole, whole[:-1])
    assert "/a: call 8 differs" in compare_files(whole, whole * 2)
    assert "/a: call 5 differs" in compare_files(whole, calls("/a", 4, ended=True))
    moved = [call._replace(offset=call.offset + 1) for call in calls("/b", 1)]
    assert "/b: call 1 differs" in compare_files(reference, moved)
    many = [call._replace(path=f"/{number}") for number in range(8) for call in calls("/b", 1)]
    others = [call._replace(requested=11) for call in many]
    assert compare_files(many, others).splitlines()[-1] == "and 3 more files"


def test_recorded_rows_become_calls():
    row = {"op": 1, "file": 4, "offset": -1, "requested": -1, "returned": 17}
    read = {"op": 2, "file": 4, "offset": 128, "requested": 4096, "returned": 100}
    assert recorded_calls([row, read], {"4": {"path": "/d/f"}}) == [
        Call("/d/f", "open", -1, -1, 0),
        Call("/d/f", "read", 128, 4096, 100),
    ]


def test_masks_long_numbers_and_a_thread_that_made_itself_are_no_stumbling_blocks():
    trace = parse(
        [
            "7  umask(077) = 022",
            f"{'9' * 5000}  close(3) = 0",
            f"7  {'9' * 5000}.5 close(3) = 0",
            f"7  lseek(3, 0, SEEK_SET) = {'9' * 5000}",
            "7  clone(child_stack=NULL, flags=SIGCHLD) = 7",
            '7  openat(AT_FDCWD, "/f", O_RDONLY) = 3',
            '7  read(3, ""..., 10) = 10',
        ]
    )
    assert [str(one.call) for one in trace.calls] == ["f: open = 0", "f: read at 0 of 10 = 10"]
    assert trace.log.unreadable == (2, 3, 4)
