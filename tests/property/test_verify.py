"""Law 7: verify finds every change, names the segment, and generate repairs just that."""

import bisect
import operator
import os
import random
import time
from pathlib import Path

import pytest

from dsgen.damage import DAMAGE_NAME
from dsgen.directory import check_complete
from dsgen.errors import DataSetError
from dsgen.manifest import read_manifest
from dsgen.verify import check_sound, verify
from dsgen.write import generate
from tests.property.strategies import FORMATS
from tests.property.strategies import data_set as data_set_of

NAME = operator.attrgetter("name")


def silent(_):
    pass


@pytest.fixture(scope="module", params=FORMATS, ids=NAME)
def data_set(request, tmp_path_factory):
    layout = request.param.layout()
    directory = tmp_path_factory.mktemp("verify") / "set"
    generate(layout, directory, processes=2, emit=silent)
    return layout, directory


def contents(directory):
    manifest = read_manifest(directory)
    return {file.path: (directory / file.path).read_bytes() for file in manifest.files}


def repair(layout, directory):
    said = []
    generate(layout, directory, processes=2, emit=said.append)
    assert verify(directory, processes=2, emit=silent) == []
    assert not (directory / DAMAGE_NAME).exists()
    check_complete(read_manifest(directory), directory)
    return said[-1]["text"]


def flip(path, offset):
    time.sleep(0.02)  # file times move in ticks of the kernel
    with path.open("r+b") as stream:
        stream.seek(offset)
        byte = stream.read(1)[0]
        stream.seek(offset)
        stream.write(bytes([byte ^ 1]))


def test_a_sound_set_has_no_findings(data_set):
    _, directory = data_set
    assert verify(directory, processes=2, emit=silent) == []


@pytest.mark.parametrize("draw", range(5))
def test_a_flipped_bit_is_found_named_and_repaired(data_set, draw):
    layout, directory = data_set
    before = contents(directory)
    choose = random.Random(draw)
    file = choose.choice(layout.files)
    offset = choose.randrange(file.bytes)
    flip(directory / file.path, offset)
    findings = verify(directory, processes=2, emit=silent)
    segment = bisect.bisect(file.starts, offset) - 1
    assert [(f.path, f.segment) for f in findings] == [(file.path, segment)]
    assert repair(layout, directory) == "1 damaged segments were written again"
    assert contents(directory) == before


@pytest.mark.parametrize("kept", [0, 1, 127, 4096, -1])
def test_a_truncated_file_is_found_and_repaired(data_set, kept):
    layout, directory = data_set
    before = contents(directory)
    file = layout.files[0]
    os.truncate(directory / file.path, kept if kept >= 0 else file.bytes - 1)
    findings = verify(directory, processes=2, emit=silent)
    assert {f.path for f in findings} == {file.path}
    assert any(f.segment is not None for f in findings)
    repair(layout, directory)
    assert contents(directory) == before


def test_a_longer_file_is_found_and_repaired(data_set):
    layout, directory = data_set
    before = contents(directory)
    with (directory / layout.files[0].path).open("ab") as stream:
        stream.write(b"more")
    findings = verify(directory, processes=2, emit=silent)
    assert [f.path for f in findings] == [layout.files[0].path]
    repair(layout, directory)
    assert contents(directory) == before


def test_a_missing_file_is_found_and_repaired(data_set):
    layout, directory = data_set
    before = contents(directory)
    (directory / layout.files[-1].path).unlink()
    findings = verify(directory, processes=2, emit=silent)
    assert [(f.path, f.what) for f in findings] == [(layout.files[-1].path, "missing")]
    repair(layout, directory)
    assert contents(directory) == before


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("directory", "a directory"),
        ("symbolic link", "a symbolic link"),
        ("broken link", "a symbolic link"),
        ("pipe", "a device, pipe or socket"),
    ],
)
def test_what_is_in_the_place_of_a_file_is_named_and_repaired_once_it_is_away(
    kind, what, data_set, tmp_path
):
    """A link may lead to the same bytes, but on other storage."""
    layout, directory = data_set
    before = contents(directory)
    path = directory / layout.files[-1].path
    path.rename(tmp_path / "elsewhere")
    what = {"pipe": "a device, pipe or socket", "directory": "a directory"}.get(
        kind, "a symbolic link"
    )
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / ("elsewhere" if kind == "symbolic link" else "nowhere"))
    findings = verify(directory, processes=2, emit=silent)
    assert [(f.path, f.segment, f.what) for f in findings] == [
        (path.name, None, f"{what}, not a file")
    ]
    with pytest.raises(DataSetError, match=f"move {path.name} away, then repeat the command"):
        check_sound(findings, directory)
    with pytest.raises(DataSetError, match=f"{what}, not a file: {path}; move it away"):
        generate(layout, directory, processes=2, emit=silent)
    path.rename(tmp_path / "away")
    repair(layout, directory)
    assert contents(directory) == before


