"""Law 1: the same parameters give the same bytes, for any number of processes, for ever."""

import json
from pathlib import Path

import pytest

from dsgen.manifest import read_manifest
from dsgen.workloads import WORKLOADS, plan
from dsgen.write import generate
from tests.property.strategies import SMALL_SETS

HASHES = Path(__file__).parent.parent / "golden" / "data_sets.json"


def file_hashes(directory):
    return {file.path: f"{file.crc32c:08x}" for file in read_manifest(directory).files}


@pytest.mark.parametrize("processes", [1, 2, 7])
@pytest.mark.parametrize(("workload", "law", "size_bytes"), SMALL_SETS)
def test_bytes_equal_the_committed_hashes(workload, law, size_bytes, processes, tmp_path):
    layout = plan(workload, size_bytes=size_bytes, law=law, seed=1)
    generate(layout, tmp_path / "set", processes=processes, emit=lambda _: None)
    committed = json.loads(HASHES.read_text())
    assert file_hashes(tmp_path / "set") == committed[f"{workload}-{law}-{size_bytes}"]


@pytest.mark.parametrize(("workload", "law", "size_bytes"), SMALL_SETS)
def test_another_seed_gives_other_bytes(workload, law, size_bytes, tmp_path):
    layout = plan(workload, size_bytes=size_bytes, law=law, seed=2)
    generate(layout, tmp_path / "set", processes=2, emit=lambda _: None)
    committed = json.loads(HASHES.read_text())[f"{workload}-{law}-{size_bytes}"]
    assert set(file_hashes(tmp_path / "set").values()).isdisjoint(committed.values())


@pytest.mark.parametrize(("workload", "law", "size_bytes"), SMALL_SETS)
def test_a_segment_does_not_depend_on_those_before_it(workload, law, size_bytes, tmp_path):
    layout = plan(workload, size_bytes=size_bytes, law=law, seed=1)
    generate(layout, tmp_path / "set", processes=2, emit=lambda _: None)
    for file in layout.files:
        last = file.segment(file.segment_count - 1)
        blocks = WORKLOADS[workload].blocks(layout, file, last.index)
        alone = b"".join(block.tobytes() for block in blocks)
        on_disk = (tmp_path / "set" / file.path).read_bytes()[last.offset_bytes :]
        assert alone == on_disk, file.path
