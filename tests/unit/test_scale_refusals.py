"""Bad input of a scaling: one line, its exit code, nothing written, the input untouched."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path

import google_crc32c
import numpy as np
import pytest

from dsgen import copied, tfrecord
from dsgen.directory import OWN_NAMES
from dsgen.errors import DataSetError, UsageError
from dsgen.input import find_input
from dsgen.layout import COUNTED, Parameters, PlannedFile
from dsgen.scale import scale_into
from dsgen.source import SOURCE_NAME, Source, listed
from dsgen.workloads import dlrm_source
from tests.property.inputs import Example, make_all, scaled
from tests.property.strategies import data_set
from tests.unit.test_generate_refusals import ROOT, dsgen, refused

SIZE = 3_000_000


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return name -> directory of a small input."""
    root = tmp_path_factory.mktemp("made")
    make_all(root)
    return root


@pytest.fixture
def given(made, tmp_path):
    """Return a function that gives a test an input of its own."""

    def copy(name):
        shutil.copytree(made / name, tmp_path / name, symlinks=True)
        return tmp_path / name

    return copy


def scale(workload, source, output, *more):
    return scaled(workload, source, output, SIZE, *more)


def nothing_in(output):
    return not output.exists() or not {path.name for path in output.iterdir()} - OWN_NAMES


@pytest.mark.parametrize(
    ("output", "how"), [("", "is"), ("out", "lies in"), ("sub/dir", "lies in"), ("..", "holds")]
)
def test_an_output_that_is_not_apart(output, how, given):
    source = given("imseg")
    before = sorted(path.name for path in source.iterdir())
    assert refused(scale("imseg", source, source / output), 2, f"the output {how} the input")
    assert sorted(path.name for path in source.iterdir()) == before


def test_an_output_that_is_the_input_by_a_link(given, tmp_path):
    (tmp_path / "link").symlink_to(given("imseg"))
    assert refused(scale("imseg", tmp_path / "imseg", tmp_path / "link"), 2, "is the input")


def test_an_output_inside_by_a_link(given, tmp_path):
    source = given("bin")
    (tmp_path / "link").symlink_to(source)
    assert refused(scale("dlrm", source, tmp_path / "link" / "out"), 2, "lies in the input")


def test_an_input_that_is_not_there(tmp_path):
    done = scale("imseg", tmp_path / "none", tmp_path / "out")
    assert refused(done, 6, "cannot read (No such file or directory)", str(tmp_path / "none"))


@pytest.mark.parametrize("workload", ["imseg", "bert", "dlrm"])
def test_an_input_without_files(workload, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes").write_text("no data\n")
    done = scale(workload, tmp_path / "in", tmp_path / "out")
    assert refused(done, 6, f"no files of {workload}", "name a directory with files such as")


def test_two_workloads_in_one_input(given, tmp_path):
    source = given("imseg")
    shutil.copy(next(given("bert").glob("part-*")), source)
    done = scale("imseg", source, tmp_path / "out")
    assert refused(done, 6, "imseg npy (case_", "and bert tfrecord (part-", "leave one kind")
    assert nothing_in(tmp_path / "out")


def test_the_data_set_of_another_workload(given, tmp_path):
    assert refused(scale("bert", given("imseg"), tmp_path / "out"), 6, "no files of bert")


def test_an_unfinished_data_set(tmp_path, given):
    source = given("text")
    (source / ".feedrate-journal").write_text("{}\n")
    assert refused(scale("dlrm", source, tmp_path / "out"), 6, "an unfinished data set")


def test_a_changed_data_set_of_ours(tmp_path):
    done = dsgen("generate", "dlrm", "--format", "bin", "--size", "1MB", "--output", tmp_path / "a")
    assert done.returncode == 0
    os.truncate(tmp_path / "a" / "preprocessed.bin", 1600)
    assert refused(scale("dlrm", tmp_path / "a", tmp_path / "out"), 6, "1,600 bytes instead of")


def test_a_case_without_its_label(given, tmp_path):
    source = given("imseg")
    next(source.glob("*_y.npy")).unlink()
    assert refused(scale("imseg", source, tmp_path / "out"), 6, "_y.npy beside case_")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("cut", "where its header says"),
        ("grown", "where its header says"),
        ("header", "not a .npy file of version 1.0"),
        ("empty", "not a .npy file of version 1.0"),
        ("dtype", "float64 (1, 4, 4, 4) in C order where float32"),
        ("order", "in Fortran order"),
        ("shape", "image (1, 4, 4, 4) and label (1,"),
    ],
)
def test_a_volume_that_is_none(damage, says, given, tmp_path):
    source = given("imseg")
    path = next(source.glob("*_x.npy"))
    volume = np.zeros((1, 4, 4, 4), "<f4")
    if damage == "cut":
        os.truncate(path, path.stat().st_size - 1)
    elif damage == "grown":
        os.truncate(path, path.stat().st_size + 1)
    elif damage == "header":
        path.write_bytes(b"no volume" * 1000)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "dtype":
        np.save(path, volume.astype("<f8"))
    elif damage == "order":
        np.save(path, np.asfortranarray(np.zeros((1, 4, 5, 6), "<f4")))
    else:
        np.save(path, volume)
    assert refused(scale("imseg", source, tmp_path / "out"), 6, says)
    assert nothing_in(tmp_path / "out")