@pytest.mark.parametrize(
    "data_set", [one for one in FORMATS if len(one.layout().files) > 1], ids=NAME, indirect=True
)
def test_two_swapped_files_are_found_and_repaired(data_set):
    layout, directory = data_set
    before = contents(directory)
    one, other = (directory / layout.files[index].path for index in (0, -1))
    one.rename(directory / "between")
    other.rename(one)
    (directory / "between").rename(other)
    findings = verify(directory, processes=2, emit=silent)
    assert {f.path for f in findings} == {layout.files[0].path, layout.files[-1].path}
    repair(layout, directory)
    assert contents(directory) == before


def test_an_extra_file_is_found_and_left_alone(data_set):
    _, directory = data_set
    extra = directory / "notes.txt"
    extra.write_text("mine")
    findings = verify(directory, processes=2, emit=silent)
    assert [(f.path, f.what) for f in findings] == [("notes.txt", "not in the manifest")]
    assert extra.read_text() == "mine"
    extra.unlink()


def test_a_verified_copy_is_trusted_again(data_set):
    layout, directory = data_set
    time.sleep(0.02)
    (directory / layout.files[0].path).touch()  # as a copy without times leaves it
    with pytest.raises(DataSetError, match="changed after its manifest"):
        check_complete(read_manifest(directory), directory)
    assert verify(directory, processes=2, emit=silent) == []
    check_complete(read_manifest(directory), directory)


def test_a_file_changed_after_the_manifest_is_not_reused(data_set):
    layout, directory = data_set
    flip(directory / layout.files[0].path, 500)
    with pytest.raises(DataSetError, match="changed after its manifest"):
        generate(layout, directory, processes=2, emit=silent)
    verify(directory, processes=2, emit=silent)
    repair(layout, directory)


@pytest.fixture(scope="module")
def linked(tmp_path_factory):
    layout = data_set_of("dlrm", 1_000_000, format="bin").layout()
    directory = tmp_path_factory.mktemp("linked") / "set"
    generate(layout, directory, processes=1, emit=silent)
    return layout, directory


def test_a_link_leads_to_the_file_that_the_reference_trains_on(linked):
    _, directory = linked
    assert (directory / "preprocessed_train.bin").samefile(directory / "preprocessed.bin")
    assert (directory / "preprocessed_train.bin").readlink() == Path("preprocessed.bin")


@pytest.mark.parametrize("elsewhere", [None, "preprocessed_test.bin"])
def test_a_missing_or_misled_link_is_found_and_made_again(linked, elsewhere):
    layout, directory = linked
    link = directory / "preprocessed_train.bin"
    link.unlink()
    if elsewhere:
        link.symlink_to(elsewhere)
    findings = verify(directory, processes=1, emit=silent)
    assert [(f.path, f.what) for f in findings] == [(link.name, "no link to preprocessed.bin")]
    generate(layout, directory, processes=1, emit=silent)
    assert verify(directory, processes=1, emit=silent) == []


def test_a_file_in_the_place_of_a_link_is_left_alone(linked):
    layout, directory = linked
    link = directory / "preprocessed_train.bin"
    link.unlink()
    link.write_text("mine")
    with pytest.raises(DataSetError, match=r"no link to preprocessed\.bin"):
        generate(layout, directory, processes=1, emit=silent)
    assert link.read_text() == "mine"
    link.unlink()
    generate(layout, directory, processes=1, emit=silent)


def test_headers_and_directory_of_an_archive_are_repaired_from_its_rows(tmp_path):
    layout = data_set_of("dlrm", 2_000_000, format="npz").layout()
    directory = tmp_path / "set"
    generate(layout, directory, processes=2, emit=silent)
    before = contents(directory)
    file = layout.files[3]
    assert len(file.closing) == 4
    for segment in file.closing:
        flip(directory / file.path, file.segment(segment).offset_bytes + 15)
    findings = verify(directory, processes=2, emit=silent)
    assert {(f.path, f.segment) for f in findings} == {(file.path, n) for n in file.closing}
    assert repair(layout, directory) == "4 damaged segments were written again"
    assert contents(directory) == before
