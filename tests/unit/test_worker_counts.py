"""Counters as texts: what is in them is found, and what is not is None, never 0."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.worker.host.counts import (
    parse_io_stat,
    parse_lustre_bytes,
    parse_mountstats,
    parse_throttle_bytes,
)
from tests.unit import source_texts as texts


def test_version_1_counts_from_the_first_throttle_rule_on():
    assert parse_throttle_bytes(texts.THROTTLE_BYTES, "254:0") == 67_108_864
    assert parse_throttle_bytes(texts.THROTTLE_BYTES_BEFORE, "254:0") is None
    assert parse_throttle_bytes(texts.THROTTLE_BYTES, "254:1") is None


@pytest.mark.parametrize(
    ("device", "read"), [("8:0", 90_430_464), ("8:16", 1_459_200), ("7:0", None), ("8:1", None)]
)
def test_version_2_has_a_line_for_each_device(device, read):
    assert parse_io_stat(texts.IO_STAT, device) == read


@pytest.mark.parametrize(
    ("path", "server", "replies"),
    [
        ("/mnt/array", 600_000_000, 600_062_400),
        ("/mnt/array/imseg/data", 600_000_000, 600_062_400),
        ("/mnt/array/with blank/data", 5_000, 5_208),
        ("/mnt/array/with#hash/data", 6_000, 6_208),
        ("/mnt/array/with\\backslash/data", 7_000, 7_208),
    ],
)
def test_the_deepest_nfs_mount_above_the_data_counts(path, server, replies):
    found = parse_mountstats(texts.MOUNTSTATS, path)
    assert (found.server, found.read_replies) == (server, replies)


@pytest.mark.parametrize("path", ["/mnt/array/disk/data", "/mnt/arrayed", "/sys", "/"])
def test_what_lies_on_no_nfs_mount_has_no_bytes_of_one(path):
    assert parse_mountstats(texts.MOUNTSTATS, path) is None
    assert parse_mountstats(texts.MOUNTSTATS_NONE, path) is None


def test_a_mount_whose_block_was_cut_short_has_no_bytes():
    for line in ("\tbytes:", "\tRPC iostats"):
        cut = texts.MOUNTSTATS[: texts.MOUNTSTATS.index(line)]
        found = parse_mountstats(cut, "/mnt/array/data")
        assert (found is None) is (line == "\tbytes:")
    assert found.read_replies is None


def test_lustre_tells_servers_from_read_calls():
    assert parse_lustre_bytes(texts.LUSTRE_OSC) == 83_886_080
    assert parse_lustre_bytes(texts.LUSTRE_LLITE) == 125_829_120
    assert parse_lustre_bytes(texts.LUSTRE_BEFORE) is None


@given(text=st.text(alphabet="8:0 \n\tReadrbytes=[]device mounted on / with fstype nfs4 READ"))
def test_any_text_gives_a_number_or_none(text):
    for found in (
        parse_throttle_bytes(text, "8:0"),
        parse_io_stat(text, "8:0"),
        parse_lustre_bytes(text),
    ):
        assert found is None or found >= 0
    nfs = parse_mountstats(f"{texts.MOUNTSTATS}{text}", "/mnt/array")
    assert nfs is None or nfs.server >= 0