def test_a_directory_in_the_place_of_a_volume(given, tmp_path):
    source = given("imseg")
    path = next(source.glob("*_x.npy"))
    path.unlink()
    path.mkdir()
    assert refused(scale("imseg", source, tmp_path / "out"), 6, path.name, "not a file")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no header with its CRC"),
        (b"no record" * 100, "no header with its CRC"),
        (tfrecord.frame_header(9) + b"no record" + b"none", "another CRC of its data"),
        (tfrecord.frame_header(9) + b"no re", "truncated"),
    ],
)
def test_records_that_are_none(data, says, given, tmp_path):
    source = given("bert")
    path = next(source.glob("part-*"))
    path.write_bytes(data)
    assert refused(
        scale("bert", source, tmp_path / "out"), 6, "record 1 at byte 0", says, path.name
    )


@pytest.mark.parametrize(
    ("workload", "name", "pattern"),
    [
        ("imseg", "imseg", "*_x.npy"),
        ("bert", "bert", "part-*"),
        ("dlrm", "bin", "day_fea_count.npz"),
        ("dlrm", "text", "train.txt"),
    ],
)
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(workload, name, pattern, given, tmp_path):
    source = given(name)
    path = sorted(source.glob(pattern))[0]
    path.unlink()
    os.mkfifo(path)
    assert refused(scale(workload, source, tmp_path / "out"), 6, "not a file", path.name)


def npy(header):
    text = header.encode() + b"\n"
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text


# What numpy answers by other than a ValueError, and a shape whose product is beyond 64 bits.
ODD_HEADERS = [
    "{'descr': (",
    "{1: 2, 'a': 3}",
    "{[]: 2}",
    "{'descr': (), 'fortran_order': False, 'shape': (1, 4, 4, 4)}",
    f"{'-' * 9000}1",
]


@pytest.mark.parametrize("header", [header[:60] for header in ODD_HEADERS])
def test_headers_that_are_none(header, given, tmp_path):
    whole = next(one for one in ODD_HEADERS if one.startswith(header))
    source = given("imseg")
    path = sorted(source.glob("*_x.npy"))[0]
    path.write_bytes(npy(whole) + bytes(256))
    assert refused(scale("imseg", source, tmp_path / "out"), 6, "not a .npy file of version 1.0")
    source = given("npz")
    path = source / "day_0_reordered.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("X_cat", "X_int", "y"):
            archive.writestr(f"{name}.npy", npy(whole))
    assert refused(scale("dlrm", source, tmp_path / "out"), 6, "not an archive of X_cat, X_int")


@pytest.mark.parametrize("extent", [10**30, 2**62 + 1])
def test_a_volume_of_more_than_there_can_be(extent, given, tmp_path):
    source = given("imseg")
    path = sorted(source.glob("*_x.npy"))[0]
    shape = f"(1, {extent}, 4, 4)"
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}"
    path.write_bytes(npy(header) + bytes(256))
    done = scale("imseg", source, tmp_path / "out")
    assert refused(done, 6, path.name, "where its header says")


