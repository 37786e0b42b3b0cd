"""Which counter a figure comes from, and what is said when two of them contradict each other."""

from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.counted import AGREE_BYTES
from harness.analysis.result import build_result
from harness.worker.record import SourceCount
from tests.golden.recordings import facts, plan, record

RETURNED = 2 * 3 * 10**9  # of 2 ranks in 3 steps
TARGETS = {
    "proc": {"byte_source": "proc"},
    "nfs": {"byte_source": "nfs-mountstats"},
    "lustre": {"byte_source": "lustre-osc"},
}


def result(target="proc", counts=(), uncounted=(), *, own=1.0, cache="asis"):
    """Return the result of a run whose sources counted `counts`: name -> bytes in the one epoch."""
    recording = record(plan(2, 3, bytes_per_step=10**9, device_share=own, eval_ns=5))
    told = [count(recording.windows[0][0], *pair) for pair in dict(counts).items()]
    worker = replace(recording.worker, counts=tuple(told), uncounted=dict(uncounted))
    known = facts(2, target=TARGETS.get(str(target), target), cache=cache)
    return build_result(replace(recording, worker=worker), known)


def count(window, name, value):
    """Return what the source `name` counted in a window of the first rank."""
    epoch, phase, start_ns = (int(window[key]) for key in ("epoch", "phase", "start_ns"))
    return SourceCount(source=name, epoch=epoch, phase=phase, start_ns=start_ns, bytes=value)


def parted(recording):
    """Return the recording with each window of rank 0 and 1 in two; rank 1 had thrice as much."""
    tables = []
    for factor, own in zip((1, 3), recording.windows, strict=True):
        parts = np.repeat(own, 2)
        middle = (own["start_ns"] + own["end_ns"]) // 2
        parts["end_ns"][0::2], parts["start_ns"][1::2] = middle, middle
        for name in ("asked_bytes", "row_bytes", "device_bytes", "rchar"):
            parts[name] = parts[name] // 2 * factor
        tables.append(parts)
    return replace(recording, windows=tuple(tables))


def test_bytes_of_an_epoch_in_parts_are_those_of_the_rank_that_read_them():
    recording = parted(record(plan(2, 4, bytes_per_step=1_000)))
    volume = build_result(recording, facts(2, target=TARGETS["proc"])).metrics.bytes
    ranks = [(own.rank, own.returned, own.device) for own in volume.per_rank]
    assert ranks == [(0, 4_000, 4_000), (1, 12_000, 12_000)]
    assert volume.returned == 16_000


def test_what_a_source_counted_in_each_part_of_an_epoch_is_added_up():
    recording = parted(record(plan(2, 4, bytes_per_step=1_000, eval_ns=5)))
    counts = [
        count(window, "nfs-mountstats", 10**number)
        for number, window in enumerate(recording.windows[0])
    ]
    worker = replace(recording.worker, counts=tuple(counts))
    made = build_result(replace(recording, worker=worker), facts(2, target=TARGETS["nfs"]))
    assert made.metrics.bytes.device.value == 1 + 10
    assert [one.bytes.device.value for one in made.evaluation] == [100, 1_000]
    without = replace(worker, counts=tuple(counts[1:]))
    made = build_result(replace(recording, worker=without), facts(2, target=TARGETS["nfs"]))
    assert made.metrics.bytes.device.value is None


def test_ranks_and_their_group_count_the_same_and_both_are_told():
    volume = result(counts={"cgroup": RETURNED + 4096}).metrics.bytes
    assert (volume.device.value, volume.device.source) == (RETURNED, "proc")
    assert (volume.group.value, volume.group.source) == (RETURNED + 4096, "cgroup")
    ranks = [(own.rank, own.returned, own.device) for own in volume.per_rank]
    assert ranks == [(0, RETURNED // 2, RETURNED // 2), (1, RETURNED // 2, RETURNED // 2)]


def test_a_group_that_did_not_count_is_null_with_its_reason():
    volume = result(uncounted={"cgroup": "no throttle rule"}).metrics.bytes
    assert (volume.device.value, volume.group.value) == (RETURNED, None)
    assert volume.group.reason == "no throttle rule"


def test_the_group_stands_in_for_ranks_whose_kernel_does_not_count():
    volume = result(counts={"cgroup": RETURNED // 4}, own=None).metrics.bytes
    assert (volume.device.value, volume.device.source) == (RETURNED // 4, "cgroup")
    assert volume.memory_share == 0.75
    assert [own.device for own in volume.per_rank] == [None, None]


def test_where_nothing_counts_the_reason_is_told():
    made = result(uncounted={"cgroup": "no throttle rule"}, own=None)
    device = made.metrics.bytes.device
    assert (device.value, device.source) == (None, "none")
    assert "no read_bytes in /proc/PID/io" in device.reason
    assert "no throttle rule" in device.reason
    assert f"Bytes from the device are unknown: {device.reason}." in made.warnings
    target = {"byte_source": "none", "byte_source_reason": "overlay: not known"}
    assert result(target).metrics.bytes.device.reason == "overlay: not known"


@pytest.mark.parametrize(("target", "name"), [("nfs", "nfs-mountstats"), ("lustre", "lustre-osc")])
def test_bytes_of_network_storage_are_the_host_s(target, name):
    made = result(target, {name: RETURNED // 2}, own=0.0)
    volume = made.metrics.bytes
    assert (volume.device.value, volume.device.source) == (RETURNED // 2, name)
    assert (volume.memory_share, volume.group) == (0.5, None)
    assert [own.device for own in volume.per_rank] == [None, None]
    # The evaluation was not counted, and is not said to have had nothing.
    assert made.evaluation[0].bytes.device.value is None
    missing = result(target, uncounted={name: "only root may"}).metrics.bytes.device
    assert (missing.value, missing.reason) == (None, "only root may")
    broken = result(target, {name: None})
    assert broken.metrics.bytes.device.value is None
    assert broken.verdict.outcome == "withheld"


@pytest.mark.parametrize(
    ("target", "counts", "words"),
    [
        ("proc", {"cgroup": RETURNED + AGREE_BYTES}, None),
        ("proc", {"cgroup": RETURNED * 2}, "/proc/PID/io 6 GB, cgroup 12 GB"),
        ("proc", {"cgroup": RETURNED // 2}, "/proc/PID/io 6 GB, cgroup 3 GB"),
        ("nfs", {"nfs-mountstats": 10**9, "nfs-read-replies": 10**9 + 10**7}, None),
        ("nfs", {"nfs-mountstats": 10**9, "nfs-read-replies": 2 * 10**9}, "nfs-read-replies 2 GB"),
        ("nfs", {"nfs-mountstats": 10**9, "nfs-read-replies": None}, None),
        ("lustre", {"lustre-osc": 10**9, "lustre-llite": RETURNED}, None),
        ("lustre", {"lustre-osc": 10**9, "lustre-llite": 10**9}, "read calls 6 GB, lustre-llite"),
    ],
)
def test_two_counts_of_the_same_bytes_that_differ_are_a_warning(target, counts, words):
    said = [line for line in result(target, counts).warnings if "contradict" in line]
    assert len(said) == (words is not None)
    assert all(words in line for line in said)


@pytest.mark.parametrize(("factor", "told"), [(1.0, False), (1.01, False), (1.5, True)])
def test_others_on_this_host_that_read_as_well_are_told(factor, told):
    said = result("nfs", {"nfs-mountstats": int(RETURNED * factor)}).warnings
    assert any("counts for all of this host" in line for line in said) is told
