"""Law 1: the same parameters give the same bytes, for any number of processes, for ever."""

import json
import operator
from pathlib import Path

import pytest

from dsgen.content import Drawn
from dsgen.manifest import read_manifest
from dsgen.segments import blocks_of
from dsgen.write import generate
from tests.property.strategies import DATA_SETS

COUNTS = ("day_day_count.npz", "day_fea_count.npz")
NAME = operator.attrgetter("name")
HASHES = Path(__file__).parent.parent / "golden" / "data_sets.json"


def file_hashes(directory):
    """Return each file's CRC32C."""
    return {file.path: f"{file.crc32c:08x}" for file in read_manifest(directory).files}


@pytest.mark.parametrize("processes", [1, 2, 7])
@pytest.mark.parametrize("data_set", DATA_SETS, ids=NAME)
def test_bytes_equal_the_committed_hashes(data_set, processes, tmp_path):
    generate(data_set.layout(), tmp_path / "set", processes=processes, emit=lambda _: None)
    committed = json.loads(HASHES.read_text())
    assert file_hashes(tmp_path / "set") == committed[data_set.name]


@pytest.mark.parametrize("data_set", DATA_SETS, ids=NAME)
def test_another_seed_gives_other_bytes(data_set, tmp_path):
    generate(data_set.layout(seed=2), tmp_path / "set", processes=2, emit=lambda _: None)
    committed = json.loads(HASHES.read_text())[data_set.name]
    # The counts of categories and of rows are facts of the original, whatever the seed.
    seeded = {path: crc for path, crc in committed.items() if path not in COUNTS}
    assert set(file_hashes(tmp_path / "set").values()).isdisjoint(seeded.values())


@pytest.mark.parametrize("data_set", DATA_SETS, ids=NAME)
def test_a_segment_does_not_depend_on_those_before_it(data_set, tmp_path):
    generate(data_set.layout(), tmp_path / "set", processes=2, emit=lambda _: None)
    layout = data_set.layout()
    for file in layout.files:
        last = file.segment(file.segment_count - 1)
        blocks = blocks_of(Drawn(), layout, file, last.index, {})
        alone = b"".join(block.tobytes() for block in blocks)
        on_disk = (tmp_path / "set" / file.path).read_bytes()[last.offset_bytes :]
        assert alone == on_disk, file.path