def test_a_header_that_python_2_wrote_is_taken_in_silence(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1L, 4L, 4L, 4L), }"
    (source / "case_00000_x.npy").write_bytes(npy(header) + bytes(256))
    np.save(source / "case_00000_y.npy", np.zeros((1, 4, 4, 4), "u1"))
    done = scaled("imseg", source, tmp_path / "out", 1000)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_name_that_would_break_the_line(tmp_path):
    (tmp_path / "a\nb.txt").write_bytes(b"no click\n")
    done = scale("dlrm", tmp_path / "a\nb.txt", tmp_path / "out")
    assert refused(done, 6, "a line is no click", r"a\nb.txt")


def test_a_record_longer_than_its_file(given, tmp_path):
    source = given("bert")
    path = sorted(source.glob("part-*"))[0]
    path.write_bytes(tfrecord.frame_header(2**62) + bytes(100))
    assert refused(scale("bert", source, tmp_path / "out"), 6, "truncated", path.name)


def test_records_of_something_else(given, tmp_path):
    source = given("bert")
    data = tfrecord.example([tfrecord.feature("image", "int64", b"\1")])
    header = tfrecord.frame_header(len(data))
    crc = tfrecord.masked(np.array([google_crc32c.value(data)], np.uint32))
    next(source.glob("part-*")).write_bytes(header + data + crc.astype("<u4").tobytes())
    assert refused(scale("bert", source, tmp_path / "out"), 6, "record 1 at byte 0 lacks input_ids")


def test_truncated_records_leave_what_can_be_removed(given, tmp_path):
    source = given("bert")
    path = sorted(source.glob("part-*"))[0]
    os.truncate(path, path.stat().st_size - 100)
    done = scaled("bert", source, tmp_path / "out", 130_000_000)
    assert refused(done, 6, "truncated: the record at byte", path.name)
    assert dsgen("remove", tmp_path / "out").returncode == 0
    assert not (tmp_path / "out").exists()


def test_records_that_break_off_in_the_middle(given, tmp_path):
    source = given("bert")
    path = sorted(source.glob("part-*"))[0]
    with path.open("r+b") as stream:
        stream.seek(5_000_000)
        stream.write(bytes(10_000))
    done = scaled("bert", source, tmp_path / "out", 130_000_000)
    assert refused(done, 6, "no record begins at byte", path.name)


def test_a_header_that_is_none_where_a_segment_begins(tmp_path):
    """Nothing of the segment is a record then, and the one before ends there."""
    record = tfrecord.frame_header(20) + bytes(24)
    data = record * 2 + bytes(12) + record[12:] + record * 2
    (tmp_path / "part").write_bytes(data)
    source = listed(tmp_path, "part", role="train", file_class="record", samples=COUNTED)
    planned = PlannedFile(
        index=0,
        path="part",
        role="train",
        file_class="record",
        bytes=len(data),
        samples=COUNTED,
        shape=(),
        key=0,
        starts=(0, 2 * len(record)),
    )
    with pytest.raises(DataSetError, match=f"no record begins at byte {2 * len(record)}"):
        list(copied.blocks(tmp_path, source, planned, 1))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"0 1 2\n", "1 tab-separated fields"),
        (b"\t".join([b"x"] * 40) + b"\n", "invalid literal"),
        (b"\t".join([b"1"] * 14 + [b"xyz"] * 26) + b"\n", "invalid literal"),
    ],
)
def test_text_that_is_no_click_log(line, says, given, tmp_path):
    source = given("text")
    with (source / "train.txt").open("ab") as stream:
        stream.write(line)
    assert refused(scale("dlrm", source, tmp_path / "out"), 6, "a line is no click", says)


def test_text_of_nothing(tmp_path):
    (tmp_path / "train.txt").write_bytes(b"")
    assert refused(scale("dlrm", tmp_path / "train.txt", tmp_path / "out"), 6, "empty")


CLICK = b"\t".join([b"1"] * 14 + [b"ab12"] * 26)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"\n\n", "1 tab-separated fields"),
        ((CLICK + b"\n") * 20 + b"\n", "1 tab-separated fields"),
        (b"x" * 3_000_000, "longer than 1,048,576 bytes"),
        (CLICK + b"0" * 3_000_000 + b"\n", "longer than 1,048,576 bytes"),
        (b"\t".join([b"z" * 500_000] + [b"1"] * 39), "invalid literal"),
    ],
)
def test_text_with_lines_that_are_none(text, says, tmp_path):
    (tmp_path / "train.txt").write_bytes(text)
    done = scale("dlrm", tmp_path / "train.txt", tmp_path / "out")
    assert refused(done, 6, says)
    assert len(done.stderr) < 1000


def test_text_with_carriage_returns_after_empty_fields(tmp_path):
    (tmp_path / "train.txt").write_bytes((b"\t".join([b"1"] * 14 + [b""] * 26) + b"\r\n") * 20)
    done = scaled("dlrm", tmp_path / "train.txt", tmp_path / "out", 2000)
    assert done.returncode == 0, done.stderr


def test_rows_that_are_not_whole(given, tmp_path):
    source = given("bin")
    path = source / "preprocessed.bin"
    os.truncate(path, path.stat().st_size - 1)
    assert refused(scale("dlrm", source, tmp_path / "out"), 6, "no whole number of rows of 160")


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [(0, 2, "a label above 1"), (5, -1, "a value below 0"), (19, 2**30, "does not count")],
)
def test_rows_that_the_reference_refuses(column, value, says, given, tmp_path):
    source = given("bin")
    rows = np.memmap(source / "preprocessed.bin", "<i4", "r+").reshape(-1, 40)
    rows[-1, column] = value
    rows.flush()
    assert refused(scale("dlrm", source, tmp_path / "out"), 6, says)


def test_rows_without_counts(given, tmp_path):
    source = given("bin")
    (source / "day_fea_count.npz").unlink()
    assert refused(scale("dlrm", source, tmp_path / "out"), 6, "no counts of categories")


@pytest.mark.parametrize("damage", ["nothing", "zip", "number", "large"])
def test_counts_that_are_none(damage, given, tmp_path):
    source = given("bin")
    path = source / "day_fea_count.npz"
    if damage == "nothing":
        path.write_bytes(b"")
    elif damage == "zip":
        path.write_bytes(b"PK\3\4 and no archive")
    elif damage == "number":
        np.savez(path, counts=np.full(26, np.inf))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            header = f"{{'descr': '<i8', 'fortran_order': False, 'shape': ({2**55},)}}"
            archive.writestr("counts.npy", npy(header))
    assert refused(scale("dlrm", source, tmp_path / "out"), 6, "no counts in it", path.name)


def test_rows_behind_links(given, tmp_path):
    (tmp_path / "in").mkdir()
    for path in given("bin").iterdir():
        (tmp_path / "in" / path.name).symlink_to(path)
    done = scale("dlrm", tmp_path / "in", tmp_path / "out")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("damage", ["cut", "other", "type", "rows", "none", "scalar", "locked"])
def test_days_that_are_none(damage, given, tmp_path):
    source = given("npz")
    path = source / "day_3_reordered.npz"
    if damage == "cut":
        os.truncate(path, path.stat().st_size - 10)
    elif damage == "other":
        np.savez(path, a=np.zeros(3))
    elif damage == "type":
        np.savez(path, X_cat=np.zeros((5, 26), "<i4"), X_int=np.zeros((5, 13)), y=np.zeros(5))
    elif damage == "rows":
        np.savez(path, X_cat=np.zeros((5, 26)), X_int=np.zeros((4, 13)), y=np.zeros(5))
    elif damage == "none":
        np.savez(path, X_cat=np.zeros((0, 26)), X_int=np.zeros((0, 13)), y=np.zeros(0))
    elif damage == "scalar":
        np.savez(path, X_cat=np.zeros((5, 26)), X_int=np.zeros((5, 13)), y=np.float64(1))
    else:
        data = bytearray(path.read_bytes())
        for mark, flags in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
            data[data.find(mark) + flags] |= 1
        path.write_bytes(data)
    done = scale("dlrm", source, tmp_path / "out")
    assert refused(done, 6, path.name)
    assert "archive of X_cat, X_int and y" in done.stderr or "where rows of 26" in done.stderr


def test_a_format_twice(given, tmp_path):
    source = given("bin")
    shutil.copy(given("text") / "train.txt", source)
    assert refused(scale("dlrm", source, tmp_path / "out"), 6, "dlrm text (train.txt) and dlrm bin")


@pytest.mark.root
def test_an_input_that_may_not_be_read(made):
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        source = Path(place) / "in"
        shutil.copytree(made / "imseg", source)
        path = sorted(source.glob("*_x.npy"))[0]
        path.chmod(0)
        os.seteuid(65534)
        try:
            with pytest.raises(DataSetError) as caught:
                find_input(source, "imseg")
        finally:
            os.seteuid(0)
        assert f"cannot read (Permission denied): {path}" in str(caught.value)


def change_while(source, output, change):
    """Scale in this process, change the input after the first segment, and return the error."""
    seen = threading.Event()

    def emit(event):
        if event["kind"] == "progress" and not seen.is_set():
            seen.set()
            change()

    with pytest.raises(DataSetError) as caught:
        scale_into(
            "dlrm",
            source,
            output,
            size_bytes=500_000_000,
            mode="copy",
            seed=1,
            processes=1,
            emit=emit,
        )
    return str(caught.value)


def test_an_input_that_changes_is_noticed_and_the_scaling_cannot_go_on(given, tmp_path):
    source, output = given("bin"), tmp_path / "out"
    path = source / "preprocessed.bin"

    def change():
        time.sleep(0.02)  # a tick of the clock that files' times come from
        with path.open("r+b") as stream:
            stream.write(b"\1")

    said = change_while(source, output, change)
    assert "changed while it was read" in said
    assert str(path) in said
    done = scaled("dlrm", source, output, 500_000_000)
    assert refused(done, 6, "another unfinished data set is here (source_crc32c")
    assert dsgen("remove", output).returncode == 0


def test_an_input_that_changes_behind_its_times_is_noticed(given, tmp_path):
    source, output = given("imseg"), tmp_path / "out"
    path = sorted(source.glob("*_x.npy"))[0]

    def change():
        before = path.stat()
        with path.open("r+b") as stream:
            stream.seek(200)
            stream.write(b"other")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    seen = threading.Event()

    def emit(event):
        if event["kind"] == "progress" and not seen.is_set():
            seen.set()
            change()

    with pytest.raises(DataSetError, match="read as different bytes"):
        scale_into(
            "imseg",
            source,
            output,
            size_bytes=200_000_000,
            mode="copy",
            seed=1,
            processes=1,
            emit=emit,
        )


def test_other_parameters_are_refused_with_their_difference(given, tmp_path):
    source = given("bin")
    assert scale("dlrm", source, tmp_path / "out").returncode == 0
    done = scaled("dlrm", source, tmp_path / "out", SIZE + 160)
    assert refused(done, 6, "another data set is here", "size_requested_bytes 3000000, not 3000160")


def test_the_original_script_has_its_flags(given, tmp_path):
    flags = ["--input_path", given("bin"), "--output_path", tmp_path / "out"]
    flags += ["--desired_size", "40000000", "--workload", "dlrm"]
    done = subprocess.run(
        [sys.executable, ROOT / "data_scaling.py", *map(str, flags)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "preprocessed.bin").stat().st_size == 40_000_000


def damaged_listing(damage, path):
    text, _ = path.read_text().splitlines()
    if damage == "missing":
        path.unlink()
    elif damage == "edited":
        path.write_text(path.read_text().replace('"bytes":', '"bytes":1', 1))
    else:
        other = {"types": text.replace('"bytes":', '"bytes":null,"x":'), "none": "null"}[damage]
        path.write_text(f"{other}\n{google_crc32c.value(other.encode()):08x}\n")


@pytest.mark.parametrize("damage", ["missing", "edited", "types", "none"])
@pytest.mark.parametrize(
    ("workload", "name"), [("imseg", "imseg"), ("bert", "bert"), ("dlrm", "bin")]
)
def test_a_listing_is_refused_unless_it_is_whole_and_written_again(
    damage, workload, name, given, tmp_path
):
    source, output = given(name), tmp_path / "out"
    assert scale(workload, source, output).returncode == 0
    before = (output / SOURCE_NAME).read_bytes()
    damaged_listing(damage, output / SOURCE_NAME)
    done = dsgen("verify", output)
    assert refused(done, 6, "listing", "repeat the command that made the data set")
    assert scale(workload, source, output).returncode == 0
    assert (output / SOURCE_NAME).read_bytes() == before
    assert dsgen("verify", output).returncode == 0


@pytest.mark.parametrize(("workload", "name"), [("imseg", "imseg"), ("dlrm", "text")])
def test_a_clone_of_any_size_is_refused_at_once(workload, name, given, tmp_path):
    # Where blocks can be shared, there are too few inodes, or text is beyond its own length.
    done = scaled(workload, given(name), tmp_path / "out", 10**20, "--mode", "clone")
    assert refused(done, 7 if "inodes" in done.stderr else 2, "")
    assert nothing_in(tmp_path / "out")


def test_more_files_than_inodes_are_refused_before_they_are_planned(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    np.save(source / "case_00500_x.npy", np.zeros((1, 1, 1, 1), "<f4"))
    np.save(source / "case_00500_y.npy", np.zeros((1, 1, 1, 1), "u1"))
    room = os.statvfs(tmp_path)
    if not room.f_files or 261 * room.f_files > 2 * room.f_blocks * room.f_frsize:
        pytest.skip("a file system with enough inodes")
    done = scaled("imseg", source, tmp_path / "out", 261 * room.f_files)
    assert refused(done, 7, "too few inodes")


@pytest.mark.parametrize("compression", ["stored", "deflate"])
def test_damaged_rows_get_no_new_crc_in_a_day_that_is_cut(compression, tmp_path):
    """A whole day keeps its archive's CRC, which np.load refuses; the last one is made again.

    Another CRC is not seen before the last row, which no cut day has.
    """
    wanted = data_set("dlrm", 12_000_000, format="npz", compression=compression)
    Example(name="npz", data_set=wanted, size_bytes=0).make(tmp_path / "in")
    total_bytes = 0
    for path in (tmp_path / "in").glob("day_*_reordered.npz"):
        with zipfile.ZipFile(path) as archive:
            crc = archive.getinfo("X_int.npy").CRC.to_bytes(4, "little")
        data = path.read_bytes()
        assert data.count(crc) == 2
        path.write_bytes(data.replace(crc, bytes([crc[0] ^ 1]) + crc[1:]))
        total_bytes += len(data)
    done = scaled("dlrm", tmp_path / "in", tmp_path / "out", total_bytes * 101 // 100)
    assert refused(done, 6, "a damaged archive", "CRC")


def test_a_text_that_becomes_shorter_while_its_end_is_looked_for(tmp_path, monkeypatch):
    (tmp_path / "train.txt").write_bytes(b"x" * 3 * 2**20)
    file = listed(tmp_path, "train.txt", role="train", file_class="line", samples=COUNTED)
    read = os.pread

    def shrinking(descriptor, size_bytes, at):
        os.truncate(tmp_path / "train.txt", 2**20)
        return read(descriptor, size_bytes, at)

    monkeypatch.setattr(os, "pread", shrinking)
    with pytest.raises(DataSetError, match="changed while it was read"):
        dlrm_source._end_of_line(tmp_path, file, 2**20 + 5)


def test_a_clone_of_a_text_without_a_last_line_end_says_what_is_missing(tmp_path):
    (tmp_path / "train.txt").write_bytes(b"1\n2")
    file = listed(tmp_path, "train.txt", role="train", file_class="line", samples=COUNTED)
    source = Source(workload="dlrm", format="text", compression="none", files=(file,))

    def end(size_bytes, origin):
        parameters = Parameters(
            workload="dlrm",
            format="text",
            format_version=1,
            law="criteo",
            seed=1,
            size_requested_bytes=size_bytes,
            origin=origin,
        )
        return dlrm_source.cut(tmp_path, source, parameters, 1).cut

    assert end(2, "clone") == (2,)
    assert end(3, "copy") == (4,)
    with pytest.raises(UsageError, match="its last line has no end"):
        end(3, "clone")
